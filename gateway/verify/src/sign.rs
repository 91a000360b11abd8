//! The other direction: makes a request verify. It renders the same template as the check does, so
//! the two can't drift apart, and writes to the places that the check reads.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use hookweir_event::Timestamp;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::{
    Rejection,
    json::Pointer,
    jwt,
    key::{Algorithm, Key, Prepared},
    message_signature::Policy,
    place::Place,
    request::{Incoming, Outgoing, View},
    rule::{Check, Claim, Dedupe, Each, Proof, Requirement, Rule, SignedTime, TimeFrom, Type},
    template::{Canonical, Context, Message, Part},
    verify::first_unmet,
};

/// Why a request can't be signed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SignError {
    /// The scheme signs, and no key was given, or one that was made for another scheme.
    #[error("the scheme needs a key that was made for it")]
    Key,
    /// The scheme's senders sign with a private key, and this one is public.
    #[error("a public key can't sign; the sender's private key does")]
    PublicKey,
    /// The signature would have to be written to a part of a multipart body, or into a body that is
    /// no JSON object.
    #[error("nothing can be written at {0} of this body")]
    Unwritable(String),
    /// The scheme reads the id from this header, and the request has none.
    #[error("the request needs an id, for the header `{0}`")]
    MissingId(String),
    /// The scheme reads the type from this header, and the request has none.
    #[error("the request needs an event type, for the header `{0}`")]
    MissingType(String),
    /// The time can't be written as the scheme writes it.
    #[error("the time is out of range")]
    Time,
    /// Something that the signature covers is not in the request.
    #[error("the request can't be signed: {0}")]
    Part(Rejection),
}

pub(crate) fn sign(
    rules: &[Rule],
    key: Option<&Key>,
    mut request: Outgoing,
    now: Timestamp,
) -> Result<Outgoing, SignError> {
    let (index, rule) = choose(rules, key, &mut request)?;
    name_type_and_id(rule, &mut request)?;
    let Some(check) = &rule.check else { return Ok(request) };
    let key = key.ok_or(SignError::Key)?;
    let usable = |algorithm: &&Algorithm| key.for_rule(index, **algorithm).is_some();
    let algorithm = *check.algorithms.iter().find(usable).ok_or(SignError::Key)?;
    let key = key.for_rule(index, algorithm).ok_or(SignError::Key)?;
    let signer = Signer { rule, check, algorithm, key, now };
    match (&check.proof, &check.each) {
        (Proof::HttpMessage(policy), _) => signer.http_message(policy, &mut request)?,
        (Proof::Jwt { claims, .. }, _) => signer.token(claims, &mut request)?,
        (_, Some(each)) => signer.batch(each, &mut request)?,
        (_, None) => signer.whole(&mut request)?,
    }
    Ok(request)
}

/// The rule to sign by: the first for this kind of key whose requirements the request meets; else the
/// first whose requirements say what to write where nothing is yet.
fn choose<'r>(
    rules: &'r [Rule],
    key: Option<&Key>,
    request: &mut Outgoing,
) -> Result<(usize, &'r Rule), SignError> {
    let mut lacking = SignError::Key;
    let mut fillable = None;
    for (index, rule) in rules.iter().enumerate() {
        // Where a preset has rules for several kinds of key, the key decides.
        if key.is_some_and(|key| !key.is_for_rule(index)) {
            continue;
        }
        let view = View::of_outgoing(request, &rule.pointers);
        let Some(unmet) = first_unmet(&rule.require, &view).map_err(SignError::Part)? else {
            return Ok((index, rule));
        };
        let digest = rule.check.as_ref().and_then(|check| check.body_digest.as_ref());
        let known = |wanted: &Requirement| {
            wanted.value.is_some() || digest.is_some_and(|(place, _)| *place == wanted.place)
        };
        let mut open = rule.require.iter().filter(|wanted| view.find(&wanted.place) == Ok(None));
        if fillable.is_none() && open.all(known) {
            fillable = Some((index, rule));
        }
        let place = unmet.place.describe(&rule.pointers).to_string();
        lacking = SignError::Part(Rejection::MissingPart(place));
    }
    let (index, rule) = fillable.ok_or(lacking.clone())?;
    for wanted in &rule.require {
        let view = View::of_outgoing(request, &rule.pointers);
        let found = view.find(&wanted.place).map_err(SignError::Part)?.map(Cow::into_owned);
        match (found, &wanted.value) {
            (None, Some(value)) => put(&wanted.place, value, &rule.pointers, request)?,
            (Some(found), Some(value)) if found != value.as_bytes() => return Err(lacking),
            _ => {}
        }
    }
    Ok((index, rule))
}

