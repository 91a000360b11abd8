//! What a verification costs beside the bare primitive under it, in one run: rounds of the two
//! alternate, and the medians are compared. The verification does all that a gateway needs: finds
//! signature and time, decodes, compares in constant time, reads type and id, makes the claims and
//! redacts. The primitive only checks a signature that lies ready.
//!
//! `cargo bench -p hookweir-verify`; `-- stripe` for the cases that are named so.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench prints, and stops at a fault"
)]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use hookweir_event::Timestamp;
use hookweir_verify::{Incoming, Preset, Scheme, Secret};
use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ED25519, EcdsaKeyPair,
        Ed25519KeyPair, KeyPair as _, UnparsedPublicKey,
    },
};
use sha2::{Digest as _, Sha256};

const ROUNDS: usize = 41;
const ROUND: Duration = Duration::from_millis(20);
const NOW: Timestamp = Timestamp::from_secs(1_768_425_954);
/// The fixed beginning of a P-256 `SubjectPublicKeyInfo`; the point follows. RFC 5480.
const SPKI_P256: &str = "3059301306072a8648ce3d020106082a8648ce3d030107034200";

/// One algorithm: a verification, and the primitive alone.
struct Case {
    name: &'static str,
    scheme: Scheme,
    secret: Secret,
    request: Incoming,
    primitive: Box<dyn Fn() -> bool>,
}

fn main() {
    let only = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    println!("{:<34} {:>12} {:>12} {:>12}", "ns, medians", "verify", "primitive", "difference");
    for size in [1024, 64 * 1024] {
        for case in [hmac_body(size), hmac_time(size), jwt(size), ed25519(size), ecdsa(size)] {
            let name = format!("{}, {} KiB", case.name, size / 1024);
            if only.as_deref().is_none_or(|only| name.contains(only)) {
                measure(&case, &name);
            }
        }
    }
}

fn measure(case: &Case, name: &str) {
    let source = "bench".parse().unwrap();
    let secrets = [case.secret.clone()];
    let (mut verifies, mut primitives) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        // A gateway gives its request away and keeps what comes out: the copies are made before the
        // clock starts, and dropped after it.
        verifies.push(round(
            || case.request.clone(),
            |request| case.scheme.verify(&source, &secrets, request, NOW).unwrap(),
        ));
        primitives.push(round(|| (), |()| assert!(black_box((case.primitive)()))));
    }
    let (verify, primitive) = (median(verifies), median(primitives));
    println!("{name:<34} {verify:>12.0} {primitive:>12.0} {:>12.0}", verify - primitive);
}

