//! What the config says of connections, addresses and TLS.

use super::*;

const GITHUB: &str = "[sources.github]\npath = \"/webhooks/github\"\nscheme = \"github\"\n\
                      secrets = [{ env = \"GITHUB_SECRET\" }]\n";

/// A config with these lines in `[server]`, among files by their names.
fn with(server: &str, source: &str, files: &[(&str, &str)]) -> Result<Config, Vec<Fault>> {
    let file = |path: &Path| {
        let name = path.file_name().and_then(|name| name.to_str());
        let found = files.iter().find(|(known, _)| name == Some(known));
        found.map(|(_, text)| (*text).to_owned()).ok_or_else(|| io::ErrorKind::NotFound.into())
    };
    let env = |_: &str| Some(GITHUB_SECRET.to_owned());
    let text = format!("[server]\n{server}\n{GITHUB}{source}\n");
    Config::parse(&text, Path::new("/etc"), &Surroundings { env: &env, file: &file })
}

fn told(config: Result<Config, Vec<Fault>>) -> String {
    let faults = config.expect_err("there are faults");
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn limits_of_connections_have_defaults_and_can_be_lifted() {
    let server = |lines: &str| with(lines, "", &[]).expect("good").server;
    assert_eq!(server("").connections_per_address, Some(256));
    assert_eq!(server("").idle_timeout, Duration::from_secs(75));
    assert_eq!(server("connections_per_address = 7").connections_per_address, Some(7));
    assert_eq!(server("connections_per_address = \"off\"").connections_per_address, None);
    let faults = told(with("connections_per_address = 0\nproxy_protocol = true", "", &[]));
    insta::assert_snapshot!(faults);
}

#[test]
fn lists_of_addresses_are_written_out_or_in_files() {
    let files = [
        ("a.txt", "# of ours\n\n192.0.2.0/24 # office\n2001:db8::/32\n"),
        ("b.json", r#"{"a": {"b": ["198.51.100.7"]}}"#),
    ];
    let list =
        "[\"203.0.113.0/24\", { file = \"a.txt\" }, { file = \"b.json\", pointer = \"/a/b\" }]";
    let config = with(&format!("allow = {list}\ndeny = {{ file = \"a.txt\" }}"), "", &files);
    let config = config.expect("good");
    let addresses = &config.server.addresses;
    let admits = |address: &str| addresses.admit(address.parse().unwrap());
    assert!(admits("203.0.113.1") && admits("198.51.100.7"));
    assert!(!admits("192.0.2.1"), "deny wins");
    assert!(!admits("198.51.100.8") && !admits("::1"));
    assert!(config.sources.values().all(|source| source.addresses.admit("::1".parse().unwrap())));
    // Each is followed once for each time it is read.
    assert_eq!(config.secret_files.len(), 3);
    let shown = config.shown();
    assert_eq!(shown["server"]["allow"][1]["file"], "/etc/a.txt");
    assert_eq!(shown["server"]["allow"][1]["blocks"], 2);
}

#[test]
fn a_file_of_addresses_that_can_not_be_read_is_a_fault_with_its_place() {
    let files = [
        ("bad.txt", "192.0.2.0/24\n192.0.2.0/33\n"),
        ("none.txt", "# nothing yet\n"),
        ("bad.json", r#"{"a": ["192.0.2.0/24", 7]}"#),
        ("none.json", "{}"),
        ("half.json", "{"),
    ];
    let lists = [
        "{ file = \"missing.txt\" }",
        "{ file = \"bad.txt\" }",
        "{ file = \"none.txt\" }",
        "{ file = \"bad.json\", pointer = \"/a\" }",
        "{ file = \"none.json\", pointer = \"/a\" }",
        "{ file = \"half.json\", pointer = \"/a\" }",
        "{ path = \"bad.txt\" }",
        "7",
    ];
    insta::assert_snapshot!(told(with(&format!("allow = [\n{}]", lists.join(",\n")), "", &files)));
}

#[test]
fn certificates_need_keys_and_sources_that_want_them_need_tls() {
    let faults = told(with("tls = { cert = \"a.pem\" }", "client_names = [\"a\"]", &[]));
    let more = told(with("", "client_ca = \"a.pem\"", &[("a.pem", "nothing")]));
    insta::assert_snapshot!([faults, more].join("\n"));
}
