//! How the content of a parcel lies on the disk.
//!
//! Webhooks of one commit are much alike: 60 of Stripe's take a fifth when they are packed. What is not
//! written is not written to the log, copied to the file and synced twice: a third more appends a second, in
//! turns with a build that did not pack. Levels below 1, and LZ4, took less time and made as many.
//!
//! With it goes a checksum, which SQLite has none of: a body that has rotted on the disk is not handed out.

use std::io;

use zstd::{
    bulk::{self, Compressor},
    zstd_safe::get_frame_content_size,
};

use super::fault::Fault;
use crate::StoreError;

const LEVEL: i32 = 1;

/// How it is written. The numbers are on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    /// As it is, up to schema 7.
    Plain = 1,
    /// A Zstandard frame with a checksum (RFC 8878).
    Zstd = 2,
}

impl Packing {
    pub(super) fn of(number: u8) -> Option<Self> {
        [Self::Plain, Self::Zstd].into_iter().find(|packing| *packing as u8 == number)
    }
}

/// Packs content as [`Packing::Zstd`]. Some bytes are added to what can't be packed.
///
/// # Errors
/// If the library has too little memory.
pub(super) fn pack(content: &[u8]) -> Result<Vec<u8>, Fault> {
    let pack = || -> io::Result<Vec<u8>> {
        // Made anew each time: that takes 7 us.
        let mut compressor = Compressor::new(LEVEL)?;
        compressor.include_checksum(true)?;
        compressor.compress(content)
    };
    pack().map_err(|error| Fault::Passing(StoreError::Failed(error.to_string())))
}

/// The content again, of which it is known how long it is. `None` if it is not that any more.
pub(super) fn unpack(packing: Packing, bytes: &[u8], len: usize) -> Option<Vec<u8>> {
    let content = match packing {
        Packing::Plain => bytes.to_vec(),
        Packing::Zstd => {
            // Asked first: a length that is damaged asks for any amount of memory.
            let said = get_frame_content_size(bytes).ok().flatten();
            said.filter(|said| *said == len as u64)?;
            bulk::decompress(bytes, len).ok()?
        }
    };
    (content.len() == len).then_some(content)
}

#[cfg(test)]
mod tests {
    use hookweir_event::Digest;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_alike_takes_little_and_what_is_not_hardly_more() {
        let alike = b"{\"type\":\"payment\"}".repeat(50);
        assert!(pack(&alike).unwrap().len() < alike.len() / 4);
        let noise: Vec<u8> = (0..32_u8).flat_map(|n| *Digest::of(&[n]).as_bytes()).collect();
        assert!(pack(&noise).unwrap().len() <= noise.len() + 20);
    }

    proptest! {
        #[test]
        fn it_comes_back(content in proptest::collection::vec(0..4_u8, 0..2000)) {
            let bytes = pack(&content).unwrap();
            prop_assert_eq!(unpack(Packing::Zstd, &bytes, content.len()), Some(content));
        }

        #[test]
        fn a_bit_that_fell_over_is_seen(
            content in proptest::collection::vec(0..4_u8, 0..500),
            (at, bit) in (any::<prop::sample::Index>(), 0..8_u32),
        ) {
            let mut bytes = pack(&content).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1_u8 << bit;
            let read = unpack(Packing::Zstd, &bytes, content.len());
            // Some bits of the frame's head mean nothing.
            prop_assert!(read.is_none() || read == Some(content), "{:?}", bytes);
        }

        #[test]
        fn what_is_no_frame_is_none(bytes in prop::collection::vec(any::<u8>(), 0..200), len in 0..1_000_000_usize) {
            let read = unpack(Packing::Zstd, &bytes, len);
            prop_assert!(read.is_none_or(|content| content.len() == len));
        }
    }
}
