//! Whether the driver goes round: asked by whoever would have the process restarted if it does not.

use std::sync::Arc;

use tokio::sync::{Notify, watch};

/// The driver's rounds. Clones are of the same one.
#[derive(Debug, Clone)]
pub(crate) struct Rounds {
    at: Arc<watch::Sender<At>>,
    asked: Arc<Notify>,
}

/// Where the driver is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// In this round, counted from 0.
    Round(u64),
    /// Past the last: it was asked to stop.
    Over,
}

impl Default for Rounds {
    fn default() -> Self {
        Self { at: Arc::new(watch::Sender::new(At::Round(0))), asked: Arc::default() }
    }
}

impl Rounds {
    /// The next one begins.
    pub(super) fn begin(&self) {
        self.at.send_modify(|at| {
            if let At::Round(number) = at {
                *number += 1;
            }
        });
    }

    /// There is no other.
    pub(crate) fn end(&self) {
        self.at.send_replace(At::Over);
    }

    /// Returns when the driver should go round though nothing has changed.
    pub(super) async fn asked(&self) {
        self.asked.notified().await;
    }

    /// Returns when the driver has gone round, or is to go round no more.
    pub(crate) async fn another(&self) {
        let mut at = self.at.subscribe();
        let before = *at.borrow_and_update();
        self.asked.notify_one();
        if before != At::Over {
            // It can't fail: the other end is held here.
            let _ = at.wait_for(|at| *at != before).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::Future, pin::pin, task::Poll};

    use super::*;

    fn polled<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Poll<T> {
        future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
    }

    #[test]
    fn a_driver_that_stands_still_is_told_from_one_that_goes_round_or_has_ended() {
        let rounds = Rounds::default();
        rounds.begin();
        let mut another = pin!(rounds.another());
        assert!(polled(another.as_mut()).is_pending(), "it stands still");
        assert!(polled(pin!(rounds.asked())).is_ready(), "it is asked to go on");
        rounds.begin();
        assert!(polled(another).is_ready());
        let mut another = pin!(rounds.another());
        assert!(polled(another.as_mut()).is_pending());
        rounds.end();
        assert!(polled(another).is_ready());
        assert!(polled(pin!(rounds.another())).is_ready());
    }
}
