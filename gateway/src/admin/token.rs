//! Who may ask the admin API: whoever has the token, and a certificate where one is wanted. And under which names it answers: a page that a
//! browser loaded from elsewhere must not reach it by making its own name lead here.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    net::IpAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::http::{HeaderMap, Uri, header, uri::Authority};
use hookweir_event::{Digest, Timestamp};

use super::{Caller, fault::Fault};
use crate::{
    chance::Chance,
    client::Client,
    config::{AdminConfig, Config, Scope},
    limits::RefusedLimit,
    serve::Certificate,
};

/// Lets in who has a token that is known. An address that had too many requests refused is told no more, for a
/// while, of those that are refused; who has a right token is let in from there as well.
#[derive(Debug, Clone)]
pub struct Guard {
    /// Of the token that the gateway made itself, if the config has none.
    made: Option<Digest>,
    refused: Arc<RefusedLimit>,
}

/// What the log and the audit log call whoever has the token of `admin.token`, or needs none.
const OWNER: &str = "admin";

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
        let made = match &config.token {
            None if !config.insecure => {
                let token = kept_token(&token_file(data), chance)?;
                Some(Digest::of(token.as_bytes()))
            }
            _ => None,
        };
        Ok(Self { made, refused: Arc::new(RefusedLimit::new(config.refused_rate)) })
    }

    /// Who asks, under the config that is in force.
    pub(super) fn check(
        &self,
        config: &Config,
        (headers, uri): (&HeaderMap, &Uri),
        (peer, certificate): (IpAddr, Option<&Certificate>),
        now: Timestamp,
    ) -> Result<Caller, Fault> {
        let client = Client::of(peer, headers, &config.admin.trusted_proxies).address;
        let certified = certified(&config.admin, certificate, now);
        let fault = match certified.and_then(|()| self.known(&config.admin, headers, uri)) {
            Ok((who, scope)) => return Ok(Caller { who, scope, client }),
            Err(fault) => fault,
        };
        self.refused.check(client).map_err(|limited| Fault::limited(limited.wait))?;
        self.refused.count(client);
        let (code, path) = (fault.code(), uri.path());
        tracing::warn!(%client, code, path, "refused by the admin API: {}", fault.sentence());
        Err(fault)
    }

    fn known(
        &self,
        config: &AdminConfig,
        headers: &HeaderMap,
        uri: &Uri,
    ) -> Result<(String, Scope), Fault> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        // HTTP/2 has it in the URI.
        let host = text(header::HOST).or_else(|| uri.authority().map(Authority::as_str));
        let host = host.map(without_port).unwrap_or_default();
        let local = host.parse::<IpAddr>().is_ok() || host.eq_ignore_ascii_case("localhost");
        if !local && !config.hosts.iter().any(|own| own.eq_ignore_ascii_case(host)) {
            return Err(Fault::wrong_host());
        }
        if config.insecure {
            // Whoever needs no token could be a page in an operator's browser, which says where it is from.
            if headers.contains_key(header::ORIGIN) {
                return Err(Fault::wrong_host());
            }
            return Ok((OWNER.to_owned(), Scope::Admin));
        }
        let given = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        let given = given.ok_or_else(Fault::unauthenticated)?;
        self.holder(config, given).ok_or_else(Fault::unauthenticated)
    }

    /// Whose token this is. All are compared, each in the same time: how long it takes tells nothing.
    fn holder(&self, config: &AdminConfig, given: &str) -> Option<(String, Scope)> {
        let given = Digest::of(given.as_bytes());
        let own = config.token.as_ref().map(|token| Digest::of(token.as_str().as_bytes()));
        let own = own.or(self.made).map(|digest| (OWNER, digest, Scope::Admin));
        let named = config.tokens.iter().map(|(name, token)| (&**name, token.sha256, token.scope));
        let mut holder = None;
        for (name, digest, scope) in own.into_iter().chain(named) {
            if same(&digest, &given) {
                holder = Some((name.to_owned(), scope));
            }
        }
        holder
    }
}

/// Whether the connection showed what it has to.
fn certified(
    config: &AdminConfig,
    shown: Option<&Certificate>,
    now: Timestamp,
) -> Result<(), Fault> {
    let Some(authority) = &config.client_ca else { return Ok(()) };
    let shown = shown.ok_or_else(|| Fault::uncertified("the connection showed none"))?;
    authority.check(shown, now).map_err(Fault::uncertified)
}

/// Whether they are the same, in a time that does not depend on where they differ.
fn same(one: &Digest, other: &Digest) -> bool {
    let pairs = one.as_bytes().iter().zip(other.as_bytes());
    std::hint::black_box(pairs.fold(0, |differ, (one, other)| differ | (one ^ other))) == 0
}

/// The host of a `Host` header, an IPv6 address without its brackets.
fn without_port(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    }
}