/// Nanoseconds for each call; what it works on is prepared outside the clock.
fn round<T, R>(prepare: impl Fn() -> T, work: impl Fn(T) -> R) -> f64 {
    const BATCH: u32 = 64;
    let (mut spent, mut calls) = (Duration::ZERO, 0);
    while spent < ROUND {
        let batch: Vec<T> = (0..BATCH).map(|_| prepare()).collect();
        let mut done = Vec::with_capacity(batch.len());
        let start = Instant::now();
        done.extend(batch.into_iter().map(&work));
        spent += start.elapsed();
        drop(black_box(done));
        calls += BATCH;
    }
    spent.as_secs_f64() * 1e9 / f64::from(calls)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn body(size: usize) -> Vec<u8> {
    let head = r#"{"id":"evt_1","type":"payment.done","text":""#;
    let filler = "x".repeat(size - head.len() - 2);
    format!("{head}{filler}\"}}").into_bytes()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn case(
    name: &'static str,
    preset: &str,
    secret: &str,
    headers: Vec<(&str, String)>,
    body: Vec<u8>,
    primitive: Box<dyn Fn() -> bool>,
) -> Case {
    let params = [("api_key".to_owned(), "API1".to_owned())];
    let params = params.into_iter().filter(|_| preset == "livekit").collect();
    let scheme = Preset::named(preset).unwrap().scheme(&params).unwrap();
    let secret = Secret::new(scheme.secret(secret).unwrap());
    let headers = headers.into_iter().map(|(k, v)| (k.to_owned(), v.into_bytes())).collect();
    let request = Incoming {
        method: "POST".into(),
        path: "/in".into(),
        headers,
        body: body.into(),
        ..Incoming::default()
    };
    Case { name, scheme, secret, request, primitive }
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

/// The primitive with its key ready, as a verification has it.
fn mac_check(key: &[u8], message: Vec<u8>, tag: Vec<u8>) -> Box<dyn Fn() -> bool> {
    let keyed = Hmac::<Sha256>::new_from_slice(key).unwrap();
    Box::new(move || {
        let mut mac = keyed.clone();
        mac.update(&message);
        mac.verify_slice(&tag).is_ok()
    })
}

fn hmac_body(size: usize) -> Case {
    let body = body(size);
    let tag = mac(b"secret", &[&body]);
    let headers = vec![
        ("x-hub-signature-256", format!("sha256={}", hex(&tag))),
        ("x-github-event", "push".to_owned()),
        ("x-github-delivery", "72d3162e".to_owned()),
    ];
    let primitive = mac_check(b"secret", body.clone(), tag);
    case("HMAC-SHA256 (github)", "github", "secret", headers, body, primitive)
}

fn hmac_time(size: usize) -> Case {
    let body = body(size);
    let now = (NOW.as_millis() / 1000).to_string();
    let message = [now.as_bytes(), b".", &body].concat();
    let tag = mac(b"secret", &[&message]);
    let headers = vec![("stripe-signature", format!("t={now},v1={}", hex(&tag)))];
    let primitive = mac_check(b"secret", message, tag);
    case("HMAC-SHA256 with time (stripe)", "stripe", "secret", headers, body, primitive)
}

/// The primitives are two here: the token's MAC and the body's hash.
fn jwt(size: usize) -> Case {
    let body = body(size);
    let hash = STANDARD.encode(Sha256::digest(&body));
    let claims =
        format!(r#"{{"iss":"API1","sha256":"{hash}","exp":{}}}"#, NOW.as_millis() / 1000 + 60);
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#),
        URL_SAFE_NO_PAD.encode(claims)
    );
    let tag = mac(b"secret", &[signed.as_bytes()]);
    let headers = vec![("authorization", format!("{signed}.{}", URL_SAFE_NO_PAD.encode(&tag)))];
    let checked = mac_check(b"secret", signed.into_bytes(), tag);
    let (hashed, digest) = (body.clone(), Sha256::digest(&body));
    let primitive = Box::new(move || checked() && Sha256::digest(&hashed) == digest);
    case("JWT HS256, body's hash (livekit)", "livekit", "secret", headers, body, primitive)
}

fn ed25519(size: usize) -> Case {
    let body = body(size);
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let now = (NOW.as_millis() / 1000).to_string();
    let message = [now.as_bytes(), &body].concat();
    let signature = pair.sign(&message);
    let headers =
        vec![("x-signature-timestamp", now), ("x-signature-ed25519", hex(signature.as_ref()))];
    let public = pair.public_key().as_ref().to_vec();
    let secret = hex(&public);
    let key = UnparsedPublicKey::new(&ED25519, public);
    let primitive = Box::new(move || key.verify(&message, signature.as_ref()).is_ok());
    case("Ed25519 (discord)", "discord", &secret, headers, body, primitive)
}

fn ecdsa(size: usize) -> Case {
    let body = body(size);
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
    let pair =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random).unwrap();
    let now = (NOW.as_millis() / 1000).to_string();
    let message = [now.as_bytes(), &body].concat();
    let signature = pair.sign(&random, &message).unwrap();
    let headers = vec![
        ("x-twilio-email-event-webhook-timestamp", now),
        ("x-twilio-email-event-webhook-signature", STANDARD.encode(signature.as_ref())),
    ];
    let point = pair.public_key().as_ref().to_vec();
    let prefix: Vec<u8> = (0..SPKI_P256.len() / 2)
        .map(|i| u8::from_str_radix(&SPKI_P256[2 * i..2 * i + 2], 16).unwrap())
        .collect();
    let secret = STANDARD.encode([&prefix[..], &point].concat());
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point);
    let primitive = Box::new(move || key.verify(&message, signature.as_ref()).is_ok());
    case("ECDSA P-256 (sendgrid)", "sendgrid", &secret, headers, body, primitive)
}
