//! Who may ask the admin API: whoever has the token. And under which names it answers: a page that a
//! browser loaded from elsewhere must not reach it by making its own name lead here.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    net::IpAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use axum::http::{HeaderMap, Uri, header, uri::Authority};
use hookweir_event::Digest;

use crate::{chance::Chance, config::AdminConfig};

/// Lets in who has the token.
#[derive(Debug, Clone)]
pub struct Guard {
    /// Of the token. Digests are compared, so that the time it takes tells nothing of the token.
    token: Option<Digest>,
    hosts: Vec<String>,
}

/// Why a request is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Barred {
    /// No token, or another.
    Token,
    /// A `Host` that is none of ours.
    Host,
}

/// Where the token is that the gateway made itself.
pub fn token_file(data: &Path) -> PathBuf {
    data.join("admin-token")
}

impl Guard {
    /// The guard that the config wants. Without a token in it one is made and kept in the data
    /// folder, readable by its owner alone, where the command line finds it.
    ///
    /// # Errors
    /// If it can't be read or written.
    pub fn new(config: &AdminConfig, data: &Path, chance: &Chance) -> io::Result<Self> {
        let token = match &config.token {
            Some(token) => Some(token.as_str().to_owned()),
            None if config.insecure => None,
            None => Some(kept_token(&token_file(data), chance)?),
        };
        let token = token.map(|token| Digest::of(token.as_bytes()));
        Ok(Self { token, hosts: config.hosts.clone() })
    }

    pub(super) fn check(&self, headers: &HeaderMap, uri: &Uri) -> Result<(), Barred> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        // HTTP/2 has it in the URI.
        let host = text(header::HOST).or_else(|| uri.authority().map(Authority::as_str));
        let host = host.map(without_port).unwrap_or_default();
        let local = host.parse::<IpAddr>().is_ok() || host.eq_ignore_ascii_case("localhost");
        if !local && !self.hosts.iter().any(|own| own.eq_ignore_ascii_case(host)) {
            return Err(Barred::Host);
        }
        let Some(token) = self.token else { return Ok(()) };
        let given = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        let same = given.is_some_and(|given| Digest::of(given.as_bytes()) == token);
        same.then_some(()).ok_or(Barred::Token)
    }
}

/// The host of a `Host` header, an IPv6 address without its brackets.
fn without_port(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    }
}

fn kept_token(path: &Path, chance: &Chance) -> io::Result<String> {
    let made = File::options().write(true).create_new(true).mode(0o600).open(path);
    match made {
        Ok(mut file) => {
            let token: String =
                chance.bytes::<32>().iter().map(|byte| format!("{byte:02x}")).collect();
            file.write_all(token.as_bytes())?;
            file.sync_all()?;
            tracing::info!(path = %path.display(), "made a token for the admin API");
            Ok(token)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let token = fs::read_to_string(path)?;
            let token = token.trim();
            if token.is_empty() {
                let empty = format!("{} is empty; remove it", path.display());
                return Err(io::Error::new(io::ErrorKind::InvalidData, empty));
            }
            Ok(token.to_owned())
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(host: &'static str, token: Option<&'static str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        headers.extend(token.map(|token| (header::AUTHORIZATION, token.parse().unwrap())));
        headers
    }

    #[test]
    fn a_token_and_a_host_of_ours_are_needed() {
        let guard =
            Guard { token: Some(Digest::of(b"secret")), hosts: vec!["ops.example".to_owned()] };
        let right = Some("Bearer secret");
        for host in ["127.0.0.1:8081", "[::1]:8081", "localhost", "LOCALHOST:1", "ops.example:8081"]
        {
            assert_eq!(guard.check(&asked(host, right), &Uri::default()), Ok(()), "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example", "ops.example.evil", ""] {
            assert_eq!(
                guard.check(&asked(host, right), &Uri::default()),
                Err(Barred::Host),
                "{host}"
            );
        }
        for token in
            [None, Some("secret"), Some("Bearer "), Some("Bearer secrets"), Some("bearer secret")]
        {
            assert_eq!(
                guard.check(&asked("localhost", token), &Uri::default()),
                Err(Barred::Token),
                "{token:?}"
            );
        }
    }
}
