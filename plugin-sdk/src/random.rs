//! Chance, from the host: `wasm32-unknown-unknown` has none of its own. In a test it comes from a seed
//! ([`Host::seed`](crate::testing::Host::seed)).
//!
//! What is drawn is another on each attempt of an event. What must stay the same (a key for the other side, the id
//! of a thing that is made) is better made from [`Event::id`](crate::Event::id).
//!
//! Features: `uuid` and `rand` make ids and a generator of these bytes; `getrandom` gives them to all crates that draw
//! through that one. The standard library's `HashMap` hashes with keys that are the same in every run on this
//! target, so whoever writes the body can make its entries collide: keep what is keyed by an event's own text in a
//! `BTreeMap`, as `serde_json`'s `Value` does.
//!
//! ```
//! use hookweir_sdk::prelude::*;
//!
//! fn handle(event: Event) -> Result<Outputs, Failure> {
//!     let code = 100_000 + random::u64() % 900_000;
//!     state::set_for(&format!("code:{}", event.text()), code.to_string(), std::time::Duration::from_secs(600))?;
//!     Ok(outputs![Output::new("code", code.to_string())])
//! }
//! # let host = hookweir_sdk::testing::Host::new();
//! # let event = Event::builder("crm", "login").body("ada").build();
//! # assert_eq!(host.run(handle, event).expect("handled")[0].body().len(), 6);
//! ```

use crate::host;

/// The most bytes that the host gives at once, unless the operator says otherwise.
const AT_ONCE: usize = 65_536;

/// Cryptographically secure bytes, at most 65,536 a call; the host ends an attempt that asks for
/// more.
///
/// ```
/// use hookweir_sdk::prelude::*;
///
/// fn handle(_: Event) -> Result<Outputs, Failure> {
///     let token: String = random::bytes(16).iter().map(|byte| format!("{byte:02x}")).collect();
///     Ok(outputs![Output::new("invited", token)])
/// }
///
/// # use hookweir_sdk::testing::Host;
/// let host = Host::new().seed(7);
/// let outputs = host.run(handle, Event::builder("crm", "invite").build()).expect("handled");
/// assert_eq!(outputs[0].body().len(), 32);
/// ```
pub fn bytes(len: u32) -> Vec<u8> {
    host::random_bytes(len)
}

/// Fills all of a buffer with such bytes, whatever its length.
///
/// ```
/// use hookweir_sdk::prelude::*;
///
/// fn handle(_: Event) -> Result<Outputs, Failure> {
///     let mut salt = [0; 32];
///     random::fill(&mut salt);
///     assert_ne!(salt, [0; 32]);
///     Ok(outputs![])
/// }
/// # let host = hookweir_sdk::testing::Host::new();
/// # host.run(handle, Event::builder("s", "t").build()).expect("handled");
/// ```
pub fn fill(buffer: &mut [u8]) {
    for piece in buffer.chunks_mut(AT_ONCE) {
        let len = u32::try_from(piece.len()).expect("invariant: a piece has at most 65,536 bytes");
        piece.copy_from_slice(&host::random_bytes(len));
    }
}

