//! The check itself. Order: find the rule whose signature is in the request, compare in constant
//! time, judge the signed time, and only then decode the body and read type and id. `Verified` has no
//! other constructor, so holding one is the proof.

use std::borrow::Cow;

use bytes::Bytes;
use hookweir_event::{Digest, EventType, Headers, SourceName, Timestamp};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::{
    Rejection, Vouched, claims,
    encoding::Claimed,
    json::{self, Pointer},
    jwt::Token,
    key::{Algorithm, Marks, Secret, Tag},
    key_url::KeyLocation,
    message_signature::Policy,
    place::Place,
    redact,
    request::{Incoming, View},
    rule::{Check, Claim, Each, End, Proof, Requirement, Rule, SignedTime, TimeFrom},
    template::{Context, Message, Template, items},
    vouch,
};

/// The longest value that signatures are looked for in. The longest honest one, a Stripe header in
/// the middle of a secret's rotation, stays under 1 KiB.
const SIGNATURE_MAX: usize = 8 * 1024;
/// The most signatures that are tried. Senders that rotate send two.
const CANDIDATES_MAX: usize = 32;

/// The most items of a batch, each of which is checked by itself. Microsoft Graph sends up to 1,000.
const ITEMS_MAX: usize = 1024;

/// A request whose sender is proven, credentials redacted. Only [`crate::Scheme::verify`] and its sisters
/// make one.
#[derive(Debug)]
pub struct Verified {
    parts: Parts,
}

/// What a verified request consists of.
#[derive(Debug)]
#[non_exhaustive]
pub struct Parts {
    /// What happened.
    pub event_type: EventType,
    /// What tells it apart: an event that shares one of these with an earlier one is a duplicate.
    pub claims: Vec<Digest>,
    /// The request's method.
    pub method: String,
    /// The request's path.
    pub path: String,
    /// The request's query, credentials redacted.
    pub query: Option<String>,
    /// The request's headers, credentials redacted.
    pub headers: Headers,
    /// The raw body; as received, unless it holds a credential.
    pub body: Bytes,
    /// What the check showed.
    pub facts: Facts,
}

/// What the check showed, for the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts {
    /// Which of the given secrets matched.
    pub secret_index: Option<usize>,
    /// Now minus the signed time, in milliseconds.
    pub skew_ms: Option<i64>,
    /// Whether the dedupe id can't be changed without breaking the signature.
    pub id_signed: bool,
    /// Whether the event type can't.
    pub type_signed: bool,
    /// Whether the body can't: not so with static tokens.
    pub body_authenticated: bool,
}

impl Verified {
    /// What happened.
    pub fn event_type(&self) -> &EventType {
        &self.parts.event_type
    }

    /// What tells it apart; see [`Parts::claims`].
    pub fn claims(&self) -> &[Digest] {
        &self.parts.claims
    }

    /// The headers, credentials redacted.
    pub fn headers(&self) -> &Headers {
        &self.parts.headers
    }

    /// The query, credentials redacted.
    pub fn query(&self) -> Option<&str> {
        self.parts.query.as_deref()
    }

    /// The body.
    pub fn body(&self) -> &Bytes {
        &self.parts.body
    }

    /// What the check showed.
    pub fn facts(&self) -> Facts {
        self.parts.facts
    }

    /// Takes it apart, and with it the proof.
    pub fn into_parts(self) -> Parts {
        self.parts
    }
}

