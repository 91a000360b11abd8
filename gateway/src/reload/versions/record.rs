//! What is known of one plugin's versions: which is live, which were before it, which is pinned, which
//! were turned away. Plain data with bounds; who changes it writes it down.

use hookweir_event::{Digest, Timestamp};

use crate::standing::{Cause, Served, TurnedAway};

/// How many versions before the live one are kept.
pub(in crate::reload) const EARLIER_MAX: usize = 5;
/// How many versions that were turned away are remembered.
pub(in crate::reload) const TURNED_AWAY_MAX: usize = 16;
/// The longest reason that is kept, in bytes. Some quote a plugin.
const REASON_MAX: usize = 1024;

/// The versions of one plugin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::reload) struct Record {
    pub(in crate::reload) live: Option<Live>,
    /// The last first.
    pub(in crate::reload) earlier: Vec<Served>,
    pub(in crate::reload) pin: Option<Digest>,
    /// The last first.
    pub(in crate::reload) turned_away: Vec<TurnedAway>,
}

/// The version that serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::reload) struct Live {
    pub(in crate::reload) version: Digest,
    pub(in crate::reload) since: Timestamp,
    /// While it is on probation: the last version that proved itself before it, which it replaced, at
    /// once or by way of others that did not.
    pub(in crate::reload) probation: Option<Digest>,
}

/// Why a text does not name one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::reload) enum NotOne {
    None,
    Several(Vec<Digest>),
}

impl Record {
    /// A version goes live. On `probation` it is what replaces another: one that is live, or was when the
    /// plugin's file went. What is on probation itself is nothing to go back to.
    pub(in crate::reload) fn go_live(&mut self, version: Digest, now: Timestamp, probation: bool) {
        self.forgive(version);
        if self.live.is_some_and(|live| live.version == version) {
            return;
        }
        let before = match self.live {
            Some(live) => live.probation.or(Some(live.version)),
            None => self.last_good(),
        };
        self.earlier.retain(|served| served.version != version);
        self.retire(now);
        let probation = before.filter(|before| probation && *before != version);
        self.live = Some(Live { version, since: now, probation });
    }

    /// The live version joins the earlier ones: as the first, or, if it did not prove itself, behind those
    /// that did, and it pushes none of them out.
    pub(in crate::reload) fn retire(&mut self, now: Timestamp) {
        let Some(Live { version, since, probation }) = self.live.take() else { return };
        self.earlier.retain(|served| served.version != version);
        let place = probation.map_or(0, |_| self.earlier.len().min(EARLIER_MAX - 1));
        self.earlier.insert(place, Served { version, from: since, until: now });
        self.earlier.truncate(EARLIER_MAX);
    }

    /// The live version is trusted.
    pub(in crate::reload) fn trust(&mut self) {
        if let Some(live) = &mut self.live {
            live.probation = None;
        }
    }

    /// The operator holds a version, and answers for it.
    pub(in crate::reload) fn hold(&mut self, version: Digest) {
        self.pin = Some(version);
        self.trust();
    }

    /// A version does not go live any more. What failed on probation is not kept either: a row of bad
    /// releases must not push the good ones out.
    pub(in crate::reload) fn turn_away(&mut self, mut away: TurnedAway) {
        let end = away.reason.floor_char_boundary(REASON_MAX);
        away.reason.truncate(end);
        self.turned_away.retain(|known| known.version != away.version);
        if away.cause == Cause::Probation {
            self.earlier.retain(|served| served.version != away.version);
        }
        self.turned_away.insert(0, away);
        // What does not load is found out again; what was taken back would come back.
        while self.turned_away.len() > TURNED_AWAY_MAX {
            let load = self.turned_away.iter().rposition(|away| away.cause == Cause::Load);
            self.turned_away.remove(load.unwrap_or(TURNED_AWAY_MAX));
        }
    }

    /// A version may go live again. Whether it was turned away.
    pub(in crate::reload) fn forgive(&mut self, version: Digest) -> bool {
        let before = self.turned_away.len();
        self.turned_away.retain(|away| away.version != version);
        self.turned_away.len() < before
    }

    /// Why this version does not go live, if it was turned away.
    pub(in crate::reload) fn away(&self, version: Digest) -> Option<&TurnedAway> {
        self.turned_away.iter().find(|away| away.version == version)
    }

    /// The last good version before the live one.
    pub(in crate::reload) fn last_good(&self) -> Option<Digest> {
        let good = |served: &&Served| self.away(served.version).is_none();
        self.earlier.iter().find(good).map(|served| served.version)
    }

    /// The versions whose bytes are kept.
    pub(in crate::reload) fn kept(&self) -> impl Iterator<Item = Digest> {
        let live = self.live.map(|live| live.version);
        live.into_iter().chain(self.earlier.iter().map(|served| served.version)).chain(self.pin)
    }
}

