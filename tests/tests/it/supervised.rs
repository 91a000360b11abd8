//! What a supervisor hears, by the protocol of sd_notify(3): ready when it is, signs of life while a restart would not
//! help, reloads, the end.

use std::{os::unix::net::UnixDatagram, path::PathBuf, time::Duration};

use hookweir::{gateway::Surrounds, supervisor::Supervisor};
use hookweir_tests::{
    fault_vfs::{Call, FaultVfs},
    house::{House, InProcess, PATIENCE},
};
use rusqlite::ffi;
use rustix::process::Signal;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_hookweir-under-test");
/// A sign of life is due at least so often.
const WATCHDOG: &str = "900000";

/// A supervisor's ear.
struct Ear {
    socket: UnixDatagram,
    path: PathBuf,
    _folder: TempDir,
}

impl Ear {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, path, _folder: folder }
    }

    /// The next message.
    fn hear(&self) -> String {
        let mut message = [0; 4096];
        let length = self.socket.recv(&mut message).expect("it says something");
        String::from_utf8(message[..length].to_vec()).unwrap()
    }

    /// Listens until a message has this.
    fn until(&self, what: &str) -> String {
        loop {
            let heard = self.hear();
            if heard.lines().any(|line| line.starts_with(what)) {
                return heard;
            }
        }
    }
}

/// What is asked where waiting would hold up the test's own runtime.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_supervisor_hears_of_the_start_of_life_of_reloads_and_of_the_end() {
    let house = House::new(PROGRAM, "server.drain_delay = \"3s\"\n");
    let ear = std::sync::Arc::new(Ear::new());
    let gateway = house
        .spawn_with(&[("NOTIFY_SOCKET", ear.path.to_str().unwrap()), ("WATCHDOG_USEC", WATCHDOG)]);
    let hear = |what: &'static str| {
        let ear = ear.clone();
        aside(move || ear.until(what))
    };
    hear("STATUS=not ready: starting: ").await;
    hear("READY=1").await;
    let ready = reqwest::get(format!("http://{}/readyz", house.admin)).await.unwrap();
    assert_eq!(ready.status(), 200, "it is ready when it says so");
    for _ in 0..3 {
        hear("WATCHDOG=1").await;
    }
    gateway.signal(Signal::HUP);
    let reloading = hear("RELOADING=1").await;
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    let reloaded = hear("READY=1").await;
    assert!(reloaded.contains("STATUS=config unchanged"), "{reloaded}");
    gateway.signal(Signal::TERM);
    hear("STOPPING=1").await;
    hear("WATCHDOG=1").await;
    assert!(gateway.ended().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poisoned_store_gives_no_sign_of_life_and_a_full_disk_does() {
    let house = House::new(PROGRAM, "");
    let (ear, disk) = (std::sync::Arc::new(Ear::new()), FaultVfs::register("supervised"));
    let path = ear.path.clone();
    let supervisor = Supervisor::of_environment(
        |name| match name {
            "NOTIFY_SOCKET" => Some(path.clone().into()),
            "WATCHDOG_USEC" => Some(WATCHDOG.into()),
            "WATCHDOG_PID" => Some("7".into()),
            _ => None,
        },
        7,
    );
    let (config, surrounds) = house.surrounds();
    let surrounds = Surrounds { vfs: Some(disk.name()), supervisor, ..surrounds };
    let gateway = InProcess::start(config, surrounds).await;
    let hear = |what: &'static str| {
        let ear = ear.clone();
        aside(move || ear.until(what))
    };
    hear("WATCHDOG=1").await;
    let sender = house.sender("github");
    disk.fail_from(Call::Write, 1, ffi::SQLITE_FULL);
    assert_eq!(sender.send("push", "1", b"{}").await.unwrap().status, 503);
    assert!(disk.fired() > 0, "the fault did not fire");
    hear("STATUS=not ready: the store refuses").await;
    for _ in 0..3 {
        let ear = ear.clone();
        assert_eq!(aside(move || ear.hear()).await, "WATCHDOG=1", "it is not ready, and lives");
    }
    disk.heal();
    assert_eq!(sender.send("push", "1", b"{}").await.unwrap().status, 202);
    let fired = disk.fired();
    disk.fail_once(Call::Sync, 1, ffi::SQLITE_IOERR_FSYNC);
    assert_eq!(sender.send("push", "2", b"{}").await.unwrap().status, 503);
    assert_eq!(disk.fired(), fired + 1, "the fault did not fire");
    hear("STATUS=not ready: the store is poisoned").await;
    // Silence for longer than the watchdog waits: it would restart the gateway now.
    ear.socket.set_read_timeout(Some(Duration::from_millis(1500))).unwrap();
    let silent = aside({
        let ear = ear.clone();
        move || ear.socket.recv(&mut [0; 4096]).is_err()
    });
    assert!(silent.await, "it said something");
    gateway.stop().await;
}
