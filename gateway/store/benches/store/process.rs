//! Rounds as processes, and what a process used.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use clap::ValueEnum as _;
use hookweir_ground::postgres::Postgres;
use serde_json::Value;

use crate::{Flags, subject::Subject};

fn command(subject: Subject, folder: &Path, flags: &Flags) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let name = subject.to_possible_value().unwrap();
    command.args(["--subject", name.get_name(), "--folder"]).arg(folder);
    command.args(["--seconds", &flags.seconds.to_string()]);
    command.args(["--backlog", &flags.backlog.to_string()]);
    command.args(["--events", &flags.events.to_string()]);
    command.args(["--senders", &flags.senders.to_string()]);
    command
}

/// One round at a server, in one of its schemas; its figures, what the server used for each event, and how many came
/// to be in one commit.
pub(crate) fn child_at(subject: Subject, server: &Postgres, schema: &str, flags: &Flags) -> Value {
    let mut command = command(subject, Path::new("/"), flags);
    command.args(["--url", &server.url(), "--schema", schema]);
    // The tables are made by another process: what is measured is what comes of events.
    if !matches!(subject, Subject::SingleInserts) {
        opened_at(server, schema, flags);
    }
    let (before, committed) = (server.cpu(), commits(server));
    let said = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(said.status.success(), "{subject:?} failed");
    let mut round: Value = serde_json::from_slice(&said.stdout).unwrap();
    let (used, committed) = ((server.cpu() - before).as_secs_f64(), commits(server) - committed);
    let count = round["count"].as_f64().unwrap();
    round["server"] = (used * 1e6 / count).into();
    round["per_commit"] = (count / committed).into();
    round
}

/// Opens a store and closes it again.
fn opened_at(server: &Postgres, schema: &str, flags: &Flags) {
    let mut command = command(Subject::Open, Path::new("/"), flags);
    command.args(["--url", &server.url(), "--schema", schema]).stdout(Stdio::null());
    assert!(command.status().unwrap().success(), "opening failed");
}

/// How many transactions a server committed so far. Whoever did says so when it ends.
fn commits(server: &Postgres) -> f64 {
    let others = "SELECT count(*) FROM pg_stat_activity
                  WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    server.until("the connections' end", others, "0");
    let sql = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()";
    server.ask(sql).parse().unwrap()
}

/// One round in a process of its own; its figures.
pub(crate) fn child(subject: Subject, folder: &Path, flags: &Flags) -> Value {
    let said = command(subject, folder, flags).stderr(Stdio::inherit()).output().unwrap();
    assert!(said.status.success(), "{subject:?} failed");
    serde_json::from_slice(&said.stdout).unwrap()
}

/// One round that is killed before its end.
pub(crate) fn killed_child(subject: Subject, folder: &Path, flags: &Flags) {
    let mut child = command(subject, folder, flags).stdout(Stdio::null()).spawn().unwrap();
    std::thread::sleep(flags.time() / 2);
    assert!(child.try_wait().unwrap().is_none(), "it ended before it was killed");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// CPU seconds of this process, or of its threads with this name, in hundredths.
pub(crate) fn cpu(thread: Option<&str>) -> f64 {
    let of = |stat: String| -> f64 {
        let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
    };
    let Some(name) = thread else {
        return of(std::fs::read_to_string("/proc/self/stat").unwrap());
    };
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let stats =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok());
    stats.filter(|stat| stat.contains(&format!("({name})"))).map(of).sum()
}

/// Bytes that this process has had written to the disk.
pub(crate) fn written() -> f64 {
    number("/proc/self/io", "write_bytes:")
}

/// Memory in MiB that is this process's now.
pub(crate) fn resident() -> f64 {
    number("/proc/self/status", "VmRSS:") / 1024.0
}

fn number(file: &str, name: &str) -> f64 {
    let text = std::fs::read_to_string(file).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}
