//! The whole file as an operator writes it: what it means, and what is said of its faults.

mod door;
mod observing;
mod store;

use std::time::Duration;

use proptest::prelude::*;

use super::*;

const GITHUB_SECRET: &str = "it-is-a-secret-to-everybody-of-32-bytes";

/// A world with two variables, and files whose names are their contents' keys.
fn parse(text: &str) -> Result<Config, Vec<Fault>> {
    let env = |name: &str| match name {
        "GITHUB_SECRET" | "ERP_SECRET" | "HOOKWEIR_ADMIN_TOKEN" | "PAYMENTS_API_KEY" => {
            Some(GITHUB_SECRET.to_owned())
        }
        "SHORT" => Some("a-short-token".to_owned()),
        "DATABASE_URL" => Some(store::DATABASE_URL.to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    };
    let file = |path: &Path| match path.to_str() {
        Some("/etc/hookweir/plain") => Ok(GITHUB_SECRET.to_owned()),
        Some("/etc/hookweir/newline") => Ok(format!("{GITHUB_SECRET}\n")),
        Some("/etc/hookweir/crlf") => Ok(format!("{GITHUB_SECRET}\r\n")),
        Some("/etc/hookweir/newlines") => Ok(format!("{GITHUB_SECRET}\n\n")),
        _ => Err(io::ErrorKind::NotFound.into()),
    };
    Config::parse(text, Path::new("/etc/hookweir"), &Surroundings { env: &env, file: &file })
}

fn faults(text: &str) -> String {
    let faults = parse(text).expect_err("the text has faults");
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn github(lines: &str) -> String {
    let head = "[sources.github]\npath = \"/webhooks/github\"\nscheme = \"github\"\n";
    format!("{head}{lines}\n")
}

fn source(text: &str) -> SourceConfig {
    let config = parse(text).expect("the text has no faults");
    config.sources.into_values().next().expect("the text has a source")
}

#[test]
fn every_fault_is_found_in_one_run_with_its_place_and_a_hint() {
    let text = r#"
[server]
listen = "localhost"
grace = 20
trusted_proxies = ["10.0.0.0/40"]

[sources.github]
path = "/webhooks/github"
sceme = "github"
secrets = [{ env = "UNSET" }]
rate = "1000 per minute"

[sources.gateway]
path = "/api/github"
scheme = "gitub"
secrets = "hunter2"

[sources.erp]
path = "/webhooks/github"
scheme = { signature = "header:x-signature", algorithm = "hmac-sha265", signed = "{body}", type = "header:x-type" }
secrets = [{ env = "EMPTY" }, { file = "missing" }, {}]
body_max = "1MB"

[plugins.payments]
subscribe = ["stripe/payment_intent.*", "stripe"]
memory = "1KiB"
table_elements = 0
core_instances = 33
random_max = "17MiB"
function_max = "2GiB"
max_attempts = -1
order_by = "data.object.customer"
tiemout = "10s"

[pluggins]
"#;
    insta::assert_snapshot!(faults(text), @r#"
    3:10: server.listen: expected an address and port such as "127.0.0.1:8080"
    4:9: server.grace: expected a string, found integer
    5:20: server.trusted_proxies[0]: expected an address block such as "10.0.0.0/8"
    7:1: sources.github: needs a scheme: a preset such as scheme = "github", or a table that declares one. To take anything from anyone, say insecure = true and scheme = { type = .., id = .. }
    8:8: sources.github.path: the path /webhooks/github is already taken by erp
    9:1: unknown key "sceme" at sources.github; did you mean "scheme"?
    10:20: sources.github.secrets[0].env: the environment variable UNSET is not set
    11:8: sources.github.rate: expected a rate such as "100/second", "1000/minute", "5000/hour", or "off"
    13:1: sources.gateway: 'gateway' and 'plugin' are reserved
    14:8: sources.gateway.path: /api/ belongs to plugins; choose another path
    15:10: sources.gateway.scheme: no preset "gitub"; did you mean "github"? (`hookweir verify --list` names them)
    16:11: sources.gateway.secrets: expected a list, or "handshake" if the provider's handshake brings it
    20:10: sources.erp.scheme: encoding: missing: one of `hex`, `hex-lower`, `base64`, `base64url`
    20:10: sources.erp.scheme: id: missing: what makes an event a duplicate. Name the place of an id, such as `header:x-id` or `json:/id`; write `content` if events with equal type and body are one, `none` if they are not
    20:58: sources.erp.scheme.algorithm: unknown `hmac-sha265`: one of `hmac-sha256`, `hmac-sha384`, `hmac-sha512`, `hmac-sha1`, `hmac-md5`, `sha256`, `sha512`, `sha1`, `ed25519`, `ecdsa-p256-sha256`, `ecdsa-p256-sha256-fixed`, `rsa-sha256`, `rsa-sha512`, `rsa-sha1`, `rsa-pss-sha256`, `rsa-pss-sha512`, `equal`
    21:20: sources.erp.secrets[0].env: the environment variable EMPTY is not set
    21:40: sources.erp.secrets[1].file: failed to read /etc/hookweir/missing: entity not found
    21:53: sources.erp.secrets[2]: a secret is { env = "NAME" }, { file = "path" } or { credential = "name" }
    22:12: sources.erp.body_max: expected a size such as "512B", "64KiB", "64MiB" or "1GiB"
    25:41: plugins.payments.subscribe[1]: a subscription is `source/type`, such as `github/push` or `stripe/payment_intent.*`
    26:10: plugins.payments.memory: is between 64KiB and 4GiB
    27:18: plugins.payments.table_elements: 0 is not between 1 and 800000
    28:18: plugins.payments.core_instances: 33 is not between 1 and 32
    29:14: plugins.payments.random_max: is between 0B and 16MiB
    30:16: plugins.payments.function_max: is between 1KiB and 64MiB
    31:16: plugins.payments.max_attempts: -1 is not between 1 and 100
    32:12: plugins.payments.order_by: expected a JSON pointer such as "/data/object/customer", or a header such as "header:x-customer"
    33:1: unknown key "tiemout" at plugins.payments; did you mean "timeout"?
    35:2: unknown key "pluggins" at the top; did you mean "plugins"?
    "#);
}

#[test]
fn a_syntax_error_has_its_place() {
    insta::assert_snapshot!(faults("[server]\nlisten = \"127.0.0.1:8080\ngrace = \"20s\"\n"), @r#"2:25: invalid basic string, expected `"`"#);
}

#[test]
fn a_key_that_is_missing_is_asked_for_where_it_belongs() {
    insta::assert_snapshot!(faults("[sources.a]\n[sources.b]\n"), @r#"
    1:1: sources.a: needs a path, such as path = "/webhooks/github"
    1:1: sources.a: needs a scheme: a preset such as scheme = "github", or a table that declares one. To take anything from anyone, say insecure = true and scheme = { type = .., id = .. }
    1:1: sources.a: needs secrets, such as secrets = [{ env = "GITHUB_SECRET" }]
    2:1: sources.b: needs a path, such as path = "/webhooks/github"
    2:1: sources.b: needs a scheme: a preset such as scheme = "github", or a table that declares one. To take anything from anyone, say insecure = true and scheme = { type = .., id = .. }
    2:1: sources.b: needs secrets, such as secrets = [{ env = "GITHUB_SECRET" }]
    "#);
}

/// The example of the README and of the design.
const EXAMPLE: &str = r#"
[server]
listen = "127.0.0.1:8080"

[admin]
listen = "127.0.0.1:8081"
token = { env = "HOOKWEIR_ADMIN_TOKEN" }

[store]
url = "sqlite:data/hookweir.db"

[host]
dir = "plugins"
subscriptions = "module"

[sources.github]
path = "/webhooks/github"
scheme = "github"
secrets = [{ env = "GITHUB_SECRET" }, { file = "plain", until = "2026-12-31T00:00:00Z" }]
rate = "1000/minute"

[sources.erp]
path = "/webhooks/erp"
scheme = { signature = "header:x-signature", algorithm = "hmac-sha256", encoding = "hex", signed = "{body}", type = "header:x-webhook-type", id = "content" }
secrets = [{ env = "ERP_SECRET" }]

[plugins.payments]
subscribe = ["stripe/payment_intent.*"]
order_by = "/data/object/customer"
http = ["https://api.example.com"]
secrets = { API_KEY = { env = "PAYMENTS_API_KEY", hosts = ["https://api.example.com"] } }
config = { currency = "eur" }
memory = "64MiB"
timeout = "10s"
"#;

#[test]
fn each_key_of_the_example_is_taken() {
    let config = parse(EXAMPLE).expect("it has no faults");
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.store.file(), Some(Path::new("/etc/hookweir/data/hookweir.db")));
    assert_eq!(config.host.dir, Path::new("/etc/hookweir/plugins"));
    let names: Vec<_> = config.sources.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["erp", "github"]);
    let payments = config.plugins.values().next().expect("there is one");
    assert_eq!(payments.subscribe.as_ref().map(Vec::len), Some(1));
    assert_eq!(payments.grant.config["currency"], "eur");
    assert_eq!(payments.grant.limits.memory, 64 << 20);
    assert_eq!(payments.grant.limits.wall, Duration::from_secs(10));
    let http = payments.grant.http.as_ref().expect("it is granted");
    assert_eq!(http.origins[0].to_string(), "https://api.example.com");
    let secret = &payments.grant.secrets["API_KEY"];
    assert_eq!((secret.hosts.len(), secret.readable), (1, false));
    assert!(!format!("{config:?}").contains(GITHUB_SECRET), "secrets do not print");
}

#[test]
fn what_a_plugin_may_reach_is_written_out() {
    let plugin = |lines: &str| faults(&format!("[plugins.pay]\n{lines}\n"));
    let secret = "secrets = { KEY = { env = \"ERP_SECRET\"";
    insta::assert_snapshot!(
        plugin(&format!(
            "http = [\"api.example.com\", \"https://api.example.com/v1\", \"https://*.com\"]\n\
             http_addresses = [\"10.0.0.0/40\"]\nhttp_requests = 0\nhttp_timeout = 5\n{secret} }} }}"
        )),
        @r#"
    2:9: plugins.pay.http[0]: an origin is `https://host` or `https://host:port`, without a path
    2:28: plugins.pay.http[1]: an origin is `https://host` or `https://host:port`, without a path
    2:58: plugins.pay.http[2]: `*` stands for hosts below a name with a dot in it, such as `https://*.example.com`, or for any host
    3:19: plugins.pay.http_addresses[0]: expected an address block such as "10.0.0.0/8"
    4:17: plugins.pay.http_requests: 0 is not between 1 and 10000
    5:16: plugins.pay.http_timeout: expected a string, found integer
    6:19: plugins.pay.secrets.KEY: goes nowhere: say hosts = ["https://.."] for where the gateway may send it, or readable = true
    "#
    );
    insta::assert_snapshot!(
        plugin(&format!(
            "http = [\"https://api.example.com\", \"https://*\"]\n\
             {secret}, hosts = [\"https://*\", \"http://other.example.com\"], redable = true }} }}"
        )),
        @r#"
    3:50: plugins.pay.secrets.KEY.hosts[0]: a secret for any host is none; name the hosts
    3:63: plugins.pay.secrets.KEY.hosts[1]: http://other.example.com is not among the plugin's http
    3:92: unknown key "redable" at plugins.pay.secrets.KEY; did you mean "readable"?
    "#
    );
}

#[test]
fn a_plugin_can_be_asked_by_who_has_its_token_by_anybody_or_by_nobody() {
    let access = |lines: &str| {
        let config = parse(&format!("[plugins.desk]\n{lines}\n")).expect("no faults");
        config.plugins.into_values().next().unwrap().api
    };
    assert_eq!(access("").access, None);
    assert_eq!(access("api = \"off\"").access, Some(ApiAccess::Off));
    assert_eq!(access("api = \"public\"\napi_concurrency = 3").concurrency, 3);
    let token = access("api = { token = { env = \"GITHUB_SECRET\" } }").access;
    assert!(matches!(&token, Some(ApiAccess::Token(token)) if token.as_str() == GITHUB_SECRET));
    assert!(!format!("{token:?}").contains(GITHUB_SECRET));
    let text = "[plugins.a]\napi = \"open\"\nverifier = \"yes\"\napi_concurrency = 0\napi_timeout = 5\n\
                [plugins.b]\napi = { token = { env = \"SHORT\" } }\n\
                [plugins.c]\napi = { tokn = { env = \"GITHUB_SECRET\" } }\n\
                [plugins.d]\napi = true\n";
    insta::assert_snapshot!(faults(text), @r#"
    2:7: plugins.a.api: expected "public", "off" or { token = { env = "NAME" } }
    3:12: plugins.a.verifier: expected true or false, found string
    4:19: plugins.a.api_concurrency: 0 is not between 1 and 1000
    5:15: plugins.a.api_timeout: expected a string, found integer
    7:17: plugins.b.api.token: a token has at least 16 characters, none of them a space
    9:7: plugins.c.api: expected "public", "off" or { token = { env = "NAME" } }
    9:9: unknown key "tokn" at plugins.c.api; did you mean "token"?
    11:7: plugins.d.api: expected a string, found boolean
    "#);
}

#[test]
fn a_source_can_be_verified_by_a_plugin_that_is_granted_it() {
    let granted = "[plugins.desk]\nverifier = true\n";
    let erp = |lines: &str| format!("{granted}[sources.erp]\npath = \"/erp\"\n{lines}\n");
    let source = source(&erp("scheme = \"plugin:desk\"\nsecrets = [{ env = \"SHORT\" }]"));
    assert_eq!(source.verifier, Some("desk".parse().unwrap()));
    assert_eq!((source.scheme.name(), source.secrets.len()), ("plugin:desk", 1));
    assert!(parse(&erp("scheme = \"plugin:desk\"")).is_ok(), "it may do without secrets");
    insta::assert_snapshot!(faults(&erp("scheme = \"plugin:other\"")), @"5:10: sources.erp.scheme: the plugin other is not granted that: say verifier = true at [plugins.other]");
    insta::assert_snapshot!(faults(&erp("scheme = \"plugin:De sk\"")), @"5:10: sources.erp.scheme: a name is made of a-z, 0-9 and '-', at most 64 of them");
    let all = "scheme = \"plugin:desk\"\nparams = { a = \"b\" }\nreplay_guard = \"content\"\n\
               secrets = \"handshake\"";
    insta::assert_snapshot!(faults(&erp(all)), @r"
    5:10: sources.erp.scheme: only presets have params
    7:16: sources.erp.replay_guard: what is a replay is for the scheme's verifier to know
    ");
}

#[test]
fn the_admin_api_is_never_open_to_the_network() {
    let admin = |lines: &str| parse(&format!("[admin]\n{lines}\n"));
    let token = "token = { env = \"HOOKWEIR_ADMIN_TOKEN\" }";
    assert!(admin(token).is_ok() && admin("insecure = true").is_ok());
    let shown = format!("{:?}", admin(token).expect("it is good"));
    assert!(!shown.contains(GITHUB_SECRET), "{shown}");
    for (lines, fault) in [
        ("token = { env = \"SHORT\" }", "a token has at least 16 characters"),
        ("token = \"in-the-text-of-the-config\"", "expected a table"),
        ("listen = \"0.0.0.0:8081\"\ninsecure = true", "for loopback addresses only"),
        (&format!("{token}\ninsecure = true"), "remove one of the two"),
        (
            "insecure = true\n[admin.tokens.a]\nsha256 = \"00\"\nscope = \"read\"",
            "expected the SHA-256",
        ),
        ("[admin.tokens.a]\nscope = \"read\"", "`hookweir admin token` makes one"),
        ("[admin.tokens.a]\nscope = \"root\"", "expected \"read\", \"operate\" or \"admin\""),
        ("[admin.tokens.A]\nscope = \"read\"", "the name of a token is made of"),
        ("[admin.tokens.admin]\nscope = \"read\"", "choose another name"),
    ] {
        let faults = admin(lines).expect_err(fault);
        assert!(faults.iter().any(|found| found.message.contains(fault)), "{faults:?}");
    }
}

#[test]
fn what_is_shown_has_each_key_of_the_example_and_no_secret() {
    let shown = parse(EXAMPLE).expect("it has no faults").shown();
    let example: toml::Table = EXAMPLE.parse().expect("it is TOML");
    let pairs = |name: &str| example[name].as_table().expect(name).clone();
    for section in ["server", "admin", "store", "host"] {
        for key in pairs(section).keys() {
            assert!(shown[section].get(key).is_some(), "{section}.{key}: {shown:#}");
        }
    }
    for section in ["sources", "plugins"] {
        for (name, entry) in pairs(section) {
            for key in entry.as_table().expect("it is one").keys() {
                assert!(shown[section][&name].get(key).is_some(), "{section}.{name}.{key}");
            }
        }
    }
    assert_eq!(shown["plugins"]["payments"]["memory"], "64MiB");
    assert_eq!(shown["plugins"]["payments"]["order_by"], "/data/object/customer");
    assert_eq!(shown["store"]["keep_done"], "7d");
    assert!(!shown.to_string().contains(GITHUB_SECRET));
}

#[test]
fn what_is_kept_of_requests_is_bounded_and_off_unless_it_is_said() {
    let plugin = |lines: &str| parse(&format!("[plugins.a]\n{lines}\n"));
    let record = |lines: &str| {
        let config = plugin(lines).expect(lines);
        config.plugins.values().next().expect("there is one").grant.limits.http.record
    };
    let kept = |bytes, body_bytes| Some(hookweir_host::RecordLimits { bytes, body_bytes });
    assert_eq!(record(""), None);
    assert_eq!(record("record_requests = \"off\"\nrecord_body_max = \"1KiB\""), None);
    assert_eq!(record("record_requests = \"1MiB\""), kept(1 << 20, 64 << 10));
    let both = "record_requests = \"1MiB\"\nrecord_body_max = \"1KiB\"";
    assert_eq!(record(both), kept(1 << 20, 1 << 10));
    for (lines, fault) in [
        ("record_requests = \"17MiB\"", "is between 1KiB and 16MiB"),
        ("record_requests = \"1B\"", "is between 1KiB and 16MiB"),
        ("record_requests = \"on\"", "expected a size"),
        ("record_body_max = 7", "expected a string"),
        ("record_body_max = \"1KiB\"", "says nothing without `record_requests`"),
        ("record_requests = \"1KiB\"\nrecord_body_max = \"2KiB\"", "is more than"),
    ] {
        let faults = plugin(lines).expect_err(fault);
        assert!(faults.iter().any(|found| found.message.contains(fault)), "{faults:?}");
    }
}

#[test]
fn tokens_of_the_admin_api_are_followed_without_a_restart() {
    let admin = |lines: &str| parse(&format!("[admin]\n{lines}\n")).expect(lines);
    let digest = "ab".repeat(32);
    let token = format!("[admin.tokens.grafana]\nsha256 = \"{digest}\"\nscope = \"read\"");
    let with = admin(&token);
    let grafana = with.admin.tokens["grafana"];
    assert_eq!((grafana.sha256.to_string(), grafana.scope), (digest, Scope::Read));
    assert!(admin("").needs_restart(&with).is_empty());
    for lines in ["hosts = [\"a\"]", "trusted_proxies = [\"10.0.0.0/8\"]"] {
        assert!(admin("").needs_restart(&admin(lines)).is_empty(), "{lines}");
    }
    for lines in ["refused_rate = \"1/minute\"", "listen = \"127.0.0.1:1\"", "insecure = true"] {
        assert_eq!(admin("").needs_restart(&admin(lines)), ["admin"], "{lines}");
    }
}

#[test]
fn keys_at_urls_need_no_secrets_and_say_whose_they_are() {
    let sns = |lines: &str| {
        parse(&format!("[sources.sns]\npath = \"/sns\"\nscheme = \"aws-sns\"\n{lines}\n"))
    };
    let topic = "params = { topic_arn = \"arn:aws:sns:eu-west-1:1:a\" }";
    assert!(sns(topic).is_ok());
    let faults = sns("").expect_err("any topic of any customer would be taken");
    assert!(faults.iter().any(|fault| fault.message.contains("topic_arn")), "{faults:?}");
    let pubsub = "[sources.p]\npath = \"/p\"\nscheme = \"google-pubsub\"\n";
    let faults = parse(pubsub).expect_err("it needs its params");
    assert_eq!(faults.len(), 2, "and no secrets: {faults:?}");
    let faults = sns(&format!("{topic}\nsecrets = \"handshake\"")).expect_err("it brings none");
    assert!(faults.iter().any(|fault| fault.message.contains("no handshake")), "{faults:?}");
    let notion = "[sources.notion]\npath = \"/n\"\nscheme = \"notion\"\nsecrets = \"handshake\"\n";
    assert!(source(notion).learns);
}

#[test]
fn what_is_left_out_is_as_documented() {
    let config = parse(&github("secrets = [{ env = \"GITHUB_SECRET\" }]")).expect("it is enough");
    let minute = |count| Some(Rate { count, per: Duration::from_secs(60) });
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:8081");
    assert_eq!(config.server.grace, Duration::from_secs(20));
    assert_eq!(config.server.address_rate, minute(60_000));
    assert_eq!(config.server.refused_rate, minute(600));
    assert!(config.server.trusted_proxies.networks.is_empty());
    assert_eq!(config.host.subscriptions, Subscriptions::Module);
    assert_eq!(config.store.file(), Some(Path::new("/etc/hookweir/data/hookweir.db")));
    assert_eq!(config.store.disk_free_min(), 256 << 20);
    let source = config.sources.values().next().expect("there is one");
    assert_eq!(source.rate, minute(1000));
    assert_eq!(source.body_max, 1 << 20);
    assert_eq!(source.dedupe_window, Duration::from_secs(72 * 3600));
    assert_eq!(source.reply, Reply { status: 202, body: None });
    assert_eq!(source.addresses, Addresses::default());

    let plugin = PluginConfig::default();
    assert_eq!(plugin.policy.max_attempts, 5);
    assert_eq!(plugin.policy.concurrency, 100);
    assert_eq!(plugin.policy.rate, minute(1000));
    assert_eq!(plugin.policy.backoff.base, Duration::from_secs(1));
    assert_eq!(plugin.policy.backoff.max, Duration::from_secs(3600));
    assert_eq!(plugin.policy.backoff.retry_after_max, Duration::from_secs(24 * 3600));
    assert_eq!(plugin.grant.limits.memory, 64 << 20);
    assert_eq!(plugin.grant.limits.wall, Duration::from_secs(10));
    assert_eq!(plugin.grant.limits.cpu, Duration::from_millis(500));
}

#[test]
fn a_source_without_a_scheme_starts_only_if_it_says_insecure() {
    let open = "[sources.open]\npath = \"/open\"\n";
    assert!(faults(open).contains("needs a scheme"));
    let declared = r#"scheme = { type = "header:x-type", id = "none" }"#;
    assert!(parse(&format!("{open}{declared}\n")).is_err(), "nothing is checked");
    assert!(parse(&format!("{open}{declared}\ninsecure = false\n")).is_err());
    let source = source(&format!("{open}{declared}\ninsecure = true\n"));
    assert!(source.scheme.is_insecure() && source.secrets.is_empty());
    let faults = faults(&github("insecure = true"));
    assert!(faults.contains("needs secrets"), "a preset checks, whatever else is said: {faults}");
}

#[test]
fn a_secret_in_a_file_may_end_with_one_newline() {
    use hookweir_event::{SourceName, Timestamp};
    use hookweir_verify::{Incoming, Outgoing};

    let scheme = hookweir_verify::Scheme::preset("github").expect("there is one");
    let mut request = Outgoing::post("/webhooks/github", "{}");
    request.event_type = "push".parse().ok();
    request.id = Some("1".into());
    let key = scheme.secret(GITHUB_SECRET).expect("a good one");
    let now = Timestamp::from_secs(1);
    let incoming = Incoming::from(scheme.sign(&key, request, now).expect("signed"));
    let github_name: SourceName = "github".parse().expect("a name");
    for file in ["plain", "newline", "crlf"] {
        let source = source(&github(&format!("secrets = [{{ file = \"{file}\" }}]")));
        let verified = source.scheme.verify(&github_name, &source.secrets, incoming.clone(), now);
        assert!(verified.is_ok(), "{file}: {:?}", verified.err());
    }
    let found = faults(&github("secrets = [{ file = \"newlines\" }]"));
    assert!(found.contains("sources.github.secrets[0]: "), "a second one is part of it: {found}");
}

#[test]
fn a_secret_is_valid_in_its_window() {
    let entry = r#"{ env = "GITHUB_SECRET", from = "2026-01-01T00:00:00Z", until = "2026-12-31T02:00:00+02:00" }"#;
    let source = source(&github(&format!("secrets = [{entry}]")));
    let millis =
        |time: Option<hookweir_event::Timestamp>| time.map(hookweir_event::Timestamp::as_millis);
    assert_eq!(millis(source.secrets[0].from), Some(1_767_225_600_000));
    assert_eq!(millis(source.secrets[0].until), Some(1_798_675_200_000));
    let bad = r#"secrets = [{ env = "GITHUB_SECRET", until = "next year" }]"#;
    assert!(faults(&github(bad)).contains("secrets[0].until: expected a time such as"));
    let both = r#"secrets = [{ env = "GITHUB_SECRET", file = "plain" }]"#;
    assert!(faults(&github(both)).contains("secrets[0]: a secret is { env = "));
}

#[test]
fn secret_files_are_remembered_good_or_bad() {
    let config = parse(&github("secrets = [{ file = \"plain\" }, { env = \"GITHUB_SECRET\" }]"));
    assert_eq!(config.expect("good").secret_files, [Path::new("/etc/hookweir/plain")]);
}

#[test]
fn secrets_are_in_no_message_and_no_debug_output() {
    let config = parse(&github("secrets = [{ env = \"GITHUB_SECRET\" }, { file = \"newline\" }]"));
    assert!(!format!("{:?}", config.expect("good")).contains(GITHUB_SECRET));
    // Where an operator writes the secret itself, where its name belongs, or white space into it.
    for lines in [
        format!("secrets = [\"{GITHUB_SECRET}\"]"),
        format!("secrets = \"{GITHUB_SECRET}\""),
        format!("secrets = [{{ value = \"{GITHUB_SECRET}\" }}]"),
        "secrets = [{ file = \"newlines\" }]".to_owned(),
    ] {
        let found = faults(&github(&lines));
        assert!(!found.contains(GITHUB_SECRET), "{found}");
    }
}

#[test]
fn settings_reach_the_plugin_as_they_were_written() {
    let text = "[plugins.a]\nconfig = { n = -5, big = 9007199254740993, hex = 0xff, x = 0.5, deep = { list = [1, \"two\", true] }, at = 2026-01-01 }\n";
    let config = parse(text).expect("good");
    let settings = &config.plugins.values().next().expect("there is one").grant.config;
    insta::assert_snapshot!(serde_json::to_string(settings).expect("JSON"), @r#"{"at":"2026-01-01","big":9007199254740993,"deep":{"list":[1,"two",true]},"hex":255,"n":-5,"x":0.5}"#);
    let found = faults("[plugins.a]\nconfig = { x = nan, y = -inf }\n");
    insta::assert_snapshot!(found, @r"
    2:16: plugins.a.config.x: JSON has no such number
    2:25: plugins.a.config.y: JSON has no such number
    ");
}

#[test]
fn what_a_restart_is_needed_for_is_named() {
    let old = parse(EXAMPLE_OFFERED).expect("good");
    let new = parse(&EXAMPLE_OFFERED.replace("8080", "8090").replace("h.db", "i.db"));
    let new = new.expect("good");
    assert_eq!(old.needs_restart(&new), ["server.listen", "store.url"]);
    assert!(old.needs_restart(&old.clone()).is_empty());
}

const EXAMPLE_OFFERED: &str =
    "[server]\nlisten = \"127.0.0.1:8080\"\n[store]\nurl = \"sqlite:h.db\"\n";

/// Text that looks like a config, with faults of any kind.
fn mangled() -> impl Strategy<Value = String> {
    let at = 0..EXAMPLE.len();
    (at, 0_usize..40, "[\\x00-\\x7fäß€😀]{0,12}").prop_map(|(at, cut, put)| {
        let end = (at + cut).min(EXAMPLE.len());
        format!("{}{put}{}", &EXAMPLE[..at], &EXAMPLE[end..])
    })
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,80}") {
        let _ = parse(&text);
    }

    #[test]
    fn no_damage_makes_the_parser_panic_and_each_fault_has_a_place_in_the_text(text in mangled()) {
        let lines = text.matches('\n').count() + 1;
        for fault in parse(&text).err().into_iter().flatten() {
            prop_assert!(fault.line >= 1 && fault.line <= lines && fault.column >= 1, "{fault}");
        }
    }
}

#[test]
fn a_breaker_is_on_unless_it_is_switched_off() {
    let breaker = |lines: &str| {
        let config = parse(&format!("[plugins.ci]\n{lines}\n")).expect("the text has no faults");
        config.plugins.into_values().next().expect("there is a plugin").policy.breaker
    };
    assert_eq!(breaker("rate = \"off\""), Some(BreakerConfig::default()));
    let told = BreakerConfig { failures: 3, probe_max: Duration::from_secs(300) };
    assert_eq!(breaker("breaker_failures = 3\nbreaker_probe_max = \"5m\""), Some(told));
    assert_eq!(breaker("breaker = \"on\""), Some(BreakerConfig::default()));
    assert_eq!(breaker("breaker = \"off\"\nbreaker_failures = 3"), None);
    let faults = faults(
        "[plugins.ci]\nbreaker = \"never\"\nbreaker_failures = 0\nbreaker_probe_max = \"10ms\"\n",
    );
    assert_eq!(
        faults,
        "2:11: plugins.ci.breaker: expected \"on\" or \"off\"\n\
         3:20: plugins.ci.breaker_failures: 0 is not between 1 and 1000\n\
         4:21: plugins.ci.breaker_probe_max: is between 1s and 1h"
    );
}

#[test]
fn the_folders_are_watched_and_looked_at_regularly() {
    let host = |text: &str| parse(text).expect("the text has no faults").host;
    let default = host("");
    assert_eq!((default.watch, default.rescan), (true, Duration::from_secs(15)));
    let told = host("[host]\nwatch = \"off\"\nrescan = \"500ms\"\n");
    assert_eq!((told.watch, told.rescan), (false, Duration::from_millis(500)));
    assert!(default.needs_restart(&told), "the watch is made once");
    assert!(!default.needs_restart(&host("[host]\nrescan = \"1s\"\n")));
    let faults = faults("[host]\nwatch = true\nrescan = \"1ms\"\n");
    assert_eq!(
        faults,
        "2:9: host.watch: expected a string, found boolean\n3:10: host.rescan: is at least \"100ms\""
    );
}
