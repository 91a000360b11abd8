//! From a declaration to a rule. Every key is read even when an earlier one is wrong, so that the
//! operator sees all faults at once.

use hookweir_event::EventType;

use crate::{
    declaration::{Declaration, Fault, ReplayGuard},
    encoding::Encoding,
    json::Pointer,
    key::{Algorithm, Marks, SecretEncoding},
    key_url::KeyUrl,
    message_signature::Policy,
    place::Place,
    rule::{
        Check, Claim, Dedupe, Each, End, Id, Proof, Requirement, Rule, SignedTime, TimeFrom, Type,
    },
    template::{Part, Template},
    timestamp::{Tolerance, Unit, duration},
};

/// What parts alternatives. With spaces, so that a `|` in a JSON key is no separator.
const ALTERNATIVE: &str = " | ";
/// What parts things that must all be.
const ALL: &str = " & ";
/// What joins the parts of a type.
const JOIN: &str = " + ";
/// What a sender must at least sign so that nobody can turn its signature on another request.
const COVERED: &str = "@method @target-uri content-digest";

/// Compiles a declared scheme.
pub(crate) fn signed(declaration: &Declaration) -> Result<Rule, Vec<Fault>> {
    let mut compiler = Compiler::default();
    let require = compiler.require(declaration);
    let event_type = compiler.event_type(declaration);
    let dedupe = compiler.dedupe(declaration);
    let check = compiler.check(declaration);
    let guard = compiler.guard(declaration);
    compiler.finish(require, check.map(Some), event_type, dedupe, guard)
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
    compiler.finish(Vec::new(), Some(None), event_type, dedupe, None)
}

