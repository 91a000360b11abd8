//! A Bloom filter: tells of a key that it was certainly not put in, or that it may have been.
//!
//! All bits of a key are in one block of the size of a cache line, so that a question is one miss
//! (Putze, Sanders and Singler, "Cache-, Hash- and Space-Efficient Bloom Filters", 2007). The keys
//! are hashes already, so their own bits choose.

/// 512 bits.
type Block = [u64; 8];

/// Bits for each key it is made for: one answer in 50 is wrong when it is as full as that, one in 10
/// at twice as many keys.
const BITS_PER_KEY: usize = 12;
/// 16 MiB, enough for 11 million keys. Beyond that it answers "may have been" more and more often.
const BLOCKS_MAX: usize = (16 << 20) / size_of::<Block>();
/// Bits of a block that a key sets.
const BITS: u32 = 5;

#[derive(Debug)]
pub(super) struct Filter {
    /// As many as a power of two.
    blocks: Vec<Block>,
}

impl Filter {
    /// An empty one with room for so many keys.
    pub(super) fn with_room_for(keys: usize) -> Self {
        let blocks = keys.saturating_mul(BITS_PER_KEY) / (8 * size_of::<Block>());
        let blocks = blocks.clamp(1, BLOCKS_MAX).next_power_of_two();
        Self { blocks: vec![Block::default(); blocks] }
    }

    pub(super) fn insert(&mut self, key: &[u8; 16]) {
        let (block, choice) = self.place(key);
        let block = &mut self.blocks[block];
        for (word, bit) in bits(choice) {
            block[word] |= bit;
        }
    }

    pub(super) fn may_contain(&self, key: &[u8; 16]) -> bool {
        let (block, choice) = self.place(key);
        let block = &self.blocks[block];
        bits(choice).all(|(word, bit)| block[word] & bit != 0)
    }

    /// One half of the key chooses the block, the other its bits.
    fn place(&self, key: &[u8; 16]) -> (usize, u64) {
        let [block, choice] =
            [0, 8].map(|at| u64::from_le_bytes(std::array::from_fn(|byte| key[at + byte])));
        // Cut off by the mask in any case.
        #[allow(clippy::cast_possible_truncation)]
        let block = block as usize & (self.blocks.len() - 1);
        (block, choice)
    }
}

/// Each word and its bit, from nine bits of `choice` each.
fn bits(choice: u64) -> impl Iterator<Item = (usize, u64)> {
    (0..BITS).map(move |nth| {
        let nine = (choice >> (9 * nth)) & 511;
        ((nine >> 6) as usize & 7, 1 << (nine & 63))
    })
}

#[cfg(test)]
mod tests {
    use hookweir_event::Digest;

    use super::*;

    fn key(n: u32) -> [u8; 16] {
        std::array::from_fn(|byte| Digest::of(&n.to_le_bytes()).as_bytes()[byte])
    }

    #[test]
    fn what_was_put_in_is_never_denied_and_what_was_not_nearly_always() {
        let mut filter = Filter::with_room_for(20_000);
        for n in 0..20_000 {
            filter.insert(&key(n));
        }
        assert!((0..20_000).all(|n| filter.may_contain(&key(n))));
        let wrong = (20_000..40_000).filter(|n| filter.may_contain(&key(*n))).count();
        assert!(wrong < 1000, "{wrong} of 20,000");
    }

    #[test]
    fn an_empty_one_denies_and_a_huge_one_is_bounded() {
        assert!(!Filter::with_room_for(0).may_contain(&key(1)));
        assert_eq!(size_of::<Block>() * Filter::with_room_for(usize::MAX).blocks.len(), 16 << 20);
    }
}
