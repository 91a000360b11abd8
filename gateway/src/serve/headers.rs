//! What every answer says to browsers. None is meant for one, and one that is opened in it all the same must not
//! be run, framed, kept or told of.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// By OWASP's list for APIs. What an answer says itself stays: a plugin may answer with a page.
const ALWAYS: [(HeaderName, HeaderValue); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    ),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
];

/// For two years (RFC 6797). Over plain HTTP browsers must not heed it.
const SECURE: HeaderValue = HeaderValue::from_static("max-age=63072000");

/// Adds them.
pub(super) fn add(headers: &mut HeaderMap, is_secure: bool) {
    for (name, value) in ALWAYS {
        headers.entry(name).or_insert(value);
    }
    if is_secure {
        headers.entry(header::STRICT_TRANSPORT_SECURITY).or_insert(SECURE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_answer_says_itself_stays() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
        add(&mut headers, false);
        assert_eq!(headers.len(), 4);
        assert_eq!(headers[header::CACHE_CONTROL], "max-age=60");
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        add(&mut headers, true);
        assert_eq!(headers.len(), 5);
        assert_eq!(headers[header::STRICT_TRANSPORT_SECURITY], SECURE);
    }
}
