//! A part of a store, as large as fits into one transaction; and what many of them add up to.

use hookweir_event::{Digest, Timestamp};

use super::rows::{
    AttemptRow, ClaimRow, DeliveryRow, DuplicatesRow, EntryRow, EventRow, ExchangesRow, Fields,
    HoldRow, NoticeRow, PauseRow, PluginRow, Row,
};

/// A page ends behind the row with which it has so many bytes.
const BYTES_MAX: usize = 8 << 20;

/// Some of what a store holds. Events come with everything that belongs to them.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) events: Vec<EventRow>,
    pub(crate) deliveries: Vec<DeliveryRow>,
    pub(crate) attempts: Vec<AttemptRow>,
    pub(crate) exchanges: Vec<ExchangesRow>,
    pub(crate) duplicates: Vec<DuplicatesRow>,
    pub(crate) claims: Vec<ClaimRow>,
    pub(crate) entries: Vec<EntryRow>,
    pub(crate) plugins: Vec<PluginRow>,
    pub(crate) pauses: Vec<PauseRow>,
    pub(crate) holds: Vec<HoldRow>,
    pub(crate) notices: Vec<NoticeRow>,
    /// Of what is large.
    pub(crate) bytes: usize,
}

impl Page {
    /// Whether it has so many events or entries, or as many bytes as it may have.
    pub(crate) fn is_full(&self, rows: usize) -> bool {
        self.len() >= rows || self.bytes >= BYTES_MAX
    }

    /// How many events and entries it has: what progress is counted in.
    pub(crate) fn len(&self) -> usize {
        self.events.len() + self.entries.len()
    }
}

/// Where a walk through a store goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) part: Part,
    /// Behind the row with this key.
    pub(crate) at: i64,
}

impl Position {
    /// At the beginning of a part.
    pub(crate) fn start(part: Part) -> Self {
        Self { part, at: 0 }
    }
}

/// The parts of a store, in the order in which they are copied. The numbers are kept in the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Events = 0,
    /// Dedupe keys of events that are gone.
    Departed = 1,
    State = 2,
    /// What is little: all in one page.
    Rest = 3,
    /// There is no more.
    End = 4,
}

impl Part {
    /// By its number.
    pub(crate) fn of(number: i16) -> Option<Self> {
        [Self::Events, Self::Departed, Self::State, Self::Rest, Self::End]
            .into_iter()
            .find(|part| *part as i16 == number)
    }
}

/// Which store it is that is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// No other has this one.
    pub(crate) store: [u8; 16],
    /// Another one after anything was committed.
    pub(crate) state: Digest,
}

/// Where a store's counts go on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Marks {
    /// The number of the next event.
    pub(crate) next_event: i64,
    /// The version that the next entry of state gets.
    pub(crate) next_version: i64,
    /// The latest time that the store has seen.
    pub(crate) clock: Timestamp,
}

/// What each engine says that it has, without counting: columns of its table `totals`.
pub(crate) const TOTALS: [&str; 11] = [
    "events",
    "outputs",
    "unrouted",
    "due",
    "leased",
    "done",
    "dead",
    "discarded",
    "duplicates",
    "bytes",
    "dead_bytes",
];

/// How many rows of each kind there are, and their hash.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums([Sum; KINDS.len()]);

/// The kinds of rows, as people are told of them.
pub(crate) const KINDS: [&str; 11] = [
    "events",
    "deliveries",
    "attempts",
    "attempts' requests",
    "counts of duplicates",
    "dedupe keys",
    "entries of state",
    "plugins",
    "pauses",
    "holds",
    "notices",
];

/// Of rows in any order: how many, and the sum of their digests. Two sums are the same if the rows are, however each side
/// comes by them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    rows: u64,
    digests: [u64; 4],
}

impl Sum {
    fn add<R: Row>(&mut self, rows: &[R], fields: &mut Fields) {
        for row in rows {
            self.rows += 1;
            let digest = Digest::of(fields.of(row));
            let (words, _) = digest.as_bytes().as_chunks::<8>();
            for (sum, word) in self.digests.iter_mut().zip(words) {
                *sum = sum.wrapping_add(u64::from_le_bytes(*word));
            }
        }
    }
}

impl Sums {
    /// Adds a page.
    pub(crate) fn add(&mut self, page: &Page, fields: &mut Fields) {
        let Page { events, deliveries, attempts, exchanges, duplicates, claims, .. } = page;
        let Page { entries, plugins, pauses, holds, notices, .. } = page;
        let [a, b, c, d, e, f, g, h, i, j, k] = &mut self.0;
        a.add(events, fields);
        b.add(deliveries, fields);
        c.add(attempts, fields);
        d.add(exchanges, fields);
        e.add(duplicates, fields);
        f.add(claims, fields);
        g.add(entries, fields);
        h.add(plugins, fields);
        i.add(pauses, fields);
        j.add(holds, fields);
        k.add(notices, fields);
    }

    /// How many rows of each kind there are, in the order of the kinds.
    pub(crate) fn rows(&self) -> [u64; KINDS.len()] {
        self.0.map(|sum| sum.rows)
    }

    /// In what a copy with these sums differs.
    pub(crate) fn differing(&self, copy: &Self) -> Vec<String> {
        let kinds = KINDS.iter().zip(self.0.iter().zip(&copy.0));
        let differing = kinds.filter(|(_, (one, other))| one != other);
        let said = |(kind, (one, other)): (&&str, (&Sum, &Sum))| match one.rows == other.rows {
            true => format!("{kind}: {} in both, which are not the same", one.rows),
            false => format!("{kind}: {} in the store, {} in the copy", one.rows, other.rows),
        };
        differing.map(said).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(names: &[(&str, i64)]) -> Page {
        let plugin = |(name, state_bytes): &(&str, i64)| PluginRow {
            name: (*name).to_owned(),
            state_bytes: *state_bytes,
        };
        Page { plugins: names.iter().map(plugin).collect(), ..Page::default() }
    }

    fn sums(pages: &[&[(&str, i64)]]) -> Sums {
        let (mut sums, mut fields) = (Sums::default(), Fields::default());
        pages.iter().for_each(|names| sums.add(&page(names), &mut fields));
        sums
    }

    #[test]
    fn the_order_of_rows_and_their_pages_do_not_matter() {
        let one = sums(&[&[("a", 1), ("b", 2)], &[("c", 3)]]);
        assert_eq!(one, sums(&[&[("c", 3), ("b", 2), ("a", 1)]]));
        assert!(one.differing(&sums(&[&[("b", 2)], &[("a", 1), ("c", 3)]])).is_empty());
    }

    #[test]
    fn what_differs_is_said() {
        let one = sums(&[&[("a", 1), ("b", 2)]]);
        let other = sums(&[&[("a", 2), ("b", 1)]]);
        assert_eq!(one.differing(&other), ["plugins: 2 in both, which are not the same"]);
        let twice = sums(&[&[("a", 1), ("b", 2), ("b", 2)]]);
        assert_eq!(one.differing(&twice), ["plugins: 2 in the store, 3 in the copy"]);
    }

    #[test]
    fn parts_are_known_by_their_numbers() {
        for part in [Part::Events, Part::Departed, Part::State, Part::Rest, Part::End] {
            assert_eq!(Part::of(part as i16), Some(part));
        }
        assert_eq!(Part::of(5), None);
    }
}
