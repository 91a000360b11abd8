//! CPU time of one attempt: what its thread spends while the attempt's future is being polled.
//!
//! The thread's own CPU clock is read, not the wall's: on a busy machine a plugin does not pay for
//! the time that its thread waits for a core.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};

/// The CPU time of this thread so far, in nanoseconds.
fn thread_cpu() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    let secs = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
    secs.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// Shared by the future that is measured and by what asks how much it has used. Only the polling
/// thread writes, and only it asks while a poll runs, so relaxed order is enough.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    spent: AtomicU64,
    polled_at: AtomicU64,
}

impl Meter {
    /// Up to the end of the last poll.
    pub(crate) fn spent(&self) -> Duration {
        Duration::from_nanos(self.spent.load(Relaxed))
    }

    /// Up to now, asked from inside a poll.
    pub(crate) fn spent_now(&self) -> Duration {
        let running = thread_cpu().saturating_sub(self.polled_at.load(Relaxed));
        Duration::from_nanos(self.spent.load(Relaxed).saturating_add(running))
    }

    fn poll<T>(&self, poll: impl FnOnce() -> T) -> T {
        let start = thread_cpu();
        self.polled_at.store(start, Relaxed);
        let result = poll();
        self.spent.fetch_add(thread_cpu().saturating_sub(start), Relaxed);
        result
    }
}

/// Runs `future` with `meter` on.
pub(crate) fn metered<F: Future>(meter: Arc<Meter>, future: F) -> impl Future<Output = F::Output> {
    Metered { meter, future: Box::pin(future) }
}

struct Metered<F> {
    meter: Arc<Meter>,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for Metered<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Self { meter, future } = &mut *self;
        meter.poll(|| future.as_mut().poll(cx))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn waiting_is_free_and_spinning_is_not() {
        let meter = Arc::new(Meter::default());
        let wait = tokio::time::sleep(Duration::from_millis(50));
        metered(Arc::clone(&meter), wait).await;
        assert!(meter.spent() < Duration::from_millis(20), "{:?}", meter.spent());

        let asked = metered(Arc::clone(&meter), async {
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(200) {}
            meter.spent_now()
        });
        let asked = asked.await;
        assert!(asked > Duration::from_millis(20), "{asked:?}");
        assert!(meter.spent() >= asked);
    }
}
