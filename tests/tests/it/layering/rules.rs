//! The rules, as tables. A line added here is a decision; each exception says its reason.

/// Where sources are.
pub(crate) const FOLDERS: &[&str] = &["gateway", "plugin-sdk", "plugin-kit", "plugins", "tests"];

/// Folders below them that hold none of ours.
pub(crate) const SKIPPED: &[&str] = &["target", "node_modules"];

/// Which of the workspace's crates each may depend on. Bottom-up: a crate may name only crates above
/// its line, so the table can't describe a cycle.
pub(crate) const CRATES: &[(&str, &[&str])] = &[
    ("hookweir-event", &[]),
    ("hookweir-verify", &["hookweir-event"]),
    ("hookweir-verify-fuzz", &["hookweir-event", "hookweir-verify"]),
    ("hookweir-ground", &[]),
    ("hookweir-store", &["hookweir-event", "hookweir-ground"]),
    ("hookweir-host", &["hookweir-event"]),
    ("hookweir-kit", &["hookweir-event", "hookweir-host"]),
    (
        "hookweir",
        &["hookweir-event", "hookweir-verify", "hookweir-store", "hookweir-host", "hookweir-kit"],
    ),
    ("hookweir-sdk-macros", &[]),
    ("hookweir-sdk", &["hookweir-sdk-macros"]),
    ("hookweir-ci", &[]),
    (
        "hookweir-tests",
        &[
            "hookweir",
            "hookweir-event",
            "hookweir-ground",
            "hookweir-verify",
            "hookweir-store",
            "hookweir-host",
            "hookweir-kit",
            "hookweir-sdk",
        ],
    ),
    (
        "hookweir-fuzz",
        &[
            "hookweir",
            "hookweir-event",
            "hookweir-store",
            "hookweir-host",
            "hookweir-verify-fuzz",
            "hookweir-tests",
        ],
    ),
];

/// Crates that others depend on for their tests alone.
pub(crate) const FOR_TESTS: &[&str] = &["hookweir-ground"];

/// Folders of which every crate is a plugin: it knows the SDK and no crate of the gateway.
pub(crate) const PLUGIN_FOLDERS: &[&str] = &["plugins", "tests/guests"];
pub(crate) const PLUGINS_MAY_USE: &[&str] = &["hookweir-sdk"];

/// Outside crates that only some of ours may depend on. A `*` at the end stands for any ending. `relay` signs what
/// it sends, and a plugin knows no crate of the gateway.
pub(crate) const FENCES: &[(&str, &[&str])] = &[
    ("wasmtime*", &["hookweir-host"]),
    ("hmac", &["hookweir-verify", "relay"]),
    ("md-5", &["hookweir-verify"]),
    ("ring", &["hookweir-verify"]),
    ("x509-cert", &["hookweir-verify"]),
    ("subtle", &["hookweir-verify"]),
    ("sha1", &["hookweir-verify"]),
    ("sha2", &["hookweir-verify", "hookweir-event", "relay"]),
    ("rusqlite", &["hookweir-store"]),
    ("tokio-postgres*", &["hookweir-store"]),
    ("deadpool*", &["hookweir-store"]),
    ("axum*", &["hookweir"]),
    ("utoipa*", &["hookweir"]),
    ("notify", &["hookweir"]),
    // The store's, for its connections to a database.
    ("rustls", &["hookweir", "hookweir-store"]),
    ("hyper-rustls", &["hookweir"]),
    ("webpki-roots", &["hookweir", "hookweir-store"]),
    ("tokio-rustls", &["hookweir"]),
    ("prometheus-client", &["hookweir"]),
];

/// Crates whose dependencies are free of fences: tests speak to every room.
pub(crate) const UNFENCED: &[&str] = &["hookweir-tests", "hookweir-fuzz"];

