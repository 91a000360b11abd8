//! How much memory one attempt has, over all memories and tables of all its core instances, and how many
//! of those there are.
//!
//! wasmtime's own `StoreLimits` looks at each memory alone, and a component may have many. A refusal
//! is remembered: the guest sees only a failed `memory.grow`, and mostly aborts for it.

use wasmtime::ResourceLimiter;

use crate::Limits;

/// A table's element is a pointer.
const ELEMENT: u64 = 8;
/// Memories and tables: more than the pool has for one component, which is the limit that is met.
const MANY: usize = 100;

#[derive(Debug)]
pub(crate) struct Limiter {
    memory_max: u64,
    elements_max: u64,
    core_instances_max: usize,
    used: u64,
    peak: u64,
    elements: u64,
    refused: Option<Refused>,
}

/// What a guest had asked for in all when it was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// So many bytes.
    Memory(u64),
    /// So many elements of tables.
    Elements(u64),
}

impl Limiter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            memory_max: limits.memory,
            elements_max: limits.table_elements,
            core_instances_max: limits.core_instances as usize,
            used: 0,
            peak: 0,
            elements: 0,
            refused: None,
        }
    }

    /// Another call of a guest that keeps what it has.
    pub(crate) fn begin(&mut self) {
        self.peak = self.used;
        self.refused = None;
    }

    /// The most bytes it had at a time.
    pub(crate) fn peak(&self) -> u64 {
        self.peak
    }

    /// The bytes it has.
    pub(crate) fn used(&self) -> u64 {
        self.used
    }

    /// Whether less than a quarter of its memory is left. A call that begins with so little may come to
    /// nothing: an interpreter lets garbage lie until its own idea of a full heap, which may be beyond the limit.
    /// A kept JavaScript engine had 64 MiB after some hundred calls of an event of 1 KiB.
    pub(crate) fn is_nearly_full(&self) -> bool {
        self.used > self.memory_max - self.memory_max / 4
    }

    /// What it was refused, if anything.
    pub(crate) fn refused(&self) -> Option<Refused> {
        self.refused
    }

    /// Whether it may have so many bytes more, and so many elements among them.
    fn grow(&mut self, bytes: u64, elements: u64) -> bool {
        let (used, all) = (self.used.saturating_add(bytes), self.elements.saturating_add(elements));
        if all > self.elements_max {
            self.refused = Some(Refused::Elements(all));
            return false;
        }
        if used > self.memory_max {
            self.refused = Some(Refused::Memory(used));
            return false;
        }
        (self.used, self.elements, self.peak) = (used, all, self.peak.max(used));
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
        let more = desired.saturating_sub(current) as u64;
        // The memory's own maximum or the pool's: out of memory all the same.
        if maximum.is_some_and(|maximum| desired > maximum) {
            self.refused = Some(Refused::Memory(self.used.saturating_add(more)));
            return Ok(false);
        }
        Ok(self.grow(more, 0))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current) as u64;
        if maximum.is_some_and(|maximum| desired > maximum) {
            self.refused = Some(Refused::Elements(self.elements.saturating_add(more)));
            return Ok(false);
        }
        Ok(self.grow(more.saturating_mul(ELEMENT), more))
    }

    fn instances(&self) -> usize {
        self.core_instances_max
    }

    fn tables(&self) -> usize {
        MANY
    }

    fn memories(&self) -> usize {
        MANY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_memories_and_tables_count_together() {
        let limits = Limits { memory: 200, table_elements: 7, ..Limits::default() };
        let mut limiter = Limiter::new(&limits);
        assert!(limiter.memory_growing(0, 120, None).unwrap());
        assert!(limiter.table_growing(0, 5, None).unwrap());
        assert!(!limiter.memory_growing(0, 120, None).unwrap());
        assert_eq!((limiter.peak(), limiter.refused()), (160, Some(Refused::Memory(280))));
        assert!(limiter.table_growing(5, 7, None).unwrap());
        assert!(!limiter.table_growing(0, 1, None).unwrap());
        assert_eq!((limiter.peak(), limiter.refused()), (176, Some(Refused::Elements(8))));
    }
}
