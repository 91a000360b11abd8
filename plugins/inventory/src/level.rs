//! One item at one place: the newest count, and the moves since.
//!
//! What is available is the count and the sum of the moves that came after it. A count that is older than the
//! one that is known changes nothing; a newer one takes the moves before it along, since it has counted them. A
//! move that is known changes nothing. So the level depends on the set of what was told alone, never on the
//! order or on how often: the tests try all orders.

use serde::{Deserialize, Serialize};

/// Moves that are remembered one by one; 16 KiB of state. Of more the oldest count as counted: a move that
/// comes later than so many newer ones is not told from one that is known, and is left out.
const MOVES_MAX: usize = 500;

/// When something was so, in the source's own terms: the higher one is the later one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct At(pub(crate) i64, pub(crate) i64);

/// One item at one place.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Level {
    counted: Option<Counted>,
    /// By time and id, so that two moves may have one time.
    moves: Vec<Move>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Counted {
    at: At,
    /// None: the item is no longer kept there.
    available: Option<i64>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Move {
    at: At,
    id: String,
    by: i64,
}

impl Level {
    /// So many there were then.
    pub(crate) fn count(&mut self, at: At, available: Option<i64>) {
        // Of two counts of one time the smaller one stays, so that it is one and the same in every order.
        let is_news = self.counted.as_ref().is_none_or(|known| {
            (known.at, std::cmp::Reverse(known.available)) < (at, std::cmp::Reverse(available))
        });
        if is_news {
            self.moves.retain(|known| known.at > at);
            self.counted = Some(Counted { at, available });
        }
    }

    /// So many came or, below 0, went.
    pub(crate) fn moved(&mut self, at: At, id: String, by: i64) {
        let is_counted = self.counted.as_ref().is_some_and(|counted| at <= counted.at);
        if is_counted || self.moves.iter().any(|known| known.id == id) {
            return;
        }
        self.moves.push(Move { at, id, by });
        if self.moves.len() > MOVES_MAX {
            self.fold();
        }
    }

    /// How many there are; none, if nobody has said or the item is no longer kept there.
    pub(crate) fn available(&self) -> Option<i64> {
        let counted = match &self.counted {
            Some(counted) => counted.available,
            None if self.moves.is_empty() => None,
            None => Some(0),
        };
        Some(self.moves.iter().fold(counted?, |sum, known| sum.saturating_add(known.by)))
    }

    /// The older half of the moves becomes part of the count.
    fn fold(&mut self) {
        self.moves.sort_by(|a, b| (a.at, &a.id).cmp(&(b.at, &b.id)));
        let Some(at) = self.moves.get(MOVES_MAX / 2).map(|known| known.at) else { return };
        let (old, new): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.moves).into_iter().partition(|known| known.at <= at);
        let counted = self.counted.as_ref().and_then(|counted| counted.available).unwrap_or(0);
        let available = old.iter().fold(counted, |sum, known| sum.saturating_add(known.by));
        self.counted = Some(Counted { at, available: Some(available) });
        self.moves = new;
    }
}
