//! What a plugin is told of an event: all of it, unchanged, whatever is in it, on the way in and out again.

use std::sync::{Arc, OnceLock};

use hookweir_event::{Clock, Event, EventId, Hops, Origin, Timestamp};
use hookweir_host::{Grant, Host, NoNetwork, NoState, Settings, Version};
use hookweir_tests::guests;
use tokio::runtime::Runtime;

/// A plugin that says what it was told, loaded once.
struct Mirror {
    runtime: Runtime,
    host: Host,
    version: Version,
}

impl Mirror {
    fn of_this_process() -> &'static Self {
        static MIRROR: OnceLock<Mirror> = OnceLock::new();
        MIRROR.get_or_init(|| {
            let runtime = Runtime::new().unwrap();
            let host = || {
                Host::new(
                    Settings::default(),
                    Clock::system(),
                    Arc::new(NoState),
                    Arc::new(NoNetwork),
                )
            };
            // The ticker runs in the runtime.
            let host = runtime.block_on(async { host() }).unwrap();
            let name = "mirror".parse().unwrap();
            let loading = host.prepare(name, guests::wasm("mirror"), Grant::default());
            let version = runtime.block_on(loading).unwrap();
            Self { runtime, host, version }
        })
    }
}

pub(crate) fn one(input: &[u8]) {
    let Some(event) = event(input) else { return };
    let mirror = Mirror::of_this_process();
    let call = mirror.host.call(&mirror.version, &event, 7);
    let ran = mirror.runtime.block_on(call).unwrap();
    let outputs = ran.result.unwrap();
    let [output] = &outputs[..] else { panic!("{} outputs", outputs.len()) };
    assert_eq!(output.event_type.as_str(), "mirrored");
    assert_eq!(output.body, event.body);
    assert_eq!(output.headers, event.headers);
    let told = [
        ("id", event.id.to_string()),
        ("source", event.origin.to_string()),
        ("type", event.event_type.as_str().to_owned()),
        ("attempt", "7".to_owned()),
        ("received-at-ms", event.received_at.as_millis().to_string()),
        ("method", event.method),
        ("path", event.path),
    ];
    let told = told.into_iter().chain(event.query.map(|query| ("query", query)));
    let told = told.map(|(name, value)| (name.to_owned(), value)).chain(event.attributes);
    assert_eq!(output.attributes, told.collect::<Vec<_>>());
}

/// Lines of a head, and behind an empty one the body: `type`, method, path, query, and then a header each, or an
/// attribute behind `@`. None if the type is none.
fn event(input: &[u8]) -> Option<Event> {
    let at = input.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = at.map_or((input, &[][..]), |at| (&input[..at], &input[at + 2..]));
    let mut lines = head.split(|byte| *byte == b'\n');
    let mut text = || lines.next().map(|line| String::from_utf8_lossy(line).into_owned());
    let event_type = text()?.parse().ok()?;
    let (method, path) = (text().unwrap_or_default(), text().unwrap_or_default());
    let query = text();
    let (mut headers, mut attributes) = (Vec::new(), Vec::new());
    for line in lines {
        let at = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let name = String::from_utf8_lossy(&line[..at]).into_owned();
        let value = line.get(at + 1..).unwrap_or_default();
        match name.strip_prefix('@') {
            Some(name) => {
                attributes.push((name.to_owned(), String::from_utf8_lossy(value).into_owned()));
            }
            None => headers.push((name.to_ascii_lowercase(), value.to_vec())),
        }
    }
    Some(Event {
        id: EventId::from_bytes([7; 16]),
        origin: Origin::Source("test".parse().unwrap()),
        event_type,
        received_at: Timestamp::from_millis(body.len().cast_signed() as i64),
        method,
        path,
        query,
        headers,
        body: body.to_vec(),
        attributes,
        hops: Hops::default(),
    })
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    [
        &b"push\nPOST\n/webhooks/test\na=b\ncontent-type:application/json\n@order-key:7\n\n{\"a\":1}"[..],
        b"x\nPUT\n/\n\nx-y:\xff\xfe\nx-y:second\n\n\x00\x01\xff",
        "\u{e4}\nPOST\n/\u{1f642}\n\n@\u{e9}:\u{0}\n\n".as_bytes(),
    ]
    .map(<[u8]>::to_vec)
    .into()
}
