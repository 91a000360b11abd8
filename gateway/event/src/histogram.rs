//! How a number is spread: how many were at most so much. Whoever counts pays two atomic additions and
//! waits for nobody; whoever reads sees each count, if not all of one moment.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts whole numbers, such as microseconds, by bounds that are fixed.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// One for each bound, and one for what is beyond.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// What a [`Histogram`] has counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spread {
    bounds: &'static [u64],
    counts: Vec<u64>,
    sum: u64,
}

impl Histogram {
    /// One that has counted nothing. The bounds ascend; each belongs to what is counted below it.
    pub fn new(bounds: &'static [u64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum: AtomicU64::new(0) }
    }

    /// Counts a number.
    pub fn count(&self, number: u64) {
        let at = self.bounds.partition_point(|bound| *bound < number);
        self.counts[at].fetch_add(1, Relaxed);
        self.sum.fetch_add(number, Relaxed);
    }

    /// What was counted so far.
    pub fn spread(&self) -> Spread {
        let counts = self.counts.iter().map(|count| count.load(Relaxed)).collect();
        Spread { bounds: self.bounds, counts, sum: self.sum.load(Relaxed) }
    }
}

impl Spread {
    /// How many numbers.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All of them together.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// How many are in each range, with its upper bound; that of the last one is none.
    pub fn ranges(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        let bounds = self.bounds.iter().copied().map(Some).chain([None]);
        bounds.zip(self.counts.iter().copied())
    }

    /// What was counted since `earlier`, which the same histogram said.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let pairs = self.counts.iter().zip(&earlier.counts);
        let counts = pairs.map(|(now, then)| now.saturating_sub(*then)).collect();
        Self { bounds: self.bounds, counts, sum: self.sum.saturating_sub(earlier.sum) }
    }

    /// The number that so many hundredths of all are at most, as well as the ranges tell: evenly spread
    /// within one. Beyond the last bound it is that bound. None, if nothing was counted.
    pub fn percentile(&self, hundredths: u64) -> Option<u64> {
        let all = self.count();
        let rank = (all.saturating_mul(hundredths)).div_ceil(100).max(1);
        let (mut below, mut from) = (0, 0);
        for (bound, count) in self.ranges() {
            if count > 0 && below + count >= rank {
                let to = bound.unwrap_or(from);
                let width = u128::from(to.saturating_sub(from));
                let part = width * u128::from(rank - below) / u128::from(count);
                return Some(from + u64::try_from(part).unwrap_or(0));
            }
            below += count;
            from = bound.unwrap_or(from);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

    use super::*;

    fn counted(numbers: &[u64]) -> Spread {
        let histogram = Histogram::new(&[10, 100, 1000]);
        numbers.iter().for_each(|number| histogram.count(*number));
        histogram.spread()
    }

    #[test]
    fn a_bound_belongs_to_the_range_below_it() {
        let spread = counted(&[0, 10, 11, 100, 1001]);
        let ranges: Vec<_> = spread.ranges().collect();
        assert_eq!(ranges, [(Some(10), 2), (Some(100), 2), (Some(1000), 0), (None, 1)]);
        assert_eq!((spread.count(), spread.sum()), (5, 1122));
    }

    #[test]
    fn a_percentile_is_within_its_range_and_never_beyond_the_last_bound() {
        assert_eq!(counted(&[]).percentile(95), None);
        assert_eq!(counted(&[7]).percentile(95), Some(10));
        assert_eq!(counted(&[5000]).percentile(50), Some(1000));
        let mut numbers = vec![50; 95];
        numbers.extend([500; 5]);
        assert_eq!(counted(&numbers).percentile(95), Some(100));
        assert!(counted(&numbers).percentile(96).unwrap() > 100);
    }

    #[test]
    fn what_was_counted_since_is_the_difference() {
        let histogram = Histogram::new(&[10]);
        histogram.count(1);
        let earlier = histogram.spread();
        histogram.count(20);
        let since = histogram.spread().since(&earlier);
        assert_eq!((since.count(), since.sum()), (1, 20));
    }
}