pub(crate) fn verify(
    rules: &[Rule],
    source: &SourceName,
    secrets: &[Secret],
    request: Incoming,
    now: Timestamp,
) -> Result<Verified, Rejection> {
    let (index, rule) = applicable(rules, &request)?;
    let mut decoded = None;
    let (event_type, claims, facts) = {
        let sent = View::of(&request, &rule.pointers);
        let mut facts = Facts { body_authenticated: rule.body_signed(), ..Facts::default() };
        let authentic = match &rule.check {
            Some(check) => authenticate(rule, check, index, &sent, secrets, now, &mut facts)?,
            None => Authentic::default(),
        };
        let content = match &request.decode {
            Some(_) => Some(View::of(decoded.insert(request.clone().decoded()?), &rule.pointers)),
            None => None,
        };
        let view = content.as_ref().unwrap_or(&sent);
        let event_type = claims::event_type(rule, view, &mut facts)?;
        let claims = claims::claims(rule, view, source, &event_type, &authentic, &mut facts)?;
        (event_type, claims, facts)
    };
    let mut request = decoded.unwrap_or(request);
    redact::credentials(rules, rule, &mut request);
    let Incoming { method, path, query, url: _, headers, body, decode: _ } = request;
    Ok(Verified { parts: Parts { event_type, claims, method, path, query, headers, body, facts } })
}

/// The request that somebody else has checked, made an event.
pub(crate) fn vouched(
    source: &SourceName,
    request: Incoming,
    vouched: &Vouched,
) -> Result<Verified, Rejection> {
    let mut request = request.decoded()?;
    let malformed = |_| Rejection::Malformed("the type that its verifier names".to_owned());
    let event_type: EventType = vouched.event_type.parse().map_err(malformed)?;
    let id = vouched.id.as_deref().filter(|id| !id.is_empty());
    let claims = vec![claims::vouched(source, &event_type, id, &request.body)];
    redact::overwrite(&vouch::places(&vouched.redact)?, &mut request);
    let facts =
        Facts { id_signed: true, type_signed: true, body_authenticated: true, ..Facts::default() };
    let Incoming { method, path, query, url: _, headers, body, decode: _ } = request;
    Ok(Verified { parts: Parts { event_type, claims, method, path, query, headers, body, facts } })
}

/// Where the request's key lies; none if its rule has keys from nowhere.
pub(crate) fn key_location(
    rules: &[Rule],
    request: &Incoming,
) -> Result<Option<KeyLocation>, Rejection> {
    let (_, rule) = applicable(rules, request)?;
    let key_url = rule.check.as_ref().and_then(|check| check.key_url.as_ref());
    key_url.map(|key_url| key_url.of(&View::of(request, &rule.pointers))).transpose()
}

/// The first rule that the request is for and whose signature it has. That one decides: a request
/// can't fall back to another by failing it.
pub(crate) fn applicable<'r>(
    rules: &'r [Rule],
    request: &Incoming,
) -> Result<(usize, &'r Rule), Rejection> {
    let mut refused = Rejection::MissingSignature;
    for (index, rule) in rules.iter().enumerate() {
        let Some(check) = &rule.check else { return Ok((index, rule)) };
        let view = View::of(request, &rule.pointers);
        // The signatures of a batch are in its items, and looked for there.
        if check.each.is_none() && !view.has_any(&check.signature)? {
            continue;
        }
        match first_unmet(&rule.require, &view)? {
            None => return Ok((index, rule)),
            Some(unmet) => {
                refused = Rejection::MissingPart(unmet.place.describe(&rule.pointers).to_string());
            }
        }
    }
    Err(refused)
}

/// The first of the requirements that the request does not meet.
pub(crate) fn first_unmet<'r>(
    require: &'r [Requirement],
    view: &View<'r>,
) -> Result<Option<&'r Requirement>, Rejection> {
    for requirement in require {
        let met = match (view.find(&requirement.place)?, &requirement.value) {
            (Some(found), Some(value)) => *found == *value.as_bytes(),
            (found, None) => found.is_some(),
            (None, Some(_)) => false,
        };
        if !met {
            return Ok(Some(requirement));
        }
    }
    Ok(None)
}

/// The secrets that may be used now, with their places in the list.
struct Keys<'s> {
    secrets: &'s [Secret],
    rule: usize,
    now: Timestamp,
}

