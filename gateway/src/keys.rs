//! Keys that lie at URLs, kept for a while. Requests that nobody has verified yet ask for them, so
//! everything here is bounded: how often anything is fetched, how much is kept, how long a request
//! waits. The hosts are pinned by the schemes.
//!
//! - A document is fetched once, however many requests want it; the others wait for the one fetch.
//! - What a request names does not change and is kept for a day. A set of keys that the scheme names
//!   is fetched again after an hour, or a minute after the last fetch if a signature matches none of
//!   them: its sender may have rotated them. While it can't be fetched, the one kept serves for a day.
//! - A fetch that failed is not tried again for ten seconds, one that was refused for a minute.

use std::{
    collections::HashMap,
    fmt,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use hookweir_event::Timestamp;
use hookweir_verify::{FetchedKey, KeyLocation, Keyring, Rejection, Scheme, certificate::Chain};
use tokio::sync::Mutex as AsyncMutex;

use crate::egress::{Transport, Web, WebError};

/// How long a set of keys is taken as it is.
const FRESH: Duration = Duration::from_secs(3600);
/// How long a document is kept at all: what fal.ai allows for its keys.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// How soon after a fetch a set may be fetched again because a signature does not match.
const AGAIN: Duration = Duration::from_secs(60);
/// How long a failed fetch is not repeated.
const FAILED: Duration = Duration::from_secs(10);
/// The same for one that was refused.
const REFUSED: Duration = Duration::from_secs(60);
/// The most documents kept. SNS has one certificate a region and year.
const DOCUMENTS_MAX: usize = 256;
/// The most fetches a minute, over all sources.
const FETCHES: NonZeroU32 = NonZeroU32::new(60).unwrap();
/// The most certificates between a sender's and an authority's.
const ISSUERS_MAX: usize = 3;

/// The keys that lie at URLs.
pub(crate) struct Keys {
    web: Web,
    fetches: DefaultDirectRateLimiter,
    shelf: Mutex<HashMap<KeyLocation, Arc<Slot>>>,
}

/// One document's place.
#[derive(Default)]
struct Slot {
    kept: ArcSwapOption<Document>,
    /// Held while it is fetched.
    failed: AsyncMutex<Option<Failure>>,
}

struct Document {
    text: String,
    at: Timestamp,
}

/// A fetch that failed, and when the next may be tried.
struct Failure {
    error: WebError,
    until: Timestamp,
}

impl Keys {
    pub(crate) fn new(web: Web) -> Self {
        let fetches = RateLimiter::direct(Quota::per_minute(FETCHES));
        Self { web, fetches, shelf: Mutex::default() }
    }

    /// Visits a link by which a provider wants a subscription confirmed.
    pub(crate) async fn visit(&self, url: &str) -> Result<(), WebError> {
        self.take_fetch()?;
        self.web.get(url, Transport::Tls).await.map(drop)
    }

    fn take_fetch(&self) -> Result<(), WebError> {
        let taken = self.fetches.check();
        taken.map_err(|_| WebError::Unavailable("too many keys were asked for".to_owned()))
    }

    fn slot(&self, location: &KeyLocation) -> Arc<Slot> {
        let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = shelf.get(location) {
            return slot.clone();
        }
        if shelf.len() >= DOCUMENTS_MAX {
            // What was asked for in vain goes first, then what is oldest.
            shelf.retain(|_, slot| slot.kept.load().is_some());
            if shelf.len() >= DOCUMENTS_MAX {
                let at = |slot: &Slot| slot.kept.load().as_ref().map(|document| document.at);
                let oldest = shelf.iter().min_by_key(|(_, slot)| at(slot)).map(|(k, _)| k.clone());
                oldest.map(|oldest| shelf.remove(&oldest));
            }
        }
        shelf.entry(location.clone()).or_default().clone()
    }

    async fn document(
        &self,
        scheme: &Scheme,
        location: &KeyLocation,
        now: Timestamp,
        after: Option<Timestamp>,
    ) -> Result<Arc<Document>, WebError> {
        let slot = self.slot(location);
        let usable = |document: &Arc<Document>| {
            let age = age(document.at, now);
            match after {
                // Asked for a newer one: one that is newer, or too new to ask again.
                Some(after) => document.at > after || age < AGAIN,
                None if location.is_fixed() => age < FRESH,
                None => age < KEPT,
            }
        };
        if let Some(document) = slot.kept.load_full().filter(usable) {
            return Ok(document);
        }
        let mut failed = slot.failed.lock().await;
        // Another request may have fetched it while this one waited.
        if let Some(document) = slot.kept.load_full().filter(usable) {
            return Ok(document);
        }
        let fetched = match failed.as_ref().filter(|failed| now < failed.until) {
            Some(failed) => Err(failed.error.clone()),
            None => self.fetch(scheme, location, now).await,
        };
        match fetched {
            Ok(text) => {
                let document = Arc::new(Document { text, at: now });
                slot.kept.store(Some(document.clone()));
                *failed = None;
                tracing::info!(url = location.url(), "key fetched");
                Ok(document)
            }
            Err(error) => {
                if failed.as_ref().is_none_or(|failed| now >= failed.until) {
                    tracing::warn!(url = location.url(), "key not fetched: {error}");
                    let pause = match error {
                        WebError::Unavailable(_) => FAILED,
                        WebError::Refused(_) => REFUSED,
                    };
                    *failed = Some(Failure { error: error.clone(), until: now + pause });
                }
                let old = slot.kept.load_full().filter(|kept| age(kept.at, now) < KEPT);
                old.ok_or(error)
            }
        }
    }

    /// What lies there, if it is a key: nothing else may take room on the shelf.
    async fn fetch(
        &self,
        scheme: &Scheme,
        location: &KeyLocation,
        now: Timestamp,
    ) -> Result<String, WebError> {
        self.take_fetch()?;
        let document = self.web.get(location.url(), Transport::Tls).await?;
        let text = String::from_utf8(document.into());
        let text = text.map_err(|_| WebError::Refused("it is no text".to_owned()))?;
        scheme.fetched_key(&text).map_err(|fault| WebError::Refused(fault.to_string()))?;
        if let Some(pattern) = location.issued_to() {
            self.check(&text, pattern, now).await?;
        }
        Ok(text)
    }

    /// Whether an authority says that the certificate is one of `pattern`. Issuers that were not
    /// sent are fetched from where the certificate says they are; the authority's signature proves
    /// them, so it does not matter how they come.
    async fn check(&self, text: &str, pattern: &str, now: Timestamp) -> Result<(), WebError> {
        let refused = |why: String| WebError::Refused(why);
        let mut chain =
            Chain::of_pem(text).ok_or_else(|| refused("it is no certificate".into()))?;
        let name = chain.name_like(pattern);
        let name = name.ok_or_else(|| refused(format!("it is not issued to {pattern}")))?;
        for _ in 0..ISSUERS_MAX {
            let distrust = match self.web.trust.check(&chain, &name, now) {
                Ok(()) => return Ok(()),
                Err(distrust) if distrust.is_incomplete() => distrust,
                Err(distrust) => return Err(refused(distrust.to_string())),
            };
            let Some(url) = chain.issuer_url() else { return Err(refused(distrust.to_string())) };
            self.take_fetch()?;
            let issuer = self.web.get(&url, Transport::Any).await?;
            if !chain.push(&issuer) {
                return Err(refused(format!("its issuer at {url} is no certificate")));
            }
        }
        Err(refused("no authority stands behind it".to_owned()))
    }
}

impl Keyring for Keys {
    async fn key(
        &self,
        scheme: &Scheme,
        location: &KeyLocation,
        now: Timestamp,
        after: Option<Timestamp>,
    ) -> Result<FetchedKey, Rejection> {
        let document = self.document(scheme, location, now, after).await.map_err(|error| {
            let text = format!("{}: {error}", location.url());
            match error {
                WebError::Unavailable(_) => Rejection::KeyUnavailable(text),
                WebError::Refused(_) => Rejection::KeyRefused(text),
            }
        })?;
        let secret = scheme.fetched_key(&document.text);
        let secret = secret
            .map_err(|fault| Rejection::KeyRefused(format!("{}: {fault}", location.url())))?;
        Ok(FetchedKey { secret, at: document.at })
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

fn age(at: Timestamp, now: Timestamp) -> Duration {
    now.since(at)
}
