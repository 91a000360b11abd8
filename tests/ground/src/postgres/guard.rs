//! Runs a server as the child of a shell that ends it, however this process ends: the shell waits for a line, and what
//! it waits on is closed with the process.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    thread::{self, JoinHandle},
    time::Instant,
};

use rustix::process::{Pid, Signal, kill_process};

use super::programs::Programs;
use crate::{PATIENCE, POLL};

/// The first argument is the folder that goes with the server, unless a line says that it stays. Whoever has the
/// shell's standard output is the server or a child of it.
const GUARD: &str = r#"folder=$1; shift
"$@" &
server=$!
echo "$server"
exec >&-
read -r word
kill -QUIT "$server" 2>/dev/null
wait "$server"
[ "$word" = stay ] || rm -rf "$folder""#;

/// A running server.
#[derive(Debug)]
pub(super) struct Guard {
    shell: Child,
    server: Pid,
    /// Ends when the last process of the server has.
    running: JoinHandle<()>,
}

impl Guard {
    /// Runs `postgres` on what is in `folder`.
    pub(super) fn start(programs: &Programs, folder: &Path, data: &Path, log: File) -> Self {
        let mut command = Command::new("/bin/sh");
        programs.lower(&mut command, folder);
        command.args(["-c", GUARD, "guard"]).arg(folder).arg(programs.path("postgres"));
        command.arg("-D").arg(data);
        // A group of its own: what a terminal sends to all that the test runs must not end the guard first.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut shell = command.spawn().unwrap();
        let mut said = BufReader::new(shell.stdout.take().unwrap());
        let mut pid = String::new();
        said.read_line(&mut pid).unwrap();
        let server = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
        let running = thread::spawn(move || {
            let _ = io::copy(&mut said, &mut io::sink());
        });
        Self { shell, server, running }
    }

    /// The server's process.
    pub(super) fn pid(&self) -> i32 {
        self.server.as_raw_nonzero().get()
    }

    /// Whether it has ended by itself.
    pub(super) fn has_ended(&self) -> bool {
        self.running.is_finished()
    }

    /// Sends a signal to the server, waits until all of its processes are gone, and leaves its folder.
    pub(super) fn end(mut self, signal: Signal) {
        // One that has ended is nobody's to be told, and its number may be another's.
        if !self.has_ended() {
            let _ = kill_process(self.server, signal);
        }
        let deadline = Instant::now() + PATIENCE;
        while !self.has_ended() {
            assert!(Instant::now() < deadline, "a process of the server's does not end");
            thread::sleep(POLL);
        }
        writeln!(self.shell.stdin.take().unwrap(), "stay").unwrap();
        self.shell.wait().unwrap();
    }

    /// Ends the server at once, and takes its folder away.
    pub(super) fn clear(mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}
