//! Texts that providers make of a request by rules of their own, which no template can say. Each is
//! a variable in a template; this is the whole list of such code.
//!
//! | variable | provider | why it is code |
//! |---|---|---|
//! | `{form-sorted}` | Twilio, Mandrill | sorts the fields of a form |
//! | `{url-with-port}`, `{url-without-port}` | Twilio | its signers differ in whether they name the port |
//! | `{url-decoded}` | HubSpot v3 | undoes some escapes and not others |
//! | `{contentful}` | Contentful | escapes the path again, and takes the headers that a header lists |
//! | `{plivo}` | Plivo V3 | sorts the query and the fields of the form, each in its own way |
//! | `{alipay}` | Alipay | sorts the fields of a form, the signature's own left out |
//! | `{paddle-classic}` | Paddle Classic | the same, as PHP serialises an array |
//! | `{query-string-hash}` | Atlassian Connect | sorts the query's parameters and joins their values |

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use sha2::{Digest as _, Sha256};

use crate::{Rejection, encoding::Encoding, request::View, template::Canonical};

/// The text of this kind for this request.
pub(crate) fn text(kind: Canonical, view: &View<'_>) -> Result<Vec<u8>, Rejection> {
    let url = || view.url.ok_or_else(|| Rejection::MissingPart("{url}".to_owned()));
    match kind {
        Canonical::FormSorted => form_sorted(view.body),
        Canonical::UrlWithPort => Ok(with_port(url()?).into_bytes()),
        Canonical::UrlWithoutPort => Ok(without_port(url()?).into_bytes()),
        Canonical::UrlDecoded => Ok(hubspot_url(url()?).into_bytes()),
        Canonical::Contentful => contentful(view),
        Canonical::Plivo => plivo(url()?, view.body),
        Canonical::Alipay => alipay(view.body),
        Canonical::PaddleClassic => paddle_classic(view.body),
        Canonical::QueryString => Ok(query_string_hash(view).into_bytes()),
    }
}

/// The most fields of a form that are sorted before anything is proven. Twilio sends a few dozen.
const FIELDS_MAX: usize = 2048;

/// Names and values of a form, sorted, each pair once, with nothing between them.
/// <https://www.twilio.com/docs/usage/security#validating-requests>
fn form_sorted(body: &[u8]) -> Result<Vec<u8>, Rejection> {
    let pairs: BTreeSet<_> = fields(body)?.into_iter().collect();
    let mut sorted = Vec::with_capacity(body.len());
    for (name, value) in &pairs {
        sorted.extend_from_slice(name.as_bytes());
        sorted.extend_from_slice(value.as_bytes());
    }
    Ok(sorted)
}

/// A name and its value.
type Field<'a> = (Cow<'a, str>, Cow<'a, str>);

/// The fields of a form or a query.
fn fields(encoded: &[u8]) -> Result<Vec<Field<'_>>, Rejection> {
    if memchr::memchr_iter(b'&', encoded).nth(FIELDS_MAX).is_some() {
        return Err(Rejection::TooMany("fields"));
    }
    Ok(form_urlencoded::parse(encoded).collect())
}

/// The fields but these, sorted by name and then by value.
fn sorted_but<'a>(encoded: &'a [u8], left_out: &[&str]) -> Result<Vec<Field<'a>>, Rejection> {
    let mut fields = fields(encoded)?;
    fields.retain(|(name, _)| !left_out.contains(&&**name));
    fields.sort();
    Ok(fields)
}

/// The URL with its query's parameters sorted, then names and values of the form, sorted, with
/// nothing between them. A full stop parts the two.
/// <https://www.plivo.com/docs/voice/concepts/signature-validation>
fn plivo(url: &str, body: &[u8]) -> Result<Vec<u8>, Rejection> {
    let url = url.split('#').next().unwrap_or_default();
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let (query, form) = (sorted_but(query.as_bytes(), &[])?, sorted_but(body, &[])?);
    let mut text = base.to_owned();
    if !query.is_empty() || !form.is_empty() {
        text.push('?');
    }
    text.push_str(&pairs(&query));
    if !query.is_empty() && !form.is_empty() {
        text.push('.');
    }
    form.iter().for_each(|(name, value)| text.extend([&**name, &**value]));
    Ok(text.into_bytes())
}

