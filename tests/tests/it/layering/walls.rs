//! The walls inside the crates: who may name whom, read a clock, start a task, append, be unsafe.
//! They are read from the code, since no manifest knows them.

use super::{
    Fault,
    rules::{
        APPEND, CLOCKS, DOOR, MODULE_FENCES, SPAWNS, STRANGERS, SYSTEM_CLOCKS, UNSAFE, WRITE_STATE,
    },
    source::{Source, has_word},
};

/// What reads a clock, whichever crate it is from.
const CLOCK_CALLS: &[&str] = &[
    "SystemTime::now",
    "Instant::now",
    "Timestamp::now",
    "Zoned::now",
    "UtcDateTime::now",
    ".elapsed()",
];

/// What starts a task or a thread. `.spawn()` without an argument starts a child process.
const SPAWN_CALLS: &[&str] = &["spawn_blocking(", "spawn_local(", "tokio::spawn", "thread::spawn"];

pub(crate) fn check(source: &Source) -> Vec<Fault> {
    let mut faults = strangers(source);
    for (i, line) in source.code.iter().enumerate() {
        if let Some(what) = unsafe_outside(source, line) {
            faults.push(source.fault(i, what));
        }
    }
    for (i, line) in source.shipped_lines() {
        let found = [clock(source, line), system_clock(source, line), gateway_only(source, line)];
        faults.extend(found.into_iter().flatten().map(|what| source.fault(i, &what)));
    }
    faults
}

fn unsafe_outside(source: &Source, line: &str) -> Option<&'static str> {
    if UNSAFE.contains(&source.path.as_str()) {
        return None;
    }
    if has_word(line, "unsafe") {
        return Some("`unsafe` is for the three files that the design names");
    }
    let lifts = ["allow(", "expect(", "warn("].iter().any(|lint| line.contains(lint));
    (lifts && has_word(line, "unsafe_code")).then_some("the ban on `unsafe` is lifted here")
}

fn clock(source: &Source, line: &str) -> Option<String> {
    let call = CLOCK_CALLS.iter().find(|call| line.contains(**call))?;
    let why = "time is a parameter; the drivers that read it are listed in the layering rules";
    (!listed(CLOCKS, &source.path)).then(|| format!("`{call}`: {why}"))
}

fn system_clock(source: &Source, line: &str) -> Option<String> {
    (line.contains("Clock::system(") && !listed(SYSTEM_CLOCKS, &source.path))
        .then(|| "`Clock::system`: only the process and its commands make the clock".to_owned())
}

/// The rules that hold in the gateway's own crate.
fn gateway_only(source: &Source, line: &str) -> Option<String> {
    let module = source.module()?;
    let fence = MODULE_FENCES
        .iter()
        .find(|(name, modules)| has_word(line, name) && !modules.contains(&module));
    if let Some((name, modules)) = fence {
        return Some(format!("`{name}` is for {} only", modules.join(" and ")));
    }
    if starts_task(line) && !listed(SPAWNS, &source.path) {
        return Some("only `tasks` starts tasks; ask it".to_owned());
    }
    if module == "intake" && has_word(line, "hookweir_host") && !source.path.starts_with(DOOR) {
        return Some(format!("intake knows the plugin host through {DOOR} only"));
    }
    if line.contains(".write_state(") && !WRITE_STATE.contains(&source.path.as_str()) {
        return Some(format!("only {} writes plugins' state by itself", WRITE_STATE.join(" and ")));
    }
    (appends(line) && source.path != APPEND)
        .then(|| format!("only {APPEND} appends to the store (for headers there is `insert`)"))
}

/// Whether something is appended to the store: `.append(true)` opens a file.
fn appends(line: &str) -> bool {
    line.contains(".append(") && !line.contains(".append(true)")
}

fn starts_task(line: &str) -> bool {
    SPAWN_CALLS.iter().any(|call| line.contains(call))
        || line.match_indices(".spawn(").any(|(at, call)| !line[at + call.len()..].starts_with(')'))
}

