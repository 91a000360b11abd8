//! A secret, and what of it is not to be seen.

use std::{fmt, sync::Arc};

use hookweir_event::REDACTED;
use zeroize::Zeroizing;

/// A text that does not print and does not stay in memory.
#[derive(Clone, PartialEq)]
pub struct SecretText(Arc<Zeroizing<String>>);

impl SecretText {
    /// Hides a text.
    pub fn new(text: String) -> Self {
        Self(Arc::new(Zeroizing::new(text)))
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// What is not to be seen: of a URL who it is for and the password alone, the path with its query and
    /// without, and the query, but not the host; of anything else all of it.
    pub(super) fn parts(&self) -> Vec<&str> {
        let secret = self.0.trim();
        let Some((_, rest)) = secret.split_once("://").filter(|_| is_url(secret)) else {
            return vec![secret];
        };
        let (authority, place) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let place = place.split('#').next().unwrap_or_default();
        let (path, query) = place.split_once('?').unwrap_or((place, ""));
        let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
        let password = user.split_once(':').map_or("", |(_, password)| password);
        vec![user, password, place, path.trim_end_matches('/'), query]
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

fn is_url(text: &str) -> bool {
    text.parse::<http::Uri>().is_ok_and(|url| url.scheme().is_some() && url.host().is_some())
}
