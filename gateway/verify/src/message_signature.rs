//! HTTP Message Signatures (RFC 9421) with digests (RFC 9530), for the profile that webhooks use:
//! one signature over components of the request, its body by way of `content-digest`. The sender
//! says what it signed; a policy says what it must have signed, without which anything goes.

use std::borrow::Cow;

use hookweir_event::Timestamp;
use sfv::{BareItem, Dictionary, FieldType as _, InnerList, List, ListEntry, Parser};
use sha2::{Digest as _, Sha256, Sha512};
use subtle::ConstantTimeEq as _;

use crate::{
    Rejection,
    encoding::Claimed,
    key::{Algorithm, Hash},
    request::View,
    rule::Check,
    template::Message,
};

/// The most components that a signature may cover. Honest ones cover a handful.
const COMPONENTS_MAX: usize = 64;

/// The most signatures of one request that are checked: the sender's, and those of proxies.
const SIGNATURES_MAX: usize = 8;

/// What a signature must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Policy {
    /// The components that must be covered, in lower case; empty if any will do.
    covered: Box<[Box<str>]>,
    key_id: Option<Box<str>>,
}

/// A signature that keeps to the policy, nothing about it proven.
pub(crate) struct Signed<'a> {
    /// The signature base. RFC 9421, section 2.5.
    pub(crate) message: Message<'a>,
    pub(crate) signature: Claimed<'a>,
    created: Option<i64>,
    expires: Option<i64>,
    covers_digest: bool,
}

impl Policy {
    /// The policy that these components, parted by spaces, must be covered; or `any`.
    pub(crate) fn new(covered: &str, key_id: Option<&str>) -> Self {
        let covered = match covered {
            "any" => Box::default(),
            covered => covered.split_whitespace().map(|c| c.to_ascii_lowercase().into()).collect(),
        };
        Self { covered, key_id: key_id.map(Into::into) }
    }

    pub(crate) fn requires(&self, component: &str) -> bool {
        self.covered.iter().any(|covered| **covered == *component)
    }

    pub(crate) fn covers_body(&self) -> bool {
        self.requires("content-digest")
    }

    /// Whether the URL may be among what is signed. Without a rule it may.
    pub(crate) fn needs_url(&self) -> bool {
        let of_url =
            |c: &str| matches!(c, "@target-uri" | "@authority" | "@scheme" | "@path" | "@query");
        self.covered.is_empty() || self.covered.iter().any(|component| of_url(component))
    }

    /// The signatures of the request that keep to this policy. A request may carry others: each
    /// proxy on the way may add its own.
    pub(crate) fn signatures<'a>(
        &self,
        view: &View<'a>,
        algorithm: Algorithm,
    ) -> Result<Vec<Signed<'a>>, Rejection> {
        let malformed = || Rejection::MalformedSignature;
        let dictionary = |name: &str| -> Result<Dictionary, Rejection> {
            let value = view.header(name)?.ok_or(Rejection::MissingSignature)?;
            Parser::new(value).parse().map_err(|_| malformed())
        };
        let signatures = dictionary("signature")?;
        let inputs = dictionary("signature-input")?;
        if signatures.len() > SIGNATURES_MAX {
            return Err(Rejection::TooMany("signatures"));
        }
        let mut kept = Vec::new();
        let mut refused = Rejection::MalformedSignature;
        for (label, signature) in &signatures {
            let ListEntry::Item(item) = signature else { return Err(malformed()) };
            let BareItem::ByteSequence(bytes) = &item.bare_item else { return Err(malformed()) };
            let Some(ListEntry::InnerList(input)) = inputs.get(label) else {
                return Err(malformed());
            };
            match self.signed(view, input, algorithm) {
                Ok(signed) => {
                    kept.push(Signed { signature: Claimed::Long(bytes.clone()), ..signed });
                }
                Err(rejection) => refused = rejection,
            }
        }
        if kept.is_empty() { Err(refused) } else { Ok(kept) }
    }

    /// What a sender covers to keep to this policy, as `Signature-Input` has it, and the base that it
    /// signs.
    pub(crate) fn input(
        &self,
        view: &View<'_>,
        algorithm: Algorithm,
        now: Timestamp,
    ) -> Result<(String, String), Rejection> {
        let covered: Vec<&str> = match &*self.covered {
            [] => vec!["@method", "@target-uri", "content-digest"],
            covered => covered.iter().map(AsRef::as_ref).collect(),
        };
        let mut base = String::new();
        for name in &covered {
            base.push_str(&format!("\"{name}\": {}\n", component(view, name)?));
        }
        let quoted: Vec<_> = covered.iter().map(|name| format!("\"{name}\"")).collect();
        let created = now.as_millis().div_euclid(1000);
        let mut input = format!("({});created={created}", quoted.join(" "));
        if let Some(key_id) = &self.key_id {
            input.push_str(&format!(";keyid=\"{key_id}\""));
        }
        if let Some(name) = registered_name(algorithm) {
            input.push_str(&format!(";alg=\"{name}\""));
        }
        base.push_str(&format!("\"@signature-params\": {input}"));
        Ok((input, base))
    }

    fn signed<'a>(
        &self,
        view: &View<'a>,
        input: &InnerList,
        algorithm: Algorithm,
    ) -> Result<Signed<'a>, Rejection> {
        let malformed = || Rejection::MalformedSignature;
        let mut names: Vec<&str> = Vec::new();
        let mut base = String::new();
        if input.items.len() > COMPONENTS_MAX {
            return Err(malformed());
        }
        for item in &input.items {
            // Parameters of components (`sf`, `key`, `req`, …) are outside this profile.
            let BareItem::String(name) = &item.bare_item else { return Err(malformed()) };
            let name = name.as_str();
            if !item.params.is_empty() || names.contains(&name) {
                return Err(malformed());
            }
            names.push(name);
            let value = component(view, name)?;
            base.push_str(&format!("\"{name}\": {value}\n"));
        }
        if let Some(left_out) = self.covered.iter().find(|c| !names.contains(&&***c)) {
            return Err(Rejection::NotCovered(left_out.to_string()));
        }
        let covers_digest = names.contains(&"content-digest");

        let number = |name: &str| match input.params.get(name) {
            None => Ok(None),
            Some(BareItem::Integer(number)) => Ok(Some(i64::from(*number))),
            Some(_) => Err(malformed()),
        };
        let text = |name: &str| match input.params.get(name) {
            None => Ok(None),
            Some(BareItem::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(malformed()),
        };
        if text("alg")?.is_some_and(|name| Some(name) != registered_name(algorithm)) {
            return Err(Rejection::BadSignature);
        }
        if self.key_id.is_some() && text("keyid")? != self.key_id.as_deref() {
            return Err(Rejection::NotCovered("keyid".to_owned()));
        }
        let (created, expires) = (number("created")?, number("expires")?);

        let list: List = vec![ListEntry::InnerList(input.clone())];
        let parameters = list.serialize().ok_or_else(malformed)?;
        base.push_str(&format!("\"@signature-params\": {parameters}"));
        let message = Message::of(Cow::Owned(base.into_bytes()));
        let signature = Claimed::Long(Vec::new());
        Ok(Signed { message, signature, created, expires, covers_digest })
    }
}

