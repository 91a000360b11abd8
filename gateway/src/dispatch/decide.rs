//! What happens next with a delivery: pure, so that the whole policy is a table in a test.

use std::time::Duration;

use hookweir_event::{Failure, Fate, Outcome};

use crate::{config::Policy, order::OnDead};

/// The fate of a delivery after an attempt.
///
/// `attempt` counts from 1. `uncounted` of them are not held against the event: those that were cut
/// short by a dying process (the store ends a delivery that was lost too often by itself), and those
/// before an operator had it retried.
pub(super) fn decide(
    result: Result<(), &Failure>,
    attempt: u32,
    uncounted: u32,
    policy: &Policy,
    chance: u64,
) -> Fate {
    let failure = match result {
        Ok(()) => return Fate::Done,
        Err(failure) => failure,
    };
    let counted = attempt.saturating_sub(uncounted).max(1);
    match failure.outcome {
        // It will never be handled, so there is nothing to wait for.
        Outcome::Reject | Outcome::Lost | Outcome::HopLimit | Outcome::Unreadable => {
            Fate::Dead { blocks: false }
        }
        _ if counted >= policy.max_attempts => {
            Fate::Dead { blocks: policy.order_on_dead == OnDead::Block }
        }
        Outcome::Retry => due(policy.backoff.wait(counted, failure.retry_after, chance)),
        _ => due(policy.backoff.wait(counted, None, chance)),
    }
}

fn due(after: Duration) -> Fate {
    Fate::Due { after }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The chance that leaves a wait as it is.
    const EVEN: u64 = 200;

    fn fate(outcome: Outcome, attempt: u32, lost: u32) -> Fate {
        let failure = Failure { outcome, message: String::new(), retry_after: None };
        decide(Err(&failure), attempt, lost, &Policy::default(), EVEN)
    }

    #[test]
    fn done_is_done() {
        assert_eq!(decide(Ok(()), 1, 0, &Policy::default(), 0), Fate::Done);
    }

    #[test]
    fn a_reject_is_dead_at_once() {
        assert_eq!(fate(Outcome::Reject, 1, 0), Fate::Dead { blocks: false });
    }

    #[test]
    fn everything_else_is_tried_again_until_the_attempts_are_used_up() {
        for outcome in [
            Outcome::Retry,
            Outcome::Trap,
            Outcome::Timeout,
            Outcome::CpuLimit,
            Outcome::MemoryLimit,
            Outcome::Invalid,
        ] {
            for (attempt, secs) in [(1, 2), (2, 4), (3, 8), (4, 16)] {
                assert_eq!(fate(outcome, attempt, 0), due(Duration::from_secs(secs)), "{outcome}");
            }
            assert_eq!(fate(outcome, 5, 0), Fate::Dead { blocks: true }, "{outcome}");
        }
    }

    #[test]
    fn a_key_goes_on_after_a_dead_letter_if_it_may() {
        let failure =
            Failure { outcome: Outcome::Retry, message: String::new(), retry_after: None };
        let policy = Policy { order_on_dead: OnDead::Continue, ..Policy::default() };
        assert_eq!(decide(Err(&failure), 5, 0, &policy, 0), Fate::Dead { blocks: false });
    }

    #[test]
    fn attempts_cut_short_by_a_dying_process_do_not_count() {
        assert_eq!(fate(Outcome::Retry, 6, 2), due(Duration::from_secs(16)));
        assert_eq!(fate(Outcome::Retry, 7, 2), Fate::Dead { blocks: true });
    }

    #[test]
    fn a_wait_that_was_asked_for_is_honoured_with_retry_only() {
        let asked = Some(Duration::from_secs(30));
        let failure = |outcome| Failure { outcome, message: String::new(), retry_after: asked };
        let policy = Policy::default();
        let retried = decide(Err(&failure(Outcome::Retry)), 1, 0, &policy, 0);
        assert_eq!(retried, due(Duration::from_secs(30)));
        let trapped = decide(Err(&failure(Outcome::Trap)), 1, 0, &policy, EVEN);
        assert_eq!(trapped, due(Duration::from_secs(2)));
    }
}
