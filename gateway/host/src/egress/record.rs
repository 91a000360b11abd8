//! What an attempt sent and was answered, for the host's caller to keep: bounded, in the order in which the plugin
//! made its requests, and without secrets.
//!
//! A request is noted before it leaves, so that one whose answer never came is there too. No secret of the
//! plugin's grant is in what is noted: not where the host put it, nor where the plugin did, nor where a server sent
//! it back.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use hookweir_event::{Answered, Digest, Excerpt, Exchange, Exchanges, Headers, REDACTED};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};

use super::{HttpFault, Redaction};

/// How much of an attempt's requests is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordLimits {
    /// Bytes of all of them together, with their answers.
    pub bytes: u64,
    /// Bytes of one body; of a longer one its beginning is kept, and the digest of the whole.
    pub body_bytes: u64,
}

/// What each request takes beside its texts: numbers, digests, the word of a fault.
const OVERHEAD: u64 = 128;
/// Bytes of what is said of a fault.
const DETAIL_MAX: u64 = 1000;

/// Headers that say who the gateway is and which trace a request is part of: the same in all, or never twice.
const NOT_KEPT: &[&str] = &["user-agent", "traceparent", "tracestate"];
/// Headers whose values are credentials, whoever put them there.
const CREDENTIALS: &[&str] = &[
    "authorization",
    "proxy-authorization",
    "authentication-info",
    "proxy-authentication-info",
    "cookie",
    "cookie2",
    "set-cookie",
    "set-cookie2",
];
/// What the names of other such headers have in them: `x-api-key`, `x-auth-token`, ..
const CREDENTIAL_WORDS: &[&str] =
    &["-key", "apikey", "auth", "token", "secret", "password", "session"];
/// Those that have, and carry none.
const NO_CREDENTIALS: &[&str] = &["idempotency-key", "www-authenticate", "proxy-authenticate"];

fn is_credential(name: &HeaderName) -> bool {
    let name = name.as_str();
    if NO_CREDENTIALS.contains(&name) {
        return false;
    }
    CREDENTIALS.contains(&name) || CREDENTIAL_WORDS.iter().any(|word| name.contains(word))
}

impl Redaction {
    /// A body without secrets, as much of it as may be kept.
    fn excerpt(&self, body: &[u8], max: u64) -> Excerpt {
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let (bytes, whole) = self.beginning(body, max);
        Excerpt { bytes, len: body.len() as u64, digest: (!whole).then(|| Digest::of(body)) }
    }

    /// Whether `excerpt` is of this body.
    pub fn is_of(&self, excerpt: &Excerpt, body: &[u8]) -> bool {
        match excerpt.digest {
            Some(digest) => excerpt.len == body.len() as u64 && digest == Digest::of(body),
            None => excerpt.bytes == self.bytes(body),
        }
    }

    fn headers(&self, headers: &HeaderMap) -> Headers {
        let kept = headers.iter().filter(|(name, _)| !NOT_KEPT.contains(&name.as_str()));
        let value = |name: &HeaderName, value: &HeaderValue| {
            if value.is_sensitive() || is_credential(name) {
                return REDACTED.as_bytes().to_vec();
            }
            self.bytes(value.as_bytes())
        };
        kept.map(|(name, found)| (self.text(name.as_str()).into_owned(), value(name, found)))
            .collect()
    }
}

/// Notes the requests of one attempt.
pub(crate) struct Recorder {
    limits: RecordLimits,
    noted: Mutex<Noted>,
}

struct Noted {
    /// By their numbers.
    exchanges: BTreeMap<u32, Exchange>,
    left: u64,
    left_out: u32,
}

impl Recorder {
    pub(crate) fn new(limits: RecordLimits) -> Self {
        let noted = Noted { exchanges: BTreeMap::new(), left: limits.bytes, left_out: 0 };
        Self { limits, noted: Mutex::new(noted) }
    }

    /// A request is about to leave.
    pub(crate) fn sent(&self, hide: &Redaction, number: u32, request: &Request<Bytes>) {
        let url = hide.text(&request.uri().to_string()).into_owned();
        let headers = hide.headers(request.headers());
        let mut noted = self.lock();
        let texts = request.method().as_str().len() + url.len() + bytes_of(&headers);
        let Some(left) = noted.left.checked_sub(OVERHEAD + texts as u64) else {
            noted.left_out += 1;
            return;
        };
        let body = hide.excerpt(request.body(), self.limits.body_bytes.min(left));
        noted.left = left - body.bytes.len() as u64;
        let method = request.method().to_string();
        let exchange = Exchange { method, url, headers, body, answer: Answered::CutOff };
        noted.exchanges.insert(number, exchange);
    }

