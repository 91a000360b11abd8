//! The servers that an address names, of which the one that takes writes is looked for. Each is given its share of the
//! time: one that stands still, which may be in the middle of anything, keeps nobody from the next.

use std::{
    future::pending,
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use deadpool_postgres::Connect;
use tokio::{task::JoinHandle, time::timeout};
use tokio_postgres::{
    Client, Config, Connection, Error, Socket,
    config::{Host, TargetSessionAttrs},
    tls::MakeTlsConnect,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{
    Fault, address,
    link::{CONNECT, NO_ANSWER, STATEMENT},
    tls,
};
use crate::{OpenError, PostgresDatabase};

/// So long all of them are tried at most.
pub(super) const ALL: Duration = CONNECT.saturating_mul(2);

/// What an encrypted connection is made of; the crate that makes it has no name for it.
type Encrypted = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;
/// A connection, and what drives it.
type Connected = (Client, Connection<Socket, Encrypted>);

/// The servers. Clones share what was found of them.
#[derive(Clone)]
pub(super) struct Hosts(Arc<Known>);

struct Known {
    /// How each of them is spoken to.
    each: Vec<Config>,
    tls: MakeRustlsConnect,
    /// Which one is tried first: the last that was taken, or the next one to it if it did not answer since.
    first: AtomicUsize,
}

impl Hosts {
    pub(super) fn of(database: &PostgresDatabase) -> Result<Self, OpenError> {
        let mut config = address::config(&database.url)?;
        config.connect_timeout(CONNECT).tcp_user_timeout(STATEMENT);
        config.keepalives_idle(Duration::from_secs(15)).keepalives_interval(Duration::from_secs(5));
        if config.get_application_name().is_none() {
            config.application_name("hookweir");
        }
        // Of several hosts, the one that is no standby.
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        let tls = tls::connector(database.ca.as_deref());
        let tls = tls.map_err(|reason| OpenError::Address { reason })?;
        let each = each_of(&config).map_err(|reason| OpenError::Address { reason })?;
        Ok(Self(Arc::new(Known { each, tls, first: AtomicUsize::new(0) })))
    }

    /// A connection of its own, with what drives it.
    pub(super) async fn apart(&self) -> Result<Connected, Fault> {
        match self.0.connect().await {
            Some(tried) => tried.map_err(|error| Fault::from(error).into_lost()),
            None => Err(Fault::Lost(NO_ANSWER.to_owned())),
        }
    }
}

impl Connect for Hosts {
    fn connect(
        &self,
        _: &Config,
    ) -> Pin<Box<dyn Future<Output = Result<(Client, JoinHandle<()>), Error>> + Send + '_>> {
        Box::pin(async {
            let Some(tried) = self.0.connect().await else {
                // Nobody else can make such an error. The pool ends it that waits for this.
                return pending().await;
            };
            let (client, connection) = tried?;
            let driven = tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection to the database ended");
                }
            });
            Ok((client, driven))
        })
    }
}

impl Known {
    /// The first that takes writes, or why the last one of them did not; none if none of them said anything.
    async fn connect(&self) -> Option<Result<Connected, Error>> {
        let (count, first) = (self.each.len(), self.first.load(Ordering::Relaxed));
        let share = ALL / u32::try_from(count).unwrap_or(u32::MAX).max(1);
        let mut failed = None;
        for nth in (0..count).map(|n| (first + n) % count) {
            match self.at(&self.each[nth], share).await {
                Some(Ok(connected)) => {
                    self.first.store(nth, Ordering::Relaxed);
                    return Some(Ok(connected));
                }
                Some(Err(error)) => failed = Some(Err(error)),
                None => self.first.store((nth + 1) % count, Ordering::Relaxed),
            }
        }
        failed
    }

    /// The same of one of them, whose name may be that of several addresses.
    async fn at(&self, config: &Config, share: Duration) -> Option<Result<Connected, Error>> {
        let all = match addresses_of(config, share.min(CONNECT)).await {
            Some(addresses) => addresses,
            // It is looked up once more by who can say what is wrong with it.
            None => vec![config.clone()],
        };
        let each = share / u32::try_from(all.len()).unwrap_or(u32::MAX).max(1);
        let mut failed = None;
        for config in all {
            match timeout(each.min(CONNECT), config.connect(self.tls.clone())).await {
                Ok(Ok(connected)) => return Some(Ok(connected)),
                Ok(Err(error)) => failed = Some(Err(error)),
                Err(_) => {}
            }
        }
        failed
    }
}