/// Writes type and id to the headers that they are read from.
fn name_type_and_id(rule: &Rule, request: &mut Outgoing) -> Result<(), SignError> {
    if let Some(Type(places)) = rule.event_type.first()
        && let Some(Place::Header(name)) = places.first()
    {
        let event_type = request.event_type.as_ref().map(|t| t.as_str().to_owned());
        let given = name_header(request, name, event_type);
        // Where the scheme looks elsewhere too, a request without this header is one it sends.
        if !given && rule.event_type.len() < 2 {
            return Err(SignError::MissingType(name.to_string()));
        }
    }
    if let Dedupe::Id { or_content, .. } = &rule.dedupe
        && let Some(Place::Header(name)) = rule.dedupe.signed_place()
    {
        let id = request.id.clone();
        if !name_header(request, name, id) && !or_content {
            return Err(SignError::MissingId(name.to_string()));
        }
    }
    Ok(())
}

/// Adds a header; true if it is there, now or already.
fn name_header(request: &mut Outgoing, name: &str, value: Option<String>) -> bool {
    if request.headers.iter().any(|(header, _)| header == name) {
        return true;
    }
    let given = value.is_some();
    request.headers.extend(value.map(|value| (name.to_owned(), value.into_bytes())));
    given
}

/// Who signs, and by which rule.
#[derive(Clone, Copy)]
struct Signer<'s> {
    rule: &'s Rule,
    check: &'s Check,
    algorithm: Algorithm,
    key: &'s Prepared,
    now: Timestamp,
}

impl<'s> Signer<'s> {
    /// Signs the request as one.
    fn whole(self, request: &mut Outgoing) -> Result<(), SignError> {
        let (beside, time) = match &self.check.timestamp {
            Some(time) => self.put_time(time, request)?,
            None => (String::new(), None),
        };
        self.put_parts(request)?;
        let value = {
            let view = View::of_outgoing(request, &self.rule.pointers);
            self.signature(&view, &self.rule.pointers, time.map(Cow::Owned).as_ref())?
        };
        self.put_signature(&(beside + &value), request)
    }

    /// Signs each item of a batch.
    fn batch(self, each: &'s Each, request: &mut Outgoing) -> Result<(), SignError> {
        let unwritable = || SignError::Unwritable(format!("json:{}", each.items));
        let Some(Place::Json(index)) = self.check.signature.first() else {
            return Err(unwritable());
        };
        let pointer = each.pointers.get(*index).ok_or_else(unwritable)?;
        let mut body: Value = serde_json::from_slice(&request.body).map_err(|_| unwritable())?;
        let items = each.items.find_mut(&mut body).and_then(Value::as_array_mut);
        for item in items.ok_or_else(unwritable)? {
            let value = {
                let text = item.to_string();
                let view = View::of_outgoing(request, &[]).of_item(text.as_bytes(), &each.pointers);
                self.signature(&view, &each.pointers, None)?
            };
            pointer.insert(item, value.into()).ok_or_else(unwritable)?;
        }
        request.body = body.to_string().into();
        Ok(())
    }