/// <https://opendocs.alipay.com/common/02mse7>: step 1 leaves out the two fields about the signature.
fn alipay(body: &[u8]) -> Result<Vec<u8>, Rejection> {
    Ok(pairs(&sorted_but(body, &["sign", "sign_type"])?).into_bytes())
}

/// `name=value&name=value`, nothing escaped.
fn pairs(fields: &[Field<'_>]) -> String {
    let pairs: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

/// An array of strings as PHP serialises it. <https://developer.paddle.com/webhook-reference/verifying-webhooks>
fn paddle_classic(body: &[u8]) -> Result<Vec<u8>, Rejection> {
    let fields = sorted_but(body, &["p_signature"])?;
    let string = |text: &str| format!("s:{}:\"{text}\";", text.len());
    let fields: Vec<_> = fields.iter().map(|(n, v)| string(n) + &string(v)).collect();
    Ok(format!("a:{}:{{{}}}", fields.len(), fields.concat()).into_bytes())
}

/// Scheme with `://`, authority, and the rest with its `/`, `?` or `#`.
fn split_url(url: &str) -> Option<(&str, &str, &str)> {
    let start = url.find("://")? + 3;
    let end = url[start..].find(['/', '?', '#']).map_or(url.len(), |end| start + end);
    Some((&url[..start], &url[start..end], &url[end..]))
}

/// The host with its port, if it names one.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        // The colons of an IPv6 address stand before its bracket.
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (host, Some(port)),
        _ => (authority, None),
    }
}

fn with_port(url: &str) -> String {
    let url = quoted(url);
    match split_url(&url) {
        Some((scheme, authority, rest)) if split_port(authority).1.is_none() => {
            let port = if scheme == "https://" { "443" } else { "80" };
            format!("{scheme}{authority}:{port}{rest}")
        }
        _ => url,
    }
}

fn without_port(url: &str) -> String {
    let url = quoted(url);
    match split_url(&url) {
        Some((scheme, authority, rest)) => format!("{scheme}{}{rest}", split_port(authority).0),
        None => url,
    }
}

/// The URL as Twilio's library for Node writes it out again: with the apostrophes of the query
/// escaped, as the URL standard has it for `http` and `https`.
/// <https://url.spec.whatwg.org/#special-query-percent-encode-set>
fn quoted(url: &str) -> String {
    match url.split_once('?') {
        Some((before, query)) => format!("{before}?{}", query.replace('\'', "%27")),
        None => url.to_owned(),
    }
}

/// <https://developers.hubspot.com/docs/apps/legacy-apps/authentication/validating-requests>, version
/// 3, step 2: these escapes are undone, the question mark's before the query excepted.
fn hubspot_url(url: &str) -> String {
    const ESCAPES: [(&str, &str); 11] = [
        ("%3A", ":"),
        ("%2F", "/"),
        ("%3F", "?"),
        ("%40", "@"),
        ("%21", "!"),
        ("%24", "$"),
        ("%27", "'"),
        ("%28", "("),
        ("%29", ")"),
        ("%2A", "*"),
        ("%2C", ","),
    ];
    let mut out = String::with_capacity(url.len());
    let mut rest = url;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let escape = rest.get(..3).unwrap_or(rest);
        let plain = if escape.eq_ignore_ascii_case("%3B") {
            Some(";")
        } else {
            ESCAPES.iter().find(|(e, _)| escape.eq_ignore_ascii_case(e)).map(|(_, plain)| *plain)
        };
        out.push_str(plain.unwrap_or("%"));
        rest = &rest[if plain.is_some() { 3 } else { 1 }..];
    }
    out + rest
}

