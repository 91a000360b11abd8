//! Events as Stripe sends them: much alike, with ids, sums and a signature that are like no other's. A
//! tenth of their bytes would be too little chance, and nothing but chance too much: the store packs them.

use hookweir_event::{Clock, Event, EventId, Hops};
use rand::RngExt as _;

/// Bytes of a payment's body.
pub(crate) const BODY_BYTES: usize = 1024;
/// Bytes of an event's headers, names and values.
pub(crate) const HEADER_BYTES: usize = 239;

const LETTERS: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const DIGITS: &[u8] = b"0123456789";

/// The template with chance in it: `#n#` stands for n letters and digits, `#nd#` for digits alone.
fn filled(template: &str) -> String {
    let mut out = String::with_capacity(BODY_BYTES);
    let mut bytes = [0_u8; 64];
    for (nth, part) in template.split('#').enumerate() {
        if nth % 2 == 0 {
            out.push_str(part);
            continue;
        }
        let (len, of) = part.strip_suffix('d').map_or((part, LETTERS), |len| (len, DIGITS));
        let bytes = &mut bytes[..len.parse().unwrap()];
        rand::rng().fill(&mut *bytes);
        out.extend(bytes.iter().map(|byte| char::from(of[usize::from(*byte) % of.len()])));
    }
    out
}

/// A payment, of which nobody has heard.
pub(crate) fn payment() -> Event {
    let body = filled(
        r##"{"id":"evt_#24#","object":"event","api_version":"2026-01-27.basil","created":17950#5d#,"data":{"object":{"id":"pi_#24#","object":"payment_intent","amount":1#5d#,"amount_capturable":0,"amount_received":1#5d#,"application":null,"automatic_payment_methods":{"allow_redirects":"always","enabled":true},"canceled_at":null,"capture_method":"automatic_async","client_secret":"pi_#24#_secret_#25#","confirmation_method":"automatic","currency":"eur","customer":"cus_#14#","latest_charge":"ch_#24#","livemode":true,"metadata":{"order":"#6d#"},"payment_method":"pm_#24#","payment_method_types":["card","link"],"receipt_email":"#3#@example.com","shipping":null,"statement_descriptor":null,"status":"succeeded","transfer_group":null}},"livemode":true,"pending_webhooks":1,"request":{"id":"req_#14#","idempotency_key":"#36#"},"type":"payment_intent.succeeded"}"##,
    );
    let header = |name: &str, value: &str| (name.to_owned(), filled(value).into_bytes());
    let headers = vec![
        header("content-type", "application/json; charset=utf-8"),
        header("user-agent", "Stripe/1.0 (+https://stripe.com/docs/webhooks)"),
        header("stripe-signature", "t=17950#5d#,v1=#64#"),
        header("x-request-id", "#32#"),
    ];
    assert_eq!(body.len(), BODY_BYTES, "of the body");
    let header_bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    assert_eq!(header_bytes, HEADER_BYTES, "of the headers");
    event("payment_intent.succeeded", headers, body)
}

/// What a plugin makes of it.
pub(crate) fn output() -> Event {
    event(
        "order.paid",
        Vec::new(),
        filled(r##"{"order":"#6d#","payment":"pi_#24#","currency":"eur"}"##),
    )
}

fn event(event_type: &str, headers: Vec<(String, Vec<u8>)>, body: String) -> Event {
    let now = Clock::system().now();
    let mut chance = [0; 10];
    rand::rng().fill(&mut chance);
    Event {
        id: EventId::new(now, chance),
        origin: "stripe".parse().unwrap(),
        event_type: event_type.parse().unwrap(),
        received_at: now,
        method: "POST".into(),
        path: "/webhooks/stripe".into(),
        query: None,
        headers,
        body: body.into_bytes(),
        attributes: Vec::new(),
        hops: Hops::default(),
    }
}
