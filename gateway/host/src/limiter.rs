//! How much memory one attempt has, over all memories and tables of all its core instances.
//!
//! wasmtime's own `StoreLimits` looks at each memory alone, and a component may have many. A refusal
//! is remembered: the guest sees only a failed `memory.grow`, and mostly aborts for it.

use wasmtime::ResourceLimiter;

/// A table's element is a pointer.
const ELEMENT: u64 = 8;
/// More than any toolchain makes of one component.
const INSTANCES: usize = 100;

#[derive(Debug)]
pub(crate) struct Limiter {
    max: u64,
    used: u64,
    peak: u64,
    /// What the guest had asked for in all when it was refused.
    refused: Option<u64>,
}

impl Limiter {
    pub(crate) fn new(max: u64) -> Self {
        Self { max, used: 0, peak: 0, refused: None }
    }

    /// Another call of a guest that keeps what it has.
    pub(crate) fn begin(&mut self) {
        self.peak = self.used;
        self.refused = None;
    }

    /// The most it had at a time.
    pub(crate) fn peak(&self) -> u64 {
        self.peak
    }

    /// Whether it was refused any.
    pub(crate) fn refused(&self) -> Option<u64> {
        self.refused
    }

    fn grow(&mut self, current: usize, desired: usize, unit: u64) -> bool {
        let more = (desired.saturating_sub(current) as u64).saturating_mul(unit);
        let total = self.used.saturating_add(more);
        if total > self.max {
            self.refused = Some(total);
            return false;
        }
        self.used = total;
        self.peak = self.peak.max(total);
        true
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // The memory's own maximum or the pool's: out of memory all the same.
        if maximum.is_some_and(|maximum| desired > maximum) {
            self.refused = Some(self.used.saturating_add(desired.saturating_sub(current) as u64));
            return Ok(false);
        }
        Ok(self.grow(current, desired, 1))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            let more = (desired.saturating_sub(current) as u64).saturating_mul(ELEMENT);
            self.refused = Some(self.used.saturating_add(more));
            return Ok(false);
        }
        Ok(self.grow(current, desired, ELEMENT))
    }

    fn instances(&self) -> usize {
        INSTANCES
    }

    fn tables(&self) -> usize {
        INSTANCES
    }

    fn memories(&self) -> usize {
        INSTANCES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_memories_count_together() {
        let mut limiter = Limiter::new(200);
        assert!(limiter.memory_growing(0, 120, None).unwrap());
        assert!(limiter.table_growing(0, 5, None).unwrap());
        assert!(!limiter.memory_growing(0, 120, None).unwrap());
        assert_eq!((limiter.peak(), limiter.refused()), (160, Some(280)));
    }
}
