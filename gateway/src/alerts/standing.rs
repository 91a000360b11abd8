//! What is watched and what of it is raised, for metrics: as the driver saw it last.

use std::sync::{Mutex, PoisonError};

use super::name::Name;

/// What is watched. Bounded by the sources and plugins in force.
#[derive(Debug, Default)]
pub struct Standing(Mutex<Vec<(Name, bool)>>);

impl Standing {
    /// Each thing that is watched, and whether it is raised.
    pub fn watched(&self) -> Vec<(Name, bool)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, watched: Vec<(Name, bool)>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = watched;
    }
}
