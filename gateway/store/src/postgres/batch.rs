//! One transaction in the making: what was asked, done together, each kind with as few statements as there are kinds
//! of rows.
//!
//! Everything in it happens at one time, the database's. It is done in one order, whatever the order it was asked in,
//! which nobody who did not wait for an answer can tell from another: first what is appended and what is settled, then
//! what operators ask for, then the rows that came of it, and what is leased last, so that it may be something that
//! was appended just now.
//!
//! What can be asked without an answer to something else is asked at once: what has to be known first (`found`), the
//! rows (`rows`), what is due, and the counts with the commit; where all is appended and new, the rows, the counts and
//! the commit together. Usually all that is made is new, and is written as if it
//! were; where it turns out that some of it is there, all is done again with care, which costs each row a second look.

use std::{collections::BTreeSet, sync::Mutex};

use hookweir_event::Timestamp;

use super::{
    Fault, Moment,
    append::Claims,
    end::End,
    found::Found,
    fronts::Fronts,
    rows::Rows,
    settle::{Closing, Unheard},
    state::Touched,
    totals::Counted,
};
use crate::{
    Settlement, StoreError,
    verbs::{Append, Done, Verb},
};

/// What an engine knows without asking the database, and may be wrong about in one direction only.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Plugins that have a row.
    plugins: Mutex<BTreeSet<String>>,
    /// Before which nothing is due.
    pub(super) fronts: Fronts,
    /// Settlements of which nobody knows whether they were committed.
    pub(super) unheard: Unheard,
}

impl Known {
    pub(super) fn has_plugin(&self, name: &str) -> bool {
        self.plugins.lock().is_ok_and(|plugins| plugins.contains(name))
    }

    /// The transaction that made their rows is committed.
    pub(super) fn learn(&self, names: BTreeSet<String>) {
        if !names.is_empty()
            && let Ok(mut plugins) = self.plugins.lock()
        {
            plugins.extend(names);
        }
    }

    /// It may be another server that answers from now on, which has not all that the one before had.
    pub(super) fn forget_plugins(&self) {
        if let Ok(mut plugins) = self.plugins.lock() {
            plugins.clear();
        }
    }
}

/// One transaction in the making.
pub(super) struct Batch<'m> {
    pub(super) moment: &'m Moment<'m>,
    pub(super) now: Timestamp,
    /// Who leases.
    pub(super) boot: i64,
    /// The number of the batch among those of its boot: what it leased can be found by that.
    pub(super) number: i64,
    /// The transaction, if it leased anything.
    pub(super) leased_in: Option<i64>,
    /// Whether it was done before, and nobody knows whether it was committed.
    pub(super) again: bool,
    /// Whether some of what it makes may be there already.
    pub(super) careful: bool,
    pub(super) known: &'m Known,
    /// Plugins that have a row from this transaction on.
    pub(super) new_plugins: BTreeSet<String>,
    /// For the events that it makes.
    pub(super) numbers: std::vec::IntoIter<i64>,
    pub(super) claims: Claims,
    pub(super) rows: Rows<'m>,
    pub(super) touched: Touched,
    pub(super) closings: Vec<Closing>,
    pub(super) counted: Counted,
    /// Whether it makes work due, or changes when the next work is.
    pub(super) work_due: bool,
}

/// Why an operation is not done again whose outcome is not known.
pub(super) const UNKNOWN: &str =
    "the connection broke while it was committed; whether it was is not known";

/// An operation's own result.
pub(super) type Answer = Result<Done, StoreError>;

impl<'m> Batch<'m> {
    pub(super) fn new(
        moment: &'m Moment<'m>,
        now: Timestamp,
        (boot, number): (i64, i64),
        known: &'m Known,
    ) -> Self {
        Self {
            moment,
            now,
            boot,
            number,
            leased_in: None,
            again: false,
            careful: false,
            known,
            new_plugins: BTreeSet::new(),
            numbers: Vec::new().into_iter(),
            claims: Claims::default(),
            rows: Rows::default(),
            touched: Touched::default(),
            closings: Vec::new(),
            counted: Counted::default(),
            work_due: false,
        }
    }