/// The kinds of proof that a declaration may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Token,
    Message,
    Jwt,
    HttpMessage,
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
        require: Vec<Requirement>,
        check: Option<Option<Check>>,
        event_type: Vec<Type>,
        dedupe: Option<Dedupe>,
        guard: Option<ReplayGuard>,
    ) -> Result<Rule, Vec<Fault>> {
        match (check, dedupe) {
            (Some(check), Some(dedupe)) if self.faults.is_empty() => {
                let pointers = std::mem::take(&mut self.pointers);
                let rule = Rule { require, check, event_type, dedupe, guard, pointers };
                self.cross_check(&rule);
                if self.faults.is_empty() { Ok(rule) } else { Err(self.faults) }
            }
            _ => Err(self.faults),
        }
    }

    /// What only shows when all keys are read: parts that deny each other.
    fn cross_check(&mut self, rule: &Rule) {
        let Some(check) = &rule.check else { return };
        let contains = |part: Part| check.templates().any(|template| template.contains(&part));
        if check.signature.iter().any(Place::in_body)
            && contains(Part::Body)
            && check.each.is_none()
        {
            self.fault("signed", "a signature inside the body can't sign the body");
        }
        if contains(Part::Id) && rule.dedupe.signed_place().is_none() {
            self.fault("signed", "`{id}` needs an `id` that has a place in the request");
        }
        if contains(Part::Timestamp) && check.timestamp.is_none() {
            self.fault("signed", "`{ts}` needs `timestamp`, the place of the signed time");
        }
        let holds_secret = |part: &Part| matches!(part, Part::Secret | Part::Sorted(_));
        let has_secret = check.templates().any(|template| template.any(&holds_secret));
        if matches!(check.algorithms[..], [Algorithm::Digest(_)]) && !has_secret {
            let message =
                "a plain hash proves nothing without `{secret}`; or name an HMAC as `algorithm`";
            self.fault("signed", message);
        }
        if has_secret && check.algorithms.iter().any(|algorithm| algorithm.is_asymmetric()) {
            self.fault("signed", "`{secret}` is the sender's alone with this algorithm");
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
            if !rule.guards(false) {
                self.fault("replay_guard", "nothing is signed that could be remembered");
            }
        }
    }

    fn require(&mut self, d: &Declaration) -> Vec<Requirement> {
        let mut require = Vec::new();
        for text in d.require.iter().flat_map(|text| text.split(ALL)) {
            let (place, value) = match text.split_once('=') {
                Some((place, value)) => (place, Some(value.into())),
                None => (text, None),
            };
            match self.place(place) {
                Ok(place) => require.push(Requirement { place, value }),
                Err(message) => self.fault("require", message),
            }
        }
        require
    }

    fn check(&mut self, d: &Declaration) -> Option<Check> {
        let kind = match d.kind.as_deref() {
            None | Some("message") => Some(Kind::Message),
            Some("jwt") => Some(Kind::Jwt),
            Some("http-message") => Some(Kind::HttpMessage),
            Some(other) => {
                let known = "one of `message`, `jwt`, `http-message`";
                self.fault("kind", format!("unknown `{other}`: {known}"));
                None
            }
        };
        let algorithms = self.algorithms(d, kind);
        let first = algorithms.as_ref().and_then(|algorithms| algorithms.first().copied());
        let kind = if first == Some(Algorithm::Equal) { Some(Kind::Token) } else { kind };
        self.unused(d, kind);
        let each = self.each(d);
        // Inside a batch, places are looked up in the item.
        let outside = each.is_some().then(|| std::mem::take(&mut self.pointers));
        let signature = self.signature(d, kind);
        let proof = self.proof(d, kind);
        let inside = outside.map(|outside| std::mem::replace(&mut self.pointers, outside));
        let each = each.map(|items| Each { items, pointers: inside.unwrap_or_default() });
        let encoding = match &d.encoding {
            Some(_) | None if matches!(kind, Some(Kind::Jwt | Kind::HttpMessage)) => {
                Some(Encoding::Raw)
            }
            None if kind == Some(Kind::Token) => Some(Encoding::Raw),
            Some(text) if kind == Some(Kind::Token) && text != "base64" => {
                self.fault("encoding", "`equal` compares the token as it is; remove `encoding`, or write `base64` for HTTP's basic authentication");
                None
            }
            text => self.named("encoding", text, Encoding::parse, Encoding::NAMES.into_iter()),
        };
        let chain = d.chain.as_deref().map(Marks::parse).transpose();
        let chain = chain.map_err(|message| self.fault("chain", message)).ok()?;
        if chain.is_some() && kind != Some(Kind::Jwt) {
            self.fault("chain", "has no effect without `kind = \"jwt\"`");
        }
        let secret_encoding = match &d.secret_encoding {
            None if chain.is_some() => Some(SecretEncoding::Root),
            None => Some(SecretEncoding::Raw),
            Some(_) if first.is_some_and(Algorithm::is_asymmetric) => {
                self.fault("secret_encoding", "public keys are recognised; remove it");
                None
            }
            text => self.named(
                "secret_encoding",
                text,
                SecretEncoding::parse,
                SecretEncoding::NAMES.into_iter(),
            ),
        };
        let separator = d.separator.as_deref();
        if separator == Some("") {
            self.fault("separator", "the separator is empty");
        }
        let timestamp = self.timestamp(d, kind);
        let body_digest = self.body_digest(d);
        let key_url = self.key_url(d);
        Some(Check {
            signature: signature?,
            prefix: d.prefix.as_deref().unwrap_or_default().into(),
            separator: separator.map(Into::into),
            algorithms: algorithms?,
            encoding: encoding?,
            secret_encoding: secret_encoding?,
            proof: proof?,
            timestamp: timestamp?,
            body_digest,
            each,
            key_url,
            chain,
        })
    }

    fn algorithms(&mut self, d: &Declaration, kind: Option<Kind>) -> Option<Vec<Algorithm>> {
        if kind != Some(Kind::Jwt) {
            let algorithm =
                self.named("algorithm", &d.algorithm, Algorithm::parse, Algorithm::names());
            return algorithm.map(|algorithm| vec![algorithm]);
        }
        let named = d.algorithm.as_deref().unwrap_or_default().split(' ');
        let parsed: Vec<_> = named
            .map(|name| {
                let name = Some(name.to_owned()).filter(|name| !name.is_empty());
                self.named("algorithm", &name, Algorithm::parse_jws, Algorithm::jws_names())
            })
            .collect();
        parsed.into_iter().collect()
    }

    /// Keys that say nothing for this kind are faults: their writer expects something of them.
    fn unused(&mut self, d: &Declaration, kind: Option<Kind>) {
        let Some(kind) = kind else { return };
        let given = [
            ("signed", &d.signed),
            ("claims", &d.claims),
            ("covered", &d.covered),
            ("key_id", &d.key_id),
            ("encoding", &d.encoding),
        ];
        for (key, _) in given.into_iter().filter(|(_, value)| value.is_some()) {
            let message = match (kind, key) {
                (Kind::Token, "signed") => "`equal` signs nothing; remove `signed`",
                (Kind::Jwt | Kind::HttpMessage, "encoding") => {
                    "the standard says how it is encoded; remove it"
                }
                (Kind::Message | Kind::Token, "claims") | (Kind::HttpMessage, "claims") => {
                    "has no effect without `kind = \"jwt\"`"
                }
                (Kind::Message | Kind::Token | Kind::Jwt, "covered" | "key_id") => {
                    "has no effect without `kind = \"http-message\"`"
                }
                (Kind::Jwt, "signed") => "a token signs itself; say in `claims` what it must hold",
                (Kind::HttpMessage, "signed") => {
                    "the request says what is signed; say in `covered` what must be"
                }
                _ => continue,
            };
            self.fault(key, message);
        }
    }

    fn signature(&mut self, d: &Declaration, kind: Option<Kind>) -> Option<Vec<Place>> {
        let text = match &d.signature {
            Some(text) => text,
            None if kind == Some(Kind::HttpMessage) => {
                return Some(vec![Place::Header("signature".into())]);
            }
            None => {
                self.fault(
                    "signature",
                    "missing: where the signature is, such as `header:x-signature`",
                );
                return None;
            }
        };
        let mut places = Vec::new();
        for text in text.split(ALTERNATIVE) {
            match Place::parse(text, &mut self.pointers) {
                Ok(Place::Const(_)) => self.fault("signature", "a signature can't be constant"),
                Ok(place) => places.push(place),
                Err(message) => self.fault("signature", message),
            }
        }
        (!places.is_empty()).then_some(places)
    }

    fn proof(&mut self, d: &Declaration, kind: Option<Kind>) -> Option<Proof> {
        match kind? {
            Kind::Token => Some(Proof::Token),
            Kind::Message => self.templates(d).map(Proof::Message),
            Kind::Jwt => {
                let end = match d.tolerance.as_deref() {
                    Some("any") => End::None,
                    None => End::Leeway { secs: 0 },
                    Some(text) => End::Leeway { secs: self.duration("tolerance", text)? / 1000 },
                };
                self.claims(d).map(|claims| Proof::Jwt { claims, end })
            }
            Kind::HttpMessage => {
                let covered = d.covered.as_deref().unwrap_or(COVERED);
                Some(Proof::HttpMessage(Policy::new(covered, d.key_id.as_deref())))
            }
        }
    }

    fn templates(&mut self, d: &Declaration) -> Option<Vec<Template>> {
        let Some(text) = &d.signed else {
            self.fault("signed", "missing: what the signature covers, such as `{body}`");
            return None;
        };
        let mut templates = Vec::new();
        for text in text.split(ALTERNATIVE) {
            match Template::parse(text, &mut self.pointers) {
                Ok(template) if template.varies() || d.body_digest.is_some() => {
                    templates.push(template);
                }
                Ok(_) => self.fault(
                    "signed",
                    "nothing in it differs from one request to the next; does it lack `{body}`?",
                ),
                Err(message) => self.fault("signed", message),
            }
        }
        (!templates.is_empty()).then_some(templates)
    }

    fn claims(&mut self, d: &Declaration) -> Option<Vec<Claim>> {
        let mut claims = Vec::new();
        for text in d.claims.iter().flat_map(|text| text.split(ALL)) {
            let Some((name, value)) = text.split_once('=') else {
                self.fault("claims", format!("`{text}` is no claim: write `NAME=VALUE`"));
                continue;
            };
            let (name, with_body) = match name.strip_suffix('?') {
                Some(name) => (name, true),
                None => (name, false),
            };
            match Template::parse(value, &mut self.pointers) {
                Ok(value) => claims.push(Claim { name: name.into(), value, with_body }),
                Err(message) => self.fault("claims", message),
            }
        }
        Some(claims)
    }

    fn each(&mut self, d: &Declaration) -> Option<Pointer> {
        let pointer = Pointer::parse(d.each.as_deref()?);
        pointer.map_err(|message| self.fault("each", message)).ok()
    }

    fn body_digest(&mut self, d: &Declaration) -> Option<(Place, Encoding)> {
        let text = d.body_digest.as_deref()?;
        let parsed = text.split_once(' ').and_then(|(place, encoding)| {
            Some((self.place(place).ok()?, Encoding::parse(encoding)?))
        });
        if parsed.is_none() {
            let message = "write a place and an encoding, such as `header:x-digest hex`";
            self.fault("body_digest", message);
        }
        parsed
    }

    fn key_url(&mut self, d: &Declaration) -> Option<KeyUrl> {
        let text = d.key_url.as_deref()?;
        let parsed = KeyUrl::parse(text, |place| self.place(place));
        parsed.map_err(|message| self.fault("key_url", message)).ok()
    }

    /// A place for one value.
    fn place(&mut self, text: &str) -> Result<Place, String> {
        match Place::parse(text, &mut self.pointers)? {
            Place::Headers(_) => {
                Err(format!("`{text}`: only a signature may be in several headers"))
            }
            place => Ok(place),
        }
    }

    /// The outer option is none after a fault, the inner one if no time is signed.
    fn timestamp(&mut self, d: &Declaration, kind: Option<Kind>) -> Option<Option<SignedTime>> {
        let unit = match &d.timestamp_unit {
            None => Some(Unit::Seconds),
            text => {
                self.named("timestamp_unit", text, Unit::parse, ["s", "ms", "rfc3339"].into_iter())
            }
        };
        let past = match d.tolerance.as_deref() {
            None => duration("5m").map(Some),
            Some("any") => Some(None),
            Some(text) => match self.duration("tolerance", text) {
                Some(0) => {
                    self.fault("tolerance", "no request arrives at the moment it was signed");
                    None
                }
                millis => millis.map(Some),
            },
        };
        let future = match d.tolerance_future.as_deref() {
            None => past,
            Some("any") => Some(None),
            Some(text) => self.duration("tolerance_future", text).map(Some),
        };
        let tolerance = |past, future| Tolerance { past, future };
        if kind == Some(Kind::HttpMessage) && d.timestamp.is_none() {
            let from = TimeFrom::Claim("created".into());
            return Some(Some(SignedTime {
                from,
                unit: unit?,
                tolerance: tolerance(past?, future?),
            }));
        }
        let Some(text) = &d.timestamp else {
            for (key, value) in [
                ("timestamp_unit", &d.timestamp_unit),
                ("tolerance", &d.tolerance),
                ("tolerance_future", &d.tolerance_future),
            ] {
                // Without one, it is how long after its end a token is taken.
                let of_token = kind == Some(Kind::Jwt) && key == "tolerance";
                if value.is_some() && !of_token {
                    self.fault(key, "has no effect without `timestamp`");
                }
            }
            return Some(None);
        };
        let from = self.time_from(text, d.separator.is_some(), kind)?;
        Some(Some(SignedTime { from, unit: unit?, tolerance: tolerance(past?, future?) }))
    }

    fn time_from(
        &mut self,
        text: &str,
        has_separator: bool,
        kind: Option<Kind>,
    ) -> Option<TimeFrom> {
        if let (Some(claim), Some(Kind::Jwt)) = (text.strip_prefix("claim:"), kind) {
            return Some(TimeFrom::Claim(claim.into()));
        }
        let from = match text.strip_prefix("signature:") {
            Some(_) if !has_separator => {
                Err("`signature:NAME` needs `separator`, what parts the items".to_owned())
            }
            Some("") => Ok(TimeFrom::Item("".into())),
            Some(name) => Ok(TimeFrom::Item(format!("{name}=").into())),
            None => match self.place(text) {
                Ok(Place::Const(_)) => Err("a timestamp can't be constant".to_owned()),
                other => other.map(TimeFrom::At),
            },
        };
        from.map_err(|message| self.fault("timestamp", message)).ok()
    }

    fn event_type(&mut self, d: &Declaration) -> Vec<Type> {
        let Some(text) = &d.event_type else {
            self.fault(
                "type",
                "missing: where the event type is, such as `header:x-event` or `json:/type`, or `const:NAME`",
            );
            return Vec::new();
        };
        let mut types = Vec::new();
        for text in text.split(ALTERNATIVE) {
            let places = self.places("type", text, JOIN);
            for place in &places {
                if let Place::Const(text) = place
                    && let Err(error) = text.parse::<EventType>()
                {
                    self.fault("type", error.to_string());
                }
            }
            types.push(Type(places));
        }
        types
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
        let ids: Vec<_> =
            text.split(ALTERNATIVE).map(|text| Id(self.places("id", text, JOIN))).collect();
        if ids.iter().any(|Id(places)| matches!(places.first(), Some(Place::Const(_)))) {
            self.fault("id", "a constant id would make all events one");
        }
        Some(Dedupe::Id { ids, or_content })
    }

    fn guard(&mut self, d: &Declaration) -> Option<ReplayGuard> {
        d.replay_guard.as_ref()?;
        let words = ["content", "none"].into_iter();
        self.named("replay_guard", &d.replay_guard, ReplayGuard::from_word, words)
    }

    fn places(&mut self, field: &'static str, text: &str, separator: &str) -> Vec<Place> {
        let mut places = Vec::new();
        for alternative in text.split(separator) {
            match self.place(alternative) {
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
        names: impl Iterator<Item = &'static str>,
    ) -> Option<T> {
        let choices = || format!("`{}`", names.collect::<Vec<_>>().join("`, `"));
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
