//! The processes below a command, from /proc: what they are at, and their end. Where there is no /proc, none is found.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Has gdb show what is near the top of each thread's stack, where one sees what it waits in.
const STACKS: &str = "thread apply all bt 24";
/// How long that may take for all of them. Others go on meanwhile.
const TELLING: Duration = Duration::from_secs(180);
/// How long what depends on a killed process has for its own end, as the servers have that tests start.
const GRACE: Duration = Duration::from_secs(3);

/// A process and all that it started and that still has its parent, the parents first.
pub(crate) fn tree(root: u32) -> Vec<u32> {
    let all = parents();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(all.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found
}

/// Each process with its parent.
fn parents() -> Vec<(u32, u32)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter_map(|pid| Some((pid, parent(pid)?))).collect()
}

/// The fourth field of proc(5)'s `stat`; the second is a name in parentheses that may hold anything.
fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(of(pid).join("stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(") ")?;
    after_name.split(' ').nth(1)?.parse().ok()
}

fn of(pid: u32) -> PathBuf {
    Path::new("/proc").join(pid.to_string())
}

/// Says what each is, and where its threads stand: by gdb where it is installed and let, by the kernel's word otherwise.
pub(crate) fn tell(pids: &[u32]) {
    let deadline = Instant::now() + TELLING;
    for &pid in pids {
        let line = fs::read(of(pid).join("cmdline")).unwrap_or_default();
        println!("{pid}: {}", String::from_utf8_lossy(&line).replace('\0', " "));
        let left = deadline.saturating_duration_since(Instant::now()).as_secs();
        match stacks(pid, left.min(60)) {
            Some(stacks) => println!("{stacks}"),
            None => tell_threads(pid),
        }
    }
}

fn stacks(pid: u32, seconds: u64) -> Option<String> {
    if seconds == 0 {
        return None;
    }
    let mut gdb = Command::new("timeout");
    gdb.arg(seconds.to_string()).args(["gdb", "-q", "-batch", "-ex", STACKS, "-p"]);
    let said = gdb.arg(pid.to_string()).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    // Where it may not look into a process it ends well and shows none.
    said.contains("#0 ").then_some(said)
}

fn tell_threads(pid: u32) {
    let Ok(entries) = fs::read_dir(of(pid).join("task")) else { return };
    for thread in entries.flatten().map(|entry| entry.path()) {
        let [name, waits] = ["comm", "wchan"].map(|file| fs::read_to_string(thread.join(file)));
        println!("    {} {}", name.unwrap_or_default().trim(), waits.unwrap_or_default());
    }
}

/// Ends a process and all below it: itself and what it started first, and the rest when that has had time for its own end.
pub(crate) fn end(root: u32) {
    let all = tree(root);
    let parents = parents();
    let is_near = |pid: &u32| *pid == root || parents.contains(&(*pid, root));
    let (near, far): (Vec<_>, Vec<_>) = all.into_iter().partition(is_near);
    kill(&near);
    if !far.is_empty() {
        thread::sleep(GRACE);
        kill(&far);
    }
}

/// One that has ended by itself is none that fails.
fn kill(pids: &[u32]) {
    let pids = pids.iter().map(u32::to_string);
    let _ = Command::new("kill").arg("-9").args(pids).stderr(Stdio::null()).status();
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};

    use super::*;

    #[test]
    fn a_tree_is_found_and_ended() {
        let mut shell = Command::new("/bin/sh");
        let shell = shell.args(["-c", "sleep 600 & echo $!; wait"]).stdout(Stdio::piped());
        let mut shell = shell.spawn().unwrap();
        let mut said = BufReader::new(shell.stdout.take().unwrap());
        let mut sleep = String::new();
        said.read_line(&mut sleep).unwrap();
        let found = tree(shell.id());
        assert_eq!(found, [shell.id(), sleep.trim().parse().unwrap()]);
        end(shell.id());
        assert!(!shell.wait().unwrap().success());
        // Both held the pipe.
        assert_eq!(said.read_line(&mut sleep).unwrap(), 0);
    }
}
