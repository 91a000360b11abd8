//! A plugin's package under its author's hands: built again on each save, and tried in a gateway of its own.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Instant,
};

use hookweir_tests::{guests, house::PATIENCE};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::cli::hookweir;

/// Bytes of a plugin that reads JSON, writes a log line and makes an output: what a new one is. It has some
/// 70,000; before the SDK read JSON with errors of its own it had 132,000.
const SMALLEST_MAX: u64 = 76_000;

const PROGRAM: &str = env!("CARGO_BIN_EXE_hookweir-under-test");

/// A new plugin's package.
struct Project {
    dir: TempDir,
    name: &'static str,
}

/// A command that goes on until it is told to end, and what it says, on whichever stream.
struct Running {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
}

impl Project {
    fn new(name: &'static str) -> Self {
        let dir = TempDir::new().unwrap();
        let sdk = guests::root().join("plugin-sdk");
        let new = ["plugin", "new", name, "--sdk", sdk.to_str().unwrap()];
        hookweir(dir.path(), &new).succeeds(&[]);
        let project = Self { dir, name };
        // The versions that this workspace is tested with.
        fs::copy(guests::root().join("Cargo.lock"), project.folder().join("Cargo.lock")).unwrap();
        project
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join(self.name)
    }

    /// Replaces a text in the source.
    fn edit(&self, from: &str, to: &str) {
        let path = self.folder().join("src/lib.rs");
        let source = fs::read_to_string(&path).unwrap();
        assert!(source.contains(from), "no {from:?} in\n{source}");
        fs::write(path, source.replace(from, to)).unwrap();
    }

    fn start(&self, args: &[&str]) -> Running {
        let mut child = Command::new(PROGRAM)
            .args(args)
            .current_dir(self.folder())
            // Where the other tests' plugins are built, and with them the SDK.
            .env("CARGO_TARGET_DIR", target())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        read(child.stdout.take().unwrap(), sender.clone());
        read(child.stderr.take().unwrap(), sender);
        Running { child, lines, said: Vec::new() }
    }
}

pub(crate) fn target() -> PathBuf {
    let said = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    guests::root().join(said.unwrap_or_else(|| "target".into()))
}

fn read(stream: impl Read + Send + 'static, to: Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let _ = to.send(line);
        }
    });
}

