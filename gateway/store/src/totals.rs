//! How many there are of each, kept beside what is counted, so that nobody ever has to count it.

/// How many there are, or by how many that changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) events: i64,
    pub(crate) outputs: i64,
    pub(crate) unrouted: i64,
    pub(crate) due: i64,
    pub(crate) leased: i64,
    pub(crate) done: i64,
    pub(crate) dead: i64,
    pub(crate) discarded: i64,
    pub(crate) duplicates: i64,
    /// What envelopes and bodies take, and what attempts sent.
    pub(crate) bytes: i64,
    /// The same of the events of dead letters, once for each.
    pub(crate) dead_bytes: i64,
}
