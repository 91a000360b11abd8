//! Reads what a gateway sends to a collector: the protobuf messages of opentelemetry-proto 1.x, by their field
//! numbers, and none that the gateway should not send.

use std::collections::BTreeMap;

/// A span as it came.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Span {
    /// Whose it is: the resource's `service.name`.
    pub service: String,
    /// The trace's id, in hex.
    pub trace: String,
    /// Its own id, in hex.
    pub id: String,
    /// Its parent's, in hex; empty for none.
    pub parent: String,
    /// What it is called.
    pub name: String,
    /// `SpanKind`: 1 internal, 2 server, 3 client, 5 consumer.
    pub kind: u64,
    /// Unix time in nanoseconds.
    pub began_ns: u64,
    /// The same.
    pub ended_ns: u64,
    /// What is noted of it, as text.
    pub facts: BTreeMap<String, String>,
    /// Whether it failed, and the message.
    pub failure: Option<String>,
}

/// A field of a message.
#[derive(Debug)]
enum Field<'a> {
    Varint(u64),
    Fixed(u64),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    fn number(&self) -> u64 {
        match self {
            Self::Varint(number) | Self::Fixed(number) => *number,
            Self::Bytes(_) => panic!("{self:?} is no number"),
        }
    }

    fn bytes(&self) -> &'a [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            _ => panic!("{self:?} has no length"),
        }
    }

    fn text(&self) -> String {
        String::from_utf8(self.bytes().to_vec()).unwrap()
    }

    fn hex(&self) -> String {
        self.bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The fields of a message in their order.
fn fields(mut message: &[u8]) -> Vec<(u64, Field<'_>)> {
    fn varint(message: &mut &[u8]) -> u64 {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = message.split_first().unwrap();
            *message = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return number;
            }
        }
        panic!("a number without end");
    }
    fn take<'a>(message: &mut &'a [u8], len: usize) -> &'a [u8] {
        let (taken, rest) = message.split_at(len);
        *message = rest;
        taken
    }
    let mut found = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message);
        let field = match key & 7 {
            0 => Field::Varint(varint(&mut message)),
            1 => Field::Fixed(u64::from_le_bytes(take(&mut message, 8).try_into().unwrap())),
            2 => {
                let len = usize::try_from(varint(&mut message)).unwrap();
                Field::Bytes(take(&mut message, len))
            }
            other => panic!("nothing of wire type {other} is sent"),
        };
        found.push((key >> 3, field));
    }
    found
}

/// The spans of an `ExportTraceServiceRequest`.
pub fn spans(request: &[u8]) -> Vec<Span> {
    let mut spans = Vec::new();
    for (number, of_resource) in fields(request) {
        assert_eq!(number, 1, "resource_spans");
        let (mut service, first) = (String::new(), spans.len());
        for (number, field) in fields(of_resource.bytes()) {
            match number {
                1 => {
                    let facts = fields(field.bytes());
                    let facts: BTreeMap<_, _> = facts.iter().map(|(_, one)| fact(one)).collect();
                    service.clone_from(&facts["service.name"]);
                }
                2 => spans.extend(of_scope(field.bytes())),
                other => panic!("ResourceSpans has {other}"),
            }
        }
        spans[first..].iter_mut().for_each(|span| span.service.clone_from(&service));
    }
    spans
}

fn of_scope(message: &[u8]) -> Vec<Span> {
    let mut spans = Vec::new();
    for (number, field) in fields(message) {
        match number {
            1 => assert_eq!(fields(field.bytes())[0].1.text(), "hookweir"),
            2 => spans.push(span(field.bytes())),
            other => panic!("ScopeSpans has {other}"),
        }
    }
    spans
}

fn span(message: &[u8]) -> Span {
    let mut span = Span::default();
    for (number, field) in fields(message) {
        match number {
            1 => span.trace = field.hex(),
            2 => span.id = field.hex(),
            4 => span.parent = field.hex(),
            5 => span.name = field.text(),
            6 => span.kind = field.number(),
            7 => span.began_ns = field.number(),
            8 => span.ended_ns = field.number(),
            9 => span.facts.extend([fact(&field)]),
            15 => {
                let status = fields(field.bytes());
                let of = |wanted: u64| status.iter().find(|(number, _)| *number == wanted);
                assert_eq!(of(3).unwrap().1.number(), 2, "STATUS_CODE_ERROR");
                span.failure = Some(of(2).map(|(_, text)| text.text()).unwrap_or_default());
            }
            other => panic!("Span has {other}"),
        }
    }
    assert_eq!((span.trace.len(), span.id.len()), (32, 16));
    span
}

/// A `KeyValue`.
fn fact(field: &Field<'_>) -> (String, String) {
    let key_value = fields(field.bytes());
    let [(1, name), (2, value)] = &key_value[..] else { panic!("{key_value:?}") };
    let any = fields(value.bytes());
    let value = match &any[..] {
        [(1, text)] => text.text(),
        [(2, flag)] => (flag.number() == 1).to_string(),
        [(3, number)] => number.number().to_string(),
        other => panic!("AnyValue is {other:?}"),
    };
    (name.text(), value)
}
