//! The presets: tables of data, one for each trade, compiled by the code that compiles declared
//! schemes. To add a provider, add a row and its vectors; what a row can't say is a variable in
//! [`crate::canonical`].
//!
//! All presets take hex in lower case only, and no signed time may lie more than the tolerance
//! ahead, even where the provider's own library does not look. An authentic request is never lost
//! for want of a type or an id: it is `untyped`, and its content tells it apart.

mod business;
mod commerce;
mod content;
mod developer;
mod identity;
mod messaging;
mod payments;
mod senders;
mod standard;

use std::collections::BTreeMap;

use crate::{
    Scheme, compile,
    declaration::{Declaration, Fault},
    handshake::{Handshake, Prepared},
};

const TABLES: [&[Preset]; 9] = [
    standard::PRESETS,
    senders::PRESETS,
    payments::PRESETS,
    developer::PRESETS,
    messaging::PRESETS,
    commerce::PRESETS,
    business::PRESETS,
    content::PRESETS,
    identity::PRESETS,
];

/// How a provider proves itself, and what it expects of an answer.
#[derive(Debug)]
#[non_exhaustive]
pub struct Preset {
    /// The name that `scheme = "…"` takes.
    pub name: &'static str,
    /// The provider's page on it.
    pub docs: &'static str,
    /// What a source has to say beside its secrets; a `?` behind a name makes it optional.
    pub params: &'static [&'static str],
    /// The parameters without which requests that the provider signed for others are taken too,
    /// each with the reason. They are optional here, so that a recorded request can be checked;
    /// who takes requests from the world asks for them.
    pub binds: &'static [(&'static str, &'static str)],
    /// How long the provider waits for an answer, in seconds, where it says.
    pub answer_within_secs: Option<u16>,
    /// The answer that it wants to an event, where any 2xx would not do.
    pub reply: Option<Reply>,
    /// The header that it wants back in every answer, as it sent it.
    pub echoes: Option<&'static str>,
    rows: &'static [Row],
    handshakes: &'static [Handshake],
}

/// An answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: &'static str,
}

/// One kind of request; the keys of a [`Declaration`]. An empty text is a key left out.
#[derive(Debug)]
struct Row {
    kind: &'static str,
    require: &'static str,
    each: &'static str,
    signature: &'static str,
    separator: &'static str,
    prefix: &'static str,
    algorithm: &'static str,
    encoding: &'static str,
    secret: &'static str,
    signed: &'static str,
    claims: &'static str,
    covered: &'static str,
    key_id: &'static str,
    body_digest: &'static str,
    key_url: &'static str,
    chain: &'static str,
    timestamp: &'static str,
    unit: &'static str,
    tolerance: &'static str,
    future: &'static str,
    event_type: &'static str,
    id: &'static str,
}

impl Preset {
    const NEW: Self = Self {
        name: "",
        docs: "",
        params: &[],
        binds: &[],
        answer_within_secs: None,
        reply: None,
        echoes: None,
        rows: &[],
        handshakes: &[],
    };

