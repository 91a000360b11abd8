//! A plugin's own data: what an attempt saw of it, and what it does to it.

use std::time::Duration;

use crate::Timestamp;

/// What an attempt did to one entry of its plugin's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateChange {
    /// The entry.
    pub key: String,
    /// What the attempt relied on.
    pub based_on: Basis,
    /// What becomes of it.
    pub change: Change,
}

/// What has to be there for a [`StateChange`] to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// Whatever there is: the attempt did not look.
    Anything,
    /// No entry.
    Nothing,
    /// The entry in this version, expired or not.
    Version(u64),
}

/// What becomes of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Nothing: it was looked at.
    Keep,
    /// It has this value, in a version that it never had before.
    Set {
        /// The value.
        value: Vec<u8>,
        /// How long it holds, by the store's clock.
        lasts: Lasts,
    },
    /// There is no entry.
    Delete,
}

/// How long an entry holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasts {
    /// Until it is deleted.
    ForEver,
    /// From its commit on.
    For(Duration),
    /// As long as the entry that it replaces would have.
    AsBefore,
}

/// An entry of a plugin's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateEntry {
    /// Its key.
    pub key: String,
    /// Changes with each write, and never comes back.
    pub version: u64,
    /// Its value.
    pub value: Vec<u8>,
    /// From then on it counts as absent. It is deleted some time later; until then it can be a
    /// [`Basis`].
    pub expires_at: Option<Timestamp>,
}

/// An entry of a plugin's state without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateKey {
    /// Its key.
    pub key: String,
    /// From then on it counts as absent.
    pub expires_at: Option<Timestamp>,
}
