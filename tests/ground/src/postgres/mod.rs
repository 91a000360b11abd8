//! Servers of PostgreSQL's, each with a temporary folder and a port of its own, run by whoever runs the test, or by a
//! user without rights where that is root. They end with the test's process, however that ends.

mod cpu;
mod guard;
mod programs;

use std::{
    fmt::Write as _,
    fs::{self, File},
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tempfile::TempDir;

use self::{guard::Guard, programs::Programs};
use crate::{PATIENCE, POLL, free_port};

/// Who owns the database. Nobody else is there.
pub const USER: &str = "hookweir";
/// What it asks of everybody, so that nobody else on this machine is let in.
pub const PASSWORD: &str = "a-password-of-tests";
/// The one database.
pub const DATABASE: &str = "postgres";

/// What is the same of all servers. Tests that run side by side have stores with some connections each.
const SETTINGS: &str = "listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 300
shared_buffers = 64MB
log_line_prefix = '%m [%p] '
wal_level = replica
";

/// A server that a crash of the machine would cost its data: none of these tests' machines crashes, and they commit
/// far more often than anybody waits for a disk.
const FORGETFUL: &str = "fsync = off\nfull_page_writes = off\n";

/// A server. Dropped, it is gone.
#[derive(Debug)]
pub struct Postgres {
    programs: Programs,
    folder: TempDir,
    address: SocketAddr,
    running: Option<Guard>,
}

impl Postgres {
    /// A server for tests of what statements do. It does not sync.
    ///
    /// # Panics
    /// If PostgreSQL is not installed; the message says what to do.
    pub fn start() -> Self {
        Self::make(FORGETFUL)
    }

    /// A server that has on its disk what it acknowledged, for tests of what survives.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn durable() -> Self {
        Self::make("")
    }

    fn make(settings: &str) -> Self {
        let programs = Programs::find();
        let folder = TempDir::with_prefix("hookweir-postgres-").unwrap();
        programs.give(folder.path());
        let mut server = Self { programs, folder, address: free_port(), running: None };
        let password = server.put("password", PASSWORD.as_bytes());
        let mut initdb = server.programs.command("initdb", server.folder.path());
        initdb.args(["--username", USER, "--auth", "scram-sha-256", "--no-sync"]);
        initdb.args(["--encoding", "UTF8", "--locale", "C", "--pwfile"]).arg(password);
        done(initdb.arg("--pgdata").arg(server.data()));
        server.configure(settings);
        server.run();
        server
    }

    /// A second server that follows this one, and without which this one acknowledges nothing from now on: what was
    /// acknowledged is on both disks.
    pub fn standby(&self) -> Self {
        let programs = self.programs.clone();
        let folder = TempDir::with_prefix("hookweir-postgres-").unwrap();
        programs.give(folder.path());
        let mut standby = Self { programs, folder, address: free_port(), running: None };
        let mut copy = standby.programs.command("pg_basebackup", standby.folder.path());
        copy.arg("--pgdata").arg(standby.data());
        copy.args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync"]);
        done(self.ask_as(&mut copy));
        standby.configure("");
        standby.run();
        self.set("synchronous_standby_names", "*");
        self.until(
            "the standby",
            "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'",
            "1",
        );
        standby
    }

    /// Has a standby take writes, as whoever looks after it does when the other server is gone.
    pub fn promote(&self) {
        assert_eq!(self.ask("SELECT pg_promote()"), "t");
    }

    /// What is the same of all, and more.
    fn configure(&self, more: &str) {
        let mut settings = format!("{SETTINGS}{more}");
        writeln!(settings, "port = {}", self.address.port()).unwrap();
        fs::write(self.data().join("postgresql.conf"), settings).unwrap();
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Starts it, after [`stop`](Self::stop) or [`kill`](Self::kill), and waits until it answers.
    pub fn run(&mut self) {
        assert!(self.running.is_none(), "it runs already");
        let log = File::options().create(true).append(true).open(self.log_file()).unwrap();
        let guard = Guard::start(&self.programs, self.folder.path(), &self.data(), log);
        let deadline = Instant::now() + PATIENCE;
        while !self.is_ready(guard.pid()) {
            let fault = if guard.has_ended() { "ended" } else { "did not get ready" };
            let in_vain = guard.has_ended() || Instant::now() > deadline;
            assert!(!in_vain, "PostgreSQL's server {fault}:\n{}", self.log());
            thread::sleep(POLL);
        }
        self.running = Some(guard);
    }

    /// What `pg_ctl` goes by: the server says in its file how it stands.
    fn is_ready(&self, pid: i32) -> bool {
        let file = fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        let lines: Vec<_> = file.lines().map(str::trim).collect();
        lines.first() == Some(&pid.to_string().as_str())
            && lines.get(7).is_some_and(|status| ["ready", "standby"].contains(status))
    }

    /// What all of its processes, those that have ended included, took of a core so far.
    ///
    /// # Panics
    /// If it does not run.
    pub fn cpu(&self) -> Duration {
        let server = self.running.as_ref().expect("it runs").pid();
        cpu::of(server)
    }

    /// Ends it in order: transactions under way are rolled back, connections closed.
    pub fn stop(&mut self) {
        self.running.take().expect("it runs").end(Signal::INT);
    }

    /// Kills its first process; the others end when they notice.
    pub fn kill(&mut self) {
        self.running.take().expect("it runs").end(Signal::KILL);
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What a store is opened with.
    pub fn url(&self) -> String {
        Self::url_at(&[self.address])
    }

    /// The same, if it is to be reached at other addresses: of a relay, or of a server and its standby.
    pub fn url_at(addresses: &[SocketAddr]) -> String {
        let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        format!("postgres://{USER}:{PASSWORD}@{}/{DATABASE}", addresses.join(","))
    }

    /// Puts a file beside its data that it alone can read, such as a key. Answers where.
    pub fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        self.programs.give(&path);
        path
    }

    /// Changes a setting that it follows without a restart.
    pub fn set(&self, name: &str, value: &str) {
        self.ask(&format!("ALTER SYSTEM SET {name} = '{value}'"));
        self.ask("SELECT pg_reload_conf()");
        // It reads them a moment later.
        self.until(name, &format!("SHOW {name}"), value);
    }

    /// Waits until an answer is this one.
    pub fn until(&self, what: &str, sql: &str, wanted: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.ask(sql);
            if answer == wanted {
                return;
            }
            assert!(Instant::now() < deadline, "waited in vain for {what}: {answer}");
            thread::sleep(POLL);
        }
    }

    /// Waits until a statement that has this in it waits for a lock. That some statement does is not enough to know: each
    /// gateway has statements of its own each second, and where the time is given, of two at once one waits for a moment.
    pub fn until_held_up(&self, statement: &str) {
        let waits = format!(
            "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%{statement}%'"
        );
        self.until(&format!("{statement} to wait"), &waits, "t");
    }

    /// What it answers: rows as lines, columns with `|` in between.
    ///
    /// # Panics
    /// If it refuses.
    pub fn ask(&self, sql: &str) -> String {
        let mut psql = self.programs.command("psql", self.folder.path());
        psql.args(["--no-psqlrc", "--tuples-only", "--no-align", "--quiet"]);
        psql.args(["--set", "ON_ERROR_STOP=1", "--dbname", DATABASE, "--command", sql]);
        let output = done(self.ask_as(&mut psql));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// Its database as `pg_dump` has it.
    ///
    /// # Panics
    /// If that fails.
    pub fn dump(&self) -> Vec<u8> {
        let mut dump = self.programs.command("pg_dump", self.folder.path());
        dump.args(["--format", "custom", "--dbname", DATABASE]);
        done(self.ask_as(&mut dump)).stdout
    }

    /// Brings back what was dumped of another server.
    ///
    /// # Panics
    /// If anything of it can't be.
    pub fn restore(&self, dump: &[u8]) {
        let file = self.put("dump", dump);
        let mut restore = self.programs.command("pg_restore", self.folder.path());
        restore.args(["--exit-on-error", "--dbname", DATABASE]);
        done(self.ask_as(&mut restore).arg(file));
    }

    /// Has one of PostgreSQL's programs speak to it.
    fn ask_as<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.args(["--host", &self.address.ip().to_string()]);
        command.args(["--port", &self.address.port().to_string()]);
        command.args(["--username", USER, "--no-password"]).env("PGPASSWORD", PASSWORD)
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("server.log")
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Its folder, for what a test puts beside its data.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let end = &lines[lines.len().saturating_sub(50)..];
            eprintln!("the end of PostgreSQL's log:\n{}", end.join("\n"));
        }
        if let Some(running) = self.running.take() {
            running.clear();
        }
    }
}

/// Runs a program to its end, which has to be a good one.
fn done(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    output
}
