//! What operators see of sources: the last refusals and their reasons, and which secret proved what,
//! for who has the token.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use hookweir_tests::{
    bounded,
    house::{House, SECRET},
};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_hookweir-under-test");
const OLD: &str = "an-older-secret-of-some-length";

fn token(house: &House) -> String {
    fs::read_to_string(house.database().with_file_name("admin-token")).unwrap()
}

async fn ask(house: &House, path: &str, host: &str, token: Option<&str>) -> (u16, Value) {
    let request = bounded::client().get(format!("http://{}{path}", house.admin));
    let request = request.header("host", host);
    let request = match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    let reply = request.send().await.unwrap();
    let status = reply.status().as_u16();
    (status, serde_json::from_slice(&reply.bytes().await.unwrap()).unwrap_or_default())
}

#[tokio::test]
async fn refusals_are_shown_with_their_reasons_to_who_has_the_token() {
    let house = House::new(PROGRAM, "");
    let gateway = house.start().await;
    let sender = house.sender("github");
    let mut forged = sender.signed("push", "1", b"{}");
    forged.body = "{ }".into();
    let signature = forged.headers.iter().find(|(name, _)| name == "x-hub-signature-256").unwrap();
    let signature = String::from_utf8(signature.1.clone()).unwrap();
    let refused = sender.post(forged).await.unwrap();
    assert_eq!(refused.status, 401);
    let mut unsigned = sender.signed("push", "1", b"{}");
    unsigned.headers.retain(|(name, _)| name != "x-hub-signature-256");
    assert_eq!(sender.post(unsigned).await.unwrap().status, 401);

    let path = "/v1/sources/github/refusals";
    let token = token(&house);
    let local = house.admin.to_string();
    let (status, shown) = ask(&house, path, &local, Some(&token)).await;
    assert_eq!(status, 200);
    let items = shown["items"].as_array().unwrap();
    let reasons: Vec<_> = items.iter().map(|item| item["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["missing-signature", "bad-signature"]);
    assert_eq!(items[1]["requestId"], refused.body["requestId"]);
    assert_eq!(
        (&items[1]["client"], &items[1]["code"]),
        (&"127.0.0.1".into(), &"unauthenticated".into())
    );
    for text in [shown.to_string(), house.log()] {
        assert!(!text.contains(SECRET) && !text.contains(&signature), "{text}");
        assert!(!text.contains(&token), "{text}");
    }

    for (host, token, wanted) in [
        (&*local, None, 401),
        (&*local, Some("another-token-of-some-length"), 401),
        ("localhost:1", Some(&*token), 200),
        ("evil.example", Some(&*token), 421),
    ] {
        let (status, shown) = ask(&house, path, host, token).await;
        assert_eq!(status, wanted, "{host} {token:?}");
        assert_eq!(shown["items"].is_array(), wanted == 200);
    }
    assert_eq!(ask(&house, "/v1/sources/gitlab/refusals", &local, Some(&token)).await.0, 404);
    let file = house.database().with_file_name("admin-token");
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);

    let folder = house.config().parent().unwrap().to_owned();
    let said = bounded::output(
        Command::new(PROGRAM)
            .args(["source", "refusals", "github"])
            .env("TEST_SECRET", SECRET)
            .current_dir(folder),
    );
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.contains("the signature matches none of the secrets"), "{said}");
    assert!(said.lines().count() == 3 && said.starts_with("AT "), "{said}");
    gateway.stop().await;
}

#[tokio::test]
async fn a_config_refused_for_want_of_a_secret_is_followed_when_its_file_comes() {
    let house = House::new(PROGRAM, "");
    let gateway = house.start().await;
    let folder = house.config().with_file_name("secrets");
    fs::create_dir(&folder).unwrap();
    let file = folder.join("late");
    house.write_config(&format!(
        "[sources.late]\npath = \"/late\"\nscheme = \"github\"\nsecrets = [{{ file = \"{}\" }}]\n",
        file.display()
    ));
    house.until_log(0, &["failed to read", "late"]).await;
    fs::write(&file, OLD).unwrap();
    house.until_log(0, &["config reloaded"]).await;
    let scheme = hookweir_verify::Scheme::preset("github").unwrap();
    let sender = hookweir_tests::sender::Sender::new(house.public, "/late", scheme, OLD);
    assert_eq!(sender.send("push", "1", b"{}").await.unwrap().status, 202);
    gateway.stop().await;
}

#[tokio::test]
async fn who_rotates_a_secret_sees_which_one_is_still_used() {
    let house = House::new(PROGRAM, "");
    let file = house.config().with_file_name("old");
    fs::write(&file, OLD).unwrap();
    let source = |rate: &str| {
        format!(
            "[sources.rotated]\npath = \"/in\"\nscheme = \"github\"\nrate = \"{rate}\"\n\
             secrets = [{{ env = \"TEST_SECRET\" }}, {{ file = \"{}\" }}]\n",
            file.display()
        )
    };
    house.write_config(&source("off"));
    let gateway = house.start().await;
    let scheme = hookweir_verify::Scheme::preset("github").unwrap();
    let sender = |secret: &str| {
        hookweir_tests::sender::Sender::new(house.public, "/in", scheme.clone(), secret)
    };
    for (id, secret) in [("1", OLD), ("2", SECRET), ("3", OLD)] {
        let reply = sender(secret).send("push", id, format!("{{\"n\":{id}}}").as_bytes()).await;
        assert_eq!(reply.unwrap().status, 202);
    }
    let token = token(&house);
    let verified = async || {
        let (_, shown) = ask(&house, "/v1/sources", &house.admin.to_string(), Some(&token)).await;
        let source = shown["items"].as_array().unwrap().iter().find(|s| s["name"] == "rotated");
        let proofs = source.unwrap()["verified"].as_array().unwrap().clone();
        let counts = proofs.iter().map(|p| (p["secret"].as_u64(), p["count"].as_u64()));
        counts.collect::<Vec<_>>()
    };
    assert_eq!(verified().await, [(Some(0), Some(1)), (Some(1), Some(2))]);

    // What was counted outlives a reload.
    house.write_config(&source("999999/minute"));
    house.until_log(0, &["config reloaded"]).await;
    assert_eq!(verified().await, [(Some(0), Some(1)), (Some(1), Some(2))]);
    gateway.stop().await;
}
