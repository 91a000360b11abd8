//! What deliveries are signed with, held against signatures of others.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::*;
use crate::secret::Secret;

/// Id, time, body, secret and signature: the example of the specification's reference libraries, and three that
/// the one for JavaScript (`standardwebhooks` 1.1.1) has signed.
const SIGNED: [(&str, u64, &str, &str, &str); 4] = [
    (
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1_614_265_330,
        "eyJ0ZXN0IjogMjQzMjIzMjMxNH0=",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    ),
    (
        "msg_2UT4fnUoHYr1m821ajvKZOBev07",
        1_768_331_743,
        "eyJ0eXBlIjoiY29udGFjdC51cGRhdGVkIiwidGltZXN0YW1wIjoiMjAyNi0wMS0wMVQwMDowMDowMFoiLCJkYXRhIjp7ImlkIjoiZWM0ODg3MWEtMzY4Ny00MTgxLTljMzQtNjBiMGM3OGQzMWMyIiwiZW1haWwiOiJhQGV4YW1wbGUuY29tIn19",
        "whsec_fD47JluKsykV8OtrhAeFpPFDh7Nl/z02",
        "v1,7iIdOvjoH5GVpYGtI9nWscCkVRfdf1fxMFu/3QH9CFw=",
    ),
    (
        "msg_dhDO2gS9acc9KmcMoUrPrIqL7px",
        1_768_331_750,
        "eyJ0eXBlIjoiaW52b2ljZS5wYWlkIiwidGltZXN0YW1wIjoiMjAyNi0wMS0wMVQwMDowMDowMFoiLCJkYXRhIjp7ImlkIjoiYjA1NTY1NGMtYjE2Yi00NjNkLTk5NGItNTU2NTcwZDJjZDBjIiwiZW1haWwiOiJhQGV4YW1wbGUuY29tIn0sIm5vdGUiOiJHcsO8w59lLCDmvKLlrZcg8J+RqeKAjfCfkrsg4oCoIMK9IMOxIn0=",
        "whsec_4vj14NUNB8vXQ07Hu33KVh3dxKV0Pq54",
        "v1,bTl/z488y+r7h+cva3de+ZEiEs2ZH2Zcb5VKzMcpXnQ=",
    ),
    (
        "msg_4ybIZ79MVRsiVu7hbQNfX0Xbii5",
        1_768_331_778,
        "",
        "whsec_gl/lKtXCmROcsRo7VgEAg9AnOPyfaiSE",
        "v1,Ntmaio1eJelujVFaFge6IeoqRXq0It3r6063n7hjc3Q=",
    ),
];

/// The header of the last delivery, held against these secrets: which of its signatures is whose.
fn signers(host: &Host, secrets: &[&str]) -> Vec<Option<usize>> {
    let posts = posts(host);
    let sent = posts.last().unwrap();
    let secs = sent.header("webhook-timestamp").unwrap().parse().unwrap();
    let id = sent.header("webhook-id").unwrap();
    let by = |secret: &&str| Secret::of(secret).sign(id, secs, sent.body()).unwrap();
    let known: Vec<_> = secrets.iter().map(by).collect();
    let signatures = sent.header("webhook-signature").unwrap().split(' ');
    signatures.map(|signature| known.iter().position(|known| known == signature)).collect()
}

fn rotate(host: &Host, id: &str) -> (u16, Value) {
    ask(host, "POST", &format!("/endpoints/{id}/rotate"), &Value::Null)
}

#[test]
fn it_signs_as_others_do() {
    for (id, secs, body, secret, signature) in SIGNED {
        let body = STANDARD.decode(body).unwrap();
        assert_eq!(Secret::of(secret).sign(id, secs, &body).unwrap(), signature, "{id}");
        assert_ne!(Secret::of(secret).sign(id, secs + 1, &body).unwrap(), signature, "{id}");
    }
}

#[test]
fn a_secret_is_no_text_for_a_log() {
    let secret = Secret::of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    assert_eq!(format!("{secret:?}"), "[redacted]");
}

#[test]
fn a_replaced_secret_signs_for_a_day() {
    let host = host().http(format!("POST {URL}"), Canned::new(200));
    let (id, first) = register(&host, URL, &["*"]);
    let deliver = |host: &Host| {
        for output in published(host, "evt", "order.paid") {
            host.run(handle, came_back(&output, 1)).unwrap();
        }
    };
    deliver(&host);
    assert_eq!(signers(&host, &[&first]), [Some(0)]);
    let (status, rotated) = rotate(&host, &id);
    assert_eq!((status, &rotated["previous_until"]), (200, &json!("2026-01-02T00:00:00Z")));
    let second = rotated["secret"].as_str().unwrap();
    deliver(&host);
    assert_eq!(signers(&host, &[&first, second]), [Some(1), Some(0)]);
    let host = host.now_ms(START + HOUR);
    let third = rotate(&host, &id).1["secret"].as_str().unwrap().to_owned();
    deliver(&host);
    assert_eq!(signers(&host, &[&first, second, &third]), [Some(2), Some(1), Some(0)]);
    let host = host.now_ms(START + 24 * HOUR);
    deliver(&host);
    assert_eq!(signers(&host, &[&first, second, &third]), [Some(2), Some(1)]);
    let host = host.now_ms(START + 25 * HOUR);
    deliver(&host);
    assert_eq!(signers(&host, &[&first, second, &third]), [Some(2)]);
}

#[test]
fn secrets_that_still_sign_are_bounded() {
    let host = host();
    let (id, _) = register(&host, URL, &["*"]);
    for _ in 0..4 {
        assert_eq!(rotate(&host, &id).0, 200);
    }
    let (status, refused) = rotate(&host, &id);
    assert_eq!(status, 409, "{refused}");
    let host = host.now_ms(START + 24 * HOUR);
    assert_eq!(rotate(&host, &id).0, 200);
}
