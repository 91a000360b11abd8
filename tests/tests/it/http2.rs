//! HTTP/2 as an attacker speaks it: streams that are reset as soon as they are opened, headers without end. The
//! connection is ended, the others go on.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use bytes::Bytes;
use hookweir_tests::{
    house::House,
    wire::{ACK, CALM, END_HEADERS, END_STREAM, Frame, Wire, kind, post_block},
};
use http_body_util::Full;
use hyper::{Response, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::net::TcpListener;

fn house(sections: &str) -> House {
    House::new(env!("CARGO_BIN_EXE_hookweir-under-test"), sections)
}

/// A server without limits: where it is, and how many requests its handler was asked.
async fn unlimited() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, asked) = (listener.local_addr().unwrap(), Arc::<AtomicUsize>::default());
    let counted = asked.clone();
    tokio::spawn(async move {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http2()
            .max_concurrent_streams(None)
            .max_header_list_size(1 << 30)
            .max_pending_accept_reset_streams(usize::MAX)
            .max_local_error_reset_streams(None);
        while let Ok((stream, _)) = listener.accept().await {
            let (builder, counted) = (builder.clone(), counted.clone());
            stream.set_nodelay(true).unwrap();
            tokio::spawn(async move {
                let answer = service_fn(move |_| {
                    counted.fetch_add(1, SeqCst);
                    async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) }
                });
                let _ = builder.serve_connection(TokioIo::new(stream), answer).await;
            });
        }
    });
    (address, asked)
}

