//! What an attempt sent and was answered: one row beside the attempt's, with its key, for those of whom that is
//! kept. It comes in the transaction that settles the attempt and goes with it.
//!
//! Its bytes count as the event's own: what limits the size of the store limits them too.

use hookweir_event::{Answered, Digest, Excerpt, Exchange, Exchanges, Headers};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    append::Batch,
    codec::{VERSION, bytes, len, list, put, put_len, take, text, versioned},
    deliver::unreadable,
    fault::Fault,
    look::count,
    parcels,
    schema::{ORDINAL_MAX, child_key, child_keys},
};
use crate::{DeliveryId, ExchangeCounts};

impl Batch<'_> {
    /// Keeps them with an attempt.
    pub(super) fn keep_exchanges(
        &mut self,
        attempt: i64,
        exchanges: &Exchanges,
    ) -> Result<(), Fault> {
        let blob = write(exchanges);
        let sql = "INSERT INTO exchanges (key, kept, left_out, content) VALUES (?1, ?2, ?3, ?4)";
        self.connection.prepare_cached(sql)?.execute(params![
            attempt,
            exchanges.kept.len().cast_signed() as i64,
            exchanges.left_out,
            blob
        ])?;
        self.memory.totals.bytes += blob.len().cast_signed() as i64;
        Ok(())
    }
}

/// Those of one attempt; none if they were not kept.
pub(crate) fn of_attempt(
    connection: &Connection,
    delivery: DeliveryId,
    attempt: u32,
) -> rusqlite::Result<Option<Exchanges>> {
    let ordinal = u32::from(delivery.ordinal);
    if ordinal > ORDINAL_MAX || attempt > ORDINAL_MAX {
        return Ok(None);
    }
    let Some(event) = parcels::key_of(connection, delivery.event)? else { return Ok(None) };
    let sql = "SELECT content FROM exchanges WHERE key = ?1";
    let key = child_key(child_key(event, ordinal), attempt);
    connection
        .prepare_cached(sql)?
        .query_row([key], |row| read(row.get_ref(0)?.as_blob()?).ok_or_else(|| unreadable(0)))
        .optional()
}

/// How many there are, from the columns `kept` and `left_out`, which are null where none were kept.
pub(super) fn counts(row: &Row<'_>, kept: usize) -> rusqlite::Result<Option<ExchangeCounts>> {
    if row.get_ref(kept)?.as_i64_or_null()?.is_none() {
        return Ok(None);
    }
    let number = |at| Ok::<_, rusqlite::Error>(u32::try_from(count(row, at)?).unwrap_or(u32::MAX));
    Ok(Some(ExchangeCounts { kept: number(kept)?, left_out: number(kept + 1)? }))
}

/// Bytes of those of a delivery's attempts.
pub(super) fn bytes_of_delivery(connection: &Connection, delivery: i64) -> rusqlite::Result<i64> {
    bytes_between(connection, child_keys(delivery))
}

/// The same of all deliveries of an event.
pub(super) fn bytes_of_event(connection: &Connection, event: i64) -> rusqlite::Result<i64> {
    let (first, last) = child_keys(event);
    bytes_between(connection, (child_keys(first).0, child_keys(last).1))
}

fn bytes_between(connection: &Connection, (first, last): (i64, i64)) -> rusqlite::Result<i64> {
    let sql = "SELECT coalesce(sum(length(content)), 0) FROM exchanges WHERE key BETWEEN ?1 AND ?2";
    connection.prepare_cached(sql)?.query_row([first, last], |row| row.get(0))
}

/// How many rows hold what this code never wrote.
pub(super) fn unreadable_rows(connection: &Connection) -> rusqlite::Result<i64> {
    let mut statement = connection.prepare("SELECT kept, left_out, content FROM exchanges")?;
    let mut rows = statement.query([])?;
    let mut unreadable = 0;
    while let Some(row) = rows.next()? {
        let found = read(row.get_ref(2)?.as_blob()?);
        let counted = counts(row, 0)?;
        let agrees = |it: &Exchanges| {
            counted == Some(ExchangeCounts { kept: clipped(it.kept.len()), left_out: it.left_out })
        };
        unreadable += i64::from(!found.as_ref().is_some_and(agrees));
    }
    Ok(unreadable)
}

