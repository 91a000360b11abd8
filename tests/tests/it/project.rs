//! A plugin's package under its author's hands: built again on each save, and tried in a gateway of its own.

use std::{fs, path::PathBuf};

use hookweir_tests::{bounded, guests};
use tempfile::TempDir;

use crate::{cli::hookweir, running::Running};

/// Bytes of a plugin that reads JSON, writes a log line and makes an output: what a new one is. It has some
/// 70,000; before the SDK read JSON with errors of its own it had 132,000.
const SMALLEST_MAX: u64 = 76_000;

/// A new plugin's package.
struct Project {
    dir: TempDir,
    name: &'static str,
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
        Running::start(&self.folder(), args)
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
    let client = bounded::client();
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
