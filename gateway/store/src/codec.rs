//! What the engine never searches by goes into one blob: an event's request line, headers and
//! attributes, and an attempt's log lines.
//!
//! A blob opens with its version. Lengths are LEB128; text is UTF-8, header values are raw bytes.

use hookweir_event::{Event, Headers, LogLevel, LogLine};

/// The version of all layouts.
pub(crate) const VERSION: u8 = 1;

const LEVELS: [LogLevel; 5] =
    [LogLevel::Trace, LogLevel::Debug, LogLevel::Info, LogLevel::Warn, LogLevel::Error];

/// An event's parts that live in its envelope.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) headers: Headers,
    pub(crate) attributes: Vec<(String, String)>,
}

/// Writes the envelope of `event` into `out`, which is emptied first.
pub(crate) fn write_envelope(event: &Event, out: &mut Vec<u8>) {
    out.clear();
    out.push(VERSION);
    put(out, event.method.as_bytes());
    put(out, event.path.as_bytes());
    match &event.query {
        None => out.push(0),
        Some(query) => {
            out.push(1);
            put(out, query.as_bytes());
        }
    }
    put_len(out, event.headers.len());
    for (name, value) in &event.headers {
        put(out, name.as_bytes());
        put(out, value);
    }
    put_len(out, event.attributes.len());
    for (name, value) in &event.attributes {
        put(out, name.as_bytes());
        put(out, value.as_bytes());
    }
}

/// Reads an envelope back. `None` if it is none, which only a damaged database holds.
pub(crate) fn read_envelope(blob: &[u8]) -> Option<Envelope> {
    let mut input = versioned(blob)?;
    let method = text(&mut input)?;
    let path = text(&mut input)?;
    let query = match take(&mut input, 1)? {
        [0] => None,
        _ => Some(text(&mut input)?),
    };
    let headers = list(&mut input, |input| Some((text(input)?, bytes(input)?.to_vec())))?;
    let attributes = list(&mut input, |input| Some((text(input)?, text(input)?)))?;
    input.is_empty().then_some(Envelope { method, path, query, headers, attributes })
}

/// The blob of an attempt's log lines; none if it logged nothing.
pub(crate) fn write_logs(lines: &[LogLine]) -> Option<Vec<u8>> {
    if lines.is_empty() {
        return None;
    }
    let mut out = vec![VERSION];
    put_len(&mut out, lines.len());
    for line in lines {
        out.push(line.level as u8);
        put(&mut out, line.text.as_bytes());
    }
    Some(out)
}

/// Reads log lines back.
pub(crate) fn read_logs(blob: &[u8]) -> Option<Vec<LogLine>> {
    let mut input = versioned(blob)?;
    list(&mut input, |input| {
        let level = *LEVELS.get(usize::from(take(input, 1)?[0]))?;
        Some(LogLine { level, text: text(input)? })
    })
}

/// Writes a key of a row, which is not negative.
pub(crate) fn put_key(out: &mut Vec<u8>, key: i64) {
    put_len(out, usize::try_from(key).unwrap_or(0));
}

/// Reads a key of a row.
pub(crate) fn key(input: &mut &[u8]) -> Option<i64> {
    i64::try_from(len(input)?).ok()
}

pub(crate) fn put_len(out: &mut Vec<u8>, mut len: usize) {
    while len >= 0x80 {
        out.push(0x80 | len.to_le_bytes()[0]);
        len >>= 7;
    }
    out.push(len.to_le_bytes()[0]);
}

pub(crate) fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    put_len(out, bytes.len());
    out.extend_from_slice(bytes);
}

pub(crate) fn versioned(blob: &[u8]) -> Option<&[u8]> {
    blob.split_first().filter(|(version, _)| **version == VERSION).map(|(_, rest)| rest)
}

pub(crate) fn take<'a>(input: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    input.split_off(..len)
}

pub(crate) fn len(input: &mut &[u8]) -> Option<usize> {
    let mut value = 0_usize;
    for shift in (0..usize::BITS).step_by(7) {
        let byte = take(input, 1)?[0];
        value |= usize::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

pub(crate) fn bytes<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = len(input)?;
    take(input, len)
}

pub(crate) fn text(input: &mut &[u8]) -> Option<String> {
    bytes(input).and_then(|bytes| str::from_utf8(bytes).ok()).map(str::to_owned)
}

pub(crate) fn list<T>(input: &mut &[u8], item: impl Fn(&mut &[u8]) -> Option<T>) -> Option<Vec<T>> {
    let count = len(input)?;
    // An item takes two bytes at least; a damaged count must not reserve the memory it claims.
    let mut items = Vec::with_capacity(count.min(input.len() / 2));
    for _ in 0..count {
        items.push(item(input)?);
    }
    Some(items)
}

#[cfg(test)]
mod tests {
    use hookweir_event::{EventId, Hops, Origin, Timestamp};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_envelope_reads_back(
            method in ".*", path in ".*", query in proptest::option::of(".*"),
            headers: Vec<(String, Vec<u8>)>, attributes: Vec<(String, String)>,
        ) {
            let event = Event {
                id: EventId::from_bytes([0; 16]),
                origin: Origin::Gateway,
                event_type: "test".parse().unwrap(),
                received_at: Timestamp::default(),
                method, path, query, headers, attributes,
                body: Vec::new(),
                hops: Hops::default(),
            };
            let mut blob = Vec::new();
            write_envelope(&event, &mut blob);
            let read = read_envelope(&blob).unwrap();
            prop_assert_eq!(read.method, event.method);
            prop_assert_eq!(read.path, event.path);
            prop_assert_eq!(read.query, event.query);
            prop_assert_eq!(read.headers, event.headers);
            prop_assert_eq!(read.attributes, event.attributes);
        }

        #[test]
        fn damage_is_no_panic(blob: Vec<u8>) {
            let mut versioned = vec![VERSION];
            versioned.extend_from_slice(&blob);
            let _ = read_envelope(&versioned);
            let _ = read_logs(&versioned);
        }
    }

    #[test]
    fn logs_read_back() {
        let lines: Vec<_> =
            LEVELS.map(|level| LogLine { level, text: level.as_str().repeat(100) }).into();
        assert_eq!(read_logs(&write_logs(&lines).unwrap()), Some(lines));
        assert_eq!(write_logs(&[]), None);
    }
}
