//! Requests that two servers could read in two ways, so that one takes for a body what the other takes for a
//! request. Each is refused or taken as exactly one, and what may be hidden behind it is never answered.

use hookweir_tests::{
    house::House,
    wire::{Wire, statuses},
    world::World,
};

/// What a smuggler wants to be taken for a request of its own.
const HIDDEN: &str =
    "POST /hidden HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// What becomes of a request and of what comes right behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// 4xx or 5xx, and the connection is closed.
    Refused,
    /// It is answered, and the connection is closed.
    Last,
    /// It is answered, and so is the one behind it: it is clear where one ends and the other begins.
    One,
}

use Fate::{Last, One, Refused};

/// A request to `/small`, the headers after the method's line and the body written out.
fn request(headers: &str, body: &str) -> String {
    format!("POST /small HTTP/1.1\r\n{headers}\r\n{body}")
}

/// What can't be read in two ways because hyper already refuses it, or takes it as the standard has it.
fn by_hyper() -> Vec<(&'static str, String, Fate)> {
    let host = |headers: &str, body: &str| request(&format!("host: a\r\n{headers}"), body);
    let sized = |length: &str| host(&format!("content-length:{length}\r\n"), "abcde");
    let coded =
        |coding: &str| host(&format!("transfer-encoding: {coding}\r\n"), "5\r\nabcde\r\n0\r\n\r\n");
    let chunks = |body: &str| host("transfer-encoding: chunked\r\n", body);
    vec![
        ("a length", sized(" 5"), One),
        ("a length with spaces", sized("   5  "), One),
        ("a length with zeros", sized(" 005"), One),
        ("chunks", coded("chunked"), One),
        ("an extension of a chunk", chunks("5;a=b\r\nabcde\r\n0\r\n\r\n"), One),
        ("a trailer", chunks("0\r\nx-trailer: 1\r\n\r\n"), One),
        (
            "a length and chunks",
            host("content-length: 5\r\ntransfer-encoding: chunked\r\n", "0\r\n\r\n"),
            Last,
        ),
        (
            "chunks and a length",
            host("transfer-encoding: chunked\r\ncontent-length: 5\r\n", "0\r\n\r\n"),
            Last,
        ),
        ("two lengths", host("content-length: 5\r\ncontent-length: 6\r\n", "abcdef"), Refused),
        ("a list of lengths", sized(" 5, 5"), Refused),
        ("a length with a sign", sized(" +5"), Refused),
        ("a negative length", sized(" -5"), Refused),
        ("a length in hex", sized(" 0x5"), Refused),
        ("no length", sized(" "), Refused),
        ("a length beyond all numbers", sized(" 18446744073709551621"), Refused),
        ("a space before the colon", host("content-length : 5\r\n", "abcde"), Refused),
        ("a tab before the colon", host("transfer-encoding\t: chunked\r\n", "0\r\n\r\n"), Refused),
        ("a folded line", host("x-a: b\r\n c\r\n", ""), Refused),
        ("a folded first line", request(" host: a\r\nx-b: c\r\n", ""), Refused),
        ("a NUL in a value", host("x-a: b\0c\r\n", ""), Refused),
        ("a CR in a value", host("x-a: b\rcontent-length: 5\r\n", ""), Refused),
        ("a NUL in a name", host("x\0a: b\r\n", ""), Refused),
        ("chunked and then another", coded("chunked, identity"), Refused),
        ("not quite chunked", coded("xchunked"), Refused),
        ("chunked with more to it", coded("chunked;q=1"), Refused),
        ("a vertical tab before chunked", coded("\u{b}chunked"), Refused),
        ("no coding", coded("identity"), Refused),
        ("HTTP/1.0 in chunks", coded("chunked").replace("/1.1", "/1.0"), Refused),
        ("a chunk's size that is none", chunks("x\r\nabcde\r\n0\r\n\r\n"), Refused),
        ("a chunk's size with a sign", chunks("+5\r\nabcde\r\n0\r\n\r\n"), Refused),
        ("a chunk's size in 0x", chunks("0x5\r\nabcde\r\n0\r\n\r\n"), Refused),
        (
            "a chunk's size beyond all numbers",
            chunks("10000000000000005\r\nabcde\r\n0\r\n\r\n"),
            Refused,
        ),
        ("a chunk longer than its size", chunks("3\r\nabcde\r\n0\r\n\r\n"), Refused),
        ("no size of a chunk", chunks("\r\nabcde\r\n0\r\n\r\n"), Refused),
        ("a bare LF in an extension", chunks("5;a\nabcde\r\n0\r\n\r\n"), Refused),
        ("a bare LF after a size", chunks("5\nabcde\r\n0\r\n\r\n"), Refused),
        (
            "an endless extension",
            chunks(&format!("5;{}\r\nabcde\r\n0\r\n\r\n", "a".repeat(40_000))),
            Refused,
        ),
        ("another protocol", host("", "").replace("HTTP/1.1", "HTTP/3.0"), Refused),
        ("no protocol", "POST /small\r\n\r\n".to_owned(), Refused),
    ]
}