    /// The signature of what the view shows, as it is written.
    fn signature<'a>(
        &self,
        view: &View<'a>,
        pointers: &'a [Pointer],
        time: Option<&Cow<'a, [u8]>>,
    ) -> Result<String, SignError>
    where
        's: 'a,
    {
        let id = self.rule.dedupe.signed_place();
        let context = Context { view, pointers, timestamp: time, id, items: None };
        let message = match &self.check.proof {
            Proof::Message(texts) => {
                let text = texts.first().ok_or(SignError::Key)?;
                text.render(&context).map_err(SignError::Part)?
            }
            _ => Message::default(),
        };
        let tag = self.key.sign(&message).ok_or(SignError::PublicKey)?;
        Ok(format!("{}{}", self.check.prefix, self.check.encoding.encode(&tag)))
    }

    /// A JSON Web Token for the request. One that is the whole body holds it.
    fn token(self, claims: &'s [Claim], request: &mut Outgoing) -> Result<(), SignError> {
        let mut claims = {
            let view = View::of_outgoing(request, &self.rule.pointers);
            let (id, pointers) = (self.rule.dedupe.signed_place(), &self.rule.pointers);
            let context = Context { view: &view, pointers, timestamp: None, id, items: None };
            jwt::claims(claims, &context, self.now).map_err(SignError::Part)?
        };
        if self.check.signature.first() == Some(&Place::Body) {
            let body = String::from_utf8_lossy(&request.body).into_owned();
            claims.insert("data".to_owned(), body.into());
        }
        let token = jwt::write(self.algorithm, &claims, |message| self.key.sign(message));
        let token = token.ok_or(SignError::PublicKey)?;
        self.put_signature(&format!("{}{token}", self.check.prefix), request)
    }

    /// The headers of RFC 9421, and the digest of RFC 9530 that is covered.
    fn http_message(self, policy: &Policy, request: &mut Outgoing) -> Result<(), SignError> {
        if !request.headers.iter().any(|(name, _)| name == "content-digest") {
            let digest = STANDARD.encode(Sha256::digest(&request.body));
            let digest = format!("sha-256=:{digest}:").into_bytes();
            request.headers.push(("content-digest".to_owned(), digest));
        }
        let (input, base) = {
            let view = View::of_outgoing(request, &self.rule.pointers);
            policy.input(&view, self.algorithm, self.now).map_err(SignError::Part)?
        };
        let tag = self.key.sign(&Message::of(base.into_bytes())).ok_or(SignError::PublicKey)?;
        let tag = format!("sig1=:{}:", STANDARD.encode(tag));
        request.headers.push(("signature-input".to_owned(), format!("sig1={input}").into_bytes()));
        request.headers.push(("signature".to_owned(), tag.into_bytes()));
        Ok(())
    }

    /// Writes what is signed and not there yet: nonces and the like, for which the id does.
    fn put_parts(self, request: &mut Outgoing) -> Result<(), SignError> {
        let pointers = &self.rule.pointers;
        if let Some((place, encoding)) = &self.check.body_digest {
            let digest = encoding.encode(&Sha256::digest(&request.body));
            put_if_missing(place, &digest, pointers, request)?;
        }
        if let Some(key_url) = &self.check.key_url {
            put_if_missing(&key_url.place, &key_url.sample(), pointers, request)?;
        }
        let filler = request.id.clone().unwrap_or_else(|| "1".to_owned());
        for part in self.check.templates().flat_map(|template| &template.0) {
            match part {
                Part::At(place) => put_if_missing(place, &filler, pointers, request)?,
                Part::Sorted(places) => {
                    for place in places {
                        put_if_missing(place, &filler, pointers, request)?;
                    }
                }
                Part::Canonical(Canonical::Contentful) => {
                    let names = "x-contentful-signed-headers,x-contentful-timestamp";
                    let list = Place::Header("x-contentful-signed-headers".into());
                    put_if_missing(&list, names, pointers, request)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Writes the time to where it is read, unless the request has one there already. Returns what
    /// stands beside the signature, and the time to sign.
    fn put_time(
        self,
        time: &SignedTime,
        request: &mut Outgoing,
    ) -> Result<(String, Option<Vec<u8>>), SignError> {
        let text = time.unit.write(self.now).ok_or(SignError::Time)?;
        match &time.from {
            TimeFrom::Item(name) => {
                let separator = self.check.separator.as_deref().unwrap_or_default();
                let beside = format!("{name}{text}{separator}");
                Ok((beside, Some(text.into_bytes())))
            }
            // Every token says when it was made.
            TimeFrom::Claim(_) => Ok((String::new(), None)),
            TimeFrom::At(place) => {
                let given = {
                    let view = View::of_outgoing(request, &self.rule.pointers);
                    view.find(place).map_err(SignError::Part)?.map(Cow::into_owned)
                };
                let signed = match given {
                    Some(given) => given,
                    None => {
                        put(place, &text, &self.rule.pointers, request)?;
                        text.into_bytes()
                    }
                };
                Ok((String::new(), Some(signed)))
            }
        }
    }

    fn put_signature(self, value: &str, request: &mut Outgoing) -> Result<(), SignError> {
        let place = self.check.signature.first().ok_or(SignError::Key)?;
        put(place, value, &self.rule.pointers, request)
    }
}

fn put_if_missing(
    place: &Place,
    value: &str,
    pointers: &[Pointer],
    request: &mut Outgoing,
) -> Result<(), SignError> {
    let view = View::of_outgoing(request, pointers);
    if view.find(place).map_err(SignError::Part)?.is_some() {
        return Ok(());
    }
    put(place, value, pointers, request)
}

/// Writes a value to a place of the request.
fn put(
    place: &Place,
    value: &str,
    pointers: &[Pointer],
    request: &mut Outgoing,
) -> Result<(), SignError> {
    let unwritable = || SignError::Unwritable(place.describe(pointers).to_string());
    let field = |name: &str| {
        form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish()
    };
    match place {
        Place::Header(name) => {
            request.headers.push((name.to_string(), value.as_bytes().to_vec()));
        }
        Place::Headers(start) => {
            request.headers.push((format!("{start}1"), value.as_bytes().to_vec()));
        }
        Place::Query(name) => {
            let field = field(name);
            request.url = request.url.take().map(|url| {
                let joint = if url.contains('?') { '&' } else { '?' };
                format!("{url}{joint}{field}")
            });
            request.query = Some(match request.query.take().filter(|query| !query.is_empty()) {
                Some(query) => format!("{query}&{field}"),
                None => field,
            });
        }
        Place::Form(name) => {
            let mut body = request.body.to_vec();
            if !body.is_empty() {
                body.push(b'&');
            }
            body.extend_from_slice(field(name).as_bytes());
            request.body = body.into();
        }
        Place::Json(index) => {
            let pointer = pointers.get(*index).ok_or_else(unwritable)?;
            let mut body = serde_json::from_slice(&request.body).map_err(|_| unwritable())?;
            pointer.insert(&mut body, value.into()).ok_or_else(unwritable)?;
            request.body = body.to_string().into();
        }
        Place::Body => request.body = Bytes::copy_from_slice(value.as_bytes()),
        Place::FormJson(..) | Place::PartJson(..) | Place::Token(..) | Place::Const(_) => {
            return Err(unwritable());
        }
    }
    Ok(())
}

impl Outgoing {
    /// A `POST` of `body` to `path`.
    pub fn post(path: &str, body: impl Into<Bytes>) -> Self {
        Self {
            method: "POST".to_owned(),
            path: path.to_owned(),
            body: body.into(),
            ..Self::default()
        }
    }
}

/// What arrives.
impl From<Outgoing> for Incoming {
    fn from(sent: Outgoing) -> Self {
        let Outgoing { method, path, query, url, headers, body, .. } = sent;
        Self { method, path, query, url, headers, body, decode: None }
    }
}
