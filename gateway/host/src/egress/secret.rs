//! A secret, and what of it is not to be seen.

use std::{fmt, sync::Arc};

use hookweir_event::REDACTED;
use zeroize::Zeroizing;

/// Bytes of a part of a URL that is hidden where it stands alone.
const PART_MIN: usize = 6;

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
    /// without, and the query and its values, but not the host; of anything else all of it.
    pub(super) fn parts(&self) -> Vec<Zeroizing<String>> {
        let secret = self.0.trim();
        let Some((_, rest)) = secret.split_once("://").filter(|_| is_url(secret)) else {
            return vec![Zeroizing::new(secret.to_owned())];
        };
        let (authority, place) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let place = place.split('#').next().unwrap_or_default();
        let (path, query) = place.split_once('?').unwrap_or((place, ""));
        let path = path.trim_end_matches('/');
        let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
        let password = user.split_once(':').map_or("", |(_, password)| password);
        let mut parts = vec![user, password, place, path, query];
        // A version or a page is no secret, and would be hidden wherever its digit is.
        let is_long = |part: &&str| part.len() >= PART_MIN;
        parts.extend(path.strip_prefix('/').filter(is_long));
        let values = query.split('&').filter_map(|pair| Some(pair.split_once('=')?.1));
        parts.extend(values.filter(is_long));
        let decoded = |part: &&str| {
            let pairs = form_urlencoded::parse(part.as_bytes());
            // As one name without a value, whatever is in it.
            let names: String = pairs.map(|(name, _)| name).collect();
            (part.contains('%') && !part.contains(['&', '='])).then(|| Zeroizing::new(names))
        };
        let mut all: Vec<_> = parts.iter().filter_map(decoded).collect();
        all.extend(parts.into_iter().map(|part| Zeroizing::new(part.to_owned())));
        all
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
