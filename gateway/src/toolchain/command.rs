//! Runs a command, hands each line of its progress on as it comes, and keeps the end of it for the
//! error. Standard input is closed, so nothing can wait for an answer that never comes.

use std::{
    collections::VecDeque,
    io::{self, BufRead as _, BufReader, Read},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use super::ToolchainError;

/// Enough for rustc's last few diagnostics or apt's last words.
const TAIL_LINES: usize = 40;

/// How often a command with a time limit is looked after.
const POLL: Duration = Duration::from_millis(50);

/// How long the pipes of a command that has ended are listened to for another line, of so many as may be in flight. What
/// it left running may hold them for ever.
const LINGER: Duration = Duration::from_millis(200);

/// Lines in flight between a command and whoever watches it; a full channel slows the command down.
const LINES_IN_FLIGHT: usize = 256;

/// A line, and whether it came on standard output.
type Line = (bool, String);

/// Runs `command` to its end and returns its standard output. Its standard error goes to `progress`
/// line by line.
pub(super) fn run(
    command: &mut Command,
    limit: Option<Duration>,
    progress: &dyn Fn(&str),
) -> Result<String, ToolchainError> {
    let shown = show(command);
    let mut child = spawn(command)
        .map_err(|source| ToolchainError::NotStarted { command: shown.clone(), source })?;
    let lines = listen(&mut child);
    let mut said = Said::default();
    match follow(&mut child, &lines, limit, &mut |line| said.hear(line, progress)) {
        Ok(Some(status)) if status.success() => Ok(said.stdout),
        Ok(Some(status)) => Err(said.failed(shown, status.to_string())),
        Ok(None) => {
            let seconds = limit.unwrap_or_default().as_secs();
            Err(said.failed(shown, format!("stopped after {seconds} s")))
        }
        Err(source) => Err(ToolchainError::NotStarted { command: shown, source }),
    }
}

/// What a command said so far.
#[derive(Default)]
struct Said {
    stdout: String,
    tail: VecDeque<String>,
}

impl Said {
    fn hear(&mut self, (is_stdout, line): Line, progress: &dyn Fn(&str)) {
        if is_stdout {
            self.stdout.push_str(&line);
            self.stdout.push('\n');
        } else {
            progress(&line);
            if self.tail.len() == TAIL_LINES {
                self.tail.pop_front();
            }
            self.tail.push_back(line);
        }
    }

    /// Standard output makes up for a command that fails without a word on standard error.
    fn failed(self, command: String, status: String) -> ToolchainError {
        let mut tail = Vec::from(self.tail);
        if tail.is_empty() {
            let lines: Vec<_> = self.stdout.lines().collect();
            let from = lines.len().saturating_sub(TAIL_LINES);
            tail = lines[from..].iter().map(ToString::to_string).collect();
        }
        ToolchainError::Failed { command, status, tail: tail.join("\n") }
    }
}

fn spawn(command: &mut Command) -> io::Result<Child> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

/// Reads both pipes, each in a thread of its own, so that neither can fill up and block the child.
fn listen(child: &mut Child) -> Receiver<Line> {
    let (sender, lines) = sync_channel(LINES_IN_FLIGHT);
    if let Some(pipe) = child.stdout.take() {
        read_lines(pipe, true, sender.clone());
    }
    if let Some(pipe) = child.stderr.take() {
        read_lines(pipe, false, sender);
    }
    lines
}

fn read_lines(pipe: impl Read + Send + 'static, is_stdout: bool, to: SyncSender<Line>) {
    thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
            if to.send((is_stdout, line)).is_err() {
                break;
            }
        }
    });
}

/// Hears lines until the pipes close, or the child has ended, or the limit is over; `None` if it is over, the child killed.
/// The limit is counted in polls, not by a clock: a busy child only makes it longer.
fn follow(
    child: &mut Child,
    lines: &Receiver<Line>,
    limit: Option<Duration>,
    hear: &mut dyn FnMut(Line),
) -> io::Result<Option<ExitStatus>> {
    let mut waited = Duration::ZERO;
    loop {
        match lines.recv_timeout(POLL) {
            Ok(line) => hear(line),
            Err(RecvTimeoutError::Disconnected) => return child.wait().map(Some),
            Err(RecvTimeoutError::Timeout) => {
                waited += POLL;
                if let Some(status) = child.try_wait()? {
                    let rest = std::iter::from_fn(|| lines.recv_timeout(LINGER).ok());
                    rest.take(LINES_IN_FLIGHT).for_each(hear);
                    return Ok(Some(status));
                }
                if limit.is_some_and(|limit| waited >= limit) {
                    child.kill()?;
                    child.wait()?;
                    return Ok(None);
                }
            }
        }
    }
}

/// The command as one would type it, without the environment.
pub(super) fn show(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn standard_error_is_progress_and_standard_output_the_answer() {
        let seen = RefCell::new(Vec::new());
        let answer = run(&mut sh("echo one >&2; echo answer; echo two >&2"), None, &|line| {
            seen.borrow_mut().push(line.to_owned());
        });
        assert_eq!(answer.unwrap(), "answer\n");
        assert_eq!(*seen.borrow(), ["one", "two"]);
    }

    #[test]
    fn a_failure_shows_the_command_and_its_last_words() {
        let script = "i=0; while [ $i -lt 100 ]; do echo line $i >&2; i=$((i+1)); done; exit 3";
        let error = run(&mut sh(script), None, &|_| ()).unwrap_err().to_string();
        assert!(error.contains("/bin/sh -c") && error.contains("exit status: 3"), "{error}");
        assert!(error.contains("line 99") && error.contains("line 60"), "{error}");
        assert!(!error.contains("line 59\n"), "{error}");
    }

    #[test]
    fn a_limit_ends_a_command_that_hangs() {
        let limit = Some(Duration::from_millis(150));
        let error = run(&mut sh("echo waiting >&2; exec sleep 600"), limit, &|_| ()).unwrap_err();
        assert!(error.to_string().contains("stopped after"), "{error}");
    }

    #[test]
    fn what_a_command_leaves_running_is_not_waited_for() {
        let said = run(&mut sh("sleep 600 & echo $!"), None, &|_| ()).unwrap();
        let left = said.trim();
        assert!(Command::new("kill").arg(left).status().unwrap().success(), "{left} has ended");
    }

    #[test]
    fn a_command_that_is_not_there_is_named() {
        let error = run(&mut Command::new("/nowhere/at-all"), None, &|_| ()).unwrap_err();
        assert!(error.to_string().starts_with("failed to run `/nowhere/at-all`"), "{error}");
    }
}
