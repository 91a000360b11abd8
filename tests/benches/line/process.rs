//! The processes that are measured, each in a process of its own: the gateway, a bare server, the
//! peer. And what the system says of them.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    http::{HeaderMap, StatusCode, header},
    routing::post,
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use hookweir_tests::{
    guests,
    house::{Gateway, House, PATIENCE, SECRET},
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sha2::Sha256;

/// The gateway's own `main`, built beside this benchmark.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_hookweir-under-test");

/// A house with a gateway that runs in it.
pub(crate) struct Running {
    pub(crate) house: House,
    pub(crate) gateway: Gateway,
}

impl Running {
    /// Starts a gateway with these sections in its config and these plugins in its folder.
    pub(crate) async fn start(sections: &str, plugins: &[&str]) -> Self {
        let house = House::new(PROGRAM, sections);
        for plugin in plugins {
            house.put_guest(plugin);
        }
        let gateway = house.start().await;
        Self { house, gateway }
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        vec![self.gateway.pid()]
    }

    /// How many transactions were committed, from the index of the log: a counter at byte 8 that
    /// each transaction moves by one (<https://sqlite.org/walformat.html>, 2.1).
    pub(crate) fn commits(&self) -> u32 {
        let mut path = self.house.database().into_os_string();
        path.push("-shm");
        let index = fs::read(path).unwrap();
        u32::from_ne_bytes(index[8..12].try_into().unwrap())
    }
}

/// CPU time that processes have used, of the user and of the system for it.
pub(crate) fn cpu(pids: &[u32]) -> Duration {
    pids.iter().map(|pid| cpu_of(*pid)).sum()
}

/// proc(5): fields 14 and 15 of `stat`, counted behind the name, in ticks of 10 ms.
fn cpu_of(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks = |at: usize| fields.split(' ').nth(at).unwrap().parse::<u64>().unwrap();
    Duration::from_millis(10 * (ticks(11) + ticks(12)))
}

/// A server that this benchmark is in another process: what it takes is not the subject's.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// The one that this flag stands for.
    pub(crate) fn start(flag: &str) -> Self {
        let program = std::env::current_exe().unwrap();
        let mut command = Command::new(program);
        let (child, line) = spawn(command.arg(flag));
        Self { child, address: line.parse().unwrap() }
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        vec![self.child.id()]
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The least that a server must do: axum reads the body, checks the same signature, gives the same
/// answer, keeps nothing.
pub(crate) const BARE: &str = "--serve-bare";

/// The bare server's `main`.
pub(crate) fn serve_bare() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        println!("{}", listener.local_addr().unwrap());
        let app = Router::new().route("/webhooks/github", post(bare));
        let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
            let _ = stream.set_nodelay(true);
        });
        axum::serve(listener, app).await.unwrap();
    });
}

async fn bare(
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, [(header::HeaderName, &'static str); 1], String) {
    let json = [(header::CONTENT_TYPE, "application/json")];
    let given = headers.get("x-hub-signature-256").and_then(|value| value.to_str().ok());
    let given = given.and_then(|text| text.strip_prefix("sha256=")).unwrap_or_default();
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(&body);
    let is_signed = unhex(given).is_some_and(|tag| mac.verify_slice(&tag).is_ok());
    if !is_signed {
        return (StatusCode::UNAUTHORIZED, json, r#"{"error":"not authentic"}"#.into());
    }
    let id = headers.get("x-github-delivery").and_then(|id| id.to_str().ok()).unwrap_or_default();
    let answer = format!(r#"{{"accepted":true,"id":"{id}","duplicate":false}}"#);
    (StatusCode::ACCEPTED, json, answer)
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let pairs = text.as_bytes().chunks_exact(2);
    if pairs.len() != bytes.len() || !pairs.remainder().is_empty() {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// Express, BullMQ and Redis, as `tests/peers/README.md` says.
pub(crate) struct Peer {
    child: Child,
    pub(crate) address: SocketAddr,
    stats: String,
    pids: Vec<u32>,
}

impl Peer {
    /// Starts it, or says what it needs.
    pub(crate) fn start() -> Result<Self, String> {
        let folder = peer_folder();
        for (program, package) in [("node", "nodejs"), ("redis-server", "redis-server")] {
            let asked = Command::new(program).arg("--version").stdout(Stdio::null()).status();
            asked.map_err(|_| format!("{program} is missing: apt-get install {package}"))?;
        }
        if !folder.join("node_modules").is_dir() {
            let folder = folder.display();
            return Err(format!(
                "its packages are missing: (cd {folder} && npm ci --ignore-scripts)"
            ));
        }
        let mut command = Command::new("node");
        command.arg("server.mjs").current_dir(folder);
        command.env("WEBHOOK_SECRET", SECRET).env("REDIS_DIR", std::env::temp_dir());
        let (child, line) = spawn(&mut command);
        let said: Value = serde_json::from_str(&line).map_err(|_| "it did not start".to_owned())?;
        let address = said["url"].as_str().unwrap().strip_prefix("http://").unwrap();
        let mut pids: Vec<_> = ["server", "redis", "worker"]
            .into_iter()
            .map(|part| u32::try_from(said["pids"][part].as_u64().unwrap()).unwrap())
            .collect();
        pids.sort_unstable();
        pids.dedup();
        let stats = said["stats"].as_str().unwrap().to_owned();
        Ok(Self { child, address: address.parse().unwrap(), stats, pids })
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        self.pids.clone()
    }

    /// Jobs that are done.
    pub(crate) async fn done(&self, client: &reqwest::Client) -> u64 {
        let stats: Value = client.get(&self.stats).send().await.unwrap().json().await.unwrap();
        stats["done"].as_u64().unwrap()
    }
}

impl Drop for Peer {
    /// Asks first, so that it takes its Redis and its folder along.
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn peer_folder() -> PathBuf {
    Path::new(guests::root()).join("tests/peers/bullmq")
}

/// Starts a program that says one line when it is ready.
fn spawn(command: &mut Command) -> (Child, String) {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, line.trim().to_owned())
}