    /// What came of it.
    pub(crate) fn answered(
        &self,
        hide: &Redaction,
        number: u32,
        answer: &Result<Response<Bytes>, HttpFault>,
    ) {
        let mut noted = self.lock();
        let Noted { exchanges, left, .. } = &mut *noted;
        let Some(exchange) = exchanges.get_mut(&number) else { return };
        exchange.answer = match answer {
            Ok(answer) => {
                let headers = hide.headers(answer.headers());
                match left.checked_sub(bytes_of(&headers) as u64) {
                    Some(room) => {
                        let most = self.limits.body_bytes.min(room);
                        let body = hide.excerpt(answer.body(), most);
                        *left = room - body.bytes.len() as u64;
                        Answered::Response { status: answer.status().as_u16(), headers, body }
                    }
                    None => Answered::Status(answer.status().as_u16()),
                }
            }
            Err(fault) => {
                // A number has its room already.
                let most = DETAIL_MAX.min((*left).max(OVERHEAD / 2));
                let mut detail = hide.text(&fault.detail()).into_owned();
                detail.truncate(detail.floor_char_boundary(usize::try_from(most).unwrap_or(0)));
                *left = left.saturating_sub(detail.len() as u64);
                Answered::Fault { code: fault.code().to_owned(), detail }
            }
        };
    }

    /// What was noted, when the attempt is over.
    pub(crate) fn finish(&self) -> Exchanges {
        let mut noted = self.lock();
        let kept = std::mem::take(&mut noted.exchanges).into_values().collect();
        Exchanges { kept, left_out: noted.left_out }
    }

    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bytes_of(headers: &Headers) -> usize {
    headers.iter().map(|(name, value)| name.len() + value.len()).sum()
}

impl HttpFault {
    /// What it tells beside its [`code`](Self::code): a sentence, or a number.
    pub fn detail(&self) -> String {
        match self {
            Self::Timeout(time) => time.as_millis().to_string(),
            Self::TooLarge(bytes) => bytes.to_string(),
            Self::Denied(why)
            | Self::Invalid(why)
            | Self::Limit(why)
            | Self::Connect(why)
            | Self::Tls(why)
            | Self::Protocol(why) => why.clone(),
        }
    }

