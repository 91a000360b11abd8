//! A house: a temporary folder with a config, plugins and a data folder, and gateways run in it.

use std::{
    fmt,
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use hookweir::{
    chance::Chance,
    config::{Config, Seen, Surroundings},
    egress::Names,
    gateway::{self, Ended, Surrounds},
    supervisor::Supervisor,
    tasks::Stopper,
};
use hookweir_event::{Clock, EventId};
pub use hookweir_ground::free_port;
use hookweir_store::{Counts, PostgresDatabase, Reader, Shown};
use hookweir_verify::{Declaration, Scheme};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::{bounded, fault_vfs::FaultVfs, guests, scrape::Scrape, sender::Sender};

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);
/// The secret of every source of a house.
pub const SECRET: &str = "test-secret-of-at-least-32-bytes!";

/// A folder in which gateways run, one at a time.
pub struct House {
    dir: TempDir,
    program: PathBuf,
    /// The database that the store is in, where it is not in a file.
    url: Option<String>,
    /// Where senders post.
    pub public: SocketAddr,
    /// Where health is asked for.
    pub admin: SocketAddr,
}

/// A running gateway. Dropped, it is killed.
pub struct Gateway {
    child: Child,
}

/// What a failed test's gateways said goes with the folder; its end is told.
impl Drop for House {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let end = &lines[lines.len().saturating_sub(100)..];
            eprintln!("the end of the gateway's log:\n{}", end.join("\n"));
        }
    }
}

impl House {
    /// A house whose gateway is `program`, or the one that `HOOKWEIR_GATEWAY` names: campaigns are run with a
    /// released build. `sections` is added to the config, which has the sources
    /// `github` and `stripe` by preset and `test`, declared, without rates.
    pub fn new(program: &str, sections: &str) -> Self {
        Self::make(program, sections, None)
    }

    /// The same with the store in a database of PostgreSQL's, by what a server says of itself. A line
    /// `store.KEY = …` in `sections` goes into `[store]`.
    pub fn in_database(program: &str, sections: &str, url: String) -> Self {
        Self::make(program, sections, Some(url))
    }

    fn make(program: &str, sections: &str, url: Option<String>) -> Self {
        let dir = tempfile::Builder::new().prefix("hookweir-test-").tempdir().unwrap();
        let (public, admin) = (free_port(), free_port());
        let other = std::env::var_os("HOOKWEIR_GATEWAY").map(PathBuf::from);
        let program = other.unwrap_or_else(|| program.into());
        let house = Self { dir, program, url, public, admin };
        fs::create_dir(house.plugins()).unwrap();
        house.write_config(sections);
        house
    }

    /// Replaces the config. A line `server.KEY = …` in `sections` goes into `[server]`, one with `admin.`
    /// into `[admin]`, and of a store in a database one with `store.` into `[store]`.
    pub fn write_config(&self, sections: &str) {
        let part = |name: &str| -> Vec<&str> {
            sections.lines().filter_map(|line| line.strip_prefix(name)).collect()
        };
        let (server, admin_lines, store) = (part("server."), part("admin."), part("store."));
        let parts = ["server.", "admin.", "store."];
        let elsewhere = |line: &&str| !parts.iter().any(|part| line.starts_with(part));
        let sections: Vec<_> = sections.lines().filter(elsewhere).collect();
        // Tests count events; those of alerts are for the tests of these.
        let alerts = if sections.contains(&"[alerts]") { "" } else { NO_ALERTS };
        let Self { public, admin, .. } = self;
        let declared = TEST_SCHEME;
        let store = match &self.url {
            Some(_) => {
                format!("[store]\nurl = {{ env = \"TEST_DATABASE\" }}\n{}\n", store.join("\n"))
            }
            None => String::new(),
        };
        let config = format!(
            r#"[server]
listen = "{public}"
{}
{}

[admin]
listen = "{admin}"
{}

{alerts}
{store}
[sources.github]
path = "/webhooks/github"
scheme = "github"
secrets = [{{ env = "TEST_SECRET" }}]
rate = "off"

[sources.stripe]
path = "/webhooks/stripe"
scheme = "stripe"
secrets = [{{ env = "TEST_SECRET" }}]
rate = "off"

[sources.test]
path = "/webhooks/test"
scheme = {declared}
secrets = [{{ env = "TEST_SECRET" }}]
rate = "off"

{}
"#,
            // Tests load the gateway from one address.
            unlimited(&server),
            server.join("\n"),
            admin_lines.join("\n"),
            sections.join("\n"),
        );
        let aside = self.dir.path().join(".gateway.toml");
        fs::write(&aside, config).unwrap();
        fs::rename(aside, self.config()).unwrap();
    }