    /// All presets.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        TABLES.into_iter().flatten()
    }

    /// The preset of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        Self::all().find(|preset| preset.name == name)
    }

    /// Whether all its keys lie at URLs; see [`Scheme::finds_keys`].
    pub fn finds_keys(&self) -> bool {
        self.rows.iter().all(|row| !row.key_url.is_empty())
    }

    /// The scheme, with what the source says about itself.
    ///
    /// # Errors
    /// A parameter that is missing, or that the preset does not know, or with which it makes no
    /// sense.
    pub fn scheme(&self, params: &BTreeMap<String, String>) -> Result<Scheme, Vec<Fault>> {
        let fault = |message| Fault { field: "params", message };
        let mut faults = Vec::new();
        let known =
            |name: &str| self.params.iter().any(|known| known.trim_end_matches('?') == name);
        for name in params.keys().filter(|name| !known(name)) {
            faults.push(fault(format!("the preset `{}` has no parameter `{name}`", self.name)));
        }
        for name in self.params.iter().filter(|name| !name.ends_with('?')) {
            if params.get(*name).is_none_or(String::is_empty) {
                faults.push(fault(format!("the preset `{}` needs `{name}`", self.name)));
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let mut rules = Vec::new();
        for row in self.rows {
            match compile::signed(&row.declaration(params)) {
                Ok(rule) => rules.push(rule),
                Err(found) => faults.extend(found),
            }
        }
        let mut handshakes = Vec::new();
        for handshake in self.handshakes {
            match Prepared::new(handshake) {
                Ok(prepared) => handshakes.push(prepared),
                Err(message) => faults.push(Fault { field: "handshake", message }),
            }
        }
        if faults.is_empty() {
            Ok(Scheme::of_preset(self.name, rules, handshakes, params))
        } else {
            Err(faults)
        }
    }
}

/// What a preset does, in a few words: for tables.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// How signatures are made.
    pub algorithm: String,
    /// What they cover.
    pub signed: String,
    /// What makes a captured request useless.
    pub replay: String,
    /// Whether there are handshakes.
    pub handshake: bool,
}

impl Preset {
    /// What it does, by its first kind of request.
    pub fn summary(&self) -> Summary {
        let handshake = !self.handshakes.is_empty();
        let Some(row) = self.rows.first() else {
            let nothing = String::new;
            return Summary {
                algorithm: nothing(),
                signed: nothing(),
                replay: nothing(),
                handshake,
            };
        };
        let tolerance = if row.tolerance.is_empty() { "5m" } else { row.tolerance };
        let (algorithm, signed, replay) = match (row.kind, row.algorithm) {
            ("jwt", algorithm) => {
                let replay = match (row.timestamp, row.tolerance) {
                    ("", "any") => "the token is remembered".to_owned(),
                    ("", _) => "the token's end".to_owned(),
                    _ => format!("the token's time, {tolerance}"),
                };
                (format!("JWT {algorithm}"), row.claims.to_owned(), replay)
            }
            ("http-message", _) => {
                let signed = "`covered`, or @method @target-uri content-digest";
                ("RFC 9421".to_owned(), signed.to_owned(), "`created`, 5m".to_owned())
            }
            (_, "equal") => ("static token".to_owned(), String::new(), "none".to_owned()),
            (_, algorithm) => {
                let replay = match row.timestamp {
                    "" => "what is signed is remembered".to_owned(),
                    _ => format!("signed time, {tolerance}"),
                };
                (algorithm.to_owned(), row.signed.to_owned(), replay)
            }
        };
        Summary { algorithm, signed, replay, handshake }
    }
}

impl Row {
    /// Nothing said.
    const PLAIN: Self = Self {
        kind: "",
        require: "",
        each: "",
        signature: "",
        separator: "",
        prefix: "",
        algorithm: "",
        encoding: "",
        secret: "",
        signed: "",
        claims: "",
        covered: "",
        key_id: "",
        body_digest: "",
        key_url: "",
        chain: "",
        timestamp: "",
        unit: "",
        tolerance: "",
        future: "",
        event_type: "",
        id: "content",
    };

    /// What most providers share: HMAC-SHA256 over the body, hex in lower case, a secret used as it
    /// is.
    const HMAC: Self =
        Self { algorithm: "hmac-sha256", encoding: "hex-lower", signed: "{body}", ..Self::PLAIN };

    /// The same in base64.
    const HMAC_BASE64: Self = Self { encoding: "base64", ..Self::HMAC };

    /// A static token.
    const TOKEN: Self = Self { algorithm: "equal", ..Self::PLAIN };

    /// Standard Webhooks, "Signature scheme".
    const WEBHOOK: Self = Self {
        signature: "header:webhook-signature",
        separator: " ",
        prefix: "v1,",
        secret: "whsec",
        signed: "{id}.{ts}.{body}",
        timestamp: "header:webhook-timestamp",
        event_type: "json:/type",
        id: "header:webhook-id",
        ..Self::HMAC_BASE64
    };

