//! Where randomness comes from: a parameter like time, so that tests can fix it.

use std::{fmt, sync::Arc};

use rand::Rng as _;

/// A source of random bytes. `main` makes the system's.
#[derive(Clone)]
pub struct Chance(Arc<Fill>);

type Fill = dyn Fn(&mut [u8]) + Send + Sync;

impl Chance {
    /// A generator for cryptography in each thread, seeded by the operating system's and seeded anew
    /// every 64 KiB. Asking the system itself took three calls a request.
    ///
    /// A machine that has no random bytes can't make ids that nobody guesses, so there is nothing to
    /// fall back on, and the process ends.
    pub fn system() -> Self {
        Self::new(|buffer| rand::rng().fill_bytes(buffer))
    }

    /// Any other source.
    pub fn new(fill: impl Fn(&mut [u8]) + Send + Sync + 'static) -> Self {
        Self(Arc::new(fill))
    }

    /// `N` random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        (self.0)(&mut bytes);
        bytes
    }

    /// A random number.
    pub fn number(&self) -> u64 {
        u64::from_ne_bytes(self.bytes())
    }
}

impl fmt::Debug for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Chance")
    }
}