/// What hyper takes, and the gateway does not.
fn by_us() -> Vec<(&'static str, String)> {
    let length = "content-length: 0\r\n";
    let absolute =
        |host: &str| format!("POST http://a/small HTTP/1.1\r\nhost: {host}\r\n{length}\r\n");
    let coded = |codings: &str| request(&format!("host: a\r\n{codings}"), "0\r\n\r\n");
    vec![
        ("no host", request(length, "")),
        ("two hosts", request(&format!("host: a\r\nhost: b\r\n{length}"), "")),
        ("a host twice", request(&format!("host: a\r\nhost: a\r\n{length}"), "")),
        ("a host with a path", request(&format!("host: a/b\r\n{length}"), "")),
        ("a host with a user", request(&format!("host: b@a\r\n{length}"), "")),
        ("a host with a space", request(&format!("host: a b\r\n{length}"), "")),
        ("another host than the target's", absolute("b")),
        ("chunks in chunks", coded("transfer-encoding: chunked, chunked\r\n")),
        ("chunked twice", coded("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n")),
        ("compressed chunks", coded("transfer-encoding: gzip, chunked\r\n")),
    ]
}

/// The statuses of all that is answered to these bytes with the hidden request behind them. The connection must
/// be closed then.
async fn answers(address: std::net::SocketAddr, bytes: &str) -> Vec<u16> {
    let mut wire = Wire::connect(address).await;
    wire.send(&[bytes.as_bytes(), HIDDEN.as_bytes()].concat()).await;
    statuses(&wire.rest().await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_be_read_in_two_ways_hides_nothing() {
    let small = "[sources.small]\npath = \"/small\"\nscheme = \"github\"\n\
                 secrets = [{ env = \"TEST_SECRET\" }]\n";
    let house = House::new(env!("CARGO_BIN_EXE_hookweir-under-test"), small);
    let gateway = house.start().await;
    let mut seen = 0.0;
    for (name, bytes, fate) in by_hyper() {
        let statuses = answers(house.public, &bytes).await;
        let as_it_should = match fate {
            // What is closed with much unread may lose its answer.
            Refused if bytes.len() > 8 << 10 && statuses.is_empty() => true,
            Refused => statuses.len() == 1 && statuses[0] >= 400 && statuses[0] != 401,
            Last => statuses == [401],
            One => statuses == [401, 404],
        };
        assert!(as_it_should, "{name}: {fate:?}, but {statuses:?}");
        seen += f64::from(u8::from(fate == One));
    }
    // That these are attacks: a server with hyper alone answers what they hide.
    let open = World::start("127.0.0.1").await;
    for (name, bytes) in by_us() {
        let taken = answers(open.address, &bytes).await;
        assert_eq!(taken, [200, 200], "{name}: hyper is not that lax any more");
        assert_eq!(answers(house.public, &bytes).await, [400], "{name}");
    }
    let metrics = house.metrics().await;
    let strays = metrics.value("hookweir_stray_requests_total", &[]);
    assert_eq!(strays, seen, "a hidden request was answered");
    assert_eq!(house.reader().counts().await.unwrap().events, 0);
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_not_read_is_never_a_request() {
    let house = House::new(env!("CARGO_BIN_EXE_hookweir-under-test"), "");
    let gateway = house.start().await;
    let hidden = "POST /hidden HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n";
    let behind = "GET /behind HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let length = hidden.len();
    // Refused before their bodies are read.
    for (head, status) in [
        (format!("POST /nowhere HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n"), 404),
        (
            format!("PUT /webhooks/test HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n"),
            405,
        ),
        (
            "POST /webhooks/test HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999\r\n\r\n"
                .to_owned(),
            413,
        ),
        (
            format!(
                "POST /webhooks/test HTTP/1.1\r\nhost: a\r\ncontent-encoding: gzip\r\ncontent-length: {length}\r\n\r\n"
            ),
            415,
        ),
    ] {
        let mut wire = Wire::connect(house.public).await;
        wire.send(format!("{head}{hidden}{behind}").as_bytes()).await;
        let statuses = statuses(&wire.rest().await);
        // Either the connection is closed, or the body is passed over.
        assert!(statuses == [status] || statuses == [status, 404], "{head}: {statuses:?}");
    }
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_are_bounded_in_number_and_size() {
    let house = House::new(env!("CARGO_BIN_EXE_hookweir-under-test"), "");
    let gateway = house.start().await;
    let open = World::start("127.0.0.1").await;
    let head = |lines: &str| format!("POST /x HTTP/1.1\r\nhost: a\r\n{lines}\r\n");
    let many = |count: usize| (0..count).map(|n| format!("x-{n}: 1\r\n")).collect::<String>();
    let large = |bytes: usize| format!("x-large: {}\r\n", "x".repeat(bytes));
    // Both are attacks: a server with hyper's own limits takes more of them, or of their bytes.
    assert_eq!(answers(open.address, &head(&large(200 << 10))).await, [200, 200]);
    for bytes in [head(&many(200)), head(&large(200 << 10)), head(&large(1 << 20))] {
        let statuses = answers(house.public, &bytes).await;
        assert!(statuses == [431] || statuses.is_empty(), "{statuses:?}");
    }
    assert_eq!(answers(house.public, &head(&many(120))).await, [404, 404]);
    assert_eq!(answers(house.public, &head(&large(60 << 10))).await, [404, 404]);
    // One that does not end is cut off where the limit is, not when it is complete.
    let mut wire = Wire::connect(house.public).await;
    wire.send(b"POST /x HTTP/1.1\r\nhost: a\r\nx-endless: ").await;
    let mut sent = 0;
    while sent < 64 << 20 && wire.send(&[b'x'; 16 << 10]).await {
        sent += 16 << 10;
    }
    assert!(sent < 64 << 20, "{sent} bytes of one header were taken");
    // A line of the request likewise.
    let target = format!("POST /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(100 << 10));
    let refused = answers(house.public, &target).await;
    assert!(refused == [414] || refused == [431] || refused.is_empty(), "{refused:?}");
    assert!(gateway.stop().await.success());
}
