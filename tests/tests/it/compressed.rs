//! Compressed bodies, where a source allows them: signed as they are sent, kept as they were before, and unpacked no
//! further than the source's limit, for nobody but who is proven.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use hmac::{Hmac, KeyInit as _, Mac as _};
use hookweir_event::Clock;
use hookweir_tests::{
    house::{House, SECRET},
    load::payment,
    scrape::Scrape,
    sender::{Reply, Sender},
    wire::Wire,
};
use hookweir_verify::{Outgoing, Scheme};
use sha2::Sha256;

const MIB: u64 = 1 << 20;
/// What the bomb is unpacked, in bytes.
const BOMB: usize = 128 << 20;

fn house(sections: &str) -> House {
    House::new(env!("CARGO_BIN_EXE_hookweir-under-test"), sections)
}

fn source(name: &str, more: &str) -> String {
    format!(
        "[sources.{name}]\npath = \"/webhooks/{name}\"\nscheme = \"stripe\"\n\
         secrets = [{{ env = \"TEST_SECRET\" }}]\n{more}\n"
    )
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(body).unwrap();
    packed.finish().unwrap()
}

/// Posts `body` in a coding, with Stripe's signature over `signed`.
async fn post(house: &House, name: &str, (body, signed): (&[u8], &[u8]), coding: &str) -> Reply {
    let path = format!("/webhooks/{name}");
    let sender = Sender::new(house.public, &path, Scheme::preset("stripe").unwrap(), SECRET);
    let now = Clock::system().now().as_millis() / 1000;
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("{now}.").as_bytes());
    mac.update(signed);
    let tag: String =
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let mut request = Outgoing::post(&path, body.to_vec());
    request.headers = vec![
        ("content-type".into(), b"application/json".to_vec()),
        ("content-encoding".into(), coding.as_bytes().to_vec()),
        ("stripe-signature".into(), format!("t={now},v1={tag}").into_bytes()),
    ];
    sender.post(request).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_signed_packed_is_kept_unpacked_where_the_source_allows_it() {
    let house = house(&source("packed", "decompress = true"));
    let gateway = house.start().await;
    let body = payment("evt_1", "{}");
    let packed = gzip(body.as_bytes());
    let reply = post(&house, "stripe", (&packed, &packed), "gzip").await;
    assert_eq!((reply.status, reply.code()), (415, "compressed_body"), "off unless it is said");
    let reply = post(&house, "packed", (&packed, body.as_bytes()), "gzip").await;
    assert_eq!(reply.status, 401, "the signature is over what is sent: {reply:?}");
    let reply = post(&house, "packed", (&packed, &packed), "br").await;
    assert_eq!(reply.status, 415, "{reply:?}");
    let reply = post(&house, "packed", (body.as_bytes(), body.as_bytes()), "gzip").await;
    assert_eq!((reply.status, reply.code()), (400, "malformed"), "it is not packed: {reply:?}");
    assert_eq!(house.reader().counts().await.unwrap().events, 0);

    let reply = post(&house, "packed", (&packed, &packed), "gzip").await;
    assert_eq!((reply.status, reply.duplicate()), (202, false), "{reply:?}");
    let event = house.reader().event(reply.id().unwrap()).await.unwrap().unwrap();
    assert_eq!(event.event_type.as_str(), "payment_intent.succeeded", "found in the unpacked body");
    assert_eq!(event.body, body.as_bytes());
    let coded =
        |(name, _): &(String, Vec<u8>)| name == "content-encoding" || name == "content-length";
    assert!(!event.headers.iter().any(coded), "{:?}", event.headers);
    // By its id, which is in the body, it is the same event however it is sent.
    let again = post(&house, "packed", (body.as_bytes(), body.as_bytes()), "identity").await;
    assert!(again.duplicate() && again.id() == reply.id(), "{again:?}");
    let held = house.metrics().await.value("hookweir_bodies_bytes", &[]);
    assert_eq!(held, 0.0);
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bomb_is_refused_before_it_is_unpacked() {
    let wide = source("wide", "decompress = true\nbody_max = \"256MiB\"");
    let narrow = source("narrow", "decompress = true");
    let house = house(&format!("server.bodies_max = \"2GiB\"\n{wide}{narrow}"));
    let gateway = house.start().await;
    let bomb = gzip(&vec![b' '; BOMB]);
    assert!((bomb.len() as u64) < MIB / 4, "{} bytes are 128 MiB", bomb.len());
    let grown = async |name: &str, signed: &[u8]| {
        gateway.forget_resident_peak();
        let before = gateway.resident();
        let reply = post(&house, name, (&bomb, signed), "gzip").await;
        (reply, gateway.resident_peak().saturating_sub(before) / MIB)
    };
    let (reply, took) = grown("narrow", &bomb).await;
    assert_eq!((reply.status, reply.code()), (413, "body_too_large"), "{reply:?}");
    // The first request of a process takes some by itself.
    assert!(took < 48, "{took} MiB of 128");
    let (reply, took) = grown("wide", b"something else").await;
    assert_eq!(reply.status, 401, "{reply:?}");
    assert!(took < 48, "a stranger's is not unpacked: {took} MiB");
    assert_eq!(house.reader().counts().await.unwrap().events, 0);
    // It is a bomb: where there is no limit to speak of, it goes off.
    let (reply, took) = grown("wide", &bomb).await;
    assert_eq!(reply.status, 202, "{reply:?}");
    assert!(took >= 100, "{took} MiB");
    assert_eq!(house.reader().counts().await.unwrap().events, 1);
    assert!(gateway.stop().await.success());
}

/// So many characters of which little is left out when they are packed.
fn noise(length: usize) -> String {
    let mut state = 1_u64;
    let next = || {
        // Knuth's MMIX generator; its highest bits are the best.
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'0' + u8::try_from(state >> 58).unwrap())
    };
    std::iter::repeat_with(next).take(length).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_body_that_the_config_allows_is_taken_however_little_it_was_packed() {
    let source = source("packed", "decompress = true\nbody_max = \"1MiB\"");
    let house = house(&format!("server.bodies_max = \"4MiB\"\n{source}"));
    let gateway = house.start().await;
    let metadata = serde_json::json!({ "noise": noise(1_000_000) });
    let body = payment("evt_1", &metadata.to_string());
    let packed = gzip(body.as_bytes());
    let (raw, sent) = (body.len() as u64, packed.len() as u64);
    assert!(raw < MIB && sent > MIB / 2, "{raw} bytes are sent as {sent}");
    let reply = post(&house, "packed", (&packed, &packed), "gzip").await;
    assert_eq!(reply.status, 202, "{reply:?}");
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_announces_small_bodies_takes_nothing_of_what_they_could_be_unpacked_into() {
    const ANNOUNCED: u32 = 20;
    let source = source("packed", "decompress = true\nbody_max = \"1MiB\"");
    let limits = "server.bodies_max = \"4MiB\"\nserver.trusted_proxies = [\"127.0.0.1\"]\n\
                  server.body_timeout = \"5m\"\n";
    let house = house(&format!("{limits}{source}"));
    let gateway = house.start().await;
    let mut open = Vec::new();
    for number in 0..ANNOUNCED {
        let mut wire = Wire::connect(house.public).await;
        let head = format!(
            "POST /webhooks/packed HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 10.1.0.{number}\r\n\
             content-encoding: gzip\r\ncontent-length: 1000\r\n\r\n"
        );
        wire.send(head.as_bytes()).await;
        open.push(wire);
    }
    // Each is held with its headers, or shed.
    let refused = [("source", "packed")];
    let all = |page: &Scrape| {
        let held = page.value("hookweir_bodies_bytes", &[]);
        held >= f64::from(ANNOUNCED) * 400.0
            || page.value("hookweir_source_refused_total", &refused) > 0.0
    };
    let page = house.until_metrics("all that were announced", all).await;
    let held = page.value("hookweir_bodies_bytes", &[]);
    assert!(held < f64::from(ANNOUNCED) * 1000.0, "{held} bytes for headers");
    let body = payment("evt_1", "{}");
    let packed = gzip(body.as_bytes());
    let reply = post(&house, "packed", (&packed, &packed), "gzip").await;
    assert_eq!(reply.status, 202, "{reply:?}");
    drop(open);
    assert!(gateway.stop().await.success());
}
