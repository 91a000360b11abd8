//! What is sent: events of about 1 KiB as GitHub and Stripe send them, each with an id and a body of
//! its own, so that nothing is a duplicate. Signed by the scheme that the gateway checks them with.

use std::{
    io::Write as _,
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use hookweir_event::Clock;
use hookweir_tests::{house::SECRET, sender::Sender};
use hookweir_verify::{Key, Outgoing, Scheme};
use serde_json::Value;

use crate::load::Stock;

/// What one sender sends.
pub(crate) struct Traffic {
    to: SocketAddr,
    path: String,
    scheme: Scheme,
    key: Key,
    event_type: &'static str,
    body: Body,
    next: AtomicU64,
}

/// Makes the body of the n-th event.
type Body = Box<dyn Fn(u64) -> Vec<u8> + Send + Sync>;

impl Traffic {
    /// Pushes to a repository, signed as GitHub does.
    pub(crate) fn pushes(to: SocketAddr) -> Self {
        let scheme = Scheme::preset("github").unwrap();
        Self::new(to, "/webhooks/github", scheme, "push", Box::new(push))
    }

    /// The same, signed by somebody who does not know the secret.
    pub(crate) fn forgeries(to: SocketAddr) -> Self {
        let pushes = Self::pushes(to);
        let key = pushes.scheme.secret("not the secret that the source has").unwrap();
        Self { key, ..pushes }
    }

    /// Payments, signed as Stripe does.
    pub(crate) fn payments(to: SocketAddr) -> Self {
        let scheme = Scheme::preset("stripe").unwrap();
        Self::new(to, "/webhooks/stripe", scheme, "payment_intent.succeeded", payment())
    }

    /// The same payments for the peer, which checks GitHub's signature and takes the id from its
    /// header.
    pub(crate) fn peer_payments(to: SocketAddr) -> Self {
        let scheme = Scheme::preset("github").unwrap();
        Self::new(to, "/webhooks/payments", scheme, "payment", payment())
    }

    fn new(
        to: SocketAddr,
        path: &str,
        scheme: Scheme,
        event_type: &'static str,
        body: Body,
    ) -> Self {
        let key = scheme.secret(SECRET).unwrap();
        Self { to, path: path.into(), scheme, key, event_type, body, next: AtomicU64::new(1) }
    }

    /// The next `count` requests, signed.
    pub(crate) fn stock(&self, count: u64) -> Stock {
        let makers = thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
        let each = count / makers + 1;
        thread::scope(|scope| {
            let made: Vec<_> = (0..makers)
                .map(|_| {
                    let first = self.next.fetch_add(each, Ordering::Relaxed);
                    scope.spawn(move || self.signed(first..first + each))
                })
                .collect();
            let mut all = Stock::default();
            for stock in made {
                all.append(&stock.join().unwrap());
            }
            all
        })
    }

    fn signed(&self, numbers: std::ops::Range<u64>) -> Stock {
        let mut stock = Stock::default();
        let mut wire = Vec::new();
        for number in numbers {
            let mut request = Outgoing::post(&self.path, (self.body)(number));
            request.event_type = Some(self.event_type.parse().unwrap());
            // The form of GitHub's delivery ids.
            request.id = Some(format!("72d3162e-cc78-11e3-81ab-{number:012x}"));
            let signed = self.scheme.sign(&self.key, request, Clock::system().now()).unwrap();
            let (Self { path, to, .. }, body) = (self, &signed.body);
            wire.clear();
            write!(
                wire,
                "POST {path} HTTP/1.1\r\nhost: {to}\r\nuser-agent: hookweir-bench\r\n\
                 accept: */*\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
                body.len()
            )
            .unwrap();
            for (name, value) in &signed.headers {
                write!(wire, "{name}: ").unwrap();
                wire.extend_from_slice(value);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"\r\n");
            wire.extend_from_slice(body);
            stock.push(&wire);
        }
        stock
    }
}

/// Fills a plugin's queue with events that keep it busy: endless loops, which the CPU limit ends, and
/// spins of 400 ms, which end well, so that a plugin in use is what is measured and not a broken one.
pub(crate) async fn spin(sender: &Sender, count: usize) {
    for number in 0..count {
        let (event_type, body) = if number % 2 == 0 { ("loop", "") } else { ("spin", "400") };
        let reply = sender.send(event_type, &format!("spin-{number}"), body.as_bytes()).await;
        assert_eq!(reply.unwrap().status, 202);
    }
}

/// The parts of GitHub's push event that most handlers read, of 1 KiB.
fn push(number: u64) -> Vec<u8> {
    let (before, after) = (number - 1, number);
    let mut body = format!(
        r#"{{"ref":"refs/heads/main","before":"{before:040x}","after":"{after:040x}","repository":{{"id":186853002,"node_id":"MDEwOlJlcG9zaXRvcnkxODY4NTMwMDI=","name":"Hello-World","full_name":"Codertocat/Hello-World","private":false,"html_url":"https://github.com/Codertocat/Hello-World","default_branch":"main"}},"pusher":{{"name":"Codertocat","email":"21031067+Codertocat@users.noreply.github.com"}},"created":false,"deleted":false,"forced":false,"compare":"https://github.com/Codertocat/Hello-World/compare/{before:012x}...{after:012x}","head_commit":{{"id":"{after:040x}","tree_id":"f9d2a07e9488b91af2641b26b9407fe22a451433","distinct":true,"timestamp":"2026-05-15T15:20:30+02:00","author":{{"name":"Codertocat","email":"21031067+Codertocat@users.noreply.github.com"}},"added":[],"removed":[],"modified":["README.md"],"message":""#
    );
    let end = r#""}}"#;
    let filling = 1024_usize.saturating_sub(body.len() + end.len());
    body.extend(std::iter::repeat_n('x', filling));
    body.push_str(end);
    body.into_bytes()
}

/// The plugin's own sample, without what is null in it: 1 KiB. Event, payment and order get an id each.
fn payment() -> Body {
    let sample = include_str!("../../../plugins/payments/samples/payment_intent.succeeded.json");
    let mut sample: Value = serde_json::from_str(sample).unwrap();
    let intent = sample["data"]["object"].as_object_mut().unwrap();
    intent.retain(|_, value| !value.is_null());
    let ids = ["evt_3MhUT5E0b6fckueS0sCCeDd1", "pi_3MhUT5E0b6fckueS0yDzkvQW", "order-4711"];
    let mut template = sample.to_string();
    for id in ids {
        assert!(template.contains(id), "the sample has no {id}");
        template = template.replace(id, &format!("{}#", &id[..id.len() - 4]));
    }
    let pieces: Vec<String> = template.split('#').map(str::to_owned).collect();
    Box::new(move |number| pieces.join(&format!("{number:08x}")).into_bytes())
}
