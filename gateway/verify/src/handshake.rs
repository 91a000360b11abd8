//! Handshakes: requests by which a provider finds out whether an endpoint is there and wants its
//! events. They are answered at once and are no events. Where the provider signs them they are
//! verified first, and where it sends a token of the operator's choice the token is compared;
//! otherwise anyone may ask, and what is echoed is plain text that no browser takes for a page.

use std::fmt;

use hookweir_event::{SourceName, Timestamp};
use subtle::ConstantTimeEq as _;

use crate::{
    Incoming, Rejection, Secret, encoding::Encoding, json::Pointer, key::Algorithm,
    key_url::KeyHosts, place::Place, request::View, rule::Rule, template::Message, verify,
};

/// A handshake as a preset's table has it.
#[derive(Debug)]
pub(crate) struct Handshake {
    pub(crate) method: &'static str,
    /// What the request must have to be one: places, places with a value, or places with a `!` that
    /// must be empty; parted by ` & `.
    pub(crate) when: &'static str,
    pub(crate) proof: Proof,
    pub(crate) answer: Answer,
}

/// What must be true before a handshake is answered.
#[derive(Debug)]
pub(crate) enum Proof {
    /// Nothing: the provider sends nothing that could be checked.
    None,
    /// It is signed as events are.
    Signed,
    /// The value at this place is that of the source's parameter, or one of them if it has several
    /// with spaces between; otherwise this status.
    Param { place: &'static str, name: &'static str, refused: u16 },
}

/// What a handshake is answered with. Texts are places.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Nothing but a status.
    Status(u16),
    /// The value, as plain text.
    Text(&'static str),
    /// An object of these fields.
    Json(&'static [(&'static str, Value)]),
    /// The value, in this header.
    Header(&'static str, &'static str),
    /// The parameter, a `|` and the MAC of the value: Braintree.
    ParamAndMac(&'static str, &'static str),
    /// CloudEvents, HTTP 1.1 Web Hooks, section 4.
    AllowOrigin,
    /// The URL is visited: SNS. Its host has to be one of these.
    Visit(&'static str, &'static str),
    /// The value is the source's secret from now on, if it has none yet. It goes back in this
    /// header, if the provider wants that.
    Learn(&'static str, Option<&'static str>),
}

/// A field of an object.
#[derive(Debug)]
pub(crate) enum Value {
    At(&'static str),
    Number(u32),
    /// The MAC of the value at this place, in hex.
    MacHex(&'static str),
    /// The same in base64, behind `sha256=`.
    MacBase64(&'static str),
}

/// The answer to a handshake.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answered {
    /// The status.
    pub status: u16,
    /// Names in lower case; `content-type` and `x-content-type-options` among them where there is a
    /// body.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: String,
    /// The secret that the provider will sign with. Only a source without one is ever given one.
    pub secret: Option<String>,
    /// A URL at the provider that has to be fetched before the answer is given; a fetch that fails
    /// is answered with 503.
    pub visit: Option<String>,
}

impl fmt::Debug for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answered").field("status", &self.status).finish_non_exhaustive()
    }
}

/// Why a handshake is not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unanswered {
    /// The status to refuse it with.
    pub status: u16,
    /// What was wrong, for the audit log.
    pub rejection: Rejection,
}

/// What the source says of itself that handshakes need.
pub(crate) type Params = std::collections::BTreeMap<String, String>;

/// Who is asked.
pub(crate) struct Endpoint<'e> {
    pub(crate) rules: &'e [Rule],
    pub(crate) params: &'e Params,
    pub(crate) source: &'e SourceName,
    pub(crate) secrets: &'e [Secret],
    pub(crate) now: Timestamp,
}

/// A handshake of a scheme: its conditions read once, since they are held against every request.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    pub(crate) handshake: &'static Handshake,
    when: Vec<Condition>,
    pointers: Vec<Pointer>,
}

#[derive(Debug, Clone)]
struct Condition {
    place: Place,
    holds: Holds,
}

