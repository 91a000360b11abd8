//! Spans as OTLP has them: the protobuf message `ExportTraceServiceRequest` of opentelemetry-proto 1.x, of which
//! this gateway fills some fields. Pure.
//!
//! Written by hand, since the messages are few and only written: a generated codec would bring gRPC along.

use super::span::{Fact, Span};

/// The scope that all spans are of.
const SCOPE: &str = "hookweir";

/// Wire types of protobuf.
const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const LENGTH: u8 = 2;

/// The whole request for these spans of a service.
pub(super) fn request(service: &str, version: &str, spans: &[Span]) -> Vec<u8> {
    let mut resource = Vec::new();
    for (name, value) in [("service.name", service), ("service.version", version)] {
        message(&mut resource, 1, |out| fact(out, name, &Fact::Text(value.to_owned())));
    }
    let mut out = Vec::new();
    message(&mut out, 1, |out| {
        bytes(out, 1, &resource);
        message(out, 2, |out| {
            message(out, 1, |out| {
                bytes(out, 1, SCOPE.as_bytes());
                bytes(out, 2, version.as_bytes());
            });
            for one in spans {
                message(out, 2, |out| span(out, one));
            }
        });
    });
    out
}

fn span(out: &mut Vec<u8>, span: &Span) {
    bytes(out, 1, &span.trace);
    bytes(out, 2, &span.id);
    if let Some(parent) = &span.parent {
        bytes(out, 4, parent);
    }
    bytes(out, 5, span.name.as_bytes());
    number(out, 6, span.kind as u64);
    fixed(out, 7, span.began_ns);
    fixed(out, 8, span.ended_ns);
    for (name, value) in &span.facts {
        message(out, 9, |out| fact(out, name, value));
    }
    if let Some(failure) = &span.failure {
        message(out, 15, |out| {
            bytes(out, 2, failure.as_bytes());
            // STATUS_CODE_ERROR
            number(out, 3, 2);
        });
    }
}

/// A `KeyValue`.
fn fact(out: &mut Vec<u8>, name: &str, value: &Fact) {
    bytes(out, 1, name.as_bytes());
    message(out, 2, |out| match value {
        Fact::Text(text) => bytes(out, 1, text.as_bytes()),
        Fact::Flag(flag) => number(out, 2, u64::from(*flag)),
        Fact::Number(value) => number(out, 3, *value),
    });
}

/// A message within the message.
fn message(out: &mut Vec<u8>, field: u8, write: impl FnOnce(&mut Vec<u8>)) {
    let mut inner = Vec::new();
    write(&mut inner);
    bytes(out, field, &inner);
}

fn bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    out.push(field << 3 | LENGTH);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn number(out: &mut Vec<u8>, field: u8, value: u64) {
    out.push(field << 3 | VARINT);
    varint(out, value);
}

fn fixed(out: &mut Vec<u8>, field: u8, value: u64) {
    out.push(field << 3 | FIXED64);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Seven bits a byte, the lowest first; the eighth says that there is more.
fn varint(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            out.push(low & 0x7f);
            return;
        }
        out.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_long_as_they_need() {
        // Protocol Buffers, "Encoding": 150 is 0x96 0x01.
        for (value, written) in
            [(0, &[0][..]), (127, &[0x7f]), (150, &[0x96, 1]), (u64::MAX, &[0xff; 9])]
        {
            let mut out = Vec::new();
            varint(&mut out, value);
            assert!(out.starts_with(written), "{value}: {out:x?}");
            assert_eq!(out.len(), if value == u64::MAX { 10 } else { written.len() });
        }
        let mut out = Vec::new();
        message(&mut out, 15, |out| number(out, 1, 150));
        assert_eq!(out, [0x7a, 3, 8, 0x96, 1]);
    }
}
