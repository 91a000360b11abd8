//! From what a plugin wishes to send to what is sent: pure, and where a request is refused.

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri,
    header::{self, Entry},
};

use super::{Egress, HttpFault, HttpLimits, SecretGrant, Subject, origin};

/// Bytes of a URL: what servers commonly take is 8 KiB.
const URL_MAX: usize = 8 << 10;

/// A request as a plugin wants it.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    /// Headers whose values name secrets: `Bearer {API_KEY}`.
    pub(crate) secret_headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
    pub(crate) timeout: Option<Duration>,
}

/// A request that may be sent.
#[derive(Debug)]
pub(crate) struct Ready {
    /// Which of its attempt.
    pub(crate) number: u32,
    pub(crate) request: Request<Bytes>,
    pub(crate) timeout: Duration,
}

/// Headers that are the gateway's: they say how the message is framed, where it goes, and through whom.
pub(super) fn is_forbidden(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "host"
            | "content-length"
            | "transfer-encoding"
            | "connection"
            | "keep-alive"
            | "upgrade"
            | "te"
            | "trailer"
            | "expect"
            | "http2-settings"
    ) || name.as_str().starts_with("proxy-")
}

/// The `number`th request of an attempt, held against the grant.
pub(super) fn prepare(
    egress: &Egress,
    subject: Option<&Subject>,
    number: u32,
    wish: &Wish,
) -> Result<Ready, HttpFault> {
    let url = checked_url(egress, &wish.url)?;
    let method = checked_method(&wish.method)?;
    let max = egress.limits.request_bytes;
    if wish.body.len() as u64 > max {
        let size = wish.body.len();
        return Err(HttpFault::Limit(format!(
            "its body has {size} bytes, more than the {max} allowed"
        )));
    }
    let mut headers = HeaderMap::new();
    let count = wish.headers.len() + wish.secret_headers.len();
    let bytes = wish.headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    let HttpLimits { headers: most, header_bytes, .. } = egress.limits;
    let left = header_bytes.checked_sub(bytes).filter(|_| count <= most);
    let mut left = left.ok_or_else(|| too_long(egress))?;
    for (name, value) in &wish.headers {
        let value = HeaderValue::from_bytes(value);
        let value =
            value.map_err(|_| invalid(format!("the value of the header `{name}` is none")))?;
        headers.append(checked_name(name)?, value);
    }
    for (name, template) in &wish.secret_headers {
        left = left.checked_sub(name.len()).ok_or_else(|| too_long(egress))?;
        let value = filled(egress, &url, template, &mut left)?;
        headers.append(checked_name(name)?, value);
    }
    add_defaults(&mut headers, &method, subject, number);
    let mut request = Request::new(wish.body.clone());
    *request.method_mut() = method;
    *request.uri_mut() = url;
    *request.headers_mut() = headers;
    let most = egress.limits.timeout;
    Ok(Ready { number, request, timeout: wish.timeout.map_or(most, |asked| asked.min(most)) })
}

fn invalid(why: String) -> HttpFault {
    HttpFault::Invalid(why)
}

/// A URL whose origin is granted, with its host and port as everybody writes them: connections are kept by
/// that text. Addresses are looked at where they are connected to.
pub(super) fn checked_url(egress: &Egress, text: &str) -> Result<Uri, HttpFault> {
    if text.len() > URL_MAX {
        return Err(HttpFault::Limit(format!("its URL has more than {URL_MAX} bytes")));
    }
    let url: Uri = text.parse().map_err(|error| invalid(format!("its URL is none: {error}")))?;
    let (Some(scheme), Some(authority)) = (url.scheme_str(), url.authority()) else {
        return Err(invalid(
            "its URL is none: it does not begin with https:// and a host".to_owned(),
        ));
    };
    if authority.as_str().contains('@') {
        return Err(invalid("its URL has a user in it; put credentials into a header".to_owned()));
    }
    if egress.origins.iter().any(|origin| origin.matches(&url)) {
        return origin::canonical(url).ok_or_else(|| invalid("its URL is none".to_owned()));
    }
    Err(HttpFault::Denied(format!(
        "{scheme}://{authority} is not granted: add it to http in [plugins.{}]",
        egress.plugin
    )))
}

fn checked_method(text: &str) -> Result<Method, HttpFault> {
    let method = Method::from_bytes(text.as_bytes());
    let method = method.map_err(|_| invalid("its method is none".to_owned()))?;
    if matches!(method, Method::CONNECT | Method::TRACE) {
        return Err(HttpFault::Denied(format!("{method} is not sent")));
    }
    Ok(method)
}

fn checked_name(name: &str) -> Result<HeaderName, HttpFault> {
    let name: HeaderName =
        name.parse().map_err(|_| invalid("the name of one of its headers is none".to_owned()))?;
    if is_forbidden(&name) {
        return Err(HttpFault::Denied(format!("the header `{name}` is set by the gateway alone")));
    }
    Ok(name)
}