impl Keys<'_> {
    /// Which secret's key, made for this algorithm, has signed `message`.
    fn prove(
        &self,
        algorithm: Algorithm,
        message: &Message<'_>,
        claimed: &[Claimed<'_>],
    ) -> Result<(usize, Option<Tag>), Rejection> {
        let valid = |(_, secret): &(usize, &Secret)| secret.is_valid(self.now);
        let mut valid = self.secrets.iter().enumerate().filter(valid).peekable();
        valid.peek().ok_or(Rejection::NoValidSecret)?;
        let prove = |(index, secret): (usize, &Secret)| {
            let key = secret.key.for_rule(self.rule, algorithm)?;
            Some((index, key.prove(message, claimed)?))
        };
        valid.find_map(prove).ok_or(Rejection::BadSignature)
    }

    /// To which root the certificates of a token lead that they have signed.
    fn prove_chain(&self, token: &Token<'_>, marks: &Marks) -> Result<usize, Rejection> {
        let valid = |(_, secret): &(usize, &Secret)| secret.is_valid(self.now);
        let mut valid = self.secrets.iter().enumerate().filter(valid).peekable();
        valid.peek().ok_or(Rejection::NoValidSecret)?;
        let chain = (token.chain.as_slice(), marks);
        let leads = |(_, secret): &(usize, &Secret)| {
            let key = secret.key.for_rule(self.rule, token.algorithm);
            key.is_some_and(|k| k.prove_chain(chain, self.now, &token.message, &token.signature))
        };
        valid.find(leads).map(|(index, _)| index).ok_or(Rejection::BadSignature)
    }

    /// What the other secrets make of the message, whether they are valid now or not.
    fn other_tags(&self, algorithm: Algorithm, message: &Message<'_>, but: usize) -> Vec<Tag> {
        let others = self.secrets.iter().enumerate().filter(|(index, _)| *index != but);
        let tag =
            |(_, secret): (usize, &Secret)| secret.key.for_rule(self.rule, algorithm)?.tag(message);
        others.filter_map(tag).collect()
    }
}

/// What was signed, proven.
#[derive(Default)]
pub(crate) struct Authentic<'a> {
    pub(crate) message: Message<'a>,
    /// What each of the source's secrets makes of the message, where that is a MAC: it tells
    /// messages apart as well as their bytes do, and is there already.
    pub(crate) tags: Vec<Tag>,
}

impl<'a> Authentic<'a> {
    fn of(message: Message<'a>) -> Self {
        Self { message, tags: Vec::new() }
    }
}

/// Checks signature and signed time; returns the bytes that were signed.
fn authenticate<'a>(
    rule: &'a Rule,
    check: &'a Check,
    index: usize,
    view: &View<'a>,
    secrets: &[Secret],
    now: Timestamp,
    facts: &mut Facts,
) -> Result<Authentic<'a>, Rejection> {
    if let Some(key_url) = &check.key_url {
        key_url.of(view)?;
    }
    let keys = Keys { secrets, rule: index, now };
    let authentic = match (&check.proof, &check.each) {
        (Proof::Jwt { claims, end }, _) => token(rule, check, (claims, *end), view, &keys, facts)?,
        (Proof::HttpMessage(policy), _) => http_message(check, policy, view, &keys, facts)?,
        (Proof::Token, None) => one(rule, check, &[], view, &rule.pointers, &keys, facts)?,
        (Proof::Message(texts), None) => {
            one(rule, check, texts, view, &rule.pointers, &keys, facts)?
        }
        (Proof::Token, Some(each)) => batch(rule, check, &[], each, view, &keys, facts)?,
        (Proof::Message(texts), Some(each)) => batch(rule, check, texts, each, view, &keys, facts)?,
    };
    if let Some((place, encoding)) = &check.body_digest {
        let named = view.find(place)?.ok_or(Rejection::BodyDigest)?;
        let named = str::from_utf8(&named).ok().and_then(|text| encoding.decode(text));
        let body = Sha256::digest(view.body);
        if !named.is_some_and(|named| named.as_bytes().ct_eq(&body).into()) {
            return Err(Rejection::BodyDigest);
        }
    }
    Ok(authentic)
}

