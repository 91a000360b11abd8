//! The public port: whatever comes is answered or hung up on, each 202 is an event in the store or a known one, and
//! nothing without a signature gets through. Who hangs up first may have sent what is stored and never answered.

use std::io::Write as _;

use crate::house::{House, exchange};

pub(crate) fn one(input: &[u8]) {
    let house = House::of_this_process();
    house.alone(|| {
        let before = house.counts();
        let answers = exchange(house.public, input);
        let after = house.counts();
        let events = after.events - before.events;
        let known = after.duplicates - before.duplicates;
        // HTTP/2 is binary; there it is the books alone that are looked at.
        if answers.is_empty() || answers.starts_with(b"HTTP/1.") {
            let accepted = lines(&answers).filter(|line| line.starts_with(b"HTTP/1.1 202")).count();
            assert!(
                events + known >= accepted as u64,
                "{accepted} times 202 for {events} events and {known} duplicates"
            );
            let failed = lines(&answers).any(|line| line.starts_with(b"HTTP/1.1 5"));
            assert!(!failed, "{}", String::from_utf8_lossy(&answers));
        }
        assert!(!house.has_signed(), "a source that wants signatures took something");
    });
}

fn lines(answers: &[u8]) -> impl Iterator<Item = &[u8]> {
    // An answer begins where the body before it ends, which has no line end of its own.
    let starts = (0..answers.len()).filter(|&at| answers[at..].starts_with(b"HTTP/1.1 "));
    starts.map(|at| &answers[at..(at + 16).min(answers.len())])
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let head = "POST /open HTTP/1.1\r\nhost: a\r\nx-type: push\r\n";
    let mut seeds: Vec<Vec<u8>> = [
        format!("{head}content-length: 2\r\n\r\n{{}}"),
        format!("{head}transfer-encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n"),
        format!("{head}transfer-encoding: chunked\r\n\r\n2;a=b\r\n{{}}\r\n0\r\nx: y\r\n\r\n"),
        format!("{head}content-length: 2\r\n\r\n{{}}{head}content-length: 4\r\n\r\nnull"),
        format!("{head}content-length: 3\r\ncontent-length: 3\r\n\r\nabc"),
        format!("{head}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("{head}content-length: 90000\r\n\r\n"),
        format!("{head}expect: 100-continue\r\ncontent-length: 2\r\n\r\n{{}}"),
        format!("{head}content-encoding: gzip\r\ncontent-length: 2\r\n\r\n{{}}"),
        "GET /webhooks/github?a=b HTTP/1.0\r\n\r\n".to_owned(),
        "POST /webhooks/github HTTP/1.1\r\nhost: a\r\nx-github-event: push\r\nx-github-delivery: 1\r\n\
         x-hub-signature-256: sha256=00\r\ncontent-length: 2\r\n\r\n{}"
            .to_owned(),
        "POST /api/nothing HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n".to_owned(),
        "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(),
    ]
    .map(String::into_bytes)
    .into();
    seeds.push(http2());
    seeds
}

/// The preface, SETTINGS, and a request whose headers are written out (RFC 9113, RFC 7541).
fn http2() -> Vec<u8> {
    fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        out.extend(&length[1..]);
        out.extend([kind, flags]);
        out.extend(stream.to_be_bytes());
        out.extend(payload);
    }
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    frame(&mut bytes, 4, 0, 0, &[]);
    // :method POST and :scheme http stand in the static table.
    let mut headers = vec![0x83, 0x86];
    for (name, value) in [(":path", "/open"), (":authority", "a"), ("x-type", "push")] {
        headers.push(0);
        for text in [name, value] {
            headers.push(u8::try_from(text.len()).unwrap());
            headers.write_all(text.as_bytes()).unwrap();
        }
    }
    frame(&mut bytes, 1, 4, 1, &headers);
    frame(&mut bytes, 0, 1, 1, b"{}");
    bytes
}
