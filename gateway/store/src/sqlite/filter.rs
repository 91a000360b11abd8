//! Bloom filters, one for each generation of claims: which generations may hold a key, asked of 16 at
//! once.
//!
//! They lie side by side: bit p of all 16 is one word, so a question reads as many words as a key has
//! bits, however many of the 16 are in use ("bit-sliced signatures"). All bits of a key lie in one line of
//! 128 bytes ("blocked Bloom filter"), since what takes time is to get a line from memory. The keys are
//! hashes already, so their own bits say where.

/// A filter's bit in each word.
type Word = u16;

const FILTERS: usize = Word::BITS as usize;
/// Bits that a key sets.
const BITS: u32 = 7;
/// Words of a line.
const LINE: usize = 128 / size_of::<Word>();
/// The most lines: a million bits.
const LINES_MAX: usize = 1 << 14;
/// Bits a filter has for each key it is made for: one answer or two in a thousand are wrong when it is
/// as full as that.
const BITS_PER_KEY: usize = 16;
/// The layout of a saved one.
const VERSION: u8 = 2;

/// Which filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot(usize);

#[derive(Debug)]
pub(super) struct Filters {
    /// Bits of a filter: a power of two, and whole lines.
    bits: usize,
    blocks: Vec<Block>,
}

#[derive(Debug)]
struct Block {
    used: Word,
    /// One word for each bit of a filter.
    words: Vec<Word>,
}

impl Filters {
    /// None yet; each is made for so many keys.
    pub(super) fn each_for(keys: usize) -> Self {
        let bits =
            keys.saturating_mul(BITS_PER_KEY).clamp(LINE, LINES_MAX * LINE).next_power_of_two();
        Self { bits, blocks: Vec::new() }
    }

    /// An empty one.
    pub(super) fn add(&mut self) -> Slot {
        let free = |block: &Block| block.used != Word::MAX;
        let index = self.blocks.iter().position(free).unwrap_or(self.blocks.len());
        if index == self.blocks.len() {
            self.blocks.push(Block { used: 0, words: vec![0; self.bits] });
        }
        let block = &mut self.blocks[index];
        let nth = block.used.trailing_ones() as usize;
        block.used |= 1 << nth;
        Slot(index * FILTERS + nth)
    }

    /// The one that [`saved`](Self::saved) wrote, or one that may hold everything if it was not
    /// written by this version.
    pub(super) fn restore(&mut self, saved: Option<&[u8]>) -> Slot {
        let slot = self.add();
        let whole = |bytes: &&[u8]| bytes.len() == self.bits / 8;
        let saved = saved.and_then(|saved| saved.strip_prefix(&[VERSION])).filter(whole);
        let (words, bit) = self.words(slot);
        match saved {
            None => words.iter_mut().for_each(|word| *word |= bit),
            // Without a branch: a million bits took 4 ms with one, which is all of a start.
            Some(bytes) => {
                for (eight, byte) in words.chunks_mut(8).zip(bytes) {
                    for (at, word) in eight.iter_mut().enumerate() {
                        *word |= Word::from(byte >> at & 1) * bit;
                    }
                }
            }
        }
        slot
    }

    /// Its bits, eight a byte.
    pub(super) fn saved(&mut self, slot: Slot) -> Vec<u8> {
        let (words, bit) = self.words(slot);
        let byte = |eight: &[Word]| {
            let set = |(at, word): (usize, &Word)| u8::from(word & bit != 0) << at;
            eight.iter().enumerate().map(set).sum()
        };
        std::iter::once(VERSION).chain(words.chunks(8).map(byte)).collect()
    }

    pub(super) fn remove(&mut self, slot: Slot) {
        let (words, bit) = self.words(slot);
        words.iter_mut().for_each(|word| *word &= !bit);
        self.blocks[slot.0 / FILTERS].used &= !bit;
    }

    pub(super) fn insert(&mut self, slot: Slot, key: &[u8; 16]) {
        let (words, bit) = self.words(slot);
        for at in places(key, words.len()) {
            words[at] |= bit;
        }
    }

    /// Those that may hold the key.
    pub(super) fn that_may_hold(&self, key: &[u8; 16]) -> impl Iterator<Item = Slot> + '_ {
        let places = places(key, self.bits);
        self.blocks.iter().enumerate().flat_map(move |(index, block)| {
            let found = places.clone().fold(block.used, |found, at| found & block.words[at]);
            let has = move |nth: &usize| found & 1 << nth != 0;
            (0..FILTERS).filter(has).map(move |nth| Slot(index * FILTERS + nth))
        })
    }

    fn words(&mut self, slot: Slot) -> (&mut [Word], Word) {
        (&mut self.blocks[slot.0 / FILTERS].words, 1 << (slot.0 % FILTERS))
    }
}

/// Where a key's bits are in a filter of so many: which line, and where in it.
fn places(key: &[u8; 16], bits: usize) -> impl Iterator<Item = usize> + Clone + use<> {
    let [line, rest] =
        [0, 8].map(|at| u64::from_le_bytes(std::array::from_fn(|byte| key[at + byte])));
    // Cut off by the mask in any case.
    #[allow(clippy::cast_possible_truncation)]
    let (first, rest) = ((line as usize & (bits / LINE - 1)) * LINE, rest as usize);
    (0..BITS).map(move |nth| first + (rest >> (LINE.ilog2() * nth) & (LINE - 1)))
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
        let mut filters = Filters::each_for(1 << 12);
        let slots: Vec<_> = (0..40).map(|_| filters.add()).collect();
        for n in 0..1 << 12 {
            filters.insert(slots[17], &key(n));
            filters.insert(slots[39], &key(n));
        }
        for n in 0..1 << 12 {
            assert_eq!(filters.that_may_hold(&key(n)).collect::<Vec<_>>(), [slots[17], slots[39]]);
        }
        let wrong = (1 << 12..1 << 14).filter(|n| filters.that_may_hold(&key(*n)).next().is_some());
        let wrong = wrong.count();
        assert!(wrong < 80, "{wrong} of 12,288");
    }

    #[test]
    fn a_saved_one_comes_back_and_a_removed_one_is_empty_when_it_is_used_again() {
        let mut filters = Filters::each_for(100);
        let [first, second] = [filters.add(), filters.add()];
        filters.insert(first, &key(1));
        filters.insert(second, &key(2));
        let saved = filters.saved(first);
        filters.remove(first);
        assert_eq!(filters.that_may_hold(&key(1)).next(), None);
        assert_eq!(filters.add(), first);
        assert_eq!(filters.that_may_hold(&key(1)).next(), None);
        let restored = filters.restore(Some(&saved));
        assert_eq!(filters.that_may_hold(&key(1)).collect::<Vec<_>>(), [restored]);
        let unknown = filters.restore(None);
        assert!(filters.that_may_hold(&key(3)).any(|slot| slot == unknown));
        let foreign = filters.restore(Some(&saved[1..]));
        assert!(filters.that_may_hold(&key(3)).any(|slot| slot == foreign));
    }
}