    /// The config file.
    pub fn config(&self) -> PathBuf {
        self.dir.path().join("gateway.toml")
    }

    /// The plugins folder.
    pub fn plugins(&self) -> PathBuf {
        self.dir.path().join("plugins")
    }

    /// The store's file.
    pub fn database(&self) -> PathBuf {
        self.dir.path().join("data/hookweir.db")
    }

    /// What all gateways of this house have logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("gateway.log")).unwrap_or_default()
    }

    /// Puts a plugin into the folder by a rename.
    pub fn put(&self, name: &str, module: &[u8]) {
        let aside = self.plugins().join(format!(".{name}.tmp"));
        fs::write(&aside, module).unwrap();
        fs::rename(aside, self.plugins().join(format!("{name}.wasm"))).unwrap();
    }

    /// Puts a plugin that is built from this workspace into the folder, under its own name.
    pub fn put_guest(&self, name: &str) {
        self.put(name, &guests::wasm(name));
    }

    /// Starts a gateway and waits until it is ready.
    pub async fn start(&self) -> Gateway {
        let mut gateway = self.spawn();
        self.ready(&mut gateway).await;
        gateway
    }

    /// Starts a gateway and does not wait.
    pub fn spawn(&self) -> Gateway {
        self.spawn_with(&[])
    }

    /// The same, with more in its environment.
    pub fn spawn_with(&self, env: &[(&str, &str)]) -> Gateway {
        let log = self.dir.path().join("gateway.log");
        let log = File::options().create(true).append(true).open(log).unwrap();
        let child = Command::new(&self.program)
            .args(["run", "--config"])
            .arg(self.config())
            .env("TEST_SECRET", SECRET)
            .envs(self.url.iter().map(|url| ("TEST_DATABASE", url)))
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Gateway { child }
    }

    /// Waits until a gateway is ready.
    pub async fn ready(&self, gateway: &mut Gateway) {
        let url = format!("http://{}/readyz", self.admin);
        let client = bounded::client();
        let deadline = Instant::now() + PATIENCE;
        while !client.get(&url).send().await.is_ok_and(|reply| reply.status() == 200) {
            let ended = gateway.child.try_wait().unwrap();
            assert!(ended.is_none(), "the gateway ended: {ended:?}\n{}", self.log());
            assert!(Instant::now() < deadline, "the gateway did not get ready\n{}", self.log());
            tokio::time::sleep(POLL).await;
        }
    }

    /// What a gateway in this process starts with: each variable of its environment is [`SECRET`].
    pub fn surrounds(&self) -> (Config, Surrounds) {
        surrounds(&self.config(), &|_| Some(SECRET.to_owned()))
    }

    /// Starts a gateway in this process, over this disk.
    pub async fn start_over(&self, disk: &FaultVfs) -> InProcess {
        let (config, surrounds) = self.surrounds();
        InProcess::start(config, Surrounds { vfs: Some(disk.name()), ..surrounds }).await
    }

    /// The sender of a source of this house.
    pub fn sender(&self, source: &str) -> Sender {
        let scheme = Scheme::preset(source).unwrap_or_else(test_scheme);
        Sender::new(self.public, &format!("/webhooks/{source}"), scheme, SECRET)
    }

    /// The store, read beside the gateway.
    pub fn reader(&self) -> Reader {
        match &self.url {
            Some(url) => Reader::of(&PostgresDatabase::new(url).into()).unwrap(),
            None => Reader::at(self.database()),
        }
    }

    /// Waits until `enough` says so.
    pub async fn until(&self, what: &str, mut enough: impl FnMut(&Counts) -> bool) -> Counts {
        let reader = self.reader();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let counts = reader.counts().await.unwrap();
            if enough(&counts) {
                return counts;
            }
            assert!(
                Instant::now() < deadline,
                "waited in vain for {what}: {counts:?}\n{}",
                self.log()
            );
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until an event stands as `enough` says.
    pub async fn until_event(
        &self,
        id: EventId,
        what: &str,
        enough: impl Fn(&Shown) -> bool,
    ) -> Shown {
        let reader = self.reader();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let shown = reader.show(id).await.unwrap();
            if shown.as_ref().is_some_and(&enough) {
                return shown.unwrap();
            }
            let late = Instant::now() >= deadline;
            assert!(!late, "waited in vain for {what}: {shown:#?}\n{}", self.log());
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until a line of the log, after the first `skip` bytes, has all of these words in it.
    /// Answers that line.
    pub async fn until_log(&self, skip: usize, words: &[&str]) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let log = self.log();
            let said = |line: &&str| words.iter().all(|word| line.contains(word));
            if let Some(line) = log[skip..].lines().find(said) {
                return line.to_owned();
            }
            assert!(Instant::now() < deadline, "waited in vain for {words:?} in\n{log}");
            tokio::time::sleep(POLL).await;
        }
    }

    /// What the admin API answers at this place below `/v1/`.
    pub async fn admin(&self, place: &str) -> serde_json::Value {
        self.ask_admin(place).await.json().await.unwrap()
    }

    /// The same with its status and headers.
    pub async fn ask_admin(&self, place: &str) -> reqwest::Response {
        let token = fs::read_to_string(self.dir.path().join("data/admin-token")).unwrap();
        let client = bounded::client();
        let asking = client.get(format!("http://{}/v1/{place}", self.admin)).bearer_auth(token);
        asking.send().await.unwrap()
    }

    /// Has the admin API do something at this place below `/v1/`. Answers what it says.
    pub async fn operate(&self, place: &str, body: &serde_json::Value) -> serde_json::Value {
        let token = fs::read_to_string(self.dir.path().join("data/admin-token")).unwrap();
        let client = bounded::client();
        let asking = client.post(format!("http://{}/v1/{place}", self.admin)).bearer_auth(token);
        let reply = asking.json(body).send().await.unwrap();
        let status = reply.status();
        let answer = reply.text().await.unwrap();
        assert!(status.is_success(), "{place}: {status} {answer}");
        serde_json::from_str(&answer).unwrap()
    }

    /// What `/metrics` says.
    pub async fn metrics(&self) -> Scrape {
        let token = fs::read_to_string(self.dir.path().join("data/admin-token")).unwrap();
        let client = bounded::client();
        let asking = client.get(format!("http://{}/metrics", self.admin)).bearer_auth(token);
        Scrape::parse(&asking.send().await.unwrap().text().await.unwrap())
    }

    /// Waits until `/metrics` says so.
    pub async fn until_metrics(&self, what: &str, enough: impl Fn(&Scrape) -> bool) -> Scrape {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let scrape = self.metrics().await;
            if enough(&scrape) {
                return scrape;
            }
            assert!(Instant::now() < deadline, "waited in vain for {what}: {scrape:#?}");
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until a plugin stands as `enough` says.
    pub async fn until_plugin(
        &self,
        name: &str,
        what: &str,
        enough: impl Fn(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let plugin = self.admin(&format!("plugins/{name}")).await;
            if enough(&plugin) {
                return plugin;
            }
            let late = Instant::now() >= deadline;
            assert!(!late, "waited in vain for {what}: {plugin:#}\n{}", self.log());
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until nothing is due or leased, and then audits the books: each delivery is exactly one
    /// of done and dead.
    pub async fn settled(&self) -> Vec<Shown> {
        self.until("settlement", |counts| counts.due + counts.leased == 0).await;
        self.events().await
    }

    /// All events.
    pub async fn events(&self) -> Vec<Shown> {
        let reader = self.reader();
        let mut all: Vec<Shown> = Vec::new();
        loop {
            let page = reader.events(all.last().map(|shown| shown.event.id), 1000).await.unwrap();
            if page.is_empty() {
                return all;
            }
            all.extend(page);
        }
    }
}

/// The limits by address that `[server]` leaves open: none.
fn unlimited(server: &[&str]) -> String {
    let says = |name: &str| server.iter().any(|line| line.starts_with(name));
    let rates = if says("address_rate") { &[][..] } else { &["address_rate", "refused_rate"] };
    let connections = ["connections_per_address"].into_iter().filter(|name| !says(name));
    let off = rates.iter().copied().chain(connections);
    off.map(|name| format!("{name} = \"off\"\n")).collect()
}

impl Gateway {
    /// Ends the process as a power cut would, as far as a process can tell.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks for a calm end and waits for it.
    pub async fn stop(self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended().await
    }

    /// Waits for an end that was asked for already: a second signal would hurry it.
    pub async fn ended(mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the gateway did not stop");
            tokio::time::sleep(POLL).await;
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory in bytes.
    pub fn resident(&self) -> u64 {
        self.resident_parts().whole()
    }

    /// Has `resident_peak` forget what was before.
    pub fn forget_resident_peak(&self) {
        // 5: see proc(5).
        fs::write(format!("/proc/{}/clear_refs", self.pid()), "5").unwrap();
    }

    /// The most resident memory it had at a time, in bytes.
    pub fn resident_peak(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// The same by where its pages come from.
    pub fn resident_parts(&self) -> Resident {
        Resident {
            anonymous: self.memory("RssAnon:"),
            file: self.memory("RssFile:"),
            shared: self.memory("RssShmem:"),
        }
    }
}

/// A config, and the world around a gateway in this process: the machine's, with an environment of its own.
pub fn surrounds(
    config: &Path,
    env: &(dyn Fn(&str) -> Option<String> + Sync),
) -> (Config, Surrounds) {
    let around = Surroundings { env, ..Surroundings::real() };
    let (config, seen) = Seen::load(config, &around);
    let surrounds = Surrounds {
        seen,
        clock: Clock::system(),
        chance: Chance::system(),
        names: Names::system(),
        supervisor: Supervisor::default(),
        vfs: None,
    };
    (config.unwrap(), surrounds)
}

/// A gateway that runs in this process, so that the world around it can be the test's own.
pub struct InProcess {
    /// Where senders post.
    pub public: SocketAddr,
    /// Where health is asked for.
    pub admin: SocketAddr,
    stopper: Stopper,
    ended: JoinHandle<Ended>,
}

impl InProcess {
    /// Starts one. It takes requests then.
    pub async fn start(config: Config, surrounds: Surrounds) -> Self {
        let (stopper, stop) = Stopper::new();
        let gateway = gateway::Gateway::build(config, surrounds, stop).await.unwrap();
        let (public, admin) = (gateway.public_address().unwrap(), gateway.admin_address());
        let ended = tokio::spawn(gateway.run());
        Self { public, admin, stopper, ended }
    }

    /// Asks for a calm end.
    pub fn ask_to_stop(&self) {
        self.stopper.stop();
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.ended.is_finished()
    }

    /// Asks for a calm end and waits for it.
    pub async fn stop(self) -> Ended {
        self.ask_to_stop();
        let ended = tokio::time::timeout(2 * PATIENCE, self.ended()).await;
        ended.expect("the gateway ends when it is asked to")
    }

    /// Waits for its end.
    pub async fn ended(self) -> Ended {
        self.ended.await.unwrap()
    }
}

/// Resident memory in bytes (proc(5), `/proc/pid/status`).
#[derive(Debug, Clone, Copy)]
pub struct Resident {
    /// What the process has written.
    pub anonymous: u64,
    /// Pages of files, the program's own among them.
    pub file: u64,
    /// Shared memory: the images that guests start from.
    pub shared: u64,
}

impl Resident {
    /// All of it.
    pub fn whole(self) -> u64 {
        self.anonymous + self.file + self.shared
    }
}

impl fmt::Display for Resident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [whole, anonymous, file, shared] =
            [self.whole(), self.anonymous, self.file, self.shared].map(|bytes| bytes >> 20);
        write!(f, "{whole} MiB ({anonymous} anonymous, {file} of files, {shared} shared)")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whatever happens, nothing is raised.
pub const NO_ALERTS: &str = r#"[alerts]
latency = "off"
error_rate = "off"
queue_age = "off"
dead_letters = "off"
refusal_rate = "off"
disk_free = "off"
"#;

/// The declared scheme of the source `test`: the generic one of the README.
pub const TEST_SCHEME: &str = r#"{ signature = "header:x-signature", algorithm = "hmac-sha256", encoding = "hex", signed = "{body}", type = "header:x-webhook-type", id = "header:x-webhook-id", replay_guard = "none" }"#;

pub(crate) fn test_scheme() -> Scheme {
    let text = |text: &str| Some(text.to_owned());
    Scheme::declare(&Declaration {
        signature: text("header:x-signature"),
        algorithm: text("hmac-sha256"),
        encoding: text("hex"),
        signed: text("{body}"),
        event_type: text("header:x-webhook-type"),
        id: text("header:x-webhook-id"),
        replay_guard: text("none"),
        ..Declaration::default()
    })
    .unwrap()
}
