//! The process as the kernel sees it (proc(5)), under the names that Prometheus' own clients have.

use std::{fs, path::Path};

/// Ticks of /proc in a second: `USER_HZ`, 100 on every architecture that Rust and wasmtime share.
const TICKS: u64 = 100;

/// What the kernel says of this process. What it does not say is not known: no /proc, or one of which a
/// container or a unit shows a part (`ProcSubset=pid` of systemd, say).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Process {
    pub(super) cpu_seconds: Option<f64>,
    /// Since 1970.
    pub(super) start_seconds: Option<f64>,
    pub(super) threads: Option<u64>,
    pub(super) resident_bytes: Option<u64>,
    pub(super) virtual_bytes: Option<u64>,
    pub(super) open_files: Option<u64>,
    pub(super) files_max: Option<u64>,
}

/// As it is now, by the files below `proc`, which is mounted at `/proc`.
pub(super) fn read(proc: &Path) -> Process {
    let text = |path: &str| fs::read_to_string(proc.join(path)).ok();
    let stat = text("self/stat").and_then(|text| stat(&text));
    let boot = text("stat").and_then(|text| field(&text, "btime"));
    let resident = text("self/status").and_then(|text| field(&text, "VmRSS:"));
    // There is a limit, if only the largest number.
    let files_max =
        text("self/limits").map(|text| field(&text, "Max open files").unwrap_or(u64::MAX));
    // Looking takes one.
    let open_files = fs::read_dir(proc.join("self/fd")).ok();
    let open_files = open_files.map(|files| (files.count() as u64).saturating_sub(1));
    Process {
        cpu_seconds: stat.map(|stat| seconds(stat.cpu_ticks)),
        start_seconds: boot.zip(stat).map(|(boot, stat)| seconds(boot * TICKS + stat.start_ticks)),
        threads: stat.map(|stat| stat.threads),
        resident_bytes: resident.map(|kib| kib * 1024),
        virtual_bytes: stat.map(|stat| stat.virtual_bytes),
        open_files,
        files_max,
    }
}

#[expect(clippy::cast_precision_loss, reason = "2^53 ticks are three million years")]
fn seconds(ticks: u64) -> f64 {
    ticks as f64 / TICKS as f64
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
        let process = read(Path::new("/proc"));
        assert!(process.threads.unwrap() > 0 && process.resident_bytes.unwrap() > 1 << 20);
        assert!(process.open_files.unwrap() > 0 && process.open_files <= process.files_max);
        assert!(process.start_seconds.unwrap() > 1.7e9);
        assert!(process.cpu_seconds.is_some() && process.virtual_bytes.is_some());
    }

    #[test]
    fn what_the_kernel_does_not_say_is_no_zero() {
        let proc = tempfile::tempdir().unwrap();
        assert_eq!(read(proc.path()), Process::default());
        // Where only processes are shown, nobody knows when the machine was started.
        fs::create_dir(proc.path().join("self")).unwrap();
        let line = "7 (a) R 1 2 3 4 5 6 7 8 9 10 250 150 0 0 20 0 12 0 4200 1048576 99 1";
        fs::write(proc.path().join("self/stat"), line).unwrap();
        let expected = Process {
            cpu_seconds: Some(4.0),
            threads: Some(12),
            virtual_bytes: Some(1_048_576),
            ..Process::default()
        };
        assert_eq!(read(proc.path()), expected);
    }
}
