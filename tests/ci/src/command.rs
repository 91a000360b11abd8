//! Runs a command so that its output is seen as it comes. Standard input is closed: nothing may wait
//! for an answer. Variables that `cargo run` set for this program are not passed on, so that a step
//! sees what it would see if its command were typed.

use std::{
    env,
    ffi::OsStr,
    io::{BufRead as _, BufReader, Write as _, stdout},
    path::Path,
    process::{Command, ExitStatus, Stdio},
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use crate::processes;

const POLL: Duration = Duration::from_millis(100);
/// How often what says nothing is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// So many looks later what has ended is listened to no more: what it left running may hold its output for ever.
const LINGER: u32 = 10;

/// A command in `folder`.
pub(crate) fn new(program: impl AsRef<OsStr>, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).stdin(Stdio::null()).env("CI", "true");
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(is_ours) {
            command.env_remove(name);
        }
    }
    command
}

/// Whether cargo sets this for the program that it runs.
fn is_ours(name: &str) -> bool {
    let prefixes = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"];
    name == "LD_LIBRARY_PATH" || prefixes.iter().any(|prefix| name.starts_with(prefix))
}

/// Runs it, its output going where this program's goes.
pub(crate) fn live(command: &mut Command) -> Result<(), String> {
    announce(command);
    let status = status(command, None)?;
    judge(command, status)
}

/// The same, stopped when `limit` is over.
pub(crate) fn live_within(command: &mut Command, limit: Duration) -> Result<(), String> {
    announce(command);
    let status = status(command, Some(limit))?;
    judge(command, status)
}

/// Runs it; each line of its standard output is shown and then handed to `see`, and now and then nothing is. When
/// `see` says that it goes wrong, what its processes are at is told, and they are ended.
pub(crate) fn watched(
    command: &mut Command,
    see: &mut dyn FnMut(Option<&str>) -> Result<(), String>,
) -> Result<(), String> {
    announce(command);
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(|e| not_run(command, &e))?;
    let (sender, lines) = channel();
    if let Some(pipe) = child.stdout.take() {
        thread::spawn(move || {
            let lines = BufReader::new(pipe).split(b'\n').map_while(Result::ok);
            // Nobody listens any more when it was ended.
            lines.map(|line| sender.send(line)).all(|sent| sent.is_ok())
        });
    }
    let mut lingers = 0;
    loop {
        let seen = match lines.recv_timeout(LOOK) {
            Ok(line) => {
                let line = String::from_utf8_lossy(&line);
                println!("{line}");
                see(Some(&line))
            }
            Err(RecvTimeoutError::Timeout) if lingers == LINGER => break,
            Err(RecvTimeoutError::Timeout) => {
                let has_ended = matches!(child.try_wait(), Ok(Some(_)));
                lingers += u32::from(has_ended);
                see(None)
            }
            Err(RecvTimeoutError::Disconnected) => break,
        };
        if let Err(why) = seen {
            processes::tell(&processes::tree(child.id()));
            processes::end(child.id());
            // It was killed before, where that can be done; it may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
            return Err(why);
        }
    }
    let status = child.wait().map_err(|e| not_run(command, &e))?;
    judge(command, status)
}

/// What it writes to standard output, if it can be run and ends well.
pub(crate) fn answer(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}

fn status(command: &mut Command, limit: Option<Duration>) -> Result<ExitStatus, String> {
    let mut child = command.spawn().map_err(|e| not_run(command, &e))?;
    let Some(limit) = limit else {
        return child.wait().map_err(|e| not_run(command, &e));
    };
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().map_err(|e| not_run(command, &e))? {
            return Ok(status);
        }
        if Instant::now() >= deadline {
            // It may have ended in this very moment; either way it is over.
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("`{}` took longer than {} s", show(command), limit.as_secs()));
        }
        thread::sleep(POLL);
    }
}

fn judge(command: &Command, status: ExitStatus) -> Result<(), String> {
    if status.success() { Ok(()) } else { Err(format!("`{}` ended with {status}", show(command))) }
}

fn not_run(command: &Command, error: &std::io::Error) -> String {
    format!("`{}` could not be run: {error}", show(command))
}

fn announce(command: &Command) {
    println!("$ {}", show(command));
    // Before the child writes to the same place.
    let _ = stdout().flush();
}

/// The command as one would type it, with the variables that matter to it.
fn show(command: &Command) -> String {
    let set =
        command.get_envs().filter_map(|(name, value)| Some((name.to_str()?, value?.to_str()?)));
    let mut words: Vec<_> = set
        .filter(|(name, _)| *name != "CI")
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let typed = std::iter::once(command.get_program()).chain(command.get_args());
    words.extend(typed.map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = new("/bin/sh", Path::new("/"));
        command.args(["-c", script]);
        command
    }

    #[test]
    fn lines_are_watched_and_a_failure_is_told() {
        let mut seen = Vec::new();
        let result = watched(&mut sh("echo one; echo two; exit 7"), &mut |line| {
            seen.extend(line.map(str::to_owned));
            Ok(())
        });
        assert_eq!(seen, ["one", "two"]);
        assert!(result.unwrap_err().contains("exit status: 7"));
    }

    #[test]
    fn what_goes_wrong_is_ended_with_all_that_it_started() {
        let mut started = Vec::new();
        let script = "sleep 600 & echo $!; sh -c 'sleep 600 & echo $!; wait'; exit 7";
        let result = watched(&mut sh(script), &mut |line| {
            started.extend(line.map(str::to_owned));
            if started.len() < 2 { Ok(()) } else { Err("it hangs".into()) }
        });
        assert_eq!(result, Err("it hangs".into()));
        let deadline = Instant::now() + Duration::from_secs(60);
        let is_there = |pid: &String| {
            let there = Command::new("kill").args(["-0", pid]).stderr(Stdio::null()).status();
            there.unwrap().success()
        };
        while started.iter().any(is_there) {
            assert!(Instant::now() < deadline, "some of {started:?} go on");
            thread::sleep(POLL);
        }
    }

    #[test]
    fn what_a_command_leaves_running_is_not_waited_for() {
        let mut left = Vec::new();
        let result = watched(&mut sh("sleep 600 & echo $!"), &mut |line| {
            left.extend(line.map(str::to_owned));
            Ok(())
        });
        assert_eq!(result, Ok(()));
        assert!(Command::new("kill").args(&left).status().unwrap().success(), "it has ended");
    }

    #[test]
    fn a_command_can_ask_for_nothing() {
        assert!(live(&mut sh("! read answer")).is_ok());
        assert!(live(&mut sh("test \"$CI\" = true")).is_ok());
    }

    #[test]
    fn a_command_that_hangs_is_stopped() {
        let limit = Duration::from_millis(200);
        assert!(live_within(&mut sh("exec sleep 600"), limit).unwrap_err().contains("took longer"));
        assert!(live_within(&mut sh("true"), Duration::from_secs(60)).is_ok());
    }

    #[test]
    fn a_command_is_shown_with_its_variables() {
        let mut command = new("cargo", Path::new("/"));
        command.args(["doc", "--locked"]).env("RUSTDOCFLAGS", "-Dwarnings");
        assert_eq!(show(&command), "RUSTDOCFLAGS=-Dwarnings cargo doc --locked");
        assert!(is_ours("CARGO_PKG_NAME") && !is_ours("CARGO_HOME"));
    }
}
