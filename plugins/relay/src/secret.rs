//! Secrets of endpoints, and what is signed with them.
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use hookweir_sdk::prelude::*;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

const PREFIX: &str = "whsec_";
/// The specification asks for 24 to 64.
const KEY_BYTES: u32 = 32;
/// How long a secret still signs after it was replaced.
const OVERLAP: SignedDuration = SignedDuration::from_hours(24);
/// Replaced secrets that still sign. Each makes the header of every delivery longer.
const REPLACED_MAX: usize = 4;

/// What one endpoint's deliveries are signed with, as its owner is told it: `whsec_` and base64.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(String);

impl Secret {
    /// A new one, of the host's chance.
    pub(crate) fn new() -> Self {
        Self(format!("{PREFIX}{}", STANDARD.encode(random::bytes(KEY_BYTES))))
    }

    #[cfg(test)]
    pub(crate) fn of(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// For its owner, once.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// One signature of `{id}.{timestamp}.{body}`: `v1,` and base64.
    pub(crate) fn sign(&self, id: &str, secs: u64, body: &[u8]) -> Result<String, Failure> {
        let text = self.0.strip_prefix(PREFIX).unwrap_or(&self.0);
        let key = STANDARD.decode(text).map_err(|_| "a secret in the state is none").or_retry()?;
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).or_retry()?;
        mac.update(format!("{id}.{secs}.").as_bytes());
        mac.update(body);
        Ok(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// An endpoint's secret, and those that it replaced a short while ago.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Secrets {
    pub(crate) current: Secret,
    replaced: Vec<Replaced>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Replaced {
    secret: Secret,
    until: Timestamp,
}

impl Secrets {
    pub(crate) fn new() -> Self {
        Self { current: Secret::new(), replaced: Vec::new() }
    }

    /// Makes a new secret, and says how long the one before it signs too. None if too many still do.
    pub(crate) fn rotate(&mut self, now: Timestamp) -> Result<Option<Timestamp>, Failure> {
        self.replaced.retain(|replaced| replaced.until > now);
        if self.replaced.len() >= REPLACED_MAX {
            return Ok(None);
        }
        let until = now.checked_add(OVERLAP).or_retry()?;
        let secret = std::mem::replace(&mut self.current, Secret::new());
        self.replaced.insert(0, Replaced { secret, until });
        Ok(Some(until))
    }

    /// The header `webhook-signature`: the current secret's first, with spaces between.
    pub(crate) fn sign(&self, now: Timestamp, id: &str, body: &[u8]) -> Result<String, Failure> {
        let secs = now.as_second().cast_unsigned();
        let replaced = self.replaced.iter().filter(|replaced| replaced.until > now);
        let secrets = [&self.current].into_iter().chain(replaced.map(|replaced| &replaced.secret));
        let signed = secrets.map(|secret| secret.sign(id, secs, body));
        Ok(signed.collect::<Result<Vec<_>, _>>()?.join(" "))
    }
}