/// A template with its secrets in it. Each may only go where its grant says, and none makes the headers
/// longer than is `left`, on the way to the end either.
fn filled(
    egress: &Egress,
    url: &Uri,
    template: &str,
    left: &mut usize,
) -> Result<HeaderValue, HttpFault> {
    let mut text = zeroize::Zeroizing::new(String::with_capacity(template.len().min(*left)));
    let mut add = |part: &str| {
        *left = left.checked_sub(part.len()).ok_or_else(|| too_long(egress))?;
        text.push_str(part);
        Ok(())
    };
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once('{') {
        add(before)?;
        let Some((name, behind)) = behind.split_once('}') else {
            return Err(invalid("a secret header has a `{` that does not end".to_owned()));
        };
        add(allowed(egress, url, name)?.value.expose())?;
        rest = behind;
    }
    add(rest)?;
    let mut value = HeaderValue::from_str(&text).map_err(|_| {
        invalid("a secret header can't be sent: it has control characters".to_owned())
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn too_long(egress: &Egress) -> HttpFault {
    let HttpLimits { headers, header_bytes, .. } = egress.limits;
    HttpFault::Limit(format!(
        "its headers are more than the {headers} with {header_bytes} bytes allowed"
    ))
}

fn allowed<'e>(egress: &'e Egress, url: &Uri, name: &str) -> Result<&'e SecretGrant, HttpFault> {
    let denied = |why: String| HttpFault::Denied(why);
    let secret = egress.secrets.get(name).ok_or_else(|| denied(egress.no_secret(name)))?;
    if secret.hosts.iter().any(|origin| origin.matches(url)) {
        return Ok(secret);
    }
    let host = url.host().unwrap_or_default();
    Err(denied(format!(
        "the secret `{name}` does not go to {host}: add it to its hosts in [plugins.{}] secrets",
        egress.plugin
    )))
}

/// What a request has unless the plugin says otherwise.
fn add_defaults(headers: &mut HeaderMap, method: &Method, subject: Option<&Subject>, number: u32) {
    let mut unless_set = |name: HeaderName, value: &str| {
        if let (Entry::Vacant(place), Ok(value)) =
            (headers.entry(name), HeaderValue::from_str(value))
        {
            place.insert(value);
        }
    };
    unless_set(header::USER_AGENT, concat!("hookweir/", env!("CARGO_PKG_VERSION")));
    let Some(subject) = subject else { return };
    if let Some(traceparent) = &subject.traceparent {
        unless_set(HeaderName::from_static("traceparent"), traceparent);
    }
    // A safe method needs no key. The same on every attempt: the nth request is the nth.
    if !method.is_safe() {
        let key = format!("{}/{number}", subject.id);
        unless_set(HeaderName::from_static("idempotency-key"), &key);
    }
}

#[cfg(test)]
mod tests {
    use hookweir_event::{EventId, Timestamp};

    use super::{super::SubjectId, *};
    use crate::{Grant, HttpGrant, NoNetwork, SecretText};

    const KEY: &str = "sk-123";

    fn egress() -> Egress {
        let origins = ["https://api.example.com", "https://other.example.com"];
        let origins = origins.iter().map(|text| text.parse().unwrap()).collect();
        let secret = SecretGrant {
            value: SecretText::new(KEY.into()),
            hosts: vec!["https://api.example.com".parse().unwrap()],
            readable: false,
        };
        let grant = Grant {
            http: Some(HttpGrant { origins, addresses: vec![] }),
            secrets: [("API_KEY".to_owned(), secret)].into(),
            ..Grant::default()
        };
        Egress::new("tested".parse().unwrap(), &grant, &NoNetwork)
    }

    fn wish(method: &str, url: &str) -> Wish {
        Wish {
            method: method.into(),
            url: url.into(),
            headers: vec![],
            secret_headers: vec![],
            body: Bytes::new(),
            timeout: None,
        }
    }

    fn subject() -> Subject {
        let event = EventId::new(Timestamp::from_secs(1_700_000_000), [7; 10]);
        Subject { id: SubjectId::Event(event), traceparent: Some("00-1".into()) }
    }

    fn ready(wish: &Wish) -> Request<Bytes> {
        prepare(&egress(), Some(&subject()), 3, wish).unwrap().request
    }

    fn refused(wish: &Wish) -> (&'static str, String) {
        let fault = prepare(&egress(), Some(&subject()), 1, wish).unwrap_err();
        (fault.code(), fault.to_string())
    }

    #[test]
    fn a_request_gets_what_a_good_sender_sets() {
        let post = ready(&wish("POST", "https://api.example.com/v1?a=b"));
        let header = |name: &str| post.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("idempotency-key"), format!("{}/3", subject().id));
        assert_eq!(header("traceparent"), "00-1");
        assert!(header("user-agent").starts_with("hookweir/"));
        let get = ready(&wish("GET", "https://api.example.com"));
        assert!(!get.headers().contains_key("idempotency-key"));
        let own = vec![("Idempotency-Key".to_owned(), b"mine".to_vec())];
        let own = ready(&Wish { headers: own, ..wish("POST", "https://api.example.com") });
        assert_eq!(own.headers()["idempotency-key"], "mine");
    }

    #[test]
    fn only_granted_origins_are_sent_to() {
        for url in
            ["https://evil.test/", "http://api.example.com/", "https://api.example.com:8443/"]
        {
            let (code, why) = refused(&wish("GET", url));
            assert_eq!(code, "denied", "{url}");
            assert!(why.contains("add it to http in [plugins.tested]"), "{why}");
        }
        for url in
            ["", "/v1", "api.example.com", "https://", "https://a b/", "https://u@api.example.com/"]
        {
            assert_eq!(refused(&wish("GET", url)).0, "invalid", "{url:?}");
        }
        let long = format!("https://api.example.com/{}", "x".repeat(URL_MAX));
        assert_eq!(refused(&wish("GET", &long)).0, "limit");
    }

    #[test]
    fn methods_and_headers_that_are_the_gateways_are_refused() {
        assert_eq!(refused(&wish("CONNECT", "https://api.example.com")).0, "denied");
        assert_eq!(refused(&wish("TRACE", "https://api.example.com")).0, "denied");
        assert_eq!(refused(&wish("A B", "https://api.example.com")).0, "invalid");
        let with = |name: &str, value: &[u8]| Wish {
            headers: vec![(name.to_owned(), value.to_vec())],
            ..wish("POST", "https://api.example.com")
        };
        for name in [
            "Host",
            "content-length",
            "Transfer-Encoding",
            "connection",
            "Keep-Alive",
            "upgrade",
            "TE",
            "trailer",
            "expect",
            "proxy-authorization",
            "Proxy-Connection",
            "http2-settings",
        ] {
            assert_eq!(refused(&with(name, b"x")).0, "denied", "{name}");
            let secret = vec![(name.to_owned(), "{API_KEY}".to_owned())];
            let secret = Wish { secret_headers: secret, ..wish("POST", "https://api.example.com") };
            assert_eq!(refused(&secret).0, "denied", "{name}");
        }
        for (name, value) in
            [("a b", &b"x"[..]), ("", b"x"), ("x", b"a\r\nhost: evil"), ("x", b"\0")]
        {
            assert_eq!(refused(&with(name, value)).0, "invalid", "{name:?}");
        }
    }

    #[test]
    fn a_secret_goes_only_where_its_grant_says() {
        let with = |url: &str, template: &str| Wish {
            secret_headers: vec![("authorization".to_owned(), template.to_owned())],
            ..wish("POST", url)
        };
        let sent = ready(&with("https://api.example.com", "Bearer {API_KEY}"));
        assert_eq!(sent.headers()["authorization"], format!("Bearer {KEY}"));
        assert!(sent.headers()["authorization"].is_sensitive(), "it does not print");
        for (url, template, code) in [
            ("https://other.example.com", "{API_KEY}", "denied"),
            ("https://api.example.com", "{OTHER}", "denied"),
            ("https://api.example.com", "{API_KEY", "invalid"),
        ] {
            let (found, why) = refused(&with(url, template));
            assert_eq!(found, code, "{url} {template}");
            assert!(!why.contains(KEY), "{why}");
        }
        assert!(!format!("{:?}", egress().secrets).contains(KEY));
        // However often it is named, and by however many headers.
        let often = "{API_KEY}".repeat(1 << 20);
        assert_eq!(refused(&with("https://api.example.com", &often)).0, "limit");
        let long = vec![("x".to_owned(), "y".repeat(HttpLimits::default().header_bytes / 2)); 3];
        let long = Wish { secret_headers: long, ..wish("GET", "https://api.example.com") };
        assert_eq!(refused(&long).0, "limit");
    }

    #[test]
    fn a_host_has_one_spelling() {
        let sent = |url: &str| ready(&wish("GET", url)).uri().to_string();
        for same in [
            "https://api.example.com/a?b",
            "https://API.Example.com:0443/a?b",
            "https://api.example.com:443/a?b",
        ] {
            assert_eq!(sent(same), "https://api.example.com/a?b", "{same}");
        }
    }

    #[test]
    fn sizes_and_times_are_bounded() {
        let body = Bytes::from(vec![0; (1 << 20) + 1]);
        assert_eq!(refused(&Wish { body, ..wish("POST", "https://api.example.com") }).0, "limit");
        let many = vec![("x".to_owned(), vec![]); HttpLimits::default().headers + 1];
        assert_eq!(
            refused(&Wish { headers: many, ..wish("GET", "https://api.example.com") }).0,
            "limit"
        );
        let asked = |timeout| Wish { timeout, ..wish("GET", "https://api.example.com") };
        let timeout = |timeout| prepare(&egress(), None, 1, &asked(timeout)).unwrap().timeout;
        let longest = HttpLimits::default().timeout;
        assert_eq!(timeout(None), longest);
        assert_eq!(timeout(Some(longest / 2)), longest / 2);
        assert_eq!(timeout(Some(longest * 2)), longest);
    }
}