/// Method, path with query, signed headers and body, a line each. The query is escaped as a value,
/// and then both are escaped as a URI, so that an escape in them is escaped too: what Contentful's
/// own toolkit does.
/// <https://www.contentful.com/developers/docs/webhooks/request-verification/>
fn contentful(view: &View<'_>) -> Result<Vec<u8>, Rejection> {
    /// What `encodeURIComponent` leaves as it is, beside letters and digits.
    const COMPONENT: &[u8] = b"-_.!~*'()";
    /// What `encodeURI` does.
    const URI: &[u8] = b"-_.!~*'();,/?:@&=+$#";
    const LIST: &str = "x-contentful-signed-headers";
    let (path, query) = target(view);
    let uri = match query.filter(|query| !query.is_empty()) {
        Some(query) => escape(&format!("{path}?{}", escape(query, COMPONENT)), URI),
        None => escape(path, URI),
    };
    let missing = || Rejection::MissingPart(format!("header:{LIST}"));
    let list = view.header(LIST)?.and_then(|list| str::from_utf8(list).ok()).ok_or_else(missing)?;
    let mut headers = BTreeMap::new();
    for name in list.split(',').map(|name| name.trim().to_ascii_lowercase()) {
        let value = view.header(&name)?;
        let value = value.ok_or_else(|| Rejection::MissingPart(format!("header:{name}")))?;
        headers.insert(name, value.trim_ascii());
    }
    // What the scheme relies on has to be among what is signed.
    for name in [LIST, "x-contentful-timestamp"] {
        if !headers.contains_key(name) {
            return Err(Rejection::NotCovered(name.to_owned()));
        }
    }
    let mut out = [view.method, "\n", &uri, "\n"].concat().into_bytes();
    for (index, (name, value)) in headers.iter().enumerate() {
        out.extend_from_slice(if index > 0 { b";" } else { b"" });
        out.extend([name.as_bytes(), b":", value].concat());
    }
    out.push(b'\n');
    out.extend_from_slice(view.body);
    Ok(out)
}

/// SHA-256 of method, path and query. The path is the one below the app's base URL, and the whole
/// one here: a gateway's source is such a base.
/// <https://developer.atlassian.com/cloud/bitbucket/query-string-hash/>
fn query_string_hash(view: &View<'_>) -> String {
    let (path, query) = target(view);
    let path = match path.trim_end_matches('/') {
        "" => "/".to_owned(),
        path => path.replace('&', "%26"),
    };
    let mut parameters = BTreeMap::<_, Vec<_>>::new();
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        if name != "jwt" {
            let (name, value) = (escape(&name, UNRESERVED), escape(&value, UNRESERVED));
            parameters.entry(name).or_default().push(value);
        }
    }
    let query: Vec<_> = parameters
        .into_iter()
        .map(|(name, mut values)| {
            values.sort();
            format!("{name}={}", values.join(","))
        })
        .collect();
    let canonical = format!("{}&{path}&{}", view.method.to_ascii_uppercase(), query.join("&"));
    Encoding::Hex.encode(&Sha256::digest(canonical))
}

/// Path and query as the sender saw them.
fn target<'a>(view: &View<'a>) -> (&'a str, Option<&'a str>) {
    match view.url.and_then(split_url) {
        Some((_, _, rest)) => {
            let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
            rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)))
        }
        None => (view.path, view.query),
    }
}

/// What RFC 3986 leaves as it is, beside letters and digits.
const UNRESERVED: &[u8] = b"-._~";

/// The text with all bytes escaped but letters, digits and those in `kept`.
fn escape(text: &str, kept: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || kept.contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_sorted_and_each_pair_counts_once() {
        assert_eq!(form_sorted(b"b=2&a=1&b=1&b=2&c=%20x").unwrap(), b"a1b1b2c x");
        assert_eq!(form_sorted(b"").unwrap(), b"");
        let flood = "a&".repeat(FIELDS_MAX + 1);
        assert_eq!(form_sorted(flood.as_bytes()), Err(Rejection::TooMany("fields")));
    }

    #[test]
    fn ports_come_and_go() {
        assert_eq!(with_port("https://a.example/x?y:1"), "https://a.example:443/x?y:1");
        assert_eq!(with_port("http://a.example"), "http://a.example:80");
        assert_eq!(with_port("https://a.example:8443/"), "https://a.example:8443/");
        assert_eq!(without_port("https://a.example:443/x"), "https://a.example/x");
        assert_eq!(without_port("https://[::1]/x"), "https://[::1]/x");
        assert_eq!(with_port("https://[::1]/x"), "https://[::1]:443/x");
        assert_eq!(without_port("no url"), "no url");
        assert_eq!(without_port("https://a.example/it's?it's"), "https://a.example/it's?it%27s");
    }

    #[test]
    fn hubspot_undoes_some_escapes() {
        assert_eq!(hubspot_url("https://a/x%2fy%3Fz%20%C3%A9%"), "https://a/x/y?z%20%C3%A9%");
        assert_eq!(hubspot_url("%é"), "%é");
    }
}