/// A token that nobody guesses.
pub(crate) fn new_token(chance: &Chance) -> String {
    chance.bytes::<32>().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn kept_token(path: &Path, chance: &Chance) -> io::Result<String> {
    let made = File::options().write(true).create_new(true).mode(0o600).open(path);
    match made {
        Ok(mut file) => {
            let token = new_token(chance);
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
    use crate::config::{Rate, Surroundings};

    const NOW: Timestamp = Timestamp::from_millis(0);

    fn asked(host: &'static str, token: Option<&'static str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        headers.extend(token.map(|token| (header::AUTHORIZATION, token.parse().unwrap())));
        headers
    }

    fn config(admin: &str) -> Config {
        let text = format!("[admin]\n{admin}");
        let around = Surroundings {
            env: &|_| Some("the-owner-s-token".to_owned()),
            file: &|_| Err(io::ErrorKind::NotFound.into()),
        };
        Config::parse(&text, Path::new("/x"), &around).unwrap()
    }

    fn guard(rate: Option<Rate>) -> Guard {
        Guard { made: None, refused: Arc::new(RefusedLimit::new(rate)) }
    }

    fn check(
        guard: &Guard,
        config: &Config,
        host: &'static str,
        token: Option<&'static str>,
    ) -> String {
        let headers = asked(host, token);
        let peer = [192, 0, 2, 1].into();
        match guard.check(config, (&headers, &Uri::default()), (peer, None), NOW) {
            Ok(caller) => format!("{} {}", caller.who, caller.scope),
            Err(fault) => fault.code().to_owned(),
        }
    }

    #[test]
    fn a_token_and_a_host_of_ours_are_needed() {
        let config = config("token = { env = \"T\" }\nhosts = [\"ops.example\"]\n");
        let right = Some("Bearer the-owner-s-token");
        for host in ["127.0.0.1:8081", "[::1]:8081", "localhost", "LOCALHOST:1", "ops.example:8081"]
        {
            assert_eq!(check(&guard(None), &config, host, right), "admin admin", "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example", "ops.example.evil", ""] {
            assert_eq!(check(&guard(None), &config, host, right), "wrong_host", "{host}");
        }
        for token in [
            None,
            Some("the-owner-s-token"),
            Some("Bearer "),
            Some("Bearer the-owner-s-tokens"),
            Some("bearer the-owner-s-token"),
        ] {
            let said = check(&guard(None), &config, "localhost", token);
            assert_eq!(said, "unauthenticated", "{token:?}");
        }
    }

    #[test]
    fn a_token_is_known_by_its_digest_and_has_its_scope() {
        let sha256 = Digest::of(b"a-token-that-is-in-nobody-s-config");
        let config = config(&format!(
            "token = {{ env = \"T\" }}\n\
             tokens = {{ grafana = {{ sha256 = \"{sha256}\", scope = \"read\" }} }}\n"
        ));
        for (token, said) in [
            ("Bearer a-token-that-is-in-nobody-s-config", "grafana read"),
            ("Bearer the-owner-s-token", "admin admin"),
            ("Bearer a-token-that-is-in-nobody-s-confi", "unauthenticated"),
        ] {
            assert_eq!(check(&guard(None), &config, "localhost", Some(token)), said);
        }
        // What is in the config is no token.
        let digest: &str = Box::leak(format!("Bearer {sha256}").into_boxed_str());
        assert_eq!(check(&guard(None), &config, "localhost", Some(digest)), "unauthenticated");
    }

    #[test]
    fn whom_a_proxy_speaks_for_is_believed_of_the_proxies_of_this_address_alone() {
        let peer = [192, 0, 2, 1].into();
        let mut headers = asked("localhost", Some("Bearer the-owner-s-token"));
        headers.insert("x-forwarded-for", "198.51.100.7".parse().unwrap());
        let token = "token = { env = \"T\" }\n";
        for (lines, client) in [
            ("[server]\ntrusted_proxies = [\"192.0.2.0/24\"]\n", "192.0.2.1"),
            ("trusted_proxies = [\"192.0.2.0/24\"]\n", "198.51.100.7"),
        ] {
            let config = config(&format!("{token}{lines}"));
            let guard = guard(None);
            let caller = guard.check(&config, (&headers, &Uri::default()), (peer, None), NOW);
            let caller = caller.unwrap();
            assert_eq!(caller.client.to_string(), client, "{lines}");
        }
    }

    #[test]
    fn an_address_that_is_refused_too_often_is_turned_away_unless_it_has_a_token() {
        let config = config("token = { env = \"T\" }\n");
        let guard = guard(Some(Rate { count: 2, per: std::time::Duration::from_secs(3600) }));
        let right = Some("Bearer the-owner-s-token");
        for said in ["unauthenticated", "unauthenticated", "unauthenticated", "rate_limited"] {
            assert_eq!(check(&guard, &config, "localhost", None), said);
        }
        assert_eq!(check(&guard, &config, "evil.example", right), "rate_limited");
        // Whoever floods from an operator's address does not keep the operator out.
        assert_eq!(check(&guard, &config, "localhost", right), "admin admin");
        let headers = asked("localhost", None);
        let elsewhere = [192, 0, 2, 2].into();
        let fault =
            guard.check(&config, (&headers, &Uri::default()), (elsewhere, None), NOW).unwrap_err();
        assert_eq!(fault.code(), "unauthenticated");
    }
}