/// What a condition asks of the value at its place.
#[derive(Debug, Clone, Copy)]
enum Holds {
    Something,
    Nothing,
    This(&'static str),
}

/// Answers `request` if it is one of the `handshakes`.
pub(crate) fn answer(
    handshakes: &[Prepared],
    endpoint: &Endpoint<'_>,
    request: &Incoming,
) -> Option<Result<Answered, Unanswered>> {
    let prepared = handshakes.iter().find(|prepared| prepared.is(request))?;
    Some(endpoint.answer(prepared.handshake, request))
}

impl Prepared {
    /// Reads the conditions of a preset's handshake.
    ///
    /// # Errors
    /// What is wrong with the table.
    pub(crate) fn new(handshake: &'static Handshake) -> Result<Self, String> {
        let mut pointers = Vec::new();
        let mut when = Vec::new();
        for text in handshake.when.split(" & ").filter(|text| !text.is_empty()) {
            let (place, holds) = match (text.strip_prefix('!'), text.split_once('=')) {
                (Some(place), _) => (place, Holds::Nothing),
                (None, Some((place, value))) => (place, Holds::This(value)),
                (None, None) => (text, Holds::Something),
            };
            when.push(Condition { place: Place::parse(place, &mut pointers)?, holds });
        }
        // What needs no look into the body is held first.
        when.sort_by_key(|condition| condition.place.in_body());
        Ok(Self { handshake, when, pointers })
    }

    /// Whether the request is this handshake.
    pub(crate) fn is(&self, request: &Incoming) -> bool {
        if request.method != self.handshake.method {
            return false;
        }
        let view = View::of(request, &self.pointers);
        self.when.iter().all(|Condition { place, holds }| {
            let found = view.find(place).ok().flatten();
            match holds {
                Holds::Something => found.is_some(),
                Holds::Nothing => found.is_none(),
                Holds::This(wanted) => found.is_some_and(|found| *found == *wanted.as_bytes()),
            }
        })
    }
}

impl Handshake {
    /// Whether it brings the secret.
    pub(crate) fn learns(&self) -> bool {
        matches!(self.answer, Answer::Learn(..))
    }

    /// Whether it has to be signed.
    pub(crate) fn is_signed(&self) -> bool {
        matches!(self.proof, Proof::Signed)
    }
}

impl Endpoint<'_> {
    /// Whether the handshake has what it must have.
    fn prove(&self, handshake: &Handshake, request: &Incoming) -> Result<(), Unanswered> {
        match handshake.proof {
            Proof::None => {}
            Proof::Signed => {
                let request = request.clone();
                verify::verify(self.rules, self.source, self.secrets, request, self.now)
                    .map_err(|rejection| Unanswered { status: 401, rejection })?;
            }
            Proof::Param { place, name, refused } => {
                let given = value(request, place).unwrap_or_default();
                let wanted = self.params.get(name).map_or("", String::as_str);
                let same = |wanted: &str| bool::from(wanted.as_bytes().ct_eq(given.as_bytes()));
                if !wanted.split(' ').filter(|wanted| !wanted.is_empty()).any(same) {
                    let rejection = Rejection::HandshakeToken(name);
                    return Err(Unanswered { status: refused, rejection });
                }
            }
        }
        Ok(())
    }

