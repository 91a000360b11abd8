//! From names to addresses: a parameter, like time, so that tests can say where a provider's host
//! is. What comes out is held against the policy, and exactly that is connected to.

use std::{
    collections::HashMap,
    fmt, io,
    net::{SocketAddr, ToSocketAddrs as _},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use hyper_util::client::legacy::connect::dns::Name;
use ipnet::IpNet;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_service::Service;

use super::address;

/// Where names lead.
#[derive(Clone)]
pub struct Names(Source);

#[derive(Clone)]
enum Source {
    System,
    Table(Arc<HashMap<String, SocketAddr>>),
    Asked(Answer),
}

type Answer = Arc<dyn Fn(&str) -> Vec<SocketAddr> + Send + Sync>;

impl Names {
    /// What the system's resolver says.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// These names and no others.
    pub fn table(names: impl IntoIterator<Item = (String, SocketAddr)>) -> Self {
        Self(Source::Table(Arc::new(names.into_iter().collect())))
    }

    /// Whatever this answers, which may be another thing each time.
    pub fn asked(answer: impl Fn(&str) -> Vec<SocketAddr> + Send + Sync + 'static) -> Self {
        Self(Source::Asked(Arc::new(answer)))
    }

    /// `place` is held until the system has answered, whether or not anybody waits for it still.
    async fn resolve(self, name: &str, place: OwnedSemaphorePermit) -> io::Result<Vec<SocketAddr>> {
        match self.0 {
            Source::System => system(name.to_owned(), place).await,
            Source::Asked(answer) => Ok(answer(name)),
            Source::Table(names) => match names.get(name) {
                Some(address) => Ok(vec![*address]),
                None => Err(io::Error::new(io::ErrorKind::NotFound, "no such name")),
            },
        }
    }
}

/// Asks the system, which blocks a thread and can't be hurried.
async fn system(name: String, place: OwnedSemaphorePermit) -> io::Result<Vec<SocketAddr>> {
    let asked = tokio::task::spawn_blocking(move || {
        let found = (name.as_str(), 0).to_socket_addrs().map(Iterator::collect);
        drop(place);
        found
    });
    asked.await.map_err(io::Error::other)?
}

/// None of a name's addresses may be connected to.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("none of its addresses is public or granted")]
pub(super) struct NotAllowed;

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Names")
    }
}

/// Resolves names to addresses that may be connected to.
#[derive(Debug, Clone)]
pub(super) struct Resolver {
    names: Names,
    also: Arc<[IpNet]>,
    places: Arc<Semaphore>,
}

/// Names that one resolver asks for at the same time. Its own: a name that nobody answers for holds up
/// whoever wants it.
const LOOKUPS_MAX: usize = 8;

impl Resolver {
    /// Lets public addresses pass, and those of `also`.
    pub(super) fn new(names: Names, also: Arc<[IpNet]>) -> Self {
        Self { names, also, places: Arc::new(Semaphore::new(LOOKUPS_MAX)) }
    }
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let Self { names, also, places } = self.clone();
        Box::pin(async move {
            let place = places.acquire_owned().await.map_err(io::Error::other)?;
            let found = names.resolve(name.as_str(), place).await?;
            let allowed: Vec<_> =
                found.into_iter().filter(|a| address::allowed(a.ip(), &also)).collect();
            if allowed.is_empty() {
                return Err(io::Error::other(NotAllowed));
            }
            Ok(allowed.into_iter())
        })
    }
}
