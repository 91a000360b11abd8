//! JSON Web Tokens as webhook signatures: compact JWS (RFC 7515) with registered claims (RFC 7519)
//! and claims about the request. The algorithm is one of the scheme's, never the token's choice.

use std::borrow::Cow;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use hookweir_event::Timestamp;
use serde_json::{Map, Value};
use subtle::ConstantTimeEq as _;

use crate::{
    Rejection,
    encoding::Claimed,
    key::Algorithm,
    rule::{Check, Claim, End, TimeFrom},
    template::{Context, Message},
};

/// How far a sender's clock may be ahead for `nbf`, in seconds.
const AHEAD: i64 = 5;

/// A token taken apart, nothing about it proven.
pub(crate) struct Token<'a> {
    /// Header and payload as they were signed.
    pub(crate) message: Message<'a>,
    pub(crate) signature: Claimed<'a>,
    pub(crate) algorithm: Algorithm,
    /// The certificates in its header, in DER, the signer's first.
    pub(crate) chain: Vec<Vec<u8>>,
    claims: Map<String, Value>,
}

impl<'a> Token<'a> {
    /// Takes a token apart. Its algorithm has to be among those of the scheme.
    pub(crate) fn parse(text: &str, allowed: &[Algorithm]) -> Result<Self, Rejection> {
        let malformed = || Rejection::MalformedSignature;
        let (signed, signature) = text.rsplit_once('.').ok_or_else(malformed)?;
        let (header, payload) = signed.split_once('.').ok_or_else(malformed)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed());
        let object = |part: &str| -> Result<Map<String, Value>, Rejection> {
            serde_json::from_slice(&decode(part)?).map_err(|_| malformed())
        };
        let header = object(header)?;
        // RFC 7515, section 4.1.11: what is critical and not understood refuses the token.
        if header.contains_key("crit") {
            return Err(malformed());
        }
        let algorithm = header.get("alg").and_then(Value::as_str).and_then(Algorithm::parse_jws);
        let algorithm = algorithm.filter(|a| allowed.contains(a)).ok_or(Rejection::BadSignature)?;
        let certificates = header.get("x5c").and_then(Value::as_array).into_iter().flatten();
        let der = |text: &Value| STANDARD.decode(text.as_str().unwrap_or_default()).ok();
        Ok(Self {
            chain: certificates.filter_map(der).collect(),
            message: Message::of(Cow::Owned(signed.as_bytes().to_vec())),
            signature: Claimed::Long(decode(signature)?),
            algorithm,
            claims: object(payload)?,
        })
    }

    /// What it claims.
    pub(crate) fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// Holds the proven token's claims against the request.
    pub(crate) fn check_claims(
        &self,
        claims: &'a [Claim],
        context: &Context<'_, 'a>,
    ) -> Result<(), Rejection> {
        claims.iter().try_for_each(|claim| self.check_claim(claim, context))
    }

    /// Holds the proven token's times against now. Returns how old it is, in milliseconds, if it
    /// says.
    pub(crate) fn check_times(
        &self,
        check: &Check,
        end: End,
        now: Timestamp,
    ) -> Result<Option<i64>, Rejection> {
        let leeway = match end {
            End::Leeway { secs } => secs,
            End::None => 0,
        };
        let now_secs = now.as_millis().div_euclid(1000);
        let expires = self.time("exp")?;
        if let Some(skew) = expires.map(|exp| now_secs.saturating_sub(exp))
            && skew >= leeway
        {
            return Err(Rejection::StaleTimestamp { skew_ms: skew.saturating_mul(1000) });
        }
        if let Some(ahead) = self.time("nbf")?.map(|nbf| nbf.saturating_sub(now_secs))
            && ahead > AHEAD.max(leeway)
        {
            return Err(Rejection::FutureTimestamp { skew_ms: ahead.saturating_mul(-1000) });
        }
        match &check.timestamp {
            Some(time) => {
                let TimeFrom::Claim(name) = &time.from else {
                    return Err(Rejection::MissingTimestamp);
                };
                let signed = self.time(name)?.ok_or(Rejection::MissingTimestamp)?;
                let skew_ms = now_secs.saturating_sub(signed).saturating_mul(1000);
                time.tolerance.check(skew_ms)?;
                Ok(Some(skew_ms))
            }
            // A token without an end would be good for ever.
            None if expires.is_none() && end != End::None => Err(Rejection::MissingTimestamp),
            None => {
                let issued = self.time("iat")?;
                Ok(issued.map(|iat| now_secs.saturating_sub(iat).saturating_mul(1000)))
            }
        }
    }

    fn check_claim(&self, claim: &'a Claim, context: &Context<'_, 'a>) -> Result<(), Rejection> {
        let refused = || Rejection::Claim(claim.name.to_string());
        let value = self.claims.get(&*claim.name);
        if claim.with_body && value.is_none() && context.view.body.is_empty() {
            return Ok(());
        }
        let wanted = claim.value.render(context)?;
        let wanted = wanted.joined();
        let same = |value: &Value| {
            // QStash pads its base64url and says that both are right.
            let text = value.as_str().unwrap_or_default().trim_end_matches('=').as_bytes();
            bool::from(text.ct_eq(unpadded(&wanted)))
        };
        let matches = match value {
            // RFC 7519, section 4.1.3: an audience may be a list.
            Some(Value::Array(values)) if &*claim.name == "aud" => values.iter().any(same),
            Some(value) => same(value),
            None => false,
        };
        if matches { Ok(()) } else { Err(refused()) }
    }

    /// A `NumericDate`, in whole seconds.
    fn time(&self, name: &str) -> Result<Option<i64>, Rejection> {
        let Some(value) = self.claims.get(name) else { return Ok(None) };
        let number = value.as_number().ok_or(Rejection::MalformedTimestamp)?;
        let whole = number.to_string().split('.').next().and_then(|whole| whole.parse().ok());
        whole.map(Some).ok_or(Rejection::MalformedTimestamp)
    }
}

/// The claims of a token for this request, made now and good for five minutes.
pub(crate) fn claims<'a>(
    claims: &'a [Claim],
    context: &Context<'_, 'a>,
    now: Timestamp,
) -> Result<Map<String, Value>, Rejection> {
    let now = now.as_millis().div_euclid(1000);
    let times = [("iat", now), ("nbf", now), ("exp", now + 300)];
    let mut made: Map<_, _> =
        times.into_iter().map(|(name, time)| (name.to_owned(), time.into())).collect();
    for claim in claims.iter().filter(|claim| !(claim.with_body && context.view.body.is_empty())) {
        let value = claim.value.render(context)?;
        let value = String::from_utf8_lossy(&value.joined()).into_owned();
        made.insert(claim.name.to_string(), value.into());
    }
    Ok(made)
}

/// A token with these claims; none if the key can't sign.
pub(crate) fn write(
    algorithm: Algorithm,
    claims: &Map<String, Value>,
    sign: impl Fn(&Message<'_>) -> Option<Vec<u8>>,
) -> Option<String> {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = serde_json::json!({ "alg": algorithm.jws_name()?, "typ": "JWT" });
    let signed = format!("{}.{}", part(header), part(Value::Object(claims.clone())));
    let signature = sign(&Message::of(signed.as_bytes()))?;
    Some(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// The text without base64's padding.
fn unpadded(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|b| *b != b'=').map_or(0, |last| last + 1);
    &text[..end]
}
