//! From a declaration to a rule. Every key is read even when an earlier one is wrong, so that the
//! operator sees all faults at once.

use hookweir_event::EventType;

use crate::{
    declaration::{Declaration, Fault, ReplayGuard},
    encoding::Encoding,
    json::Pointer,
    key::{Algorithm, SecretEncoding},
    place::Place,
    rule::{Check, Dedupe, Rule, SignedTime, TimeFrom},
    template::{Part, Template},
    timestamp::{Tolerance, Unit, duration},
};

/// What parts alternatives. With spaces, so that a `|` in a JSON key is no separator.
const ALTERNATIVE: &str = " | ";

/// Compiles a declared scheme.
pub(crate) fn signed(declaration: &Declaration) -> Result<Rule, Vec<Fault>> {
    let mut compiler = Compiler::default();
    let event_type = compiler.event_type(declaration);
    let dedupe = compiler.dedupe(declaration);
    let check = compiler.check(declaration);
    let guard = compiler.guard(declaration);
    compiler.finish(check.map(Some), event_type, dedupe, guard)
}

/// Compiles a source that checks nothing.
pub(crate) fn insecure(declaration: &Declaration) -> Result<Rule, Vec<Fault>> {
    let mut compiler = Compiler::default();
    let event_type = compiler.event_type(declaration);
    let dedupe = compiler.dedupe(declaration);
    let mut rest = declaration.clone();
    for key in Declaration::KEYS.iter().filter(|key| !matches!(**key, "type" | "id")) {
        if rest.value_mut(key).is_some_and(|value| value.is_some()) {
            compiler.fault(key, "an insecure source checks nothing; only `type` and `id` are read");
        }
    }
    compiler.finish(Some(None), event_type, dedupe, None)
}

#[derive(Default)]
struct Compiler {
    faults: Vec<Fault>,
    pointers: Vec<Pointer>,
}

impl Compiler {
    fn fault(&mut self, field: &'static str, message: impl Into<String>) {
        self.faults.push(Fault { field, message: message.into() });
    }

    fn finish(
        mut self,
        check: Option<Option<Check>>,
        event_type: Vec<Place>,
        dedupe: Option<Dedupe>,
        guard: Option<ReplayGuard>,
    ) -> Result<Rule, Vec<Fault>> {
        match (check, dedupe) {
            (Some(check), Some(dedupe)) if self.faults.is_empty() => {
                let pointers = std::mem::take(&mut self.pointers);
                let rule = Rule { check, event_type, dedupe, guard, pointers };
                self.cross_check(&rule);
                if self.faults.is_empty() { Ok(rule) } else { Err(self.faults) }
            }
            _ => Err(self.faults),
        }
    }

    /// What only shows when all keys are read: parts that deny each other.
    fn cross_check(&mut self, rule: &Rule) {
        let Some(check) = &rule.check else { return };
        let template = &check.template;
        if check.signature.in_body() && template.contains(&Part::Body) {
            self.fault("signed", "a signature inside the body can't sign the body");
        }
        if template.contains(&Part::Id) && rule.dedupe.signed_place().is_none() {
            self.fault("signed", "`{id}` needs an `id` that has a place in the request");
        }
        if template.contains(&Part::Timestamp) && check.timestamp.is_none() {
            self.fault("signed", "`{ts}` needs `timestamp`, the place of the signed time");
        }
        if check.timestamp.is_some() && !rule.time_limited() {
            self.fault(
                "timestamp",
                "the signature does not cover the timestamp, so a replay could carry a fresh one; put `{ts}` into `signed` or remove `timestamp`",
            );
        }
        if rule.guard == Some(ReplayGuard::Content) {
            if matches!(rule.dedupe, Dedupe::None) {
                self.fault(
                    "replay_guard",
                    "`id = \"none\"` says that equal requests are different events, and the guard would make them one; write `id = \"content\"`",
                );
            }
            if !template.varies() {
                self.fault("replay_guard", "nothing is signed that could be remembered");
            }
        }
    }

    fn check(&mut self, d: &Declaration) -> Option<Check> {
        let algorithm = self.named("algorithm", &d.algorithm, Algorithm::parse, &Algorithm::NAMES);
        let is_token = algorithm == Some(Algorithm::Equal);
        let signature = self.signature(d);
        let encoding = match &d.encoding {
            Some(_) if is_token => {
                self.fault("encoding", "`equal` compares the token as it is; remove `encoding`");
                None
            }
            None if is_token => Some(Encoding::Raw),
            text => self.named("encoding", text, Encoding::parse, &Encoding::NAMES),
        };
        let template = self.template(d, is_token);
        let secret_encoding = match &d.secret_encoding {
            None => Some(SecretEncoding::Raw),
            text => {
                self.named("secret_encoding", text, SecretEncoding::parse, &SecretEncoding::NAMES)
            }
        };
        let separator = d.separator.as_deref();
        if separator == Some("") {
            self.fault("separator", "the separator is empty");
        }
        let timestamp = self.timestamp(d);
        Some(Check {
            signature: signature?,
            prefix: d.prefix.as_deref().unwrap_or_default().into(),
            separator: separator.map(Into::into),
            algorithm: algorithm?,
            encoding: encoding?,
            secret_encoding: secret_encoding?,
            template: template?,
            timestamp: timestamp?,
        })
    }

    fn signature(&mut self, d: &Declaration) -> Option<Place> {
        let Some(text) = &d.signature else {
            self.fault(
                "signature",
                "missing: where the signature is, such as `header:x-signature`",
            );
            return None;
        };
        match Place::parse(text, &mut self.pointers) {
            Ok(Place::Const(_)) => {
                self.fault("signature", "a signature can't be constant");
                None
            }
            Ok(place) => Some(place),
            Err(message) => {
                self.fault("signature", message);
                None
            }
        }
    }

