//! What holds for any body, secret and declaration.

use hookweir_verify::{Declaration, Incoming, Outgoing, Rejection, Scheme, Secret};
use proptest::prelude::*;

use crate::support::{NOW, declared, header, signed, source, verify};

fn schemes() -> Vec<(Scheme, &'static str)> {
    vec![
        (Scheme::preset("github").unwrap(), "x-hub-signature-256"),
        (Scheme::preset("stripe").unwrap(), "stripe-signature"),
        (Scheme::preset("slack").unwrap(), "x-slack-signature"),
        (Scheme::preset("shopify").unwrap(), "x-shopify-hmac-sha256"),
        (Scheme::preset("standard-webhooks").unwrap(), "webhook-signature"),
        (declared(&[("algorithm", "hmac-sha1")]), "x-signature"),
        (declared(&[("algorithm", "hmac-sha512"), ("encoding", "base64url")]), "x-signature"),
        (
            declared(&[
                ("signed", "{method}\n{url}\n{header:x-webhook-type}\n{ts}{body}"),
                ("timestamp", "header:x-time"),
                ("timestamp_unit", "rfc3339"),
            ]),
            "x-signature",
        ),
    ]
}

/// A body of any bytes, or one with type and id inside.
fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<Vec<u8>>(),
        any::<(u32, String)>().prop_map(|(id, text)| {
            serde_json::json!({ "text": text, "type": "a.b", "id": id }).to_string().into_bytes()
        }),
    ]
}

fn secret(scheme: &Scheme, bytes: &[u8]) -> Secret {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let text = STANDARD.encode(bytes);
    Secret::new(scheme.secret(&text).unwrap())
}

fn sent(body: Vec<u8>) -> Outgoing {
    let mut sent = Outgoing::post("/in", body);
    sent.url = Some("https://hooks.example.com/in?a=1".into());
    sent.event_type = "a.b".parse().ok();
    sent.id = Some("msg_1".into());
    sent
}

/// Whether the sender was taken as proven, whatever then became of type and id.
fn authentic(scheme: &Scheme, secret: &Secret, request: &Incoming) -> bool {
    match verify(scheme, &secret.key, request) {
        Ok(_) => true,
        Err(rejection) => rejection.is_authentic(),
    }
}

/// Presets that nothing is signed for here, and why.
const UNSIGNABLE: [(&str, &str); 3] = [
    ("app-store", "the sender's certificates come with its token"),
    ("dropbox-sign", "a part of a multipart body can't be written"),
    ("paddle-classic", "RSA with SHA-1 is checked and no longer made"),
];

