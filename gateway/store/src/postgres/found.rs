//! What a transaction has to know before it changes anything, asked all at once, along with its beginning.

use std::collections::HashMap;

use hookweir_event::{EventId, Timestamp};
use tokio_postgres::Row;

use super::{
    Fault, Moment, boots,
    rows::id_of,
    settle::{Held, Name, held},
};
use crate::{
    LeaseKey,
    verbs::{Append, Verb},
};

/// The part of a dedupe key that is kept: as much as a UUID.
pub(super) type Claim = [u8; 16];

/// What is to be looked up.
#[derive(Default)]
struct Asked<'v> {
    claims: Vec<&'v [u8]>,
    leases: Vec<&'v LeaseKey>,
    /// How many events there may be to number.
    events: i32,
    /// Whether anything is to be leased.
    lease: bool,
}

impl<'v> Asked<'v> {
    fn by(verbs: &'v [Verb]) -> Self {
        let mut asked = Self::default();
        for verb in verbs {
            match verb {
                Verb::Append(Append { claims, .. }) => {
                    asked.events += 1;
                    asked
                        .claims
                        .extend(claims.iter().map(|it| &it.as_bytes()[..size_of::<Claim>()]));
                }
                Verb::Settle(settlement) => {
                    asked.events += i32::try_from(settlement.outputs.len()).unwrap_or(i32::MAX);
                    asked.leases.push(&settlement.key);
                }
                Verb::Notice(_) => asked.events += 1,
                Verb::Lease(_) => asked.lease = true,
                Verb::GiveBack(..)
                | Verb::Mend(..)
                | Verb::Unblock(_)
                | Verb::Replay(_)
                | Verb::WriteState(..)
                | Verb::Pause(..)
                | Verb::Resume(_) => {}
            }
        }
        asked
    }
}

/// Which events hold claims, as far as they are asked for.
#[derive(Debug, Default)]
pub(super) struct Holders {
    /// Each with when it expires.
    of: HashMap<Claim, (EventId, Timestamp)>,
}

impl Holders {
    async fn find(moment: &Moment<'_>, claims: &[&[u8]]) -> Result<Self, Fault> {
        if claims.is_empty() {
            return Ok(Self::default());
        }
        let sql = "SELECT claim, event, expires_at FROM claims WHERE claim = ANY($1)";
        let rows = moment.rows(sql, &[&claims]).await?;
        let read = |row: &Row| {
            let claim = row.get::<_, &[u8]>(0).try_into();
            let claim = claim.map_err(|_| Fault::unreadable("a claim"))?;
            Ok((claim, (id_of(row, 1)?, Timestamp::from_millis(row.get(2)))))
        };
        Ok(Self { of: rows.iter().map(read).collect::<Result<_, Fault>>()? })
    }

    /// The event that holds a claim still, if one does.
    pub(super) fn of(&self, claim: &Claim, now: Timestamp) -> Option<EventId> {
        self.of.get(claim).filter(|(_, until)| *until > now).map(|(event, _)| *event)
    }

    /// From now on an event holds it.
    pub(super) fn insert(&mut self, claim: Claim, event: EventId, until: Timestamp) {
        self.of.insert(claim, (event, until));
    }

    /// Whether any is over and has a row still.
    pub(super) fn any_over(&self, now: Timestamp) -> bool {
        self.of.values().any(|(_, until)| *until <= now)
    }
}

/// What was found.
pub(super) struct Found {
    /// The database's time.
    pub(super) now: Timestamp,
    /// For each event that may be made, a number.
    pub(super) numbers: Vec<i64>,
    /// Whether our boot is not gone, and stays so; not asked where nothing is leased.
    pub(super) may_lease: bool,
    pub(super) holders: Holders,
    /// Those of the leases that are held, with their rows locked.
    pub(super) held: HashMap<Name, Held>,
}

impl Found {
    /// Begins the transaction, and looks up what these verbs need.
    pub(super) async fn by(
        moment: &Moment<'_>,
        verbs: &[Verb],
        (boot, owner): (i64, &[u8; 16]),
    ) -> Result<Self, Fault> {
        let Asked { claims, leases, events, lease } = Asked::by(verbs);
        let may_lease = async {
            match lease {
                true => boots::may_lease(moment, boot, owner).await,
                false => Ok(true),
            }
        };
        let ((), (now, numbers), may_lease, held, holders) = tokio::try_join!(
            biased;
            moment.begin(),
            time_and_numbers(moment, events),
            may_lease,
            held(moment, &leases),
            Holders::find(moment, &claims),
        )?;
        Ok(Self { now, numbers, may_lease, holders, held })
    }
}

/// The database's time, and so many numbers for events.
async fn time_and_numbers(moment: &Moment<'_>, count: i32) -> Result<(Timestamp, Vec<i64>), Fault> {
    let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint + ahead,
                   ARRAY(SELECT nextval('event_seq') FROM generate_series(1, $1)) FROM meta";
    let row = moment.the_row(sql, &[&count]).await?;
    Ok((Timestamp::from_millis(row.get(0)), row.get(1)))
}