    fn template(&mut self, d: &Declaration, is_token: bool) -> Option<Template> {
        let text = match &d.signed {
            Some(_) if is_token => {
                self.fault("signed", "`equal` signs nothing; remove `signed`");
                return None;
            }
            None if is_token => return Some(Template::default()),
            None => {
                self.fault("signed", "missing: what the signature covers, such as `{body}`");
                return None;
            }
            Some(text) => text,
        };
        match Template::parse(text, &mut self.pointers) {
            Ok(template) if template.varies() => Some(template),
            Ok(_) => {
                self.fault(
                    "signed",
                    "nothing in it differs from one request to the next; does it lack `{body}`?",
                );
                None
            }
            Err(message) => {
                self.fault("signed", message);
                None
            }
        }
    }

    /// The outer option is none after a fault, the inner one if no time is signed.
    fn timestamp(&mut self, d: &Declaration) -> Option<Option<SignedTime>> {
        let unit = match &d.timestamp_unit {
            None => Some(Unit::Seconds),
            text => self.named("timestamp_unit", text, Unit::parse, &["s", "ms", "rfc3339"]),
        };
        let past = match &d.tolerance {
            None => duration("5m"),
            Some(text) => self.duration("tolerance", text),
        };
        let future = match d.tolerance_future.as_deref() {
            None => past.map(Some),
            Some("any") => Some(None),
            Some(text) => self.duration("tolerance_future", text).map(Some),
        };
        let Some(text) = &d.timestamp else {
            for (key, value) in [
                ("timestamp_unit", &d.timestamp_unit),
                ("tolerance", &d.tolerance),
                ("tolerance_future", &d.tolerance_future),
            ] {
                if value.is_some() {
                    self.fault(key, "has no effect without `timestamp`");
                }
            }
            return Some(None);
        };
        let from = self.time_from(text, d.separator.is_some())?;
        let tolerance = Tolerance { past: past?, future: future? };
        Some(Some(SignedTime { from, unit: unit?, tolerance }))
    }

    fn time_from(&mut self, text: &str, has_separator: bool) -> Option<TimeFrom> {
        let from = match text.strip_prefix("signature:") {
            Some("") => Err("the name is missing: `signature:t` for the item `t=…`".to_owned()),
            Some(_) if !has_separator => {
                Err("`signature:NAME` needs `separator`, what parts the items".to_owned())
            }
            Some(name) => Ok(TimeFrom::Item(format!("{name}=").into())),
            None => match Place::parse(text, &mut self.pointers) {
                Ok(Place::Const(_)) => Err("a timestamp can't be constant".to_owned()),
                other => other.map(TimeFrom::At),
            },
        };
        from.map_err(|message| self.fault("timestamp", message)).ok()
    }

    fn event_type(&mut self, d: &Declaration) -> Vec<Place> {
        let Some(text) = &d.event_type else {
            self.fault(
                "type",
                "missing: where the event type is, such as `header:x-event` or `json:/type`, or `const:NAME`",
            );
            return Vec::new();
        };
        let places = self.places("type", text);
        for place in &places {
            if let Place::Const(text) = place
                && let Err(error) = text.parse::<EventType>()
            {
                self.fault("type", error.to_string());
            }
        }
        places
    }

    fn dedupe(&mut self, d: &Declaration) -> Option<Dedupe> {
        let Some(text) = &d.id else {
            self.fault(
                "id",
                "missing: what makes an event a duplicate. Name the place of an id, such as `header:x-id` or `json:/id`; write `content` if events with equal type and body are one, `none` if they are not",
            );
            return None;
        };
        let (text, or_content) = match text.as_str() {
            "content" => return Some(Dedupe::Content),
            "none" => return Some(Dedupe::None),
            text => match text.strip_suffix(" | content") {
                Some(places) => (places, true),
                None => (text, false),
            },
        };
        let places = self.places("id", text);
        if places.iter().any(|place| matches!(place, Place::Const(_))) {
            self.fault("id", "a constant id would make all events one");
        }
        Some(Dedupe::Id { places, or_content })
    }

    fn guard(&mut self, d: &Declaration) -> Option<ReplayGuard> {
        d.replay_guard.as_ref()?;
        self.named("replay_guard", &d.replay_guard, ReplayGuard::from_word, &["content", "none"])
    }

    fn places(&mut self, field: &'static str, text: &str) -> Vec<Place> {
        let mut places = Vec::new();
        for alternative in text.split(ALTERNATIVE) {
            match Place::parse(alternative, &mut self.pointers) {
                Ok(place) => places.push(place),
                Err(message) => self.fault(field, message),
            }
        }
        places
    }

    fn duration(&mut self, field: &'static str, text: &str) -> Option<i64> {
        let millis = duration(text);
        if millis.is_none() {
            self.fault(field, format!("`{text}` is no duration: write `30s`, `5m` or `2h`"));
        }
        millis
    }

    fn named<T>(
        &mut self,
        field: &'static str,
        value: &Option<String>,
        parse: impl Fn(&str) -> Option<T>,
        names: &[&str],
    ) -> Option<T> {
        let choices = || format!("`{}`", names.join("`, `"));
        match value.as_deref() {
            None => self.fault(field, format!("missing: one of {}", choices())),
            Some(text) => match parse(text) {
                Some(parsed) => return Some(parsed),
                None => self.fault(field, format!("unknown `{text}`: one of {}", choices())),
            },
        }
        None
    }
}
