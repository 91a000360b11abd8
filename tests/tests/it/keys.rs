//! Keys that lie at URLs, end to end: a gateway, a provider's servers over TLS under an authority of
//! their own, and senders that come in by HTTP. Time and names are the test's.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use hookweir::{
    egress::Names,
    gateway::{Ended, Surrounds},
};
use hookweir_event::{Clock, Timestamp};
use hookweir_tests::{
    bounded,
    house::{House, InProcess},
    provider::{Authority, Provider},
};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::Value;
use tokio::task::JoinSet;

/// A gateway in this process, at a time of the test's choice, for which the provider's names lead to
/// the provider's servers here.
struct Scene {
    house: House,
    provider: Provider,
    now: Arc<AtomicI64>,
    gateway: InProcess,
}

const HOSTS: [&str; 3] = ["keys.example.com", "sns.us-east-1.amazonaws.com", "api.paypal.com"];
/// What keeps loopback addresses from being refused as not public.
const LOOPBACK: &str = "allow = [\"127.0.0.0/8\"]";

impl Scene {
    async fn start(root: &Authority, now: i64, egress: &str, sources: &str) -> Self {
        Self::between((root, root), now, egress, sources).await
    }

    /// The gateway believes the first authority, the provider's servers have the second.
    async fn between(
        (believed, issuer): (&Authority, &Authority),
        now: i64,
        egress: &str,
        sources: &str,
    ) -> Self {
        let provider = Provider::start(issuer, &HOSTS).await;
        let house = House::new(env!("CARGO_BIN_EXE_hookweir-under-test"), "");
        let pem = house.config().with_file_name("roots.pem");
        std::fs::write(&pem, believed.pem()).unwrap();
        house
            .write_config(&format!("[egress]\nroots = \"{}\"\n{egress}\n{sources}", pem.display()));
        let (config, surrounds) = house.surrounds();
        let now = Arc::new(AtomicI64::new(now * 1000));
        let clock = now.clone();
        let tls = HOSTS.iter().map(|host| ((*host).to_owned(), provider.tls));
        let plain = [("issuers.example.com".to_owned(), provider.plain)];
        let surrounds = Surrounds {
            clock: Clock::new(move || Timestamp::from_millis(clock.load(Ordering::SeqCst))),
            names: Names::table(tls.chain(plain)),
            ..surrounds
        };
        let gateway = InProcess::start(config, surrounds).await;
        Self { house, provider, now, gateway }
    }

    fn pass(&self, secs: i64) {
        self.now.fetch_add(secs * 1000, Ordering::SeqCst);
    }

    /// Posts, and says the status and the code of a refusal.
    fn post(
        &self,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> impl Future<Output = (u16, String)> + Send + 'static {
        let url = format!("http://{}/in", self.house.public);
        let mut request = bounded::client().post(url).body(body.into());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        async move {
            let reply = request.send().await.unwrap();
            let (status, body) = (reply.status().as_u16(), reply.bytes().await.unwrap());
            let code = serde_json::from_slice::<Value>(&body).ok();
            let code = code.and_then(|body| Some(body["code"].as_str()?.to_owned()));
            (status, code.unwrap_or_default())
        }
    }

    async fn kept(&self) -> u64 {
        self.house.reader().counts().await.unwrap().events
    }

    async fn end(self) {
        assert_eq!(self.gateway.stop().await, Ended::Stopped { cut_off: 0 });
    }
}

fn accepted() -> (u16, String) {
    (202, String::new())
}

fn refused() -> (u16, String) {
    (401, "unauthenticated".to_owned())
}

fn unavailable() -> (u16, String) {
    (503, "key_unavailable".to_owned())
}

const JWKS_SOURCE: &str = r#"[sources.sets]
path = "/in"
scheme = { signature = "header:x-sig", algorithm = "ed25519", encoding = "base64", signed = "{body}", type = "const:a", id = "content", key_url = "const:https://keys.example.com/jwks.json keys.example.com" }
"#;

fn pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

fn jwks(pairs: &[&Ed25519KeyPair]) -> String {
    let key = |pair: &&Ed25519KeyPair| {
        let x = URL_SAFE_NO_PAD.encode(pair.public_key());
        serde_json::json!({ "kty": "OKP", "crv": "Ed25519", "x": x })
    };
    serde_json::json!({ "keys": pairs.iter().map(key).collect::<Vec<_>>() }).to_string()
}