/// Checks one request, or one item of a batch.
fn one<'a>(
    rule: &'a Rule,
    check: &'a Check,
    texts: &'a [Template],
    view: &View<'a>,
    pointers: &'a [Pointer],
    keys: &Keys<'_>,
    facts: &mut Facts,
) -> Result<Authentic<'a>, Rejection> {
    let signatures = signatures(check, view)?;
    let claimed = candidates(check, &signatures)?;
    let first = signatures.first().map(AsRef::as_ref).unwrap_or_default();
    let (time, time_text) = match &check.timestamp {
        Some(time) => {
            let text = time_text(time, check, first, view)?;
            let signed_at = time.unit.read(&text).ok_or(Rejection::MalformedTimestamp)?;
            (Some((time, signed_at)), Some(text))
        }
        None => (None, None),
    };
    let context = Context {
        view,
        pointers,
        timestamp: time_text.as_ref(),
        id: rule.dedupe.signed_place(),
        items: Some((first, check.separator.as_deref())),
    };
    let algorithm = check.algorithms.first().copied().unwrap_or(Algorithm::Equal);
    let mut matched = None;
    if texts.is_empty() {
        let message = Message::default();
        let (secret, tag) = keys.prove(algorithm, &message, &claimed)?;
        matched = Some((secret, tag, message));
    }
    for text in texts {
        let message = text.render(&context)?;
        match keys.prove(algorithm, &message, &claimed) {
            Ok((secret, tag)) => {
                matched = Some((secret, tag, message));
                break;
            }
            Err(Rejection::BadSignature) => {}
            Err(rejection) => return Err(rejection),
        }
    }
    let (secret, tag, message) = matched.ok_or(Rejection::BadSignature)?;
    facts.secret_index.get_or_insert(secret);

    if let Some((time, signed_at)) = time {
        let skew_ms = time.unit.skew(signed_at, keys.now);
        facts.skew_ms = Some(skew_ms);
        time.tolerance.check(skew_ms)?;
    }
    let mut tags = Vec::new();
    if let Some(tag) = tag
        && check.each.is_none()
        && rule.may_guard()
    {
        tags = keys.other_tags(algorithm, &message, secret);
        tags.push(tag);
    }
    Ok(Authentic { message, tags })
}

/// Checks each item of a batch. One that fails refuses them all, and so does a batch of nothing.
fn batch<'a>(
    rule: &'a Rule,
    check: &'a Check,
    texts: &'a [Template],
    each: &'a Each,
    view: &View<'a>,
    keys: &Keys<'_>,
    facts: &mut Facts,
) -> Result<Authentic<'a>, Rejection> {
    let items = json::find(view.body, std::slice::from_ref(&each.items))[0];
    let items = items.and_then(json::elements).unwrap_or_default();
    if items.len() > ITEMS_MAX {
        return Err(Rejection::TooMany("items"));
    }
    let mut signed = Message::default();
    for item in &items {
        let item = view.of_item(item.get().as_bytes(), &each.pointers);
        signed.extend(one(rule, check, texts, &item, &each.pointers, keys, facts)?.message);
    }
    if items.is_empty() { Err(Rejection::MissingSignature) } else { Ok(Authentic::of(signed)) }
}

/// Checks a JSON Web Token.
fn token<'a>(
    rule: &'a Rule,
    check: &'a Check,
    (claims, end): (&'a [Claim], End),
    view: &View<'a>,
    keys: &Keys<'_>,
    facts: &mut Facts,
) -> Result<Authentic<'a>, Rejection> {
    let values = signatures(check, view)?;
    let [value] = values.as_slice() else { return Err(Rejection::MalformedSignature) };
    let text = value.strip_prefix(&*check.prefix).ok_or(Rejection::MalformedSignature)?;
    let token = Token::parse(text, &check.algorithms)?;
    let claimed = std::slice::from_ref(&token.signature);
    let secret = match &check.chain {
        Some(marks) => keys.prove_chain(&token, marks)?,
        None => keys.prove(token.algorithm, &token.message, claimed)?.0,
    };
    facts.secret_index = Some(secret);
    let id = rule.dedupe.signed_place();
    let context = Context { view, pointers: &rule.pointers, timestamp: None, id, items: None };
    token.check_claims(claims, &context)?;
    facts.skew_ms = token.check_times(check, end, keys.now)?;
    Ok(Authentic::of(token.message))
}

