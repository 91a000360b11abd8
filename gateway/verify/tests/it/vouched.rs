//! Schemes whose check somebody else does: what is believed, and what is made of it.

use hookweir_event::{REDACTED, SourceName, Timestamp};
use hookweir_verify::{
    Incoming, Rejection, ReplayGuard, Scheme, Secret, Verified, Verifier, Vouched, claim_of_id,
};

/// Finds genuine what has one of the secrets as its body, and then says this.
struct Says(Vouched);

impl Verifier for Says {
    async fn vouch(
        &self,
        _: &SourceName,
        secrets: &[&str],
        request: &Incoming,
    ) -> Result<Vouched, Rejection> {
        match secrets.iter().any(|secret| secret.as_bytes() == request.body) {
            true => Ok(self.0.clone()),
            false => Err(Rejection::Refused("no such secret".to_owned())),
        }
    }
}

const NOW: Timestamp = Timestamp::from_secs(1_768_425_954);

fn source() -> SourceName {
    "erp".parse().unwrap()
}

fn scheme() -> Scheme {
    Scheme::vouched("plugin:desk")
}

fn secrets() -> Vec<Secret> {
    let secret = |text: &str| Secret::new(scheme().secret(text).unwrap());
    vec![Secret { until: Some(NOW), ..secret("old") }, secret("new")]
}

fn request(body: &str) -> Incoming {
    let headers = [("authorization", "Basic x"), ("x-token", "hunter2"), ("x-kept", "hunter2")];
    Incoming {
        method: "POST".into(),
        path: "/in".into(),
        query: Some("a=1&token=hunter2".into()),
        headers: headers.map(|(name, value)| (name.to_owned(), value.into())).to_vec(),
        body: body.to_owned().into(),
        ..Incoming::default()
    }
}

fn says(id: Option<&str>, event_type: &str, redact: &[&str]) -> Vouched {
    Vouched {
        id: id.map(str::to_owned),
        event_type: event_type.into(),
        redact: redact.iter().map(|place| (*place).to_owned()).collect(),
    }
}

/// The verdict; nothing here waits.
fn verify(vouched: Vouched, secrets: &[Secret], body: &str) -> Result<Verified, Rejection> {
    let verifier = Says(vouched);
    let (source, scheme) = (source(), scheme());
    let verdict = scheme.verify_by(&source, secrets, &verifier, request(body), NOW);
    let mut verdict = std::pin::pin!(verdict);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match verdict.as_mut().poll(&mut context) {
        std::task::Poll::Ready(verdict) => verdict,
        std::task::Poll::Pending => panic!("nothing waits"),
    }
}

#[test]
fn what_is_vouched_for_is_an_event_and_its_credentials_are_gone() {
    let vouched = says(Some("1"), "order.paid", &["header:x-token", "query:token"]);
    let verified = verify(vouched, &secrets(), "new").unwrap();
    assert_eq!(verified.event_type().as_str(), "order.paid");
    assert_eq!(verified.claims(), [claim_of_id(&source(), None, &["1"])]);
    assert_eq!(verified.query(), Some("a=1&token=[redacted]"));
    let header = |name: &str| {
        let (_, value) = verified.headers().iter().find(|(found, _)| found == name).unwrap();
        String::from_utf8(value.clone()).unwrap()
    };
    assert_eq!([header("authorization"), header("x-token")], [REDACTED, REDACTED]);
    assert_eq!(header("x-kept"), "hunter2");
}

#[test]
fn without_an_id_the_content_tells_it_apart() {
    let of = |id, event_type| {
        verify(says(id, event_type, &[]), &secrets(), "new").unwrap().claims().to_vec()
    };
    assert_eq!(of(None, "a"), of(Some(""), "a"));
    assert_ne!(of(None, "a"), of(None, "b"));
}

#[test]
fn only_secrets_that_are_valid_now_are_shown() {
    let refused = verify(says(None, "a", &[]), &secrets(), "old").unwrap_err();
    assert_eq!(refused, Rejection::Refused("no such secret".to_owned()));
    assert!(!refused.is_authentic());
    let refused = verify(says(None, "a", &[]), &secrets()[..1], "old").unwrap_err();
    assert_eq!(refused, Rejection::NoValidSecret);
}

#[test]
fn a_type_or_a_place_that_is_none_keeps_the_request_out() {
    let refused = verify(says(None, "a b", &[]), &secrets(), "new").unwrap_err();
    assert!(matches!(refused, Rejection::Malformed(_)) && refused.is_authentic(), "{refused:?}");
    for place in ["x-token", "json:/token", "header:", "header:x-*"] {
        let refused = verify(says(None, "a", &[place]), &secrets(), "new").unwrap_err();
        assert!(matches!(refused, Rejection::VerifierFailed(_)), "{place}: {refused:?}");
    }
}

#[test]
fn by_itself_it_proves_nothing() {
    let scheme = scheme();
    assert!(!scheme.is_insecure() && !scheme.finds_keys() && !scheme.needs_url());
    assert!(scheme.takes("POST") && !scheme.takes("GET"));
    let verdict = scheme.verify(&source(), &secrets(), request("new"), NOW);
    assert_eq!(verdict.unwrap_err(), Rejection::MissingSignature);
    assert!(scheme.with_replay_guard(ReplayGuard::None).is_err());
}
