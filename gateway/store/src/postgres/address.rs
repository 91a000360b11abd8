//! What the address of a database says, and how it is shown: without its password.

use std::fmt::{self, Write as _};

use tokio_postgres::{
    Config,
    config::{Host, SslMode},
};

use super::fault::said;
use crate::{OpenError, PostgresDatabase};

impl PostgresDatabase {
    /// Whether its address can be used, without trying it.
    ///
    /// # Errors
    /// [`OpenError::Address`], which does not show it.
    pub fn check(&self) -> Result<(), OpenError> {
        config(&self.url).map(drop)
    }

    /// Whether the address has the password in it.
    pub fn has_password(&self) -> bool {
        config(&self.url).is_ok_and(|config| config.get_password().is_some())
    }
}

impl fmt::Display for PostgresDatabase {
    /// The address without its password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.url))
    }
}

/// What connections are made by.
pub(super) fn config(url: &str) -> Result<Config, OpenError> {
    let refused = |reason: String| OpenError::Address { reason };
    if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
        return Err(refused("it does not begin with postgres://".to_owned()));
    }
    let (place, params) = parts(url);
    // What is said of it could be a piece of the password.
    if params.contains('@') {
        let reason = "characters such as @ and ? in it are written as %40 and %3F";
        return Err(refused(reason.to_owned()));
    }
    // Where there is encryption here, the certificate is always verified, and the name in it.
    let verified = |param| match param {
        "sslmode=verify-ca" | "sslmode=verify-full" => "sslmode=require",
        other => other,
    };
    let params: Vec<_> =
        params.split('&').filter(|param| !param.is_empty()).map(verified).collect();
    let url = format!("{place}?{}", params.join("&"));
    let config: Config = url.parse().map_err(|error| refused(said(&error)))?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err(refused("it names no host".to_owned()));
    }
    Ok(config)
}

/// What is before the question mark, and what is behind it. One before the first `@` is the password's.
fn parts(url: &str) -> (&str, &str) {
    let user = url.find('@').unwrap_or(0);
    match url[user..].find('?') {
        Some(mark) => (&url[..user + mark], &url[user + mark + 1..]),
        None => (url, ""),
    }
}

/// The address as people may see it.
pub(super) fn shown(url: &str) -> String {
    let Ok(config) = config(url) else { return "postgres://".to_owned() };
    let mut text = "postgres://".to_owned();
    if let Some(user) = config.get_user() {
        text += user;
        text.push('@');
    }
    let ports = config.get_ports();
    for (at, host) in config.get_hosts().iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        match host {
            Host::Tcp(name) if name.contains(':') => text += &format!("[{name}]"),
            Host::Tcp(name) => text += name,
            #[cfg(unix)]
            Host::Unix(folder) => text += &folder.to_string_lossy().replace('/', "%2F"),
        }
        let port = ports.get(at).or(ports.first().filter(|_| ports.len() == 1));
        if let Some(port) = port.filter(|port| **port != 5432) {
            let _ = write!(text, ":{port}");
        }
    }
    if let Some(name) = config.get_dbname() {
        text.push('/');
        text += name;
    }
    text += match config.get_ssl_mode() {
        SslMode::Disable => "?sslmode=disable",
        SslMode::Require => "?sslmode=require",
        _ => "",
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        for (url, seen) in [
            ("postgres://h", "postgres://h"),
            ("postgresql://me:pa%40ss@h:5433/d", "postgres://me@h:5433/d"),
            ("postgres://me:p?a/s:s@a:1,b:2/d", "postgres://me@a:1,b:2/d"),
            ("postgres://me@[::1]/d?password=pass", "postgres://me@[::1]/d"),
            ("postgres://h/d?sslmode=verify-full&user=me", "postgres://me@h/d?sslmode=require"),
            ("postgres://%2Frun%2Fpostgresql:5432/d", "postgres://%2Frun%2Fpostgresql/d"),
            ("host=h password=pass", "postgres://"),
        ] {
            assert_eq!(shown(url), seen);
        }
    }

    #[test]
    fn what_is_wrong_with_an_address_is_said_without_its_password() {
        for (url, fault) in [
            ("mysql://me:pass@h/d", "does not begin with postgres://"),
            ("postgres://me:pass@/d", "names no host"),
            ("postgres://me:pass@h:port/d", "`port`"),
            ("postgres://me:pass@h/d?sslmode=maybe", "`sslmode`"),
            ("postgres://me:pass@h/d?sslcert=x", "`sslcert`"),
            ("postgres://me:not@the?pass=word@h/d", "%40"),
        ] {
            let said = config(url).expect_err(fault).to_string();
            assert!(said.contains(fault) && !said.contains("pass"), "{said}");
        }
    }
}