fn signed(pair: &Ed25519KeyPair, body: &str) -> String {
    STANDARD.encode(pair.sign(body.as_bytes()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_of_keys_is_fetched_once_and_again_when_it_was_rotated() {
    let root = Authority::root("root");
    let scene = Scene::start(&root, 1_800_000_000, LOOPBACK, JWKS_SOURCE).await;
    let (old, new) = (pair(1), pair(2));
    scene.provider.answer("/jwks.json", 200, jwks(&[&old]));

    // Twenty at once wait for one fetch.
    let mut posts = JoinSet::new();
    for body in (0..20).map(|n| format!("at once {n}")) {
        posts.spawn(scene.post(&[("x-sig", &signed(&old, &body))], body));
    }
    for verdict in posts.join_all().await {
        assert_eq!(verdict, accepted());
    }
    assert_eq!(scene.provider.asked().len(), 1);

    // A signature that matches none is no reason to fetch within the minute.
    scene.provider.answer("/jwks.json", 200, jwks(&[&new]));
    let rotated = signed(&new, "rotated");
    assert_eq!(scene.post(&[("x-sig", &rotated)], "rotated").await, refused());
    assert_eq!(scene.provider.asked().len(), 1);
    scene.pass(61);
    assert_eq!(scene.post(&[("x-sig", &rotated)], "rotated").await, accepted());
    assert_eq!(scene.provider.asked().len(), 2);
    let gone = signed(&old, "gone");
    assert_eq!(scene.post(&[("x-sig", &gone)], "gone").await, refused());

    // While the provider is down, what was fetched serves for a day, and no longer.
    scene.provider.answer("/jwks.json", 500, "");
    scene.pass(3601);
    let later = signed(&new, "later");
    assert_eq!(scene.post(&[("x-sig", &later)], "later").await, accepted());
    scene.pass(24 * 3600);
    let too_late = signed(&new, "too late");
    assert_eq!(scene.post(&[("x-sig", &too_late)], "too late").await, unavailable());
    let asked = scene.provider.asked().len();
    assert_eq!(scene.post(&[("x-sig", &too_late)], "too late").await, unavailable());
    assert_eq!(scene.provider.asked().len(), asked, "a failed fetch is not repeated at once");
    scene.provider.answer("/jwks.json", 200, jwks(&[&new]));
    scene.pass(11);
    assert_eq!(scene.post(&[("x-sig", &too_late)], "too late").await, accepted());
    assert_eq!(scene.kept().await, 23);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_leads_into_the_own_network_leads_nowhere() {
    let root = Authority::root("root");
    let scene = Scene::start(&root, 1_800_000_000, "", JWKS_SOURCE).await;
    let key = pair(1);
    scene.provider.answer("/jwks.json", 200, jwks(&[&key]));
    let signature = signed(&key, "body");
    assert_eq!(scene.post(&[("x-sig", &signature)], "body").await, unavailable());
    assert_eq!(scene.provider.asked(), Vec::<String>::new());
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_no_authority_vouches_for_is_not_believed() {
    let (root, other) = (Authority::root("root"), Authority::root("root"));
    let scene = Scene::between((&root, &other), 1_800_000_000, LOOPBACK, JWKS_SOURCE).await;
    let key = pair(1);
    scene.provider.answer("/jwks.json", 200, jwks(&[&key]));
    let signature = signed(&key, "body");
    assert_eq!(scene.post(&[("x-sig", &signature)], "body").await, unavailable());
    assert_eq!(scene.provider.asked(), Vec::<String>::new());
    scene.end().await;
}

const CERTIFICATE_SOURCE: &str = r#"[sources.certificates]
path = "/in"
scheme = { signature = "header:x-sig", algorithm = "ecdsa-p256-sha256", encoding = "base64", signed = "{body}", type = "const:a", id = "content", key_url = "header:x-cert-url keys.example.com issued-to=*.example.com" }
"#;

fn signed_by(key: &rcgen::KeyPair, body: &str) -> String {
    use rcgen::SigningKey as _;
    STANDARD.encode(key.sign(body.as_bytes()).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_named_certificate_needs_an_authority_and_the_right_name() {
    let root = Authority::root("root");
    let scene = Scene::start(&root, 1_800_000_000, LOOPBACK, CERTIFICATE_SOURCE).await;
    let middle = root.below("middle");
    let (other, issuer) = (Authority::root("other"), "http://issuers.example.com/middle.crt");
    scene.provider.answer("/middle.crt", 200, middle.der());
    let at = |path: &str| format!("https://keys.example.com{path}");
    let serve = |path: &str, (pem, key): (String, rcgen::KeyPair), more: &str| {
        scene.provider.answer(path, 200, pem + more);
        key
    };
    let whole = serve("/whole.pem", middle.issue(&["hooks.example.com"], None), &middle.pem());
    let alone = serve("/alone.pem", middle.issue(&["hooks.example.com"], Some(issuer)), "");
    let unlinked = serve("/unlinked.pem", middle.issue(&["hooks.example.com"], None), "");
    let foreign = serve("/foreign.pem", other.issue(&["hooks.example.com"], None), "");
    let named = serve("/named.pem", root.issue(&["hooks.example.org"], None), "");
    for (path, key, verdict) in [
        ("/whole.pem", &whole, accepted()),
        ("/alone.pem", &alone, accepted()),
        ("/alone.pem", &whole, refused()),
        ("/unlinked.pem", &unlinked, refused()),
        ("/foreign.pem", &foreign, refused()),
        ("/named.pem", &named, refused()),
        ("/missing.pem", &whole, refused()),
    ] {
        let (url, signature) = (at(path), signed_by(key, path));
        let headers = [("x-cert-url", url.as_str()), ("x-sig", &signature)];
        assert_eq!(scene.post(&headers, path).await, verdict, "{path}\n{}", scene.house.log());
    }
    let asked = scene.provider.asked();
    assert_eq!(asked.iter().filter(|path| *path == "/alone.pem").count(), 1, "{asked:?}");
    assert_eq!(asked.iter().filter(|path| *path == "/middle.crt").count(), 1, "{asked:?}");

    // Hosts that are not the scheme's are not even asked.
    let elsewhere = signed_by(&whole, "elsewhere");
    let evil = "https://api.paypal.com/whole.pem";
    let headers = [("x-cert-url", evil), ("x-sig", elsewhere.as_str())];
    assert_eq!(scene.post(&headers, "elsewhere").await, refused());
    assert_eq!(scene.provider.asked(), asked);
    assert_eq!(scene.kept().await, 2);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sns_is_verified_by_its_certificate_and_its_subscription_confirmed() {
    let [notification, confirmation] =
        ["open/aws-sns/001-valid-json", "open/aws-sns/004-valid-subscription-confirmation"]
            .map(|id| super::providers::vectors().into_iter().find(|v| v["id"] == id).unwrap());
    let body = |vector: &Value| STANDARD.decode(vector["body_b64"].as_str().unwrap()).unwrap();
    let message: Value = serde_json::from_slice(&body(&confirmation)).unwrap();
    let path = |url: &Value| {
        let path = url.as_str().unwrap().strip_prefix("https://sns.us-east-1.amazonaws.com");
        path.unwrap().to_owned()
    };
    let (certificate, subscribe) =
        (path(&message["SigningCertURL"]), path(&message["SubscribeURL"]));
    let now = 1_800_000_000;
    let source = |topic: &str| {
        format!(
            "[sources.sns]\npath = \"/in\"\nscheme = \"aws-sns\"\nparams = {{ topic_arn = \"{topic}\" }}\n"
        )
    };
    let root = Authority::root("root");
    let mine = source(message["TopicArn"].as_str().unwrap());
    let scene = Scene::start(&root, now, LOOPBACK, &mine).await;
    let pem = notification["params"]["cert_pem"].as_str().unwrap().to_owned();
    scene.provider.answer(&certificate, 200, pem.clone());

    // SNS asks again until the visit went well.
    assert_eq!(scene.post(&[], body(&confirmation)).await, unavailable());
    scene.provider.answer(&subscribe, 200, "<ConfirmSubscriptionResponse/>");
    assert_eq!(scene.post(&[], body(&confirmation)).await, (200, String::new()));
    assert_eq!(scene.provider.asked(), [&*certificate, &*subscribe, &*subscribe]);
    assert_eq!(scene.kept().await, 0, "a handshake is no event");
    assert_eq!(scene.post(&[], body(&notification)).await, accepted());
    assert_eq!(scene.kept().await, 1);
    scene.end().await;

    // Another customer's topic has the same signer.
    let theirs = source("arn:aws:sns:us-east-1:123456789012:OtherTopic");
    let scene = Scene::start(&root, now, LOOPBACK, &theirs).await;
    scene.provider.answer(&certificate, 200, pem);
    assert_eq!(scene.post(&[], body(&confirmation)).await.0, 401);
    assert_eq!(scene.post(&[], body(&notification)).await, refused());
    assert_eq!((scene.provider.asked().len(), scene.kept().await), (0, 0));
    scene.end().await;
}