/// Outside crates that only some modules of the gateway's own crate may name.
pub(crate) const MODULE_FENCES: &[(&str, &[&str])] = &[
    ("axum", &["intake", "admin"]),
    ("utoipa", &["admin"]),
    ("utoipa_axum", &["admin"]),
    // Plugins' files as they change, and plugins' sources.
    ("notify", &["reload", "toolchain"]),
    ("rustls", &["egress", "serve"]),
    ("tokio_rustls", &["serve"]),
    ("hyper_rustls", &["egress"]),
    ("webpki_roots", &["egress"]),
    // All others count with plain atomics.
    ("prometheus_client", &["metrics"]),
];

/// Modules of the gateway's own crate that never name one another: the store is between them.
pub(crate) const STRANGERS: &[(&str, &str)] = &[("intake", "dispatch"), ("dispatch", "intake")];

/// The one file of the gateway's crate that calls the store's `append`: a 2xx is made from what it
/// returns, so nothing else may make one.
pub(crate) const APPEND: &str = "gateway/src/intake/append.rs";

/// The one place in intake that knows the plugin host.
pub(crate) const DOOR: &str = "gateway/src/intake/door/";
/// What writes plugins' state to the store by itself: what a plugin answers, and what operators say.
pub(crate) const WRITE_STATE: &[&str] =
    &["gateway/src/intake/door/api.rs", "gateway/src/admin/state.rs"];

/// Where the gateway's crate may start a task or a thread.
pub(crate) const SPAWNS: &[(&str, &str)] = &[
    ("gateway/src/tasks.rs", "the one place: what ends early stops the process with its name"),
    (
        "gateway/src/egress/names.rs",
        "the system's resolver blocks; few at a time, each ends by itself",
    ),
    (
        "gateway/src/toolchain/command.rs",
        "two readers of a child's pipes, which end when it does; no part of the running gateway",
    ),
];

/// Where shipped code may read a clock. Everything else is told the time.
pub(crate) const CLOCKS: &[(&str, &str)] = &[
    ("gateway/event/src/time.rs", "the system's clock, made once and passed on"),
    ("gateway/host/src/attempt.rs", "measures an attempt's wall time"),
    ("gateway/host/src/guest.rs", "the guest's own monotonic clock"),
    (
        "gateway/store/src/postgres",
        "the drivers of connections: how long the database may take, how old a look is; what is due it says itself",
    ),
    ("gateway/store/src/sqlite/window.rs", "how long a snapshot is shared"),
    (
        "gateway/src/dispatch/attempt.rs",
        "when an attempt's outcome counts for its plugin's breaker",
    ),
    ("gateway/src/dispatch/mod.rs", "the driver of the back half"),
    (
        "gateway/src/dispatch/monitor.rs",
        "turns the driver's times into those on the wall, for operators",
    ),
    ("gateway/src/intake/receive.rs", "the driver of the front half: how long a request took"),
    ("gateway/src/serve/http.rs", "the driver of connections: when one is to be ended"),
    (
        "gateway/src/peers/mod.rs",
        "the driver of what gateways tell each other: how long what was answered holds",
    ),
    ("gateway/src/reload/mod.rs", "the driver of reloads: waits until files rest"),
    ("gateway/src/toolchain/rustup.rs", "the age of a note; no part of the running gateway"),
];

/// Where the system's clock may be made: where a process starts.
pub(crate) const SYSTEM_CLOCKS: &[(&str, &str)] =
    &[("gateway/src/main.rs", "the process"), ("gateway/src/cli", "its commands")];

/// The only files with `unsafe`.
pub(crate) const UNSAFE: &[&str] =
    &["plugin-sdk/src/export.rs", "gateway/host/src/deserialize.rs", "tests/src/fault_vfs.rs"];

/// Longer files and functions are where calm code turns into the other kind.
pub(crate) const FILE_LINES_MAX: usize = 600;
pub(crate) const FN_LINES_MAX: usize = 80;

/// Notes to oneself that must not stay. Written apart, so that this file has none.
pub(crate) const LEFTOVERS: &[&str] =
    &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("HA", "CK")];

#[test]
fn the_table_of_crates_is_layered() {
    for (i, (name, below)) in CRATES.iter().enumerate() {
        for other in *below {
            let is_above = CRATES[..i].iter().any(|(name, _)| name == other);
            assert!(is_above, "`{name}` may use `{other}`, which is not above it in the table");
        }
    }
}