/// A cryptographically secure number, each as likely as any other.
///
/// ```
/// use hookweir_sdk::prelude::*;
///
/// /// One event in a hundred is looked at closely.
/// fn handle(event: Event) -> Result<Outputs, Failure> {
///     match random::u64() % 100 {
///         0 => Ok(outputs![Output::new("audit", event.body())]),
///         _ => Ok(outputs![]),
///     }
/// }
/// # let host = hookweir_sdk::testing::Host::new();
/// # let count = (0..500).filter(|_| {
/// #     !host.run(handle, Event::builder("s", "t").build()).expect("handled").is_empty()
/// # });
/// # assert!((1..30).contains(&count.count()));
/// ```
pub fn u64() -> u64 {
    bytes(8).iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// A random id (UUID version 4).
///
/// ```
/// use hookweir_sdk::prelude::*;
///
/// fn handle(event: Event) -> Result<Outputs, Failure> {
///     let ticket = random::uuid_v4();
///     state::set(&format!("ticket:{ticket}"), event.id())?;
///     Ok(outputs![Output::new("ticket.opened", ticket.to_string())])
/// }
///
/// # use hookweir_sdk::testing::Host;
/// let open = || {
///     let event = Event::builder("shop", "complaint").build();
///     Host::new().seed(7).run(handle, event).expect("handled")[0].body().to_vec()
/// };
/// assert_eq!(open(), open(), "the same seed, the same id");
/// ```
#[cfg(feature = "uuid")]
pub fn uuid_v4() -> uuid::Uuid {
    let mut chance = [0; 16];
    fill(&mut chance);
    uuid::Builder::from_random_bytes(chance).into_uuid()
}

/// An id that begins with the host's time, to the millisecond, and is random behind it (UUID version 7): such ids sort
/// by when they were made.
///
/// ```
/// use hookweir_sdk::prelude::*;
///
/// fn handle(_: Event) -> Result<Outputs, Failure> {
///     Ok(outputs![Output::new("made", random::uuid_v7().to_string())])
/// }
///
/// # use hookweir_sdk::testing::Host;
/// let host = Host::new().now_ms(0x0190_0000_0000);
/// let outputs = host.run(handle, Event::builder("shop", "order").build()).expect("handled");
/// assert!(outputs[0].body().starts_with(b"01900000-0000-7"));
/// ```
#[cfg(feature = "uuid")]
pub fn uuid_v7() -> uuid::Uuid {
    let mut chance = [0; 10];
    fill(&mut chance);
    uuid::Builder::from_unix_timestamp_millis(host::now_ms(), &chance).into_uuid()
}

/// A generator of random numbers for `rand` 0.10, cryptographically secure. Each number is a call of the host: who
/// draws thousands seeds one of its own from it, by `StdRng::from_rng(&mut random::rng())`.
///
/// ```
/// use hookweir_sdk::prelude::*;
/// use rand::{RngExt as _, seq::SliceRandom as _};
///
/// fn handle(_: Event) -> Result<Outputs, Failure> {
///     let mut queue = ["ada", "bob", "cyd"];
///     queue.shuffle(&mut random::rng());
///     let wait_s = random::rng().random_range(60..=120);
///     state::set("next", queue[0])?;
///     Ok(outputs![Output::json("called", &(queue[0], wait_s))?])
/// }
///
/// # use hookweir_sdk::testing::Host;
/// let drawn = |seed: u64| {
///     let event = Event::builder("desk", "free").build();
///     Host::new().seed(seed).run(handle, event).expect("handled")[0].body().to_vec()
/// };
/// assert_eq!(drawn(1), drawn(1), "the same seed, the same numbers");
/// ```
#[cfg(feature = "rand")]
pub fn rng() -> HostRng {
    HostRng(())
}

/// The host as a generator for `rand`; see [`rng`].
///
/// ```
/// use hookweir_sdk::{prelude::*, random::HostRng};
/// use rand::{SeedableRng as _, rngs::StdRng};
///
/// fn handle(_: Event) -> Result<Outputs, Failure> {
///     let mut host: HostRng = random::rng();
///     let own = StdRng::from_rng(&mut host);
///     drop(own);
///     Ok(outputs![])
/// }
/// # let host = hookweir_sdk::testing::Host::new();
/// # host.run(handle, Event::builder("s", "t").build()).expect("handled");
/// ```
#[cfg(feature = "rand")]
#[derive(Debug)]
pub struct HostRng(());

#[cfg(feature = "rand")]
impl rand_core::TryRng for HostRng {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut chance = [0; 4];
        fill(&mut chance);
        Ok(u32::from_le_bytes(chance))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(u64())
    }

    fn try_fill_bytes(&mut self, buffer: &mut [u8]) -> Result<(), Self::Error> {
        fill(buffer);
        Ok(())
    }
}

#[cfg(feature = "rand")]
impl rand_core::TryCryptoRng for HostRng {}
