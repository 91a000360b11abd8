//! Whether a version that replaced another keeps its place. Pure.
//!
//! What speaks against it are system failures, which are the code's: traps, timeouts, limits, invalid
//! outputs. That a plugin asks for a retry or rejects an event may well be what it should do. And that one
//! event fails whatever runs it says nothing of the version: two have to.

use std::time::Duration;

use crate::health::Tally;

/// So many attempts are enough to trust a version.
const ATTEMPTS: u64 = 50;
/// So long after its first attempt a version is trusted that does not fail more than it may; one that does,
/// but too rarely to say enough in this time, stays on probation.
pub(super) const PERIOD: Duration = Duration::from_secs(60);
/// After this a version is trusted of which there still is not enough to say.
pub(super) const IDLE: Duration = Duration::from_secs(24 * 3600);
/// So many failures say enough, however many attempts an event has.
const FAILURES: u64 = 5;
/// Fewer say nothing.
const FAILURES_MIN: u64 = 2;
/// How many times the share of failures before a version has to exceed to be taken back.
const TIMES: u128 = 3;

/// How many failures it takes: one fewer than an event's attempts where that is less, so that the first
/// events have attempts left for the version before, if several come about at the same time. Where an event
/// has so few that it can't be saved, nothing is gained by haste.
fn enough(max_attempts: u32) -> u64 {
    let left = u64::from(max_attempts).saturating_sub(1);
    if left < FAILURES_MIN { FAILURES } else { left.min(FAILURES) }
}

/// What becomes of a version on probation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    /// It can't be said yet.
    Wait,
    /// It stays.
    Stay,
    /// It goes.
    Go,
}

/// `now` is what it did, `before` what the version before it did since it served; an event has `max_attempts`;
/// `busy` is the time since its first attempt, `age` since it went live.
///
/// A version of which nothing is known, such as after a restart, counts as one that never failed.
pub(super) fn judge(
    now: Tally,
    before: Tally,
    max_attempts: u32,
    busy: Option<Duration>,
    age: Duration,
) -> Judgement {
    let share = u128::from(now.failures) * u128::from(before.attempts.max(1));
    let bound = TIMES * u128::from(before.failures) * u128::from(now.attempts);
    let fails_more = share > bound;
    if fails_more && now.several && now.failures >= enough(max_attempts) {
        return Judgement::Go;
    }
    let rested = busy.is_some_and(|busy| busy >= PERIOD) && !fails_more;
    let over = now.attempts >= ATTEMPTS || rested || age >= IDLE;
    if over { Judgement::Stay } else { Judgement::Wait }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(failures: u64, attempts: u64) -> Tally {
        Tally { attempts, failures, several: failures > 1 }
    }

    #[test]
    fn a_version_goes_when_it_fails_more_than_three_times_as_often() {
        use Judgement::{Go, Stay, Wait};
        let second = Duration::from_secs(1);
        for (now, before, judgement) in [
            // Too few to say.
            (tally(0, 0), tally(0, 0), Wait),
            (tally(4, 4), tally(0, 100), Wait),
            (tally(0, 49), tally(0, 100), Wait),
            // Against one that never failed, or of which nothing is known.
            (tally(5, 5), tally(0, 100), Go),
            (tally(5, 50), tally(0, 1), Go),
            (tally(5, 5), tally(0, 0), Go),
            // As often, twice and three times as often, and more.
            (tally(5, 49), tally(10, 100), Wait),
            (tally(5, 50), tally(10, 100), Stay),
            (tally(15, 50), tally(10, 100), Stay),
            (tally(16, 50), tally(10, 100), Go),
            // What fails every third time can't fail three times as often.
            (tally(40, 40), tally(1, 3), Wait),
            (tally(50, 50), tally(1, 3), Stay),
            (tally(41, 41), tally(1, 4), Go),
            // Far more than were waited for, since they ran at the same time.
            (tally(5, 5000), tally(0, 100), Go),
            (tally(1 << 60, 1 << 60), tally(1 << 60, 1 << 60), Stay),
        ] {
            assert_eq!(
                judge(now, before, 100, Some(second), second),
                judgement,
                "{now:?} {before:?}"
            );
        }
    }

    #[test]
    fn an_event_that_fails_from_the_first_has_an_attempt_left_for_the_version_before() {
        for (max_attempts, failures) in [(1, 5), (2, 5), (3, 2), (4, 3), (5, 4), (6, 5), (100, 5)] {
            let judge =
                |n| judge(tally(n, n), tally(0, 9), max_attempts, Some(Duration::ZERO), PERIOD);
            let one = Tally { several: false, ..tally(failures, failures) };
            let poison = super::judge(one, tally(0, 9), max_attempts, Some(PERIOD), PERIOD);
            assert_eq!(poison, Judgement::Wait, "one event alone");
            assert_eq!(judge(failures - 1), Judgement::Wait, "{max_attempts}");
            assert_eq!(judge(failures), Judgement::Go, "{max_attempts}");
        }
    }

    #[test]
    fn probation_ends() {
        let judge = |busy, age| judge(tally(0, 4), tally(0, 0), 100, busy, age);
        let before = PERIOD - Duration::from_millis(1);
        assert_eq!(judge(Some(before), IDLE / 2), Judgement::Wait);
        assert_eq!(judge(Some(PERIOD), PERIOD), Judgement::Stay);
        assert_eq!(judge(None, IDLE / 2), Judgement::Wait);
        assert_eq!(judge(None, IDLE), Judgement::Stay);
    }

    #[test]
    fn a_version_that_fails_slowly_is_not_trusted_for_it() {
        let judge = |now, before, age| judge(now, before, 100, Some(PERIOD), age);
        for (now, before, judgement) in [
            (tally(4, 4), tally(0, 100), Judgement::Wait),
            (tally(1, 40), tally(0, 100), Judgement::Wait),
            // Within what the one before did, or enough of it went well.
            (tally(1, 4), tally(10, 100), Judgement::Stay),
            (tally(4, 50), tally(0, 100), Judgement::Stay),
            (tally(5, 5), tally(0, 100), Judgement::Go),
        ] {
            assert_eq!(judge(now, before, PERIOD), judgement, "{now:?}");
        }
        assert_eq!(judge(tally(4, 4), tally(0, 100), IDLE), Judgement::Stay);
    }
}