/// A key to sign with, and what a source that verifies holds; of each kind one that is not its.
fn pairs() -> [[(String, String); 2]; 4] {
    let pair = |algorithm| {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        (key.serialize_pem(), key.public_key_pem())
    };
    let file = |name: &str| {
        let path = format!("{}/tests/keys/{name}.pem", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(path).unwrap()
    };
    // Hex digits are hex, base64 and text.
    let shared = |last: &str| {
        let text = format!("0123456789abcdef0123456789abcde{last}");
        (text.clone(), text)
    };
    [
        [shared("f"), shared("e")],
        [pair(&rcgen::PKCS_ED25519), pair(&rcgen::PKCS_ED25519)],
        [pair(&rcgen::PKCS_ECDSA_P256_SHA256), pair(&rcgen::PKCS_ECDSA_P256_SHA256)],
        [(file("rsa-private"), file("rsa-public")), (file("rsa-private"), file("rsa-other"))],
    ]
}

/// Every preset: what is signed as its provider would sign it verifies, with that key alone, and in
/// no other form.
#[test]
fn what_a_preset_signs_it_verifies() {
    let pairs = pairs();
    let (mut signed_by, mut failed) = (0, Vec::new());
    for preset in hookweir_verify::Preset::all() {
        let Some(sent) = sample(preset.name) else { continue };
        let value = |name: &str| if name == "algorithm" { "ed25519" } else { "abc" }.to_owned();
        let params = preset.params.iter().filter(|name| !name.ends_with('?'));
        let params = params.map(|name| ((*name).to_owned(), value(name))).collect();
        let scheme = preset.scheme(&params).unwrap();
        let made = pairs.iter().find_map(|[own, other]| {
            let key = scheme.signing_key(&own.0).ok()?;
            let [held, other] = [own, other].map(|(_, held)| scheme.secret(held).unwrap());
            Some((key, held, other))
        });
        let (key, held, other) = made.unwrap_or_else(|| panic!("no key for {}", preset.name));
        let signed = scheme.sign(&key, sent, crate::support::NOW);
        let verified = signed.map_err(|error| error.to_string()).and_then(|signed| {
            let request = Incoming::from(signed);
            let verified = verify(&scheme, &held, &request).map_err(|error| error.to_string())?;
            Ok((request, verified))
        });
        let (mut request, verified) = match verified {
            Ok(verified) => verified,
            Err(error) => {
                failed.push((preset.name, error));
                continue;
            }
        };
        assert!(verify(&scheme, &other, &request).is_err(), "{}", preset.name);
        if verified.facts().body_authenticated {
            let mut body = request.body.to_vec();
            body.push(b' ');
            request.body = body.into();
            assert!(verify(&scheme, &held, &request).is_err(), "{}: another body", preset.name);
        }
        signed_by += 1;
    }
    assert!(failed.is_empty(), "{failed:#?}");
    let all = hookweir_verify::Preset::all().count();
    assert_eq!(signed_by + UNSIGNABLE.len(), all);
}

/// What a provider sends before it signs; none if it can't be signed here.
fn sample(preset: &str) -> Option<hookweir_verify::Outgoing> {
    if UNSIGNABLE.iter().any(|(name, _)| *name == preset) {
        return None;
    }
    let body = match preset {
        "adyen-payments" => {
            r#"{"notificationItems":[{"NotificationRequestItem":{"eventCode":"A","success":"true"}},{"NotificationRequestItem":{"eventCode":"B","success":"true"}}]}"#
        }
        "ms-graph" => r#"{"value":[{"subscriptionId":"a"},{"subscriptionId":"b"}]}"#,
        "mailgun" => r#"{"signature":{"token":"abc"},"event-data":{"event":"opened"}}"#,
        "alipay" => "notify_type=a&sign_type=RSA2&notify_id=1",
        "braintree" => "bt_payload=abc",
        "aws-sns" => {
            r#"{"Type":"Notification","Message":"a","MessageId":"1","Timestamp":"b","TopicArn":"c","SigningCertURL":"https://sns.us-east-1.amazonaws.com/a.pem"}"#
        }
        _ => r#"{"type":"a.b","id":"1"}"#,
    };
    let mut sent = sent(body.as_bytes().to_vec());
    // What its senders always send beside the signature.
    let beside = [("x-pusher-key", "abc"), ("x-hubspot-signature-version", "v2")];
    sent.headers.extend(beside.map(|(name, value)| (name.to_owned(), value.into())));
    Some(sent)
}

proptest! {
    #[test]
    fn what_is_signed_verifies(body in body(), key in proptest::collection::vec(any::<u8>(), 1..80)) {
        for (scheme, _) in schemes() {
            let secret = secret(&scheme, &key);
            let request = signed(&scheme, &secret.key, &sent(body.clone()));
            prop_assert!(authentic(&scheme, &secret, &request), "{scheme:?}");
            let other = crate::properties::secret(&scheme, &[&key[..], b"x"].concat());
            prop_assert_eq!(verify(&scheme, &other.key, &request).unwrap_err(), Rejection::BadSignature);
        }
    }

    #[test]
    fn a_flipped_bit_is_refused(body in body(), at: prop::sample::Index, bit in 0_u8..8) {
        for (scheme, signature) in schemes() {
            let secret = secret(&scheme, b"a key of some length");
            let request = signed(&scheme, &secret.key, &sent(body.clone()));

            if !body.is_empty() {
                let mut flipped = body.clone();
                flipped[at.index(body.len())] ^= 1 << bit;
                let changed = Incoming { body: flipped.into(), ..request.clone() };
                prop_assert!(!authentic(&scheme, &secret, &changed), "{scheme:?}: body");
            }
            for name in [signature, "webhook-id", "webhook-timestamp", "x-slack-request-timestamp", "x-time"] {
                let mut changed = request.clone();
                if !changed.headers.iter().any(|(header, _)| header == name) {
                    continue;
                }
                let value = header(&mut changed, name);
                let index = at.index(value.len());
                // Hex is declared in either case for some, and there this bit is the case.
                if value[index].is_ascii_alphabetic() && bit == 5 && scheme.name() == "declared" {
                    continue;
                }
                value[index] ^= 1 << bit;
                prop_assert!(!authentic(&scheme, &secret, &changed), "{scheme:?}: {name}");
            }
        }
    }

    #[test]
    fn no_request_is_a_surprise(
        body: Vec<u8>,
        value in prop_oneof![any::<Vec<u8>>(), "[tv]1?[=,][0-9a-f ,=]{0,40}".prop_map(String::into_bytes)],
        query in proptest::option::of(".{0,20}"),
    ) {
        for (scheme, signature) in schemes() {
            let secret = secret(&scheme, b"a key of some length");
            let headers = [signature, "webhook-id", "webhook-timestamp", "x-slack-request-timestamp", "x-time"]
                .map(|name| (name.to_owned(), value.clone()));
            let request = Incoming {
                headers: headers.into(),
                body: body.clone().into(),
                query: query.clone(),
                ..Incoming::default()
            };
            prop_assert!(scheme.verify(&source(), &[secret], request, NOW).is_err());
        }
    }

    #[test]
    fn any_declaration_compiles_or_says_why(
        keys in proptest::collection::vec((0..Declaration::KEYS.len(), token()), 0..20),
    ) {
        let mut declaration = Declaration::default();
        for (key, value) in keys {
            *declaration.value_mut(Declaration::KEYS[key]).unwrap() = Some(value);
        }
        for result in [Scheme::declare(&declaration), Scheme::insecure(&declaration)] {
            if let Err(faults) = result {
                prop_assert!(!faults.is_empty());
                prop_assert!(faults.iter().all(|f| Declaration::KEYS.contains(&f.field)));
            }
        }
    }
}

/// Any text, or one that is nearly right.
fn token() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "(header|query|form|json|form-json|const|signature):[a-z/~:0-9 |]{0,8}",
        "[{}a-z:/.0-9]{0,16}",
        proptest::sample::select(vec![
            "hmac-sha256",
            "equal",
            "hex",
            "base64",
            "{body}",
            "{ts}.{body}",
            "{id}",
            "content",
            "none",
            "s",
            "5m",
            "any",
            "whsec",
            ",",
            "json:/id | content",
            "header:x | json:/x",
        ])
        .prop_map(str::to_owned),
    ]
}
