//! What a server takes of a core, by /proc (proc_pid_stat(5)).

use std::{fs, time::Duration};

/// The kernel counts in hundredths of a second (`USER_HZ`, the same on all of Linux' architectures).
const TICK: Duration = Duration::from_millis(10);

/// What a process and its children took, those included that have ended and were waited for.
pub(super) fn of(parent: i32) -> Duration {
    let processes = fs::read_dir("/proc").unwrap();
    let stats =
        processes.filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("stat")).ok());
    let ticks = stats.filter_map(|stat| ticks(&stat, parent)).sum::<u32>();
    TICK * ticks
}

/// The ticks that a process took, if it is this one, or a child of it.
fn ticks(stat: &str, parent: i32) -> Option<u32> {
    let pid = stat.split_once(' ')?.0;
    // The program's name stands in brackets, and may hold spaces.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let of = |fields: &[&str]| fields.iter().filter_map(|it| it.parse::<u32>().ok()).sum();
    if pid.parse() == Ok(parent) {
        // Its own, and that of children which it waited for.
        return Some(of(fields.get(11..15)?));
    }
    (fields.get(1)?.parse() == Ok(parent)).then(|| fields.get(11..13).map_or(0, of))
}

#[cfg(test)]
mod tests {
    use super::ticks;

    #[test]
    fn a_server_and_its_children_count_and_nobody_else() {
        let stat = |pid: u32, parent: u32| {
            format!("{pid} (a b) c) S {parent} 1 1 0 -1 0 0 0 0 0 10 2 300 4 20 0 1 0")
        };
        assert_eq!(ticks(&stat(7, 1), 7), Some(316));
        assert_eq!(ticks(&stat(8, 7), 7), Some(12));
        assert_eq!(ticks(&stat(9, 8), 7), None);
    }
}