impl Running {
    /// Waits for a line with all of these words in it, of those that were not looked at yet. What is said on
    /// one stream may come before what was said earlier on the other.
    #[track_caller]
    fn until(&mut self, words: &[&str]) -> String {
        // It may be the compiler that is waited for, and all that the SDK stands on.
        let deadline = Instant::now() + 15 * PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("waited in vain for {words:?} in\n{}", self.said.join("\n"));
            };
            self.said.push(line.clone());
            if words.iter().all(|word| line.contains(word)) {
                return line;
            }
        }
    }

    /// Ctrl-C. Answers the exit code, and all that was said.
    fn interrupt(mut self) -> (i32, Vec<String>) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, Signal::INT).unwrap();
        let code = self.child.wait().unwrap().code().expect("it ended by itself");
        let mut said = std::mem::take(&mut self.said);
        said.extend(self.lines.iter());
        (code, said)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_plugin_is_built_again_on_each_save() {
    let project = Project::new("letters");
    let mut build = project.start(&["plugin", "build", "--watch", "--install"]);
    build.until(&["watching"]);

    project.edit("\"order.accepted\", &Accepted", "\"order.taken\", &Accepted");
    build.until(&["saved", "src/lib.rs"]);
    build.until(&["watching"]);
    let event =
        r#"{ "source": "erp", "type": "order.created", "body": { "id": "A1", "total": 5 } }"#;
    fs::write(project.folder().join("event.json"), event).unwrap();
    build.until(&["saved", "event.json"]);
    build.until(&["watching"]);
    let run = ["plugin", "run", "letters.wasm", "--event", "event.json"];
    hookweir(&project.folder(), &run).succeeds(&["output   order.taken"]);

    // What does not build is said, and the last good build stays.
    project.edit("fn handle(", "fn handle(,");
    build.until(&["failed to build"]);
    build.until(&["watching"]);
    hookweir(&project.folder(), &run).succeeds(&["output   order.taken"]);
    project.edit("fn handle(,", "fn handle(");
    build.until(&["saved", "src/lib.rs"]);
    build.until(&["watching"]);
    let (code, said) = build.interrupt();
    assert_eq!(code, 0);
    let bytes = |line: &String| {
        let (_, bytes) = line.strip_prefix("built ")?.strip_suffix(" bytes")?.rsplit_once(' ')?;
        bytes.parse::<u64>().ok()
    };
    let built: Vec<_> = said.iter().filter_map(bytes).collect();
    assert_eq!(built.len(), 4, "{said:#?}");
    assert!(built.iter().all(|&bytes| bytes < SMALLEST_MAX), "{built:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dev_serves_what_was_saved_and_tells_what_becomes_of_events() {
    let project = Project::new("parcels");
    let mut dev = project.start(&["dev", "--listen", "127.0.0.1:0"]);
    let says = dev.until(&["takes events at", "Ctrl-C ends it and removes"]);
    let scratch = PathBuf::from(says.rsplit(' ').next().unwrap());
    assert!(scratch.join("gateway.toml").is_file(), "{says}");
    let curl = dev.until(&["curl -H 'x-webhook-type: order.created'"]);
    let url = curl.rsplit(' ').next().unwrap().to_owned();
    dev.until(&["EVENT", "OUTCOME"]);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let post = async |body: &str| {
        let posting = client.post(&url).header("x-webhook-type", "order.created");
        let reply = posting.body(body.to_owned()).send().await.unwrap();
        assert_eq!(reply.status(), 202);
    };
    post(r#"{ "id": "A1", "total": 5 }"#).await;
    dev.until(&["erp/order.created", "parcels", "done", "ms"]);
    dev.until(&["info", "order A1 accepted"]);
    dev.until(&["plugin.parcels/order.accepted", "unrouted"]);
    post(r#"{ "id": "A2", "total": 0 }"#).await;
    dev.until(&["erp/order.created", "parcels", "reject"]);
    dev.until(&["└ an order without a total"]);

    // A save is live without a restart, and with what else it wants.
    project.edit("\"order.accepted\", &Accepted", "\"order.taken\", &Accepted");
    dev.until(&["saved", "src/lib.rs"]);
    dev.until(&["plugin is live", "parcels"]);
    post(r#"{ "id": "A3", "total": 5 }"#).await;
    dev.until(&["plugin.parcels/order.taken", "unrouted"]);
    project.edit("erp/order.created", "shop/order.created");
    dev.until(&["plugin is live", "shop/order.created"]);
    dev.until(&["config reloaded"]);
    let shop = url.replace("/erp", "/shop");
    let posting = client.post(shop).header("x-webhook-type", "order.created");
    let reply = posting.body(r#"{ "id": "A4", "total": 5 }"#).send().await.unwrap();
    assert_eq!(reply.status(), 202);
    dev.until(&["shop/order.created", "parcels", "done"]);

    assert_eq!(dev.interrupt().0, 0);
    assert!(!scratch.exists(), "{} is left", scratch.display());
}

#[test]
fn dev_takes_unsigned_events_from_this_machine_alone() {
    let folder = TempDir::new().unwrap();
    let dev = |args: &[&str]| hookweir(folder.path(), &[&["dev"], args].concat());
    dev(&["--listen", "0.0.0.0:8080"]).fails(2, &["this machine alone"]);
    dev(&["nowhere"]).fails(1, &["failed to start: nowhere"]);
    dev(&["--config", "no.toml"]).fails(1, &["no.toml"]);
}