    /// Does all of them, and answers each. What fails alone is answered so; any other failure is the batch's. It may be
    /// committed as well, if an `end` is given.
    pub(super) async fn apply(
        &mut self,
        verbs: &'m [Verb],
        found: Found,
        end: Option<&mut End<'_>>,
    ) -> Result<Vec<Answer>, Fault> {
        let mut answers: Vec<Option<Answer>> = verbs.iter().map(|_| None).collect();
        let answer = |answers: &mut Vec<Option<Answer>>, at: usize, done| answers[at] = Some(done);

        let appends: Vec<(usize, &Append)> = of(verbs, |verb| match verb {
            Verb::Append(append) => Some(append),
            _ => None,
        });
        self.numbers = found.numbers.into_iter();
        for (at, receipt) in self.append_all(&appends, found.holders) {
            answer(&mut answers, at, receipt.map(Done::Append));
        }

        let settlements: Vec<(usize, &Settlement)> = of(verbs, |verb| match verb {
            Verb::Settle(settlement) => Some(settlement),
            _ => None,
        });
        let writes: Vec<_> = of(verbs, |verb| match verb {
            Verb::WriteState(plugin, changes, given) => Some((plugin, changes, given)),
            _ => None,
        });
        let (settled, written) = self.settle_all(&settlements, &writes, found.held).await?;
        for (at, settled) in settled {
            answer(&mut answers, at, settled.map(Done::Settle));
        }
        for (at, written) in written {
            answer(&mut answers, at, written.map(Done::WroteState));
        }

        for (at, verb) in verbs.iter().enumerate() {
            if let Some(done) = self.apply_alone(verb).await? {
                answer(&mut answers, at, done);
            }
        }
        self.write_rows(end.filter(|_| appends.len() == verbs.len())).await?;

        let wants: Vec<_> = of(verbs, |verb| match verb {
            Verb::Lease(wants) => Some(wants),
            _ => None,
        });
        for (at, leased) in self.lease_all(&wants).await? {
            answer(&mut answers, at, Ok(Done::Lease(leased)));
        }
        // Each verb is one of those above.
        let lost = || Err(StoreError::Failed("nobody did it".to_owned()));
        Ok(answers.into_iter().map(|answer| answer.unwrap_or_else(lost)).collect())
    }

    /// Does what is asked for seldom; none if it is something else.
    async fn apply_alone(&mut self, verb: &'m Verb) -> Result<Option<Answer>, Fault> {
        if self.again && matches!(verb, Verb::Replay(_)) {
            // It has no name by which it would be found: done twice, all of it would be there twice.
            return Ok(Some(Err(StoreError::Failed(UNKNOWN.to_owned()))));
        }
        Ok(Some(Ok(match verb {
            Verb::Append(_) | Verb::Settle(_) | Verb::WriteState(..) | Verb::Lease(_) => {
                return Ok(None);
            }
            Verb::GiveBack(leases, after) => {
                self.give_back(leases, *after).await?;
                Done::GiveBack
            }
            Verb::Mend(which, how) => Done::Mended(self.mend(which, *how).await?),
            Verb::Unblock(plugin) => Done::Mended(self.unblock(plugin).await?),
            Verb::Replay(replays) => Done::Replayed(self.replay(replays).await?),
            Verb::Notice(notice) => Done::Noticed(self.notice(notice).await?),
            Verb::Pause(what, by, why) => Done::Paused(self.pause(what, by, why.as_deref()).await?),
            Verb::Resume(what) => Done::Resumed(self.resume(what).await?),
        })))
    }
}

/// Those verbs that are of one kind, with their places.
fn of<'v, T>(verbs: &'v [Verb], kind: impl Fn(&'v Verb) -> Option<T>) -> Vec<(usize, T)> {
    verbs.iter().enumerate().filter_map(|(at, verb)| Some((at, kind(verb)?))).collect()
}