    /// The same under the names of Svix, whose senders send these, those or both.
    const SVIX: Self = Self {
        signature: "header:svix-signature",
        timestamp: "header:svix-timestamp",
        id: "header:svix-id",
        ..Self::WEBHOOK
    };

    fn declaration(&self, params: &BTreeMap<String, String>) -> Declaration {
        let set = |text: &str| {
            let text = with_params(text, params);
            (!text.is_empty()).then_some(text)
        };
        // A condition on an optional parameter falls with it.
        let each = |text: &str| {
            let left_out = |condition: &str| {
                let name = condition.split_once("={param:").and_then(|(_, p)| p.strip_suffix("?}"));
                name.is_some_and(|name| params.get(name).is_none_or(String::is_empty))
            };
            let kept: Vec<_> = text.split(" & ").filter(|c| !left_out(c)).collect();
            set(&kept.join(" & "))
        };
        let event_type = match self.event_type {
            "" => "const:untyped".to_owned(),
            places if places.contains("const:") => places.to_owned(),
            places => format!("{places} | const:untyped"),
        };
        let id = match self.id {
            "content" | "none" => self.id.to_owned(),
            places => format!("{places} | content"),
        };
        Declaration {
            kind: set(self.kind),
            require: each(self.require),
            each: set(self.each),
            signature: set(self.signature),
            separator: set(self.separator),
            prefix: set(self.prefix),
            algorithm: set(self.algorithm),
            encoding: set(self.encoding),
            secret_encoding: set(self.secret),
            signed: set(self.signed),
            claims: each(self.claims),
            covered: set(self.covered),
            key_id: set(self.key_id),
            body_digest: set(self.body_digest),
            key_url: set(self.key_url),
            chain: set(self.chain),
            timestamp: set(self.timestamp),
            timestamp_unit: set(self.unit),
            tolerance: set(self.tolerance),
            tolerance_future: set(self.future),
            event_type: Some(event_type),
            id: Some(id),
            replay_guard: None,
        }
    }
}

/// The text with its `{param:NAME}`s filled in. Braces in a value would be variables; they are
/// written twice.
fn with_params(text: &str, params: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{param:") {
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        let value = params.get(name.trim_end_matches('?')).map_or("", String::as_str);
        out.push_str(before);
        out.push_str(&value.replace('{', "{{").replace('}', "}}"));
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Any value for each parameter that has to be there.
    fn params(preset: &Preset) -> BTreeMap<String, String> {
        let value = |name: &str| match name {
            "algorithm" => "ed25519".to_owned(),
            name => format!("a {name}"),
        };
        let needed = preset.params.iter().filter(|name| !name.ends_with('?'));
        needed.map(|name| ((*name).to_owned(), value(name))).collect()
    }

    #[test]
    fn every_row_compiles() {
        for preset in Preset::all() {
            let scheme = preset.scheme(&params(preset));
            assert!(scheme.is_ok(), "{}: {:?}", preset.name, scheme.err());
        }
    }

    #[test]
    fn names_are_unique_and_every_preset_has_a_page() {
        let mut names: Vec<_> = Preset::all().map(|preset| preset.name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
        for preset in Preset::all() {
            assert!(preset.docs.starts_with("https://"), "{}", preset.name);
        }
    }

    #[test]
    fn parameters_are_checked() {
        let paypal = Preset::named("paypal").unwrap();
        let of = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
            paypal.scheme(&pairs.collect())
        };
        assert!(of(&[("webhook_id", "{x}")]).is_ok());
        assert!(of(&[]).is_err());
        assert!(of(&[("webhook_id", "")]).is_err());
        assert!(of(&[("webhook_id", "1"), ("other", "2")]).is_err());
    }
}
