//! Why a request does or does not verify, step by step, for whoever sets a source up. It shows what
//! was signed and never a secret or a signature that was computed.

use std::fmt;

use hookweir_event::{SourceName, Timestamp};

use crate::{
    Incoming, Rejection, Secret,
    jwt::Token,
    request::View,
    rule::{Check, Proof, Rule},
    template::{Context, Message, Piece},
    verify::{self, applicable, candidates, signatures, time_text},
};

/// The steps, in their order; the last is the verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// What was looked at and found, a sentence each.
    pub steps: Vec<String>,
    /// Whether it verifies.
    pub verdict: Result<(), Rejection>,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.steps.iter().enumerate() {
            writeln!(f, "{}. {step}", index + 1)?;
        }
        match &self.verdict {
            Ok(()) => f.write_str("It verifies."),
            Err(rejection) => write!(f, "It does not verify: {rejection}."),
        }
    }
}

pub(crate) fn explain(
    rules: &[Rule],
    source: &SourceName,
    secrets: &[Secret],
    request: &Incoming,
    now: Timestamp,
) -> Explanation {
    let mut steps = Vec::new();
    // A step that fails ends the list; the verdict below says how.
    let _ = walk(rules, request, now, &mut steps);
    let verdict = verify::verify(rules, source, secrets, request.clone(), now);
    if let Ok(verified) = &verdict {
        let facts = verified.facts();
        if let Some(index) = facts.secret_index {
            steps.push(format!("Secret {} matches.", index + 1));
        }
        steps.push(format!("The event type is {}.", verified.event_type()));
        if !facts.body_authenticated {
            steps.push("Its signature does not cover the body.".to_owned());
        }
    }
    Explanation { steps, verdict: verdict.map(drop) }
}

fn walk(
    rules: &[Rule],
    request: &Incoming,
    now: Timestamp,
    steps: &mut Vec<String>,
) -> Result<(), Rejection> {
    let places = |rule: &Rule, check: &Check| {
        let pointers = check.each.as_ref().map_or(&rule.pointers, |each| &each.pointers);
        let places = check.signature.iter();
        places.map(|place| place.describe(pointers).to_string()).collect::<Vec<_>>().join(" or ")
    };
    let wanted: Vec<_> =
        rules.iter().filter_map(|rule| Some(places(rule, rule.check.as_ref()?))).collect();
    steps.push(format!("The signature is looked for at {}.", wanted.join(", then at ")));
    let (_, rule) = applicable(rules, request)?;
    let Some(check) = &rule.check else { return Ok(()) };
    steps.push(format!("It is there, at {}.", places(rule, check)));
    if check.each.is_some() {
        steps.push("The body is a batch; each of its items is signed by itself.".to_owned());
        return Ok(());
    }
    let view = View::of(request, &rule.pointers);
    let texts = match &check.proof {
        Proof::Token => {
            steps.push("It is a static token, and nothing is signed.".to_owned());
            return Ok(());
        }
        Proof::Message(texts) => texts,
        Proof::Jwt { .. } => {
            let values = signatures(check, &view)?;
            let text = values.first().map(AsRef::as_ref).unwrap_or_default();
            let text = text.strip_prefix(&*check.prefix).ok_or(Rejection::MalformedSignature)?;
            let token = Token::parse(text, &check.algorithms)?;
            let claims = serde_json::to_string(token.claims()).unwrap_or_default();
            steps.push(format!("It is a token, {}, that claims {claims}.", token.algorithm));
            return Ok(());
        }
        Proof::HttpMessage(policy) => {
            for algorithm in &check.algorithms {
                for signed in policy.signatures(&view, *algorithm)? {
                    steps.push(shown(&signed.message));
                }
            }
            return Ok(());
        }
    };
    let values = signatures(check, &view)?;
    let claimed = candidates(check, &values)?;
    steps.push(match claimed.len() {
        1 => "It holds one signature.".to_owned(),
        several => format!("It holds {several} signatures; one that matches is enough."),
    });
    let first = values.first().map(AsRef::as_ref).unwrap_or_default();
    let time = match &check.timestamp {
        Some(time) => {
            let text = time_text(time, check, first, &view)?;
            let signed = time.unit.read(&text).ok_or(Rejection::MalformedTimestamp)?;
            let skew = time.unit.skew(signed, now);
            let (direction, skew) = if skew < 0 { ("ahead", -skew) } else { ("old", skew) };
            let text_shown = String::from_utf8_lossy(&text);
            steps.push(format!("Its time is {text_shown}: {} s {direction}.", skew / 1000));
            Some(text)
        }
        None => None,
    };
    let context = Context {
        view: &view,
        pointers: &rule.pointers,
        timestamp: time.as_ref(),
        id: rule.dedupe.signed_place(),
        items: Some((first, check.separator.as_deref())),
    };
    for text in texts {
        steps.push(shown(&text.render(&context)?));
    }
    Ok(())
}

/// The signed text, with what can't be printed escaped.
fn shown(message: &Message<'_>) -> String {
    let mut text = String::new();
    let mut length = 0;
    for piece in message.pieces() {
        match piece {
            Piece::Bytes(bytes) => {
                length += bytes.len();
                text.push_str(&bytes.escape_ascii().to_string());
            }
            Piece::Secret => text.push_str("{secret}"),
            Piece::Sorted(values) => {
                let values: Vec<_> = values.iter().map(|v| String::from_utf8_lossy(v)).collect();
                text.push_str(&format!("{{secret}} sorted among {values:?}"));
            }
        }
    }
    format!("The signed text, of {length} bytes, is \"{text}\".")
}
