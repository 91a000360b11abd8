//! What the gateway is deployed with agrees with what it is: the configs in it are good, its ports, paths and probes are
//! those that are served, and its times are in order. Commands reach it from outside of its unit. And the threat model names tests that exist.

use std::{fs, io, path::Path, process::Command, time::Duration};

use hookweir::config::{Config, Surroundings};
use hookweir_tests::{
    bounded,
    guests::root,
    house::{House, SECRET},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_hookweir-under-test");

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A config, where every secret is there.
fn config(text: &str, folder: &str) -> Config {
    let env = |name: &str| match name {
        "CREDENTIALS_DIRECTORY" => Some("/run/credentials/hookweir.service".to_owned()),
        _ => None,
    };
    let file = |path: &Path| -> io::Result<String> {
        let secret = path.starts_with("/run/credentials") || path.starts_with("/run/secrets");
        secret.then(|| "a-secret-of-some-length".to_owned()).ok_or(io::ErrorKind::NotFound.into())
    };
    let around = Surroundings { env: &env, file: &file };
    Config::parse(text, Path::new(folder), &around).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_reach_a_gateway_whose_credentials_they_do_not_see() {
    let source = "[sources.unit]\npath = \"/unit\"\nscheme = \"github\"\n\
                  secrets = [{ credential = \"github-secret\" }]\n";
    let house = House::new(PROGRAM, source);
    let credentials = house.config().with_file_name("credentials");
    fs::create_dir(&credentials).unwrap();
    fs::write(credentials.join("github-secret"), SECRET).unwrap();
    let seen = [("CREDENTIALS_DIRECTORY", credentials.to_str().unwrap())];
    let mut gateway = house.spawn_with(&seen);
    house.ready(&mut gateway).await;
    let run = |arguments: &[&str]| {
        let mut command = Command::new(PROGRAM);
        // Nor the environment of the unit.
        command.args(arguments).arg("--config").arg(house.config()).env_clear();
        let output = bounded::output(&mut command);
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code(), said)
    };
    let (code, said) = run(&["check"]);
    assert!(code == Some(64) && said.contains("CREDENTIALS_DIRECTORY"), "{said}");
    for arguments in [
        &["status"][..],
        &["events", "list"],
        &["source", "list"],
        &["plugin", "list"],
        &["dead", "list"],
        &["reload"],
        &["store", "check"],
    ] {
        let (code, said) = run(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {said}");
    }
    assert!(gateway.stop().await.success());
}

/// The values of a setting of the unit.
fn set<'u>(unit: &'u str, key: &str) -> Vec<&'u str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

#[test]
fn the_unit_fits_its_config() {
    let unit = read("deploy/hookweir.service");
    let config = config(&read("deploy/gateway.toml"), "/etc/hookweir");
    assert_eq!(set(&unit, "Type"), ["notify"]);
    assert_eq!(set(&unit, "StateDirectory"), ["hookweir"]);
    assert_eq!(config.store.data_folder(), Path::new("/var/lib/hookweir"));
    assert_eq!(config.host.dir, Path::new("/etc/hookweir/plugins"));
    let [start] = set(&unit, "ExecStart")[..] else { panic!("one command") };
    assert!(start.contains("run --config /etc/hookweir/gateway.toml"));
    // Each credential that the config asks for is loaded.
    let loaded: Vec<_> = set(&unit, "LoadCredential");
    for file in &config.secret_files {
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(loaded.iter().any(|line| line.starts_with(&format!("{name}:"))), "{name}");
    }
    let [stop] = set(&unit, "TimeoutStopSec")[..] else { panic!("one time") };
    let stop = Duration::from_secs(stop.parse().unwrap());
    assert!(stop > config.server.drain_delay + config.server.grace + Duration::from_secs(10));
}

/// The lines of a manifest that are indented below this one, without what they share.
fn below(manifest: &str, head: &str) -> String {
    let at = manifest.find(head).unwrap_or_else(|| panic!("no {head:?}"));
    let lines = manifest[at..].lines().skip(1);
    let block: Vec<_> =
        lines.take_while(|line| line.starts_with("    ") || line.is_empty()).collect();
    block
        .iter()
        .map(|line| line.strip_prefix("    ").unwrap_or(line))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn the_manifests_fit_their_config() {
    let manifest = read("deploy/kubernetes/hookweir.yaml");
    let config = config(&below(&manifest, "  gateway.toml: |"), "/etc/hookweir");
    for (name, port) in [("public", config.server.listen), ("admin", config.admin.listen)] {
        assert!(port.ip().is_unspecified(), "it is reached from outside");
        let line = format!("- {{name: {name}, containerPort: {}}}", port.port());
        assert!(manifest.contains(&line), "no {line:?}");
    }
    // The probes ask what `admin` answers to anybody.
    for (probe, path) in
        [("startupProbe", "/healthz"), ("readinessProbe", "/readyz"), ("livenessProbe", "/healthz")]
    {
        let at = manifest.find(&format!("{probe}:")).unwrap();
        let asks = manifest[at..].lines().nth(1).unwrap().trim();
        assert_eq!(asks, format!("httpGet: {{path: {path}, port: admin}}"), "{probe}");
    }
    let mounts = ["/etc/hookweir", "/run/secrets/hookweir", "/var/lib/hookweir", "/plugins"];
    for path in mounts {
        assert!(manifest.contains(&format!("mountPath: {path}")), "{path}");
    }
    assert_eq!(config.store.data_folder(), Path::new("/var/lib/hookweir"));
    assert_eq!(config.host.dir, Path::new("/plugins"));
    let at = manifest.find("terminationGracePeriodSeconds: ").unwrap();
    let seconds = manifest[at..].lines().next().unwrap().rsplit(' ').next().unwrap();
    let stop = Duration::from_secs(seconds.parse().unwrap());
    assert!(config.server.drain_delay >= Duration::from_secs(5), "endpoints take a while to go");
    assert!(stop > config.server.drain_delay + config.server.grace + Duration::from_secs(10));
    assert!(manifest.contains("replicas: 1") && manifest.contains("type: Recreate"));
}

#[test]
fn the_image_runs_what_the_manifest_runs_as_nobody() {
    let (image, manifest) = (read("deploy/Containerfile"), read("deploy/kubernetes/hookweir.yaml"));
    assert!(image.contains("\nUSER 65532:65532\n"));
    assert!(manifest.contains("runAsUser: 65532") && manifest.contains("runAsNonRoot: true"));
    assert!(
        image.contains(r#"CMD ["run", "--config", "/etc/hookweir/gateway.toml", "--log", "json"]"#)
    );
    assert!(manifest.contains("args: [run, --config, /etc/hookweir/gateway.toml, --log, json]"));
    assert!(image.contains("EXPOSE 8080 8081"));
    let workspace = read("Cargo.toml");
    let version = workspace.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap();
    let base = format!("FROM rust:{}-", version.trim_matches('"'));
    assert!(image.contains(&base), "the compiler of the workspace: {base}");
}

#[test]
fn the_threat_model_names_tests_that_exist() {
    let page = read("docs/security/threat-model.md");
    let tables = page.split("| threat | answer | test |\n|---|---|---|\n").skip(1);
    let rows: Vec<_> =
        tables.flat_map(|table| table.split("\n\n").next().unwrap().lines()).collect();
    assert!(rows.len() >= 30, "{rows:#?}");
    for row in rows {
        let tests = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let names: Vec<_> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test shows the answer: {row}");
        for name in names {
            let (module, function) = name.split_once("::").unwrap_or_else(|| panic!("{name}"));
            let source = read(&format!("tests/tests/it/{module}.rs"));
            assert!(source.contains(&format!("fn {function}()")), "{name} does not exist");
        }
    }
}
