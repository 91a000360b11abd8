//! Providers of different kinds, over HTTP: what one of them signed is taken and kept, what it did
//! not sign is refused with 401 and leaves nothing, and a handshake is answered and is no event.
//! Guarantee 2.

use std::{
    os::unix::fs::PermissionsExt as _,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use hookweir_tests::{
    bounded,
    house::{House, SECRET},
};
use ring::{
    digest, hmac,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use serde_json::{Value, json};

/// Kinds of proof, each by a provider whose recorded requests have no age limit.
const RECORDED: [(&str, &str); 14] = [
    ("shopify", "HMAC-SHA256, base64"),
    ("paystack", "HMAC-SHA512"),
    ("vercel", "HMAC-SHA1"),
    ("easypost", "a secret in NFKD"),
    ("square", "the URL is signed"),
    ("trello", "the URL is signed, after the body"),
    ("twilio", "a form's sorted fields"),
    ("twilio-json", "the body's hash in the query"),
    ("mailgun", "a signature inside the body"),
    ("adyen-payments", "a batch, each item signed"),
    ("ms-graph", "a batch, a token in each item"),
    ("aws-sns", "RSA, certificate by URL"),
    ("wise", "RSA"),
    ("gitlab", "a static token"),
];

const ED25519_SEED: [u8; 32] = [7; 32];
const LIVEKIT_SECRET: &str = "livekit-secret-of-some-length";

pub(crate) fn vectors() -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../gateway/verify/tests/vectors/open.jsonl");
    let lines = std::fs::read_to_string(path).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The source that the vector's sender would post to.
fn section(house: &House, vector: &Value) -> String {
    let name = vector["scheme"].as_str().unwrap();
    let secret = ["secret", "public_key"].iter().find_map(|key| vector[key].as_str()).unwrap();
    let file = house.config().with_file_name(format!("{name}.secret"));
    std::fs::write(&file, secret).unwrap();
    let url = vector["url"].as_str().unwrap();
    let url = url.split_once('?').map_or(url, |(url, _)| url);
    let params = match name {
        "aws-sns" => "params = { topic_arn = \"arn:aws:sns:us-east-1:123456789012:MyTopic\" }\n",
        _ => "",
    };
    let reply = "reply = { status = 202, body = \"taken\" }";
    format!(
        "[sources.{name}]\npath = \"/in/{name}\"\nscheme = \"{name}\"\npublic_url = \"{url}\"\n\
         {params}secrets = [{{ file = \"{}\" }}]\n{reply}\n",
        file.display()
    )
}

/// Posts what the vector recorded, at its own path.
async fn post(house: &House, vector: &Value) -> u16 {
    let name = vector["scheme"].as_str().unwrap();
    let query = vector["url"].as_str().unwrap().split_once('?').map(|(_, query)| query);
    let query = query.map_or(String::new(), |query| format!("?{query}"));
    let url = format!("http://{}/in/{name}{query}", house.public);
    let body = STANDARD.decode(vector["body_b64"].as_str().unwrap()).unwrap();
    let mut request = bounded::client().post(url).body(body);
    for (name, value) in vector["headers"].as_object().unwrap() {
        request = request.header(name, value.as_str().unwrap());
    }
    request.send().await.unwrap().status().as_u16()
}

async fn kept(house: &House) -> u64 {
    house.reader().counts().await.unwrap().events
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_provider_signed_is_taken_and_what_it_did_not_sign_is_refused() {
    let house = House::new(env!("CARGO_BIN_EXE_hookweir-under-test"), "");
    let vectors = vectors();
    let of = |scheme: &str, classes: &[&str]| {
        let fits =
            |v: &&Value| v["scheme"] == scheme && classes.iter().any(|class| v["class"] == **class);
        vectors.iter().find(fits).unwrap_or_else(|| panic!("{scheme}: no {classes:?}")).clone()
    };
    let pairs: Vec<_> = RECORDED
        .iter()
        .map(|(scheme, _)| {
            let genuine = of(scheme, &["valid-json", "valid-form"]);
            (
                genuine,
                of(
                    scheme,
                    &["tampered-body", "second-item-wrong-state", "wrong-token", "wrong-secret"],
                ),
            )
        })
        .collect();
    let sections: Vec<_> = pairs.iter().map(|(genuine, _)| section(&house, genuine)).collect();
    house.write_config(&sections.join("\n"));
    let gateway = house.start().await;
    for (index, (genuine, forged)) in pairs.iter().enumerate() {
        let (name, before) = (&genuine["scheme"], kept(&house).await);
        assert_eq!(before, index as u64);
        // The forgery carries another vector's secret at times; it is forged all the more.
        assert_eq!(post(&house, forged).await, 401, "{name}: {}", forged["why"]);
        assert_eq!(kept(&house).await, before, "{name}");
        assert_eq!(post(&house, genuine).await, 202, "{name}: {}", genuine["why"]);
        assert_eq!(kept(&house).await, before + 1, "{name}");
    }
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn public_keys_and_tokens_of_the_moment_are_taken() {
    let pair = Ed25519KeyPair::from_seed_unchecked(&ED25519_SEED).unwrap();
    let house = House::new(env!("CARGO_BIN_EXE_hookweir-under-test"), "");
    let secret = |name: &str, text: &str| {
        let file = house.config().with_file_name(format!("{name}.secret"));
        std::fs::write(&file, text).unwrap();
        format!("secrets = [{{ file = \"{}\" }}]", file.display())
    };
    let discord = secret("discord", &STANDARD.encode(pair.public_key().as_ref()));
    let livekit = secret("livekit", LIVEKIT_SECRET);
    house.write_config(&format!(
        "[sources.discord]\npath = \"/in/discord\"\nscheme = \"discord\"\n{discord}\n\
         [sources.livekit]\npath = \"/in/livekit\"\nscheme = \"livekit\"\n\
         params = {{ api_key = \"API1\" }}\n{livekit}\n"
    ));
    let gateway = house.start().await;
    let client = bounded::client();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();

    let discord = async |body: &str, signed: &str| {
        let signature = pair.sign(format!("{now}{signed}").as_bytes());
        let hex: String = signature.as_ref().iter().map(|b| format!("{b:02x}")).collect();
        let request = client
            .post(format!("http://{}/in/discord", house.public))
            .header("x-signature-timestamp", now.to_string())
            .header("x-signature-ed25519", hex)
            .body(body.to_owned());
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let ping = r#"{"type":1,"id":"1"}"#;
    assert_eq!(discord(ping, ping).await, (200, r#"{"type":1}"#.to_owned()));
    // Discord probes with wrong signatures, and drops who does not answer 401.
    assert_eq!(discord(ping, "").await, (401, String::new()));
    assert_eq!(kept(&house).await, 0);
    let event = r#"{"type":1,"id":"2","event":{"type":"ENTITLEMENT_CREATE"}}"#;
    assert_eq!(discord(event, ping).await.0, 401);
    assert_eq!(discord(event, event).await, (204, String::new()));
    assert_eq!(kept(&house).await, 1);

    let livekit = async |body: &str, hashed: &str| {
        let hash = STANDARD.encode(digest::digest(&digest::SHA256, hashed.as_bytes()));
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let claims = json!({ "iss": "API1", "sha256": hash, "exp": now + 60 });
        let signed = format!("{}.{}", part(json!({ "alg": "HS256" })), part(claims));
        let key = hmac::Key::new(hmac::HMAC_SHA256, LIVEKIT_SECRET.as_bytes());
        let tag = URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes()));
        let url = format!("http://{}/in/livekit", house.public);
        let request = client.post(url).header("authorization", format!("{signed}.{tag}"));
        request.body(body.to_owned()).send().await.unwrap().status().as_u16()
    };
    let started = r#"{"event":"room_started","id":"EV_1"}"#;
    assert_eq!(livekit(started, "another body").await, 401);
    assert_eq!(livekit(started, started).await, 202);
    assert_eq!(kept(&house).await, 2);
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_is_answered_and_is_no_event() {
    let house = House::new(
        env!("CARGO_BIN_EXE_hookweir-under-test"),
        "[sources.meta]\npath = \"/in/meta\"\nscheme = \"meta\"\n\
         params = { verify_token = \"chosen\" }\nsecrets = [{ env = \"TEST_SECRET\" }]\n",
    );
    let gateway = house.start().await;
    let get = async |path: &str| {
        let response = reqwest::get(format!("http://{}{path}", house.public)).await.unwrap();
        let header = |name: &str| {
            response.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
        };
        let (kind, sniff) = (header("content-type"), header("x-content-type-options"));
        (response.status().as_u16(), kind, sniff, response.text().await.unwrap())
    };
    let asked = "/in/meta?hub.mode=subscribe&hub.challenge=%3Cb%3E1&hub.verify_token=";
    let (status, kind, sniff, body) = get(&format!("{asked}chosen")).await;
    assert_eq!((status, body.as_str()), (200, "<b>1"));
    assert_eq!(kind.as_deref(), Some("text/plain; charset=utf-8"));
    assert_eq!(sniff.as_deref(), Some("nosniff"));
    let (status, _, _, body) = get(&format!("{asked}guessed")).await;
    assert_eq!((status, body.as_str()), (403, ""));
    // A method that is for handshakes is for nothing else.
    assert_eq!(get("/in/meta").await.0, 405);
    assert_eq!(get("/webhooks/github").await.0, 405);
    assert_eq!(kept(&house).await, 0);
    assert!(gateway.stop().await.success());
}

/// Asana's handshake brings the secret. The first is believed and kept, and none after it.
#[tokio::test]
async fn a_secret_that_a_handshake_brings_survives_a_restart_and_is_not_replaced() {
    let house = House::new(env!("CARGO_BIN_EXE_hookweir-under-test"), "");
    house.write_config(
        "[sources.asana]\npath = \"/in\"\nscheme = \"asana\"\nsecrets = \"handshake\"\n",
    );
    let gateway = house.start().await;
    let post = async |header: &str, value: &str, body: &str| {
        let url = format!("http://{}/in", house.public);
        let request = bounded::client().post(url).header(header, value);
        let reply = request.body(body.to_owned()).send().await.unwrap();
        let echoed = reply.headers().get(header).map(|value| value.to_str().unwrap().to_owned());
        (reply.status().as_u16(), echoed)
    };
    let sign = |secret: &str, body: &str| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let tag = hmac::sign(&key, body.as_bytes());
        tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let event = r#"{"events":[{"action":"changed"}]}"#;
    let (first, second) = ("the-first-secret-of-asana", "the-second");
    // Nothing is believed before there is a secret.
    assert_eq!(post("x-hook-signature", &sign("", event), event).await.0, 401);
    assert_eq!(post("x-hook-signature", &sign(first, event), event).await.0, 401);
    assert_eq!(post("x-hook-secret", first, "").await, (200, Some(first.to_owned())));
    assert_eq!(kept(&house).await, 0);
    assert_eq!(post("x-hook-signature", &sign(first, event), event).await.0, 200);
    assert_eq!(post("x-hook-secret", second, "").await, (403, None));
    assert_eq!(post("x-hook-signature", &sign(second, event), event).await.0, 401);
    assert_eq!(kept(&house).await, 1);
    assert!(!house.log().contains(first), "the secret is in the log");

    drop(gateway);
    let file = house.database().with_file_name("learned").join("asana");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let _gateway = house.start().await;
    assert_eq!(post("x-hook-secret", second, "").await, (403, None));
    let later = r#"{"events":[{"action":"added"}]}"#;
    assert_eq!(post("x-hook-signature", &sign(first, later), later).await.0, 200);
    assert_eq!(kept(&house).await, 2);
}

/// Adobe Sign gives a webhook up whose answers do not bring its id back.
#[tokio::test]
async fn a_provider_gets_the_answer_that_it_wants() {
    let house = House::new(env!("CARGO_BIN_EXE_hookweir-under-test"), "");
    let source = |name: &str| {
        let secret = "secrets = [{ env = \"TEST_SECRET\" }]";
        format!("[sources.{name}]\npath = \"/{name}\"\nscheme = \"{name}\"\n{secret}\n")
    };
    house.write_config(&source("adobe-sign"));
    let gateway = house.start().await;
    let post = async |token: &str| {
        let url = format!("http://{}/adobe-sign", house.public);
        let request = bounded::client().post(url).header("x-adobesign-clientid", token);
        let reply = request.body("{\"event\":\"AGREEMENT_CREATED\"}").send().await.unwrap();
        let echoed = reply.headers().get("x-adobesign-clientid").cloned();
        (reply.status().as_u16(), echoed.map(|value| value.to_str().unwrap().to_owned()))
    };
    assert_eq!(post(SECRET).await, (202, Some(SECRET.to_owned())));
    assert_eq!(post("another").await, (401, None), "only what is proven is sent back");
    let event = &house.settled().await[0];
    assert!(!format!("{event:?}").contains(SECRET), "{event:?}");
    gateway.stop().await;
}
