//! What is said of a file: its ETag, whether the client has it already, which part is asked for,
//! in which encoding it goes out (pure).

use std::ops::Range;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::super::byte_range::{self, Asked};

/// What is the same for every answer about one content.
#[derive(Clone, Debug)]
pub struct Described {
    /// Of the whole file, or of its compressed form.
    pub content_type: &'static str,
    /// How long it may be kept.
    pub cache_control: &'static str,
    /// The entity tag with its quotes; weak if the content goes out in more than one encoding.
    pub etag: String,
}

impl Described {
    /// The answer that it has not changed (RFC 9110 section 15.4.5).
    pub fn not_modified(&self) -> Response {
        let mut response = StatusCode::NOT_MODIFIED.into_response();
        self.add(response.headers_mut());
        response
    }

    /// An answer with this body, not yet with its length.
    pub fn answer(&self, status: StatusCode, body: Body) -> Response {
        let mut response = Response::new(body);
        *response.status_mut() = status;
        self.add(response.headers_mut());
        set(response.headers_mut(), header::CONTENT_TYPE, self.content_type);
        response
    }

    /// The answer with the part of a file that was asked for; `body` makes its bytes.
    pub fn part(
        &self,
        asked: Asked,
        len_bytes: u64,
        body: impl FnOnce(Range<u64>) -> Body,
    ) -> Response {
        let (status, range) = match asked {
            Asked::Whole => (StatusCode::OK, 0..len_bytes),
            Asked::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
            Asked::Unsatisfiable => {
                let mut response = StatusCode::RANGE_NOT_SATISFIABLE.into_response();
                self.add(response.headers_mut());
                let all = format!("bytes */{len_bytes}");
                set(response.headers_mut(), header::CONTENT_RANGE, &all);
                return response;
            }
        };
        let mut response = self.answer(status, body(range.clone()));
        let headers = response.headers_mut();
        set(headers, header::ACCEPT_RANGES, "bytes");
        set(headers, header::CONTENT_LENGTH, &(range.end - range.start).to_string());
        if status == StatusCode::PARTIAL_CONTENT {
            let shown = format!("bytes {}-{}/{len_bytes}", range.start, range.end - 1);
            set(headers, header::CONTENT_RANGE, &shown);
        }
        response
    }

    fn add(&self, headers: &mut HeaderMap) {
        set(headers, header::CACHE_CONTROL, self.cache_control);
        set(headers, header::ETAG, &self.etag);
    }
}

/// Sets a header; a value that cannot be one is left out.
pub fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Which part of a file of `len_bytes` is asked for.
pub fn asked(headers: &HeaderMap, etag: &str, len_bytes: u64) -> Asked {
    let Some(range) = value(headers, header::RANGE) else { return Asked::Whole };
    match value(headers, header::IF_RANGE) {
        // Only the very same bytes may be continued (RFC 9110 section 13.1.5).
        Some(known) if known != etag => Asked::Whole,
        _ => byte_range::parse(range, len_bytes),
    }
}

/// Whether the client has what it asks for (RFC 9110 section 13.1.2, weak comparison).
pub fn matches_etag(headers: &HeaderMap, etag: &str) -> bool {
    let strong = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|tag| tag.trim() == "*" || strong(tag) == strong(etag))
}

/// Whether the client takes gzip (RFC 9110 section 12.5.3).
pub fn takes_gzip(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| {
            let mut parts = coding.split(';').map(str::trim);
            let named = parts.next().is_some_and(|name| {
                name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip")
            });
            let refused = parts.any(|p| {
                p.strip_prefix("q=").and_then(|q| q.parse::<f32>().ok()).is_some_and(|q| q <= 0.0)
            });
            named && !refused
        })
}

fn value(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn gzip_is_sent_to_who_names_it_and_does_not_refuse_it() {
        for (value, takes) in [
            ("gzip, deflate, br", true),
            ("br;q=1.0, GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("br", false),
            ("", false),
        ] {
            assert_eq!(takes_gzip(&headers(header::ACCEPT_ENCODING, value)), takes, "{value}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }

    #[test]
    fn a_known_tag_matches_weakly_and_anything_matches_the_star() {
        for (value, matches) in [
            ("\"a\"", true),
            ("W/\"a\"", true),
            ("\"b\", W/\"a\"", true),
            ("*", true),
            ("\"b\"", false),
        ] {
            let headers = headers(header::IF_NONE_MATCH, value);
            assert_eq!(matches_etag(&headers, "W/\"a\""), matches, "{value}");
        }
    }
}
