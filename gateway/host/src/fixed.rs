//! Chance and the passing of time, fixed: two versions that are run on the same event draw the same numbers
//! and count the same time, so that what differs is their own doing. Pure.

use hookweir_event::{Digest, EventId};

/// Bytes that a component of another toolchain draws before they begin anew.
const CYCLE: usize = 4 << 10;
/// What passes from one look at the guest's own clock to the next, in nanoseconds.
const STEP: u64 = 1000;

/// What one call draws. The same seed gives the same.
#[derive(Debug, Clone)]
pub(crate) struct Fixed {
    seed: Digest,
    blocks: u64,
    left: Vec<u8>,
    looks: u64,
}

impl Fixed {
    /// For an attempt on an event: each attempt draws others.
    pub(crate) fn of(event: EventId, attempt: u32) -> Self {
        let seed = Digest::of_fields(&[event.as_bytes(), &attempt.to_be_bytes()]);
        Self { seed, blocks: 0, left: Vec::new(), looks: 0 }
    }

    /// The next bytes.
    pub(crate) fn fill(&mut self, mut buffer: &mut [u8]) {
        while !buffer.is_empty() {
            if self.left.is_empty() {
                let block = Digest::of_fields(&[self.seed.as_bytes(), &self.blocks.to_be_bytes()]);
                self.left = block.as_bytes().to_vec();
                self.blocks += 1;
            }
            let len = buffer.len().min(self.left.len());
            let (head, rest) = buffer.split_at_mut(len);
            head.copy_from_slice(&self.left[..len]);
            self.left.drain(..len);
            buffer = rest;
        }
    }

    /// Enough for a generator that begins anew after them, whatever was drawn before.
    pub(crate) fn cycle(&self) -> Vec<u8> {
        let mut bytes = vec![0; CYCLE];
        Self { blocks: 1 << 32, left: Vec::new(), ..self.clone() }.fill(&mut bytes);
        bytes
    }

    /// Nanoseconds since the call began, as its guest sees it.
    pub(crate) fn elapsed_ns(&mut self) -> u64 {
        self.looks += 1;
        self.looks * STEP
    }
}

#[cfg(test)]
mod tests {
    use hookweir_event::Timestamp;

    use super::*;

    fn drawn(attempt: u32, sizes: &[usize]) -> Vec<u8> {
        let mut fixed = Fixed::of(EventId::new(Timestamp::from_secs(1), [7; 10]), attempt);
        let mut all = Vec::new();
        for size in sizes {
            let mut bytes = vec![0; *size];
            fixed.fill(&mut bytes);
            all.extend(bytes);
        }
        all
    }

    #[test]
    fn an_attempt_draws_the_same_however_it_asks_and_another_draws_others() {
        let whole = drawn(1, &[100]);
        assert_eq!(drawn(1, &[1, 0, 31, 33, 35]), whole);
        assert_ne!(drawn(2, &[100]), whole);
        let repeats = whole.chunks(32).skip(1).any(|block| whole.starts_with(block));
        assert!(!repeats, "{whole:?}");
    }

    #[test]
    fn time_goes_on() {
        let mut fixed = Fixed::of(EventId::new(Timestamp::from_secs(1), [7; 10]), 1);
        assert!(fixed.elapsed_ns() < fixed.elapsed_ns());
        assert_eq!(fixed.cycle(), fixed.clone().cycle());
    }
}
