//! What an attempt sent and was answered, as one blob: how an engine keeps it.

use hookweir_event::{Answered, Digest, Excerpt, Exchange, Exchanges, Headers};

use crate::codec::{VERSION, bytes, len, list, put, put_len, take, text, versioned};

/// The blob of exchanges.
pub(crate) fn write(exchanges: &Exchanges) -> Vec<u8> {
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

/// Reads them back; `None` if the blob is none of these, which only a damaged database holds.
pub(crate) fn read(blob: &[u8]) -> Option<Exchanges> {
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
