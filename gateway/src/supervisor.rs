//! Whoever started the gateway and waits to hear how it stands: systemd, by the protocol of sd_notify(3). Where nobody
//! waits, nothing is said.
//!
//! A watchdog is fed only while a restart would not help: the store answers and is not poisoned, plugins' threads
//! take work, and dispatch goes round. A store that refuses for want of space is fed, since a restart frees none.

use std::{
    ffi::{OsStr, OsString},
    fmt::Write as _,
    io,
    os::unix::net::{SocketAddr, UnixDatagram},
    sync::{Arc, OnceLock},
    time::Duration,
};

use hookweir_store::{Store, StoreError};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::oneshot;

use crate::{
    dispatch::Rounds,
    readiness::Readiness,
    tasks::{Spawner, Stop},
};

/// How often the status is looked at where no watchdog asks for more.
const LOOK: Duration = Duration::from_secs(1);
/// A watchdog is fed so often in the time that it has: two signs of life may be late.
const FEEDS: u32 = 3;

/// Whoever waits. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Supervisor {
    line: Option<Arc<Line>>,
    /// It restarts a gateway that gives no sign of life for so long.
    watchdog: Option<Duration>,
}

/// The way to it.
#[derive(Debug)]
struct Line {
    socket: UnixDatagram,
    to: SocketAddr,
}

impl Supervisor {
    /// Who the environment of a process names, by `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`
    /// (sd_notify(3), sd_watchdog_enabled(3)).
    pub fn of_environment(env: impl Fn(&str) -> Option<OsString>, pid: u32) -> Self {
        let Some(to) = env("NOTIFY_SOCKET") else { return Self::default() };
        let line = match Line::to(&to) {
            Ok(line) => Some(Arc::new(line)),
            Err(error) => {
                tracing::warn!(?to, %error, "the supervisor can't be told anything");
                None
            }
        };
        let number = |name| env(name)?.to_str()?.parse::<u64>().ok();
        let for_us = env("WATCHDOG_PID").is_none() || number("WATCHDOG_PID") == Some(pid.into());
        let watchdog = number("WATCHDOG_USEC").filter(|usec| for_us && *usec > 0);
        Self { line, watchdog: watchdog.map(Duration::from_micros) }
    }

    /// The gateway has started.
    pub(crate) fn started(&self) {
        self.tell("READY=1");
    }

    /// A reload begins.
    pub(crate) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let usec = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={usec}"));
    }

    /// It is over.
    pub(crate) fn reloaded(&self, said: &str) {
        self.tell(&with_status("READY=1", said));
    }

    /// The gateway was asked to stop.
    pub(crate) fn stopping(&self) {
        self.tell(&with_status("STOPPING=1", "finishing what is begun"));
    }

    /// Says how the gateway stands whenever that changes, until `stop`, and feeds the watchdog once there are vitals.
    /// Before that it does not run: it is for a gateway that has started (systemd.service(5), `WatchdogSec=`).
    pub(crate) async fn attend(
        self,
        readiness: Readiness,
        vitals: Arc<OnceLock<Vitals>>,
        mut stop: Stop,
    ) {
        if self.line.is_none() {
            return stop.asked().await;
        }
        let round = self.watchdog.map_or(LOOK, |time| (time / FEEDS).min(LOOK));
        let mut said = None;
        loop {
            let why = readiness.unready();
            let status = why.map_or("ready".to_owned(), |why| format!("not ready: {why}"));
            if said.as_ref() != Some(&status) {
                self.tell(&with_status("", &status));
                said = Some(status);
            }
            if let (Some(time), Some(vitals)) = (self.watchdog, vitals.get()) {
                let answer = tokio::time::timeout(time / FEEDS, vitals.answer()).await;
                if answer == Ok(true) && readiness.unhealthy().is_none() {
                    self.tell("WATCHDOG=1");
                }
            }
            tokio::select! {
                () = stop.asked() => return,
                () = tokio::time::sleep(round) => {}
            }
        }
    }

    fn tell(&self, state: &str) {
        let Some(line) = &self.line else { return };
        if let Err(error) = line.socket.send_to_addr(state.as_bytes(), &line.to) {
            tracing::debug!(%error, "failed to tell the supervisor");
        }
    }
}

impl Line {
    /// To a socket by its path, or by its abstract name, which begins with `@`.
    fn to(name: &OsStr) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        // What nobody takes from the socket must not hold up the gateway.
        socket.set_nonblocking(true)?;
        Ok(Self { socket, to: address(name)? })
    }
}

#[cfg(target_os = "linux")]
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    use std::os::{linux::net::SocketAddrExt as _, unix::ffi::OsStrExt as _};
    match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(name),
    }
}

#[cfg(not(target_os = "linux"))]
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    SocketAddr::from_pathname(name)
}

/// With a line for people. One that would have several has its first.
fn with_status(state: &str, said: &str) -> String {
    let mut text = state.to_owned();
    let _ = write!(text, "\nSTATUS={}", said.lines().next().unwrap_or_default());
    text.trim_start().to_owned()
}

/// What has to go round for the gateway to do anything: the store's writer, the plugins' threads, and dispatch.
#[derive(Debug)]
pub(crate) struct Vitals {
    pub(crate) store: Store,
    pub(crate) spawner: Spawner,
    pub(crate) rounds: Rounds,
}

impl Vitals {
    /// Goes round once. False if what it met does not work and only a restart cures that.
    async fn answer(&self) -> bool {
        let (answer, answered) = oneshot::channel();
        self.spawner.guest(async move {
            let _ = answer.send(());
        });
        // A lease of nothing goes through the writer, and writes nothing.
        let (written, answered, ()) =
            tokio::join!(self.store.lease(Vec::new()), answered, self.rounds.another());
        answered.is_ok() && !matches!(written, Err(StoreError::Poisoned(_)))
    }
}

#[cfg(test)]
mod tests {
    use hookweir_event::Clock;
    use hookweir_store::{Options, SqliteFile};

    use super::*;

    #[tokio::test]
    async fn a_dispatch_that_stands_still_is_found_out() {
        let folder = tempfile::tempdir().unwrap();
        let file = SqliteFile::new(folder.path().join("db"));
        let store = Store::open(Options::new(file, [0; 16], Clock::system())).await.unwrap();
        let rounds = Rounds::default();
        let vitals = Vitals { store, spawner: Spawner::here(), rounds: rounds.clone() };
        let stands_still = tokio::time::timeout(Duration::from_millis(200), vitals.answer()).await;
        assert!(stands_still.is_err());
        rounds.end();
        assert!(vitals.answer().await, "all else is well");
    }
}