/// Whether an exception is made for this file, or for the folder it is in.
fn listed(exceptions: &[(&str, &str)], path: &str) -> bool {
    exceptions.iter().any(|(named, _)| {
        path.strip_prefix(named).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// Modules that may not name one another, even in tests.
fn strangers(source: &Source) -> Vec<Fault> {
    let Some(module) = source.module() else { return Vec::new() };
    let banned = STRANGERS.iter().filter(|(from, _)| *from == module).map(|(_, to)| *to);
    let code = source.code.join("\n");
    let named = named_modules(&code);
    banned
        .flat_map(|to| named.iter().filter(move |(_, name)| *name == to))
        .map(|(line, name)| source.fault(*line, &format!("`{module}` may not know `{name}`")))
        .collect()
}

/// The modules of this crate that the code names, with the lines: `crate::a`, `crate::{a, b::c}`, and
/// the same with `super`.
fn named_modules(code: &str) -> Vec<(usize, &str)> {
    let mut named = Vec::new();
    for root in ["crate::", "super::", "hookweir::"] {
        for (at, _) in code.match_indices(root) {
            let from = at + root.len();
            let starts = match code[from..].strip_prefix('{') {
                Some(group) => top_level(group).into_iter().map(|n| from + 1 + n).collect(),
                None => vec![from],
            };
            for start in starts {
                let line = code[..start].matches('\n').count();
                named.push((line, identifier(&code[start..])));
            }
        }
    }
    named
}

/// Where the entries of a `{…}` group begin, groups inside it left out.
fn top_level(group: &str) -> Vec<usize> {
    let mut starts = Vec::new();
    let mut depth = 0_usize;
    let mut fresh = true;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            c if fresh && !c.is_whitespace() => {
                starts.push(at);
                fresh = false;
            }
            _ => {}
        }
    }
    starts
}

fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

#[cfg(test)]
fn faults(path: &str, code: &str) -> Vec<Fault> {
    check(&Source::new(path, &format!("//! Why.\n{code}\n")))
}

#[test]
fn each_breach_is_seen() {
    let samples = [
        ("gateway/src/intake/a.rs", "use crate::dispatch::Plan;", "`intake` may not know"),
        ("gateway/src/intake/a.rs", "use crate::{\n    config, dispatch::{x, y},\n};", "a.rs:3"),
        ("gateway/src/dispatch.rs", "fn a() { super::intake::b() }", "`dispatch` may not know"),
        ("gateway/src/intake/a.rs", "#[cfg(test)]\nmod t {\n    use crate::dispatch;\n}", "a.rs:4"),
        ("gateway/src/dispatch/a.rs", "use axum::Router;", "`axum` is for intake and admin"),
        ("gateway/src/config/a.rs", "use notify::Watcher;", "`notify` is for reload"),
        ("gateway/src/admin.rs", "fn a() { store.append(event); }", "appends to the store"),
        ("gateway/src/intake/a.rs", "use hookweir_host::Host;", "through gateway/src/intake/door/"),
        (
            "gateway/src/dispatch/a.rs",
            "fn a() { store.write_state(b, c); }",
            "writes plugins' state",
        ),
        ("gateway/src/reload/a.rs", "fn a() { tokio::spawn(b()); }", "only `tasks` starts tasks"),
        ("gateway/src/reload/a.rs", "fn a() { set.spawn(b()); }", "only `tasks` starts tasks"),
        ("gateway/src/reload/a.rs", "fn a() { handle.spawn_blocking(b); }", "only `tasks`"),
        ("gateway/verify/src/a.rs", "fn a() { SystemTime::now(); }", "time is a parameter"),
        ("gateway/store/src/a.rs", "fn a() { std::time::Instant::now(); }", "time is a parameter"),
        ("gateway/src/live.rs", "fn a() { started.elapsed(); }", "time is a parameter"),
        ("gateway/src/dispatch/a.rs", "fn a() { Clock::system(); }", "make the clock"),
        ("gateway/store/src/a.rs", "fn a() { unsafe { b() } }", "`unsafe` is for"),
        ("tests/src/a.rs", "unsafe impl Send for A {}", "`unsafe` is for"),
        ("plugins/a/src/lib.rs", "#[unsafe(no_mangle)]", "`unsafe` is for"),
        ("gateway/src/a.rs", "#![allow(unsafe_code)]", "is lifted"),
    ];
    for (path, code, expected) in samples {
        let found = faults(path, code);
        assert!(found.len() == 1 && found[0].contains(expected), "{path}: {code}: {found:?}");
    }
}

#[test]
fn what_is_allowed_is_no_breach() {
    let samples = [
        ("gateway/src/intake/a.rs", "use crate::{config::dispatch, live::{dispatch, Live}};"),
        ("gateway/src/gateway.rs", "use crate::{dispatch, intake};"),
        ("gateway/src/intake/a.rs", "use axum::Router; // crate::dispatch"),
        ("gateway/src/intake/append.rs", "fn a() { store.append(event); }"),
        ("gateway/src/intake/door/api.rs", "fn a(b: hookweir_host::Host) { c.write_state(d, e); }"),
        ("gateway/src/cli/a.rs", "fn a() { OpenOptions::new().append(true); }"),
        ("gateway/src/tasks.rs", "fn a() { tokio::spawn(b()); }"),
        ("gateway/src/cli/a.rs", "fn a() { command.spawn(); Clock::system(); }"),
        (
            "gateway/src/live.rs",
            "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { Instant::now(); }\n}",
        ),
        ("gateway/store/tests/it/a.rs", "fn a() { Instant::now(); Clock::system(); }"),
        ("gateway/store/src/a.rs", "#![forbid(unsafe_code)]\nconst A: &str = \"unsafe\";"),
        ("plugin-sdk/src/export.rs", "#![allow(unsafe_code)]\nfn a() { unsafe { b() } }"),
    ];
    for (path, code) in samples {
        assert_eq!(faults(path, code), [""; 0], "{path}: {code}");
    }
}