    fn answer(&self, handshake: &Handshake, request: &Incoming) -> Result<Answered, Unanswered> {
        self.prove(handshake, request)?;
        let missing = |place: &str| Unanswered {
            status: 400,
            rejection: Rejection::MissingPart(place.to_owned()),
        };
        let at = |place: &'static str| value(request, place).ok_or_else(|| missing(place));
        let mac = |place: &'static str, encoding: Encoding| -> Result<String, Unanswered> {
            let challenge = at(place)?;
            if !is_challenge(&challenge) {
                return Err(Unanswered { status: 400, rejection: Rejection::NoChallenge });
            }
            let message = Message::of(challenge.into_bytes());
            self.mac(&message, encoding)
                .ok_or(Unanswered { status: 401, rejection: Rejection::NoValidSecret })
        };
        Ok(match handshake.answer {
            Answer::Status(status) => Answered::bare(status),
            Answer::Text(place) => Answered::text(at(place)?),
            Answer::Header(name, place) => Answered {
                headers: vec![(name, visible(&at(place)?).ok_or_else(|| missing(place))?)],
                ..Answered::bare(200)
            },
            // A second handshake would hand the endpoint over to whoever asks.
            Answer::Learn(..) if !self.secrets.is_empty() => {
                let rejection = Rejection::SecretIsKnown;
                return Err(Unanswered { status: 403, rejection });
            }
            Answer::Learn(place, header) => {
                let secret = visible(&at(place)?).ok_or_else(|| missing(place))?;
                let headers = header.map(|name| (name, secret.clone())).into_iter().collect();
                Answered { headers, secret: Some(secret), ..Answered::bare(200) }
            }
            Answer::Visit(place, hosts) => {
                let url = at(place)?;
                let allowed =
                    KeyHosts::parse(hosts, "").is_ok_and(|hosts| hosts.allow(&url).is_ok());
                if !allowed {
                    return Err(Unanswered { status: 400, rejection: Rejection::ForeignKey });
                }
                Answered { visit: Some(url), ..Answered::bare(200) }
            }
            Answer::ParamAndMac(name, place) => {
                // Braintree's own library takes no other challenge: a payload is base64, and would
                // be one in a wider alphabet.
                let hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
                let challenge = at(place)?;
                if !(20..=32).contains(&challenge.len()) || !challenge.bytes().all(hex) {
                    return Err(Unanswered { status: 400, rejection: Rejection::NoChallenge });
                }
                let param = self.params.get(name).map_or("", String::as_str);
                Answered::text(format!("{param}|{}", mac(place, Encoding::Hex)?))
            }
            Answer::Json(fields) => {
                let mut object = serde_json::Map::new();
                for (name, field) in fields {
                    let field = match *field {
                        Value::At(place) => at(place)?.into(),
                        Value::Number(number) => number.into(),
                        Value::MacHex(place) => mac(place, Encoding::Hex)?.into(),
                        Value::MacBase64(place) => {
                            format!("sha256={}", mac(place, Encoding::Base64)?).into()
                        }
                    };
                    object.insert((*name).to_owned(), field);
                }
                Answered::json(&serde_json::Value::Object(object))
            }
            Answer::AllowOrigin => {
                let origin = "header:webhook-request-origin";
                let origin = visible(&at(origin)?).ok_or_else(|| missing(origin))?;
                let mut headers =
                    vec![("webhook-allowed-origin", origin), ("allow", "POST".to_owned())];
                if value(request, "header:webhook-request-rate").is_some() {
                    headers.push(("webhook-allowed-rate", "*".to_owned()));
                }
                Answered { headers, ..Answered::bare(200) }
            }
        })
    }

    /// The MAC of `message` with the first secret that is valid now.
    fn mac(&self, message: &Message<'_>, encoding: Encoding) -> Option<String> {
        let check = self.rules.first()?.check.as_ref()?;
        let algorithm = check.algorithms.first().copied().unwrap_or(Algorithm::Equal);
        let secret = self.secrets.iter().find(|secret| secret.is_valid(self.now))?;
        let tag = secret.key.for_rule(0, algorithm)?.sign(message)?;
        Some(encoding.encode(&tag))
    }
}

impl Answered {
    fn bare(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: String::new(), secret: None, visit: None }
    }

    /// Plain text that no browser runs, whatever the sender put into it.
    fn text(body: String) -> Self {
        let headers = vec![
            ("content-type", "text/plain; charset=utf-8".to_owned()),
            ("x-content-type-options", "nosniff".to_owned()),
        ];
        Self { headers, body, ..Self::bare(200) }
    }

    fn json(value: &serde_json::Value) -> Self {
        let headers = vec![
            ("content-type", "application/json".to_owned()),
            ("x-content-type-options", "nosniff".to_owned()),
        ];
        Self { headers, body: value.to_string(), ..Self::bare(200) }
    }
}

/// The text at a place, if there is one and it is text.
fn value(request: &Incoming, place: &str) -> Option<String> {
    let mut pointers: Vec<Pointer> = Vec::new();
    let place = Place::parse(place, &mut pointers).ok()?;
    let view = View::of(request, &pointers);
    let found = view.find(&place).ok()??.into_owned();
    String::from_utf8(found).ok()
}

/// Whether the text may be signed for whoever asks. Events are signed with the same key, so what
/// could be the body of one must not be: no JSON, and nothing long.
fn is_challenge(text: &str) -> bool {
    text.len() <= 128 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=_-".contains(&b))
}

/// The text, if it may stand in a header.
fn visible(text: &str) -> Option<String> {
    text.bytes().all(|b| b.is_ascii_graphic() || b == b' ').then(|| text.to_owned())
}