/// One for each of the addresses that a name stands for; none if that is not found out.
async fn addresses_of(config: &Config, limit: Duration) -> Option<Vec<Config>> {
    let [Host::Tcp(name)] = config.get_hosts() else { return None };
    if !config.get_hostaddrs().is_empty() {
        return None;
    }
    let port = config.get_ports().first().copied().unwrap_or(PORT);
    let found = timeout(limit, tokio::net::lookup_host((name.as_str(), port))).await.ok()?.ok()?;
    let of = |address: IpAddr| {
        let mut config = config.clone();
        config.hostaddr(address);
        config
    };
    let all: Vec<_> = found.map(|address| of(address.ip())).collect();
    Some(all).filter(|all| !all.is_empty())
}

/// Where a server listens if nothing else is said.
const PORT: u16 = 5432;

/// One for each of the hosts.
fn each_of(config: &Config) -> Result<Vec<Config>, String> {
    let (hosts, addresses, ports) =
        (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    let count = hosts.len().max(addresses.len());
    if [hosts.len(), addresses.len()].iter().any(|len| ![0, count].contains(len))
        || ![0, 1, count].contains(&ports.len())
    {
        return Err("it has not as many ports or addresses as hosts".to_owned());
    }
    let one = |at: usize| {
        let mut one = without_hosts(config);
        match hosts.get(at) {
            Some(Host::Tcp(name)) => _ = one.host(name),
            #[cfg(unix)]
            Some(Host::Unix(folder)) => _ = one.host_path(folder),
            None => {}
        }
        if let Some(address) = addresses.get(at) {
            one.hostaddr(*address);
        }
        one.port(ports.get(at).or(ports.first()).copied().unwrap_or(PORT));
        one
    };
    Ok((0..count).map(one).collect())
}

/// All that it says of connections, but for whom they are with.
fn without_hosts(config: &Config) -> Config {
    let mut other = Config::new();
    if let Some(user) = config.get_user() {
        other.user(user);
    }
    if let Some(password) = config.get_password() {
        other.password(password);
    }
    if let Some(name) = config.get_dbname() {
        other.dbname(name);
    }
    if let Some(options) = config.get_options() {
        other.options(options);
    }
    if let Some(name) = config.get_application_name() {
        other.application_name(name);
    }
    if let Some(limit) = config.get_connect_timeout() {
        other.connect_timeout(*limit);
    }
    if let Some(limit) = config.get_tcp_user_timeout() {
        other.tcp_user_timeout(*limit);
    }
    if let Some(interval) = config.get_keepalives_interval() {
        other.keepalives_interval(interval);
    }
    if let Some(retries) = config.get_keepalives_retries() {
        other.keepalives_retries(retries);
    }
    other
        .ssl_mode(config.get_ssl_mode())
        .ssl_negotiation(config.get_ssl_negotiation())
        .channel_binding(config.get_channel_binding())
        .target_session_attrs(config.get_target_session_attrs())
        .load_balance_hosts(config.get_load_balance_hosts())
        .keepalives(config.get_keepalives())
        .keepalives_idle(config.get_keepalives_idle());
    other
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_host_of_an_address_is_spoken_to_as_it_says() {
        let url = "postgres://me:pass@a:1,b:2,%2Frun%2Fpg:3/d?sslmode=require&keepalives_retries=2\
                   &options=-c%20jit%3Doff&channel_binding=require&sslnegotiation=direct";
        let all: Config = url.parse().expect("it is one");
        let each = each_of(&all).expect("they match");
        let urls =
            ["a:1", "b:2", "%2Frun%2Fpg:3"].map(|one| url.replace("a:1,b:2,%2Frun%2Fpg:3", one));
        let alone = urls.map(|url| url.parse::<Config>().expect("it is one"));
        assert_eq!(each, alone);
        let unequal: Config =
            "postgres://a:1,b:2,c:3/d?hostaddr=1.1.1.1".parse().expect("it is one");
        assert!(each_of(&unequal).is_err());
    }
}
