//! Tests that hang. libtest says of a test that it has been running for over a minute, and stops none: a run that
//! waits for one is ended from outside, by whoever knows least about it.

use std::time::{Duration, Instant};

/// The longest tests take two minutes on two quiet cores. What waits for a compiler may take a quarter of an hour
/// before it fails by itself.
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// The tests that have been running for long, as the lines of a run tell.
#[derive(Debug, Default)]
pub(crate) struct Slow(Vec<(String, Instant)>);

impl Slow {
    /// Takes one line of libtest's output, said at this time; any other changes nothing.
    pub(crate) fn read(&mut self, line: &str, now: Instant) {
        // The next binary: whatever became of the one before, it is over.
        if line.starts_with("running ") {
            self.0.clear();
        }
        if let Some(name) = named(line, " has been running for over ") {
            self.0.push((name.to_owned(), now));
        } else if let Some(name) = named(line, " ... ") {
            let name = name.strip_suffix(" - should panic").unwrap_or(name);
            self.0.retain(|(slow, _)| slow != name);
        }
    }

    /// Those that do not end any more, if there are any: one has been slow for so long that it never will.
    pub(crate) fn hanging(&self, now: Instant) -> Option<String> {
        let over = self.0.iter().any(|(_, since)| now.duration_since(*since) > LIMIT);
        let names = || self.0.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        over.then(names)
    }
}

/// The test of which a line says this. What a test's processes print may stand before it.
fn named<'l>(line: &'l str, what: &str) -> Option<&'l str> {
    let (before, _) = line.split_once(what)?;
    before.rsplit_once("test ").map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_hangs_that_was_slow_for_long() {
        let (start, mut slow) = (Instant::now(), Slow::default());
        let minute = Duration::from_secs(60);
        for line in [
            "running 4 tests",
            "test a ... ok",
            "test b has been running for over 60 seconds",
            "test c has been running for over 60 seconds",
            "test d has been running for over 60 seconds",
            "100 % of ittest b ... FAILED",
            "test c - should panic ... ok",
        ] {
            slow.read(line, start);
        }
        assert_eq!(slow.hanging(start + minute), None);
        slow.read("test e has been running for over 60 seconds", start + minute);
        assert_eq!(slow.hanging(start + minute + LIMIT).as_deref(), Some("d, e"));
        slow.read("running 1 test", start);
        assert_eq!(slow.hanging(start + 10 * LIMIT), None, "its binary is over");
    }
}
