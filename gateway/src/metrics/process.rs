//! The process as the kernel sees it (proc(5)), under the names that Prometheus' own clients have.

use std::fs;

/// Ticks of /proc in a second: `USER_HZ`, 100 on every architecture that Rust and wasmtime share.
const TICKS: u64 = 100;

/// What the kernel says of this process.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Process {
    pub(super) cpu_seconds: f64,
    /// Since 1970.
    pub(super) start_seconds: f64,
    pub(super) threads: u64,
    pub(super) resident_bytes: u64,
    pub(super) virtual_bytes: u64,
    pub(super) open_files: u64,
    pub(super) files_max: u64,
}

/// As it is now; none where there is no /proc.
pub(super) fn read() -> Option<Process> {
    let text = |path| fs::read_to_string(path).ok();
    let stat = stat(&text("/proc/self/stat")?)?;
    let resident = field(&text("/proc/self/status")?, "VmRSS:")?;
    let boot = field(&text("/proc/stat")?, "btime")?;
    let open_files = fs::read_dir("/proc/self/fd").ok()?.count() as u64;
    let files_max = field(&text("/proc/self/limits")?, "Max open files").unwrap_or(u64::MAX);
    Some(Process {
        cpu_seconds: seconds(stat.cpu_ticks),
        start_seconds: seconds(boot * TICKS + stat.start_ticks),
        threads: stat.threads,
        resident_bytes: resident * 1024,
        virtual_bytes: stat.virtual_bytes,
        // Looking takes one.
        open_files: open_files.saturating_sub(1),
        files_max,
    })
}

#[expect(clippy::cast_precision_loss, reason = "2^53 ticks are three million years")]
fn seconds(ticks: u64) -> f64 {
    ticks as f64 / TICKS as f64
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    start_ticks: u64,
    virtual_bytes: u64,
}

/// `/proc/self/stat`. The second field is the program's name in brackets, and may hold anything.
fn stat(text: &str) -> Option<Stat> {
    let fields: Vec<_> = text.rsplit_once(')')?.1.split_whitespace().collect();
    // proc(5) counts from 1, and two are gone.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Stat {
        cpu_ticks: field(14)? + field(15)?,
        threads: field(20)?,
        start_ticks: field(22)?,
        virtual_bytes: field(23)?,
    })
}

/// The first number behind a name at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_hides_nothing() {
        let line = "7 (a) b) R 1 2 3 4 5 6 7 8 9 10 250 150 0 0 20 0 12 0 4200 1048576 99 1";
        let stat = stat(line).unwrap();
        let expected =
            Stat { cpu_ticks: 400, threads: 12, start_ticks: 4200, virtual_bytes: 1_048_576 };
        assert_eq!(stat, expected);
    }

    #[test]
    fn this_process_is_seen() {
        let process = read().unwrap();
        assert!(process.threads > 0 && process.resident_bytes > 1 << 20);
        assert!(process.open_files > 0 && process.open_files <= process.files_max);
        assert!(process.start_seconds > 1.7e9);
    }
}
