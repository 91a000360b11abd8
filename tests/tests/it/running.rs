//! A command that goes on until it is told to end, as someone at a terminal has it.

use std::{
    io::{BufRead as _, BufReader, Read},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use hookweir_tests::{
    guests,
    house::{PATIENCE, SECRET},
};
use rustix::process::{Pid, Signal, kill_process_group};

const PROGRAM: &str = env!("CARGO_BIN_EXE_hookweir-under-test");
const POLL: Duration = Duration::from_millis(10);

/// The command, and what it says, on whichever stream.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
}

/// Where this workspace is built.
pub(crate) fn target() -> PathBuf {
    let said = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    guests::root().join(said.unwrap_or_else(|| "target".into()))
}

impl Running {
    /// Starts it in a folder.
    pub(crate) fn start(folder: &Path, args: &[&str]) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(args)
            .current_dir(folder)
            // Where the other tests' plugins are built, and with them the SDK.
            .env("CARGO_TARGET_DIR", target())
            .env("TEST_SECRET", SECRET)
            .env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // As a shell starts it: what it starts itself is of its group.
            .process_group(0)
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        read(child.stdout.take().unwrap(), sender.clone());
        read(child.stderr.take().unwrap(), sender);
        Self { child, lines, said: Vec::new() }
    }

    /// Waits for a line with all of these words in it, of those that were not looked at yet. What is said on
    /// one stream may come before what was said earlier on the other.
    #[track_caller]
    pub(crate) fn until(&mut self, words: &[&str]) -> String {
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

    /// Ctrl-C, which a terminal sends to all that the command has started as well. Answers the exit code, and
    /// all that was said.
    pub(crate) fn interrupt(mut self) -> (i32, Vec<String>) {
        kill_process_group(self.group(), Signal::INT).unwrap();
        let deadline = Instant::now() + 5 * PATIENCE;
        loop {
            match self.lines.recv_timeout(deadline.duration_since(Instant::now())) {
                Ok(line) => self.said.push(line),
                // Nobody is left who could say something.
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    panic!("it goes on after Ctrl-C:\n{}", self.said.join("\n"))
                }
            }
        }
        // What it says ends a moment before it does.
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() < deadline => thread::sleep(POLL),
                None => panic!("it does not end at Ctrl-C:\n{}", self.said.join("\n")),
            }
        };
        (status.code().expect("it ended by itself"), std::mem::take(&mut self.said))
    }

    fn group(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap()
    }
}

fn read(stream: impl Read + Send + 'static, to: Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let _ = to.send(line);
        }
    });
}

impl Drop for Running {
    fn drop(&mut self) {
        // The number of one that was waited for may be another's by now.
        if let Ok(None) = self.child.try_wait() {
            let _ = kill_process_group(self.group(), Signal::KILL);
            let _ = self.child.wait();
        }
    }
}
