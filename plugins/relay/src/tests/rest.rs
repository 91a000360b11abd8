//! Endpoints by REST.

use super::*;

const NOTHING: Value = Value::Null;

fn why((answered, said): (u16, Value), status: u16) -> String {
    assert_eq!(answered, status, "{said}");
    said["error"].as_str().unwrap().to_owned()
}

#[test]
fn an_endpoint_is_registered_shown_changed_and_removed() {
    let host = reachable(host(), "https://other.example.com/in");
    let wanted = json!({ "url": URL, "types": ["order.*"], "description": "the shop" });
    let (status, mut made) = ask(&host, "POST", "/endpoints", &wanted);
    assert_eq!(status, 201);
    let secret = made.as_object_mut().unwrap().remove("secret").unwrap();
    assert!(secret.as_str().unwrap().starts_with("whsec_"), "{secret}");
    let id = made["id"].as_str().unwrap().to_owned();
    let expected = json!({
        "id": id, "url": URL, "types": ["order.*"], "description": "the shop",
        "created_at": "2026-01-01T00:00:00Z", "state": "enabled", "disabled_at": null,
        "disabled_because": null, "failing_since": null, "last_at": null, "last_status": null,
        "last_error": null,
    });
    assert_eq!(made, expected);
    // The secret was shown once.
    assert_eq!(shown(&host, &id), expected);
    assert_eq!(ask(&host, "GET", "/endpoints", &NOTHING), (200, json!([expected])));
    let path = format!("/endpoints/{id}");
    let change = json!({ "url": "https://other.example.com/in", "types": ["a", "b"] });
    let (status, changed) = ask(&host, "PATCH", &path, &change);
    assert_eq!(
        (status, &changed["url"], &changed["types"]),
        (200, &change["url"], &change["types"])
    );
    assert_eq!(changed["description"], "the shop", "what is left out stays");
    let (_, off) = ask(&host, "PATCH", &path, &json!({ "state": "disabled" }));
    let because = "its owner asked for it";
    assert_eq!((&off["state"], &off["disabled_because"]), (&json!("disabled"), &json!(because)));
    assert!(published(&host, "evt", "a").is_empty());
    let (_, on) = ask(&host, "PATCH", &path, &json!({ "state": "enabled" }));
    assert_eq!((&on["state"], &on["disabled_because"]), (&json!("enabled"), &Value::Null));
    assert_eq!(published(&host, "evt", "a").len(), 1);
    assert_eq!(ask(&host, "DELETE", &path, &NOTHING).0, 204);
    for (method, path) in
        [("GET", &*path), ("PATCH", &path), ("DELETE", &path), ("POST", &format!("{path}/rotate"))]
    {
        let answer = ask(&host, method, path, &json!({}));
        assert_eq!(why(answer, 404), "there is no such endpoint", "{method}");
    }
    assert_eq!(ask(&host, "GET", "/endpoints", &NOTHING), (200, json!([])));
}

#[test]
fn each_endpoint_has_a_secret_and_an_id_of_its_own() {
    let host = host();
    let made: Vec<_> = (0..3).map(|_| register(&host, URL, &["*"])).collect();
    for (at, one) in made.iter().enumerate() {
        assert!(made[..at].iter().all(|other| other.0 != one.0 && other.1 != one.1));
    }
}

#[test]
fn what_can_be_no_endpoint_is_refused_in_a_sentence() {
    let host = host();
    let (id, _) = register(&host, URL, &["order.*"]);
    let long = format!("{URL}/{}", "x".repeat(2048));
    for (field, value, said) in [
        ("url", json!("ftp://hooks.example.com"), "begins with https:// and a host"),
        ("url", json!("https:///in"), "begins with https:// and a host"),
        ("url", json!("hooks.example.com"), "begins with https:// and a host"),
        ("url", json!("https://ada:key@hooks.example.com/"), "has a user in it"),
        ("url", json!("https://hooks.example.com/#in"), "has a fragment"),
        ("url", json!(long), "more than 2048 bytes"),
        ("types", json!([]), "a list of 1 to 100 patterns"),
        ("types", json!(["order paid"]), "without white space"),
        ("types", json!([""]), "each of 1 to 256 bytes"),
        ("types", json!(vec!["x"; 101]), "a list of 1 to 100 patterns"),
        ("description", json!("x".repeat(1001)), "more than 1000 bytes"),
    ] {
        let mut wanted = json!({ "url": URL, "types": ["order.*"] });
        wanted[field] = value.clone();
        let refused = why(ask(&host, "POST", "/endpoints", &wanted), 422);
        assert!(refused.contains(said), "{value}: {refused}");
        let change = json!({ field: value });
        let refused = why(ask(&host, "PATCH", &format!("/endpoints/{id}"), &change), 422);
        assert!(refused.contains(said), "{value}: {refused}");
    }
    for wanted in [json!({}), json!({ "url": URL, "types": ["a"], "secret": "x" }), json!([])] {
        let refused = why(ask(&host, "POST", "/endpoints", &wanted), 400);
        assert!(refused.starts_with("malformed body: "), "{refused}");
    }
    assert_eq!(ask(&host, "GET", "/endpoints", &NOTHING).1.as_array().unwrap().len(), 1);
}

#[test]
fn where_the_gateway_may_not_send_nothing_is_registered() {
    let host = Host::new();
    let wanted = json!({ "url": URL, "types": ["order.*"] });
    let refused = why(ask(&host, "POST", "/endpoints", &wanted), 422);
    assert!(refused.starts_with("the gateway may not send to this URL: "), "{refused}");
    // One that is down may be up when there is something to send.
    let host = host.http(format!("HEAD {URL}"), Canned::timeout());
    assert_eq!(ask(&host, "POST", "/endpoints", &wanted).0, 201);
}

#[test]
fn there_are_as_many_as_the_operator_allows() {
    let host = host().config("endpoints_max", 2);
    let (first, _) = register(&host, URL, &["*"]);
    register(&host, URL, &["*"]);
    let wanted = json!({ "url": URL, "types": ["*"] });
    let refused = why(ask(&host, "POST", "/endpoints", &wanted), 409);
    assert_eq!(refused, "there are 2 endpoints, and the operator allows no more");
    assert_eq!(ask(&host, "DELETE", &format!("/endpoints/{first}"), &NOTHING).0, 204);
    assert_eq!(ask(&host, "POST", "/endpoints", &wanted).0, 201);
}

#[test]
fn other_places_and_methods_are_said() {
    let host = host();
    for path in ["/", "/endpoint", "/endpoints/a/b/c", "/endpoints/ep_1/turn"] {
        let said = why(ask(&host, "GET", path, &NOTHING), 404);
        assert!(said.contains("/api/relay/endpoints"), "{path}: {said}");
    }
    let long = "x".repeat(600);
    for id in ["", "ep_", "ep_A", "s:ep_1", &long] {
        let answer = ask(&host, "PATCH", &format!("/endpoints/x{id}"), &json!({}));
        assert_eq!(why(answer, 404), "there is no such endpoint", "{id}");
    }
    for (method, path, methods) in [
        ("PUT", "/endpoints", "GET, HEAD, POST"),
        ("POST", "/endpoints/ep_1", "GET, HEAD, PATCH, DELETE"),
        ("GET", "/endpoints/ep_1/rotate", "POST"),
    ] {
        let answer = host.respond(respond, Request::builder(method, path).build()).unwrap();
        let allowed = answer.headers().find(|(name, _)| *name == "allow").unwrap().1;
        assert_eq!((answer.status_code(), allowed), (405, methods.as_bytes()));
    }
}