/// The one of these versions whose digest begins with `text`.
pub(in crate::reload) fn named(
    text: &str,
    among: impl Iterator<Item = Digest>,
) -> Result<Digest, NotOne> {
    let text = text.to_ascii_lowercase();
    let mut found: Vec<_> =
        among.filter(|version| version.to_string().starts_with(&text)).collect();
    found.sort_unstable();
    found.dedup();
    match found[..] {
        [] => Err(NotOne::None),
        [one] => Ok(one),
        _ => Err(NotOne::Several(found)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(number: u8) -> Digest {
        Digest::from_bytes([number; 32])
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn away(number: u8, cause: Cause) -> TurnedAway {
        TurnedAway { version: version(number), cause, reason: "é".repeat(REASON_MAX), at: at(0) }
    }

    fn earlier(record: &Record) -> Vec<Digest> {
        record.earlier.iter().map(|served| served.version).collect()
    }

    /// A record in which these went live one after another, and all but the last proved themselves.
    fn after(numbers: impl IntoIterator<Item = u8>) -> Record {
        let mut record = Record::default();
        for (now, number) in (0..).zip(numbers) {
            record.trust();
            record.go_live(version(number), at(now), true);
        }
        record
    }

    #[test]
    fn the_last_five_distinct_versions_are_kept_with_their_times() {
        let mut record = after(0..9);
        record.trust();
        assert_eq!(earlier(&record), [7, 6, 5, 4, 3].map(version));
        assert_eq!(record.earlier[0], Served { version: version(7), from: at(7), until: at(8) });
        record.go_live(version(5), at(20), false);
        assert_eq!(earlier(&record), [8, 7, 6, 4, 3].map(version));
        record.go_live(version(5), at(30), false);
        assert_eq!(record.live.unwrap().since, at(20), "it is live already");
    }

    #[test]
    fn only_what_replaces_another_is_on_probation() {
        assert_eq!(after([1]).live.unwrap().probation, None);
        assert_eq!(after([1, 2]).live.unwrap().probation, Some(version(1)));
        let mut record = after([1, 2]);
        record.go_live(version(1), at(9), false);
        assert_eq!(record.live.unwrap().probation, None);
    }

    #[test]
    fn the_last_good_version_is_one_that_was_not_turned_away() {
        let mut record = after([1, 2, 3]);
        record.trust();
        assert_eq!(record.last_good(), Some(version(2)));
        record.go_live(version(2), at(5), false);
        record.turn_away(away(3, Cause::Operator));
        assert_eq!(earlier(&record), [3, 1].map(version), "it can serve again by name");
        assert_eq!(record.last_good(), Some(version(1)));
        assert!(record.forgive(version(3)) && !record.forgive(version(3)));
        assert_eq!(record.last_good(), Some(version(3)));
    }

    #[test]
    fn what_did_not_prove_itself_is_nothing_to_go_back_to() {
        // Two bad ones in a row, the second before the first was taken back.
        let mut record = after([1, 2]);
        record.go_live(version(3), at(3), true);
        assert_eq!(record.live.unwrap().probation, Some(version(1)));
        assert_eq!((record.last_good(), earlier(&record)[1]), (Some(version(1)), version(2)));
        record.go_live(version(2), at(4), true);
        assert_eq!(record.live.unwrap().probation, Some(version(1)));
        // The good one put back by hand proved itself before.
        record.go_live(version(1), at(5), true);
        assert_eq!(record.live.unwrap().probation, None);

        // However many there are, they push no good one out.
        let mut record = after(0..6);
        record.trust();
        for number in 10..20 {
            record.go_live(version(number), at(9), true);
        }
        assert_eq!(earlier(&record), [5, 4, 3, 2, 18].map(version));
        assert_eq!(record.live.unwrap().probation, Some(version(5)));
    }

    #[test]
    fn what_comes_when_a_plugin_was_gone_replaces_what_was_live_then() {
        let mut record = after([1]);
        record.retire(at(1));
        let mut same = record.clone();
        same.go_live(version(1), at(2), true);
        assert_eq!(same.live.unwrap().probation, None);
        record.go_live(version(2), at(2), true);
        assert_eq!(record.live.unwrap().probation, Some(version(1)));
        // Gone on probation, and back: on it still.
        record.retire(at(3));
        assert_eq!(record.last_good(), Some(version(1)));
        record.go_live(version(2), at(4), true);
        assert_eq!(record.live.unwrap().probation, Some(version(1)));
    }

    #[test]
    fn what_is_held_is_trusted() {
        let mut record = after([1, 2]);
        record.hold(version(2));
        assert_eq!(record.pin, Some(version(2)));
        assert_eq!(record.live.unwrap().probation, None);
    }

    #[test]
    fn what_does_not_load_pushes_nothing_out_that_was_taken_back() {
        let mut record = after([1]);
        record.turn_away(away(2, Cause::Operator));
        for number in 10..40 {
            record.turn_away(away(number, Cause::Load));
        }
        assert_eq!(record.turned_away.len(), TURNED_AWAY_MAX);
        assert!(record.away(version(2)).is_some() && record.away(version(39)).is_some());
        for number in 40..70 {
            record.turn_away(away(number, Cause::Probation));
        }
        assert!(record.turned_away.iter().all(|away| away.cause == Cause::Probation));
        assert!(record.away(version(69)).is_some());
    }

    #[test]
    fn bad_releases_in_a_row_push_no_good_one_out() {
        let mut record = after([1, 2]);
        for number in 10..40 {
            record.go_live(version(number), at(9), true);
            record.go_live(version(2), at(9), false);
            record.turn_away(away(number, Cause::Probation));
        }
        assert_eq!(earlier(&record), [version(1)]);
        assert_eq!(record.turned_away.len(), TURNED_AWAY_MAX);
        assert!(record.turned_away.iter().all(|away| away.reason.len() <= REASON_MAX));
        record.go_live(version(39), at(10), true);
        assert_eq!(record.away(version(39)), None, "approved");
    }

    #[test]
    fn a_prefix_names_a_version_if_only_one_has_it() {
        let among = || [version(0x1a), version(0x1b), version(0x1a)].into_iter();
        assert_eq!(named("1a", among()), Ok(version(0x1a)));
        assert_eq!(named("1A1A", among()), Ok(version(0x1a)));
        assert_eq!(named("1", among()), Err(NotOne::Several(vec![version(0x1a), version(0x1b)])));
        assert_eq!(named("1c", among()), Err(NotOne::None));
        assert_eq!(named("sha256", among()), Err(NotOne::None));
    }
}
