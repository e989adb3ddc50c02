//! Finds variables that look like ours and are not: usually typing errors (pure).

use super::sources::{Origin, Sources};
use super::{Group, settings};

/// A sentence for each variable that begins like one of `groups` and is not known.
pub(super) fn sentences(sources: &Sources, groups: &[Group]) -> Vec<String> {
    let ours = |name: &str| groups.iter().any(|group| name.starts_with(group.prefix()));
    let known = |name: &str| settings().any(|setting| setting.variable == name);
    sources
        .names()
        .filter(|(name, _)| ours(name) && !known(name) && !is_service_variable(name))
        .map(|(name, origin)| sentence(name, &origin))
        .collect()
}

fn sentence(name: &str, origin: &Origin) -> String {
    let place = match origin {
        Origin::File(path) => format!("{name} in {}", path.display()),
        _ => name.to_owned(),
    };
    match nearest(name) {
        Some(known) => format!("{place} is not known; did you mean {known}?"),
        None => format!("{place} is not known and has no effect"),
    }
}

/// The known name that most likely was meant: at most a quarter of it is different.
fn nearest(name: &str) -> Option<&'static str> {
    settings()
        .map(|setting| (strsim::damerau_levenshtein(name, setting.variable), setting.variable))
        .min()
        .filter(|(distance, known)| distance * 4 <= known.len())
        .map(|(_, known)| known)
}

/// Whether Kubernetes sets such a variable by itself for a Service of the namespace, such as
/// `redis` or `pulsar`: `{SVC}_SERVICE_HOST`, `{SVC}_SERVICE_PORT[_{NAME}]`, `{SVC}_PORT` and
/// `{SVC}_PORT_{N}_{TCP|UDP|SCTP}[_{PROTO|PORT|ADDR}]`.
/// <https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>
fn is_service_variable(name: &str) -> bool {
    let names_a_port = |rest: &str| {
        let after_number = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        after_number.len() < rest.len()
            && ["_TCP", "_UDP", "_SCTP"].iter().any(|protocol| {
                after_number
                    .strip_prefix(protocol)
                    .is_some_and(|end| matches!(end, "" | "_PROTO" | "_PORT" | "_ADDR"))
            })
    };
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || name.ends_with("_PORT")
        || name
            .match_indices("_PORT_")
            .any(|(at, found)| name.get(at + found.len()..).is_some_and(names_a_port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_is_answered_with_the_name_that_was_meant() {
        assert_eq!(nearest("PROCESSING_MAX_WORKER"), Some("PROCESSING_MAX_WORKERS"));
        assert_eq!(nearest("LOG_LEVLE"), Some("LOG_LEVEL"));
        assert_eq!(nearest("PULSAR_GC"), None);
    }

    #[test]
    fn the_variables_that_kubernetes_sets_for_a_service_are_not_typing_errors() {
        for name in [
            "REDIS_SERVICE_HOST",
            "REDIS_MASTER_SERVICE_PORT",
            "REDIS_SERVICE_PORT_TCP_REDIS",
            "REDIS_PORT",
            "PULSAR_PORT",
            "REDIS_PORT_6379_TCP",
            "REDIS_PORT_6379_TCP_ADDR",
            "PULSAR_BROKER_PORT_6650_UDP_PROTO",
        ] {
            assert!(is_service_variable(name), "{name}");
        }
        for name in ["REDIS_URI", "REDIS_PORT_A_TCP", "REDIS_PORT_6379", "METRICS_PROT"] {
            assert!(!is_service_variable(name), "{name}");
        }
    }
}