impl Signed<'_> {
    /// Holds the proven signature's times and digest against the request. Returns how old it is, in
    /// milliseconds, if it says.
    pub(crate) fn check(
        &self,
        check: &Check,
        view: &View<'_>,
        now: Timestamp,
    ) -> Result<Option<i64>, Rejection> {
        if self.covers_digest && !digest_matches(view)? {
            return Err(Rejection::BodyDigest);
        }
        let now = now.as_millis().div_euclid(1000);
        if let Some(skew) = self.expires.map(|expires| now.saturating_sub(expires))
            && skew > 0
        {
            return Err(Rejection::StaleTimestamp { skew_ms: skew.saturating_mul(1000) });
        }
        let skew = self.created.map(|created| now.saturating_sub(created).saturating_mul(1000));
        let Some(time) = &check.timestamp else { return Ok(skew) };
        match skew {
            Some(skew_ms) => time.tolerance.check(skew_ms)?,
            None if time.tolerance.past.is_some() => return Err(Rejection::MissingTimestamp),
            None => {}
        }
        Ok(skew)
    }
}

/// The name that the registry of RFC 9421, section 6.2.2, has for the algorithm.
fn registered_name(algorithm: Algorithm) -> Option<&'static str> {
    match algorithm {
        Algorithm::Hmac(Hash::Sha256) => Some("hmac-sha256"),
        Algorithm::Ed25519 => Some("ed25519"),
        Algorithm::EcdsaP256Fixed => Some("ecdsa-p256-sha256"),
        Algorithm::RsaPkcs1(Hash::Sha256) => Some("rsa-v1_5-sha256"),
        Algorithm::RsaPss(Hash::Sha512) => Some("rsa-pss-sha512"),
        _ => None,
    }
}

/// The value of a component. RFC 9421, sections 2.1 and 2.2.
fn component(view: &View<'_>, name: &str) -> Result<String, Rejection> {
    let missing = || Rejection::MissingPart(name.to_owned());
    if !name.starts_with('@') {
        // Fields of several lines are one with commas between.
        let mut values = Vec::new();
        for (_, value) in view.headers.iter().filter(|(header, _)| header == name) {
            values.push(str::from_utf8(value.trim_ascii()).map_err(|_| missing())?);
        }
        return if values.is_empty() { Err(missing()) } else { Ok(values.join(", ")) };
    }
    if name == "@method" {
        return Ok(view.method.to_owned());
    }
    let url = view.url.ok_or_else(missing)?;
    let (scheme, rest) = url.split_once("://").ok_or_else(missing)?;
    let (authority, target) = match rest.find(['/', '?']) {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let path = if path.is_empty() { "/" } else { path };
    let scheme = scheme.to_ascii_lowercase();
    Ok(match name {
        "@target-uri" => url.to_owned(),
        "@authority" => {
            let default = if scheme == "https" { ":443" } else { ":80" };
            let authority = authority.to_ascii_lowercase();
            authority.strip_suffix(default).unwrap_or(&authority).to_owned()
        }
        "@scheme" => scheme,
        "@path" => path.to_owned(),
        "@query" => format!("?{}", query.unwrap_or_default()),
        "@request-target" => match query {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        },
        _ => return Err(missing()),
    })
}

/// Whether `Content-Digest` names the body's hash: at least one that is known, and no wrong one.
/// RFC 9530, section 2.
fn digest_matches(view: &View<'_>) -> Result<bool, Rejection> {
    let value = view.header("content-digest")?.ok_or(Rejection::BodyDigest)?;
    let digests: Dictionary = Parser::new(value).parse().map_err(|_| Rejection::BodyDigest)?;
    let mut known = 0;
    for (name, digest) in &digests {
        let computed = match name.as_str() {
            "sha-256" => Sha256::digest(view.body).to_vec(),
            "sha-512" => Sha512::digest(view.body).to_vec(),
            _ => continue,
        };
        let ListEntry::Item(item) = digest else { return Ok(false) };
        let BareItem::ByteSequence(digest) = &item.bare_item else { return Ok(false) };
        if !bool::from(digest.as_slice().ct_eq(&computed)) {
            return Ok(false);
        }
        known += 1;
    }
    Ok(known > 0)
}
