//! What is written in `ARCHIVE_DATABASE_URL`. Pure.

use tokio_postgres::Config;

use crate::model::{Secret, causes};

/// Why the setting is not a PostgreSQL server's URL; without the password.
#[derive(Debug, thiserror::Error)]
#[error("ARCHIVE_DATABASE_URL is not understood: {0}")]
pub struct UrlError(String);

/// Reads a URL, or the keys and values, of libpq.
/// <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING>
///
/// # Errors
/// [`UrlError`] if it is neither, or names no host.
pub fn read(url: &Secret) -> Result<Config, UrlError> {
    let parsed = with_known_ssl_mode(url.expose()).parse::<Config>();
    let config = parsed.map_err(|error| UrlError(causes(&error)))?;
    if config.get_hosts().is_empty() {
        return Err(UrlError("it names no host".into()));
    }
    Ok(config)
}

/// `verify-ca` and `verify-full` are libpq's words for what `require` does here: the certificate
/// and the host's name in it are always checked.
fn with_known_ssl_mode(url: &str) -> String {
    let Some((before, query)) = url.split_once('?') else { return url.to_owned() };
    let known = |pair: &str| match pair {
        "sslmode=verify-ca" | "sslmode=verify-full" => "sslmode=require".to_owned(),
        other => other.to_owned(),
    };
    let pairs: Vec<_> = query.split('&').map(known).collect();
    format!("{before}?{}", pairs.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libpq_s_words_for_checking_certificates_are_known() {
        let known = with_known_ssl_mode("postgres://u:p@h/d?sslmode=verify-full&a=b");
        assert_eq!(known, "postgres://u:p@h/d?sslmode=require&a=b");
        for other in ["postgres://h/d", "postgres://h/d?sslmode=disable"] {
            assert_eq!(with_known_ssl_mode(other), other);
        }
    }

    #[test]
    fn a_url_that_is_not_understood_is_told_without_its_password() {
        for url in [
            "postgres://me:hunter2@db/archive?sslmode=hunter2",
            "postgres://me:hunter2@db:port/archive",
            "postgres:///archive?password=hunter2",
        ] {
            let error = read(&Secret::new(url)).err().unwrap();
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
}