/// Checks the signatures of RFC 9421.
fn http_message<'a>(
    check: &'a Check,
    policy: &Policy,
    view: &View<'a>,
    keys: &Keys<'_>,
    facts: &mut Facts,
) -> Result<Authentic<'a>, Rejection> {
    let algorithm = check.algorithms.first().copied().unwrap_or(Algorithm::Equal);
    let mut refused = Rejection::BadSignature;
    for signed in policy.signatures(view, algorithm)? {
        let claimed = std::slice::from_ref(&signed.signature);
        let proof = keys.prove(algorithm, &signed.message, claimed);
        match proof.and_then(|(secret, _)| Ok((secret, signed.check(check, view, keys.now)?))) {
            Ok((secret, skew_ms)) => {
                facts.secret_index = Some(secret);
                facts.skew_ms = skew_ms;
                return Ok(Authentic::of(signed.message));
            }
            Err(rejection) => refused = rejection,
        }
    }
    Err(refused)
}

/// The values that signatures are looked for in.
pub(crate) fn signatures<'a>(
    check: &'a Check,
    view: &View<'a>,
) -> Result<Vec<Cow<'a, str>>, Rejection> {
    let malformed = || Rejection::MalformedSignature;
    let mut texts = Vec::with_capacity(1);
    // A token inside the body holds the event, and is as long as bodies are.
    let max = match &check.proof {
        Proof::Jwt { .. } if check.signature.iter().all(Place::in_body) => usize::MAX,
        _ => SIGNATURE_MAX,
    };
    for value in view.find_all(&check.signature)? {
        if value.len() > max || texts.len() == CANDIDATES_MAX {
            return Err(malformed());
        }
        texts.push(match value {
            Cow::Borrowed(bytes) => Cow::Borrowed(str::from_utf8(bytes).map_err(|_| malformed())?),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8(bytes).map_err(|_| malformed())?),
        });
    }
    if texts.is_empty() { Err(Rejection::MissingSignature) } else { Ok(texts) }
}

/// The signatures in `texts`, decoded. Those of other versions are passed over.
pub(crate) fn candidates<'t>(
    check: &Check,
    texts: &'t [Cow<'_, str>],
) -> Result<Vec<Claimed<'t>>, Rejection> {
    let mut claimed = Vec::with_capacity(1);
    let mut tried = 0;
    for text in texts {
        let items = items(text, check.separator.as_deref());
        for signature in items.filter_map(|item| item.strip_prefix(&*check.prefix)) {
            tried += 1;
            if tried > CANDIDATES_MAX {
                return Err(Rejection::MalformedSignature);
            }
            claimed.extend(check.encoding.decode(signature));
        }
    }
    if claimed.is_empty() { Err(Rejection::MalformedSignature) } else { Ok(claimed) }
}

/// The signed time as the sender wrote it.
pub(crate) fn time_text<'a>(
    time: &'a SignedTime,
    check: &Check,
    signature: &str,
    view: &View<'a>,
) -> Result<Cow<'a, [u8]>, Rejection> {
    let owned = |text: &str| Cow::Owned(text.as_bytes().to_vec());
    let mut items = items(signature, check.separator.as_deref());
    match &time.from {
        TimeFrom::At(place) => view.find(place)?.ok_or(Rejection::MissingTimestamp),
        TimeFrom::Claim(_) => Err(Rejection::MissingTimestamp),
        TimeFrom::Item(name) if name.is_empty() => {
            items.next().map(owned).ok_or(Rejection::MissingTimestamp)
        }
        TimeFrom::Item(name) => {
            let mut found = items.filter_map(|item| item.strip_prefix(&**name));
            match (found.next(), found.next()) {
                (Some(value), None) => Ok(owned(value)),
                (None, _) => Err(Rejection::MissingTimestamp),
                (_, Some(_)) => Err(Rejection::MalformedTimestamp),
            }
        }
    }
}