    /// The fault with this code and detail; none if there is none such.
    pub fn from_parts(code: &str, detail: &str) -> Option<Self> {
        let why = || detail.to_owned();
        Some(match code {
            "denied" => Self::Denied(why()),
            "invalid" => Self::Invalid(why()),
            "limit" => Self::Limit(why()),
            "timeout" => Self::Timeout(Duration::from_millis(detail.parse().ok()?)),
            "connect" => Self::Connect(why()),
            "tls" => Self::Tls(why()),
            "protocol" => Self::Protocol(why()),
            "too-large" => Self::TooLarge(detail.parse().ok()?),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::{super::SecretText, *};

    fn redaction(secrets: &[&str]) -> Redaction {
        let secrets: Vec<_> =
            secrets.iter().map(|text| SecretText::new((*text).to_owned())).collect();
        Redaction::new(&secrets)
    }

    fn request(url: &str, headers: &[(&str, &str)], body: &[u8]) -> Request<Bytes> {
        let mut request = Request::builder().method("POST").uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Bytes::copy_from_slice(body)).unwrap()
    }

    fn answer(headers: &[(&str, &str)], body: &[u8]) -> Result<Response<Bytes>, HttpFault> {
        let mut answer = Response::builder().status(201);
        for (name, value) in headers {
            answer = answer.header(*name, *value);
        }
        Ok(answer.body(Bytes::copy_from_slice(body)).unwrap())
    }

    fn recorder(bytes: u64, body_bytes: u64) -> Recorder {
        Recorder::new(RecordLimits { bytes, body_bytes })
    }

    fn text(bytes: &[u8]) -> &str {
        str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn one_that_goes_on_behind_the_end_is_hidden_whole() {
        let (hide, body) = (redaction(&["secret"]), b"it is a secret, and more");
        for max in 0..body.len() {
            let excerpt = hide.excerpt(body, max as u64);
            assert!(!text(&excerpt.bytes).contains("se"), "{max}: {excerpt:?}");
            assert!(excerpt.bytes.len() <= max && !excerpt.is_whole());
            assert!(hide.is_of(&excerpt, body) && !hide.is_of(&excerpt, b"it is another"));
        }
        let whole = hide.excerpt(body, 100);
        assert_eq!((text(&whole.bytes), whole.digest), ("it is a [redacted], and more", None));
        assert!(hide.is_of(&whole, body) && !hide.is_of(&whole, b"it is a secret"));
        // With the next secret it is the same.
        assert!(redaction(&["new"]).is_of(&whole, b"it is a new, and more"));
    }

    #[test]
    fn of_headers_those_are_kept_that_tell_of_the_request() {
        let (hide, recorder) = (redaction(&["key"]), recorder(10_000, 100));
        let sent = [
            ("user-agent", "hookweir/1"),
            ("traceparent", "00-1"),
            ("authorization", "Basic abc"),
            ("x-api-key", "abc"),
            ("x-csrf-token", "abc"),
            ("x-note", "with a key in it"),
            ("content-type", "text/plain"),
        ];
        let mut request = request("https://a.test/", &sent, b"");
        let mut put_in = HeaderValue::from_static("abc");
        put_in.set_sensitive(true);
        request.headers_mut().insert("x-put-in", put_in);
        recorder.sent(&hide, 1, &request);
        let received = [("set-cookie", "abc"), ("set-cookie", "abc"), ("x-echo", "a key")];
        recorder.answered(&hide, 1, &answer(&received, b""));
        let exchanges = recorder.finish();
        let pairs = |headers: &Headers| -> Vec<String> {
            headers.iter().map(|(name, value)| format!("{name}: {}", text(value))).collect()
        };
        let one = &exchanges.kept[0];
        assert_eq!(
            pairs(&one.headers),
            [
                "authorization: [redacted]",
                "x-api-[redacted]: [redacted]",
                "x-csrf-token: [redacted]",
                "x-note: with a [redacted] in it",
                "content-type: text/plain",
                "x-put-in: [redacted]",
            ]
        );
        let Answered::Response { headers, .. } = &one.answer else { panic!("{one:?}") };
        let seen = ["set-cookie: [redacted]", "set-cookie: [redacted]", "x-echo: a [redacted]"];
        assert_eq!(pairs(headers), seen);
    }

    #[test]
    fn what_has_no_room_is_told_and_nothing_is_made_up() {
        let hide = redaction(&[]);
        let url = "https://a.test/";
        let recorder = recorder(OVERHEAD + 4 + url.len() as u64 + 10, 100);
        recorder.sent(&hide, 2, &request(url, &[], b"0123456"));
        recorder.sent(&hide, 1, &request(url, &[], b""));
        recorder.answered(&hide, 1, &answer(&[], b"of one that was left out"));
        recorder.answered(&hide, 2, &answer(&[("x", "longer than there is room")], b""));
        let Exchanges { kept, left_out } = recorder.finish();
        assert_eq!((kept.len(), left_out, &kept[0].answer), (1, 1, &Answered::Status(201)));
        assert!(kept[0].body.is_whole());
    }

    #[test]
    fn they_are_in_the_order_in_which_the_plugin_made_them() {
        let (hide, recorder) = (redaction(&[]), recorder(10_000, 100));
        for number in [3, 1, 2] {
            recorder.sent(&hide, number, &request(&format!("https://a.test/{number}"), &[], b""));
        }
        recorder.answered(&hide, 2, &Err(HttpFault::Timeout(Duration::from_millis(1500))));
        let kept = recorder.finish().kept;
        let urls: Vec<_> = kept.iter().map(|one| one.url.as_str()).collect();
        assert_eq!(urls, ["https://a.test/1", "https://a.test/2", "https://a.test/3"]);
        let timeout = Answered::Fault { code: "timeout".into(), detail: "1500".into() };
        assert_eq!((&kept[0].answer, &kept[1].answer), (&Answered::CutOff, &timeout));
    }

    proptest! {
        #[test]
        fn whatever_is_sent_no_secret_is_kept_and_no_more_than_fits(
            sent in vec(("(a|key|k|ke){0,40}", "(b|key|ey){0,40}", "(c|key){0,90}"), 0..8),
            bytes in 0_u64..2000, body_bytes in 0_u64..200,
        ) {
            let (hide, recorder) = (redaction(&["key"]), recorder(bytes, body_bytes));
            for (number, (body, received, fault)) in (0..).zip(&sent) {
                let url = format!("https://a.test/{body}");
                recorder.sent(&hide, number, &request(&url, &[("x", received)], body.as_bytes()));
                let answer = match number % 2 {
                    0 => answer(&[("x", body)], received.as_bytes()),
                    _ => Err(HttpFault::Connect(fault.clone())),
                };
                recorder.answered(&hide, number, &answer);
            }
            let exchanges = recorder.finish();
            prop_assert!(exchanges.bytes() as u64 <= bytes);
            prop_assert_eq!(exchanges.kept.len() + exchanges.left_out as usize, sent.len());
            for one in &exchanges.kept {
                let (headers, body) = match &one.answer {
                    Answered::Response { headers, body, .. } => (headers.clone(), body.clone()),
                    _ => Default::default(),
                };
                for excerpt in [&one.body, &body] {
                    prop_assert!(excerpt.bytes.len() as u64 <= body_bytes);
                    prop_assert!(!text(&excerpt.bytes).contains("key"));
                }
                for (_, value) in one.headers.iter().chain(&headers) {
                    prop_assert!(!text(value).contains("key"));
                }
                prop_assert!(!one.url.contains("key"));
                if let Answered::Fault { detail, .. } = &one.answer {
                    prop_assert!(!detail.contains("key"));
                }
            }
        }
    }
}
