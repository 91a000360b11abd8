//! How many bytes may still come, or be held: of one message, and of all those of an attempt together.
//! Counted as they come, so that what is sent at the same time never holds more than that between it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use super::HttpFault;

/// What is left for all messages of a kind in one attempt.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    max: u64,
    left: Arc<AtomicU64>,
}

impl Budget {
    pub(crate) fn new(max: u64) -> Self {
        Self { max, left: Arc::new(AtomicU64::new(max)) }
    }

    /// How much was taken and not given back.
    pub(crate) fn taken(&self) -> u64 {
        self.max - self.left.load(Relaxed)
    }

    /// Allowance for one message of at most `max` bytes.
    pub(crate) fn allow(&self, max: u64) -> Allowance {
        Allowance { max, used: 0, budget: self.clone() }
    }
}

/// What is left for one message.
#[derive(Debug)]
pub struct Allowance {
    max: u64,
    used: u64,
    budget: Budget,
}

impl Allowance {
    /// Counts bytes that have come.
    ///
    /// # Errors
    /// If they are more than the message or all messages together may have.
    pub fn take(&mut self, bytes: usize) -> Result<(), HttpFault> {
        let bytes = bytes as u64;
        if self.used.saturating_add(bytes) > self.max {
            return Err(HttpFault::TooLarge(self.max));
        }
        let take = |left: u64| left.checked_sub(bytes);
        let taken = self.budget.left.fetch_update(Relaxed, Relaxed, take);
        taken.map_err(|_| HttpFault::TooLarge(self.budget.max))?;
        self.used += bytes;
        Ok(())
    }
}

/// Allowance that is given back when the message is not held any more.
#[derive(Debug)]
pub(crate) struct Lent(pub(crate) Allowance);

impl Drop for Lent {
    fn drop(&mut self) {
        self.0.budget.left.fetch_add(self.0.used, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_bound_and_all_have_one() {
        let budget = Budget::new(100);
        let mut one = Lent(budget.allow(60));
        assert_eq!(one.0.take(60), Ok(()));
        assert_eq!(one.0.take(1), Err(HttpFault::TooLarge(60)));
        let mut two = budget.allow(60);
        assert_eq!(two.take(41), Err(HttpFault::TooLarge(100)));
        assert_eq!(two.take(40), Ok(()));
        assert_eq!(budget.taken(), 100);
        drop(one);
        assert_eq!(budget.taken(), 40);
    }
}