/// Opens streams and resets each at once, a hundred at a time. Whether the connection is there afterwards, and
/// the error of the GOAWAY that came otherwise: one that what was sent into a closed connection did not overtake.
async fn rapid_reset(address: SocketAddr, streams: u32) -> (bool, Option<u32>) {
    let mut wire = Wire::http2(address).await;
    let block = post_block("/webhooks/test", &[]);
    for hundred in 0..streams / 100 {
        let pair = |n: u32| {
            let id = (hundred * 100 + n) * 2 + 1;
            [Frame::new(kind::HEADERS, END_HEADERS, id, &block[..]), Frame::reset(id)]
        };
        let frames: Vec<_> = (0..100).flat_map(pair).collect();
        if !wire.send_frames(&frames).await {
            break;
        }
    }
    wire.send_frames(&[Frame::new(kind::PING, 0, 0, [0; 8])]).await;
    let is_pong = |frame: &Frame| frame.kind == kind::PING && frame.flags == ACK;
    let end = wire.until(|frame| frame.kind == kind::GOAWAY || is_pong(frame)).await;
    let goaway = end.as_ref().filter(|frame| frame.kind == kind::GOAWAY).map(Frame::error);
    (end.as_ref().is_some_and(is_pong), goaway)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_are_reset_at_once_end_their_connection() {
    let (open, asked) = unlimited().await;
    assert_eq!(
        rapid_reset(open, 5000).await,
        (true, None),
        "a server without limits takes them all"
    );
    println!(
        "rapid reset of 5,000 streams without a limit: {} requests handled",
        asked.load(SeqCst)
    );
    let house = house("");
    let gateway = house.start().await;
    let before = gateway.resident();
    let mut calm = 0;
    for _ in 0..20 {
        // A hundred come in at once: a few more than are borne.
        let (_, goaway) = rapid_reset(house.public, 100).await;
        calm += u32::from(goaway == Some(CALM));
        let (is_open, _) = rapid_reset(house.public, 5000).await;
        assert!(!is_open, "all were taken");
    }
    assert!(calm > 0, "no connection was told to calm down");
    let after = gateway.resident();
    println!("20 rapid resets: {} MiB resident before, {} MiB after", before >> 20, after >> 20);
    assert!(after < before + (64 << 20), "{before} bytes before, {after} after");
    let reply = house.sender("test").send("order.created", "1", b"{}").await.unwrap();
    assert_eq!(reply.status, 202);
    assert!(gateway.stop().await.success());
}

/// The same so slowly that each request is begun before it is dropped: no limit of the protocol's sees that.
async fn slow_reset(address: SocketAddr, streams: u32) -> u32 {
    let mut wire = Wire::http2(address).await;
    let block = post_block("/webhooks/test", &[("content-length", "100")]);
    for n in 0..streams {
        let id = n * 2 + 1;
        let headers = Frame::new(kind::HEADERS, END_HEADERS, id, &block[..]);
        // What comes before the answer to a ping has been looked at.
        let sent = wire.send_frames(&[headers]).await && wire.ping().await;
        let reset = sent && wire.send_frames(&[Frame::reset(id)]).await && wire.ping().await;
        if !reset {
            return n;
        }
    }
    streams
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_drops_all_its_requests_is_let_go() {
    let (open, asked) = unlimited().await;
    assert_eq!(slow_reset(open, 300).await, 300, "hyper has no limit on these");
    assert!(asked.load(SeqCst) >= 250, "{asked:?} requests were begun: this is no attack");
    let house = house("");
    let gateway = house.start().await;
    let opened = slow_reset(house.public, 300).await;
    assert!((100..200).contains(&opened), "{opened} were borne");
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_nothing_of_an_answer_does_not_hold_up_the_end() {
    let house = house("server.grace = \"20s\"");
    let gateway = house.start().await;
    let mut wire = Wire::http2(house.public).await;
    // SETTINGS_INITIAL_WINDOW_SIZE: of the body nothing may come.
    let settings = Frame::new(kind::SETTINGS, 0, 0, [0, 4, 0, 0, 0, 0]);
    let block = post_block("/nowhere", &[]);
    let request = Frame::new(kind::HEADERS, END_HEADERS | END_STREAM, 1, block);
    wire.send_frames(&[settings, request]).await;
    let answer = wire.until(|frame| frame.stream == 1).await.unwrap();
    assert_eq!((answer.kind, answer.flags & END_STREAM), (kind::HEADERS, 0), "a body is to come");
    assert!(gateway.stop().await.success());
    let left = house.until_log(0, &["left", "connections="]).await;
    assert!(left.contains("connections=0 "), "it was waited for: {left}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_dropped_while_they_are_read_count_as_refused() {
    let limits = "server.address_rate = \"off\"\nserver.refused_rate = \"20/hour\"";
    let house = house(limits);
    let gateway = house.start().await;
    let send = async || house.sender("test").send("order.created", "1", b"{}").await.unwrap();
    assert_eq!(send().await.status, 202);
    // Some may be dropped before they are begun.
    assert_eq!(slow_reset(house.public, 90).await, 90, "one connection may drop as many");
    let reply = send().await;
    let policy = reply.header("ratelimit-policy");
    assert_eq!((reply.status, policy), (429, Some("\"refused\";q=20;w=3600")), "{reply:?}");
    assert!(gateway.stop().await.success());
}

/// One block of headers, of so many bytes. Whether the connection is there after it.
async fn endless_headers(address: SocketAddr, bytes: usize) -> bool {
    let mut wire = Wire::http2(address).await;
    let headers = Frame::new(kind::HEADERS, END_STREAM, 1, post_block("/webhooks/test", &[]));
    wire.send_frames(&[headers]).await;
    // Names and values that are all there is to a header: 10 bytes each on the wire.
    let piece: Vec<u8> = [0, 2, b'x', b'y', 5, b'a', b'b', b'c', b'd', b'e'].repeat(1600);
    let more = |flags| Frame::new(kind::CONTINUATION, flags, 1, &piece[..]);
    for _ in 0..bytes / piece.len() {
        if !wire.send_frames(&[more(0)]).await {
            break;
        }
    }
    wire.send_frames(&[more(END_HEADERS)]).await && wire.ping().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_without_end_are_cut_off() {
    let most = 8 << 20;
    let (open, _) = unlimited().await;
    assert!(endless_headers(open, most).await, "without a limit they are all taken");
    let house = house("");
    let gateway = house.start().await;
    let before = gateway.resident();
    for _ in 0..10 {
        assert!(!endless_headers(house.public, most).await, "they were taken");
    }
    let after = gateway.resident();
    println!("10 endless headers: {} MiB resident before, {} MiB after", before >> 20, after >> 20);
    assert!(after < before + (32 << 20), "{before} bytes before, {after} after");
    // Headers that do end, and are too many: this one request is refused.
    let mut wire = Wire::http2(house.public).await;
    let large = "x".repeat(15 << 10);
    let block = post_block("/webhooks/test", &[("x-1", &large)]);
    let first = Frame::new(kind::HEADERS, END_STREAM, 1, block);
    let field = [&[0, 1, b'y', 0x7f, 0x81, 0x77], large.as_bytes()].concat();
    let more = |flags| Frame::new(kind::CONTINUATION, flags, 1, &field[..]);
    wire.send_frames(&[first, more(0), more(0), more(0), more(END_HEADERS)]).await;
    let refused = wire.until(|frame| frame.stream == 1 || frame.kind == kind::GOAWAY).await;
    assert!(refused.is_some_and(|frame| frame.kind != kind::DATA), "it was answered");
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_are_bounded_in_number() {
    let request = |count: usize| {
        let block = post_block("/webhooks/test", &vec![("x", ""); count]);
        let end = Frame::new(kind::DATA, END_STREAM, 1, []);
        [Frame::new(kind::HEADERS, END_HEADERS, 1, block), end]
    };
    // By HTTP/2's own count they have less than 64 KiB, and in memory far more.
    let (open, asked) = unlimited().await;
    let mut wire = Wire::http2(open).await;
    wire.send_frames(&request(1900)).await;
    assert!(wire.until(|frame| frame.kind == kind::HEADERS).await.is_some());
    assert_eq!(asked.load(SeqCst), 1, "hyper has no limit on these");
    let house = house("");
    let gateway = house.start().await;
    // At the operators' address nothing is known of that host.
    for (address, answered) in [(house.public, "unauthenticated"), (house.admin, "wrong_host")] {
        for (count, code) in
            [(128, answered), (129, "too_many_headers"), (1900, "too_many_headers")]
        {
            let mut wire = Wire::http2(address).await;
            wire.send_frames(&request(count)).await;
            let answer = wire.until(|frame| frame.kind == kind::DATA).await.unwrap().payload;
            let answer = String::from_utf8_lossy(&answer);
            assert!(answer.contains(code), "{address}, {count}: {answer}");
        }
    }
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_over_http2_can_be_read_in_one_way_only() {
    let house = house("");
    let gateway = house.start().await;
    for (headers, is_answered) in [
        (&[][..], true),
        (&[("host", "gateway.test")][..], true),
        (&[("host", "another.test")], true),
        (&[("transfer-encoding", "chunked")], false),
        (&[("connection", "close")], false),
        (&[("content-length", "7")], false),
    ] {
        let mut wire = Wire::http2(house.public).await;
        let block = post_block("/nowhere", headers);
        let request = Frame::new(kind::HEADERS, END_HEADERS | END_STREAM, 1, block);
        wire.send_frames(&[request]).await;
        let wanted = |frame: &Frame| frame.stream == 1 || frame.kind == kind::GOAWAY;
        let answer = wire.until(wanted).await;
        let answered = answer.as_ref().is_some_and(|frame| frame.kind == kind::HEADERS);
        assert_eq!(answered, is_answered, "{headers:?}: {answer:?}");
        if headers == [("host", "another.test")] {
            let body = wire.until(|frame| frame.kind == kind::DATA).await.unwrap().payload;
            assert!(String::from_utf8_lossy(&body).contains("two hosts that differ"));
        }
    }
    assert!(gateway.stop().await.success());
}