fn clipped(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn write(exchanges: &Exchanges) -> Vec<u8> {
    let mut out = Vec::with_capacity(exchanges.bytes() + 64 * (exchanges.kept.len() + 1));
    out.push(VERSION);
    put_len(&mut out, exchanges.left_out as usize);
    put_len(&mut out, exchanges.kept.len());
    for Exchange { method, url, headers, body, answer } in &exchanges.kept {
        put(&mut out, method.as_bytes());
        put(&mut out, url.as_bytes());
        put_headers(&mut out, headers);
        put_excerpt(&mut out, body);
        match answer {
            Answered::CutOff => out.push(0),
            Answered::Response { status, headers, body } => {
                out.push(1);
                put_len(&mut out, usize::from(*status));
                put_headers(&mut out, headers);
                put_excerpt(&mut out, body);
            }
            Answered::Status(status) => {
                out.push(2);
                put_len(&mut out, usize::from(*status));
            }
            Answered::Fault { code, detail } => {
                out.push(3);
                put(&mut out, code.as_bytes());
                put(&mut out, detail.as_bytes());
            }
        }
    }
    out
}

/// `None` if it is none, which only a damaged database holds.
fn read(blob: &[u8]) -> Option<Exchanges> {
    let mut input = versioned(blob)?;
    let left_out = u32::try_from(len(&mut input)?).ok()?;
    let kept = list(&mut input, |input| {
        Some(Exchange {
            method: text(input)?,
            url: text(input)?,
            headers: headers(input)?,
            body: excerpt(input)?,
            answer: match take(input, 1)? {
                [0] => Answered::CutOff,
                [1] => Answered::Response {
                    status: status(input)?,
                    headers: headers(input)?,
                    body: excerpt(input)?,
                },
                [2] => Answered::Status(status(input)?),
                [3] => Answered::Fault { code: text(input)?, detail: text(input)? },
                _ => return None,
            },
        })
    })?;
    input.is_empty().then_some(Exchanges { kept, left_out })
}

fn put_headers(out: &mut Vec<u8>, headers: &Headers) {
    put_len(out, headers.len());
    for (name, value) in headers {
        put(out, name.as_bytes());
        put(out, value);
    }
}

fn headers(input: &mut &[u8]) -> Option<Headers> {
    list(input, |input| Some((text(input)?, bytes(input)?.to_vec())))
}

fn put_excerpt(out: &mut Vec<u8>, excerpt: &Excerpt) {
    put(out, &excerpt.bytes);
    put_len(out, usize::try_from(excerpt.len).unwrap_or(usize::MAX));
    match &excerpt.digest {
        None => out.push(0),
        Some(digest) => {
            out.push(1);
            out.extend_from_slice(digest.as_bytes());
        }
    }
}

fn excerpt(input: &mut &[u8]) -> Option<Excerpt> {
    let (bytes, len) = (bytes(input)?.to_vec(), len(input)? as u64);
    let digest = match take(input, 1)? {
        [0] => None,
        _ => Some(Digest::from_bytes(take(input, 32)?.try_into().ok()?)),
    };
    Some(Excerpt { bytes, len, digest })
}

fn status(input: &mut &[u8]) -> Option<u16> {
    u16::try_from(len(input)?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*};

    use super::*;

    fn any_excerpt() -> impl Strategy<Value = Excerpt> {
        let digest = option::of(any::<[u8; 32]>().prop_map(Digest::from_bytes));
        (any::<Vec<u8>>(), any::<u64>(), digest).prop_map(|(bytes, len, digest)| Excerpt {
            bytes,
            len,
            digest,
        })
    }

    fn any_answer() -> impl Strategy<Value = Answered> {
        prop_oneof![
            Just(Answered::CutOff),
            any::<u16>().prop_map(Answered::Status),
            (".*", ".*").prop_map(|(code, detail)| Answered::Fault { code, detail }),
            (any::<u16>(), any::<Headers>(), any_excerpt())
                .prop_map(|(status, headers, body)| Answered::Response { status, headers, body }),
        ]
    }

    fn any_exchange() -> impl Strategy<Value = Exchange> {
        ("[A-Z]{0,8}", ".*", any::<Headers>(), any_excerpt(), any_answer()).prop_map(
            |(method, url, headers, body, answer)| Exchange { method, url, headers, body, answer },
        )
    }

    proptest! {
        #[test]
        fn exchanges_read_back(kept in vec(any_exchange(), 0..4), left_out: u32) {
            let exchanges = Exchanges { kept, left_out };
            prop_assert_eq!(read(&write(&exchanges)), Some(exchanges));
        }

        #[test]
        fn damage_is_no_panic(blob: Vec<u8>) {
            let _ = read(&[&[VERSION], &blob[..]].concat());
        }

        #[test]
        fn what_is_cut_off_is_none(kept in vec(any_exchange(), 1..3), part in 0_usize..100) {
            let blob = write(&Exchanges { kept, left_out: 0 });
            prop_assert_eq!(read(&blob[..blob.len() * part / 100]), None);
        }
    }
}
