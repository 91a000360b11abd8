//! Test vectors: recorded requests with the verdict that a provider's own library, or its
//! documentation, gives them. One JSON object a line; the fields are described in
//! `tests/vectors/README.md`.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hookweir_event::Timestamp;
use serde::Deserialize;

use crate::{Incoming, Preset, Scheme, Secret};

/// One recorded request.
#[derive(Debug, Deserialize)]
pub struct Vector {
    /// Its name.
    pub id: String,
    /// The provider it is from.
    pub provider: String,
    /// The scheme, where the provider has several; a preset's name.
    #[serde(default)]
    scheme: Option<String>,
    method: String,
    url: String,
    headers: BTreeMap<String, OneOrMany>,
    body_b64: String,
    #[serde(default)]
    secret: Option<String>,
    #[serde(default)]
    secrets: Vec<String>,
    #[serde(default)]
    public_key: Option<String>,
    #[serde(default)]
    public_keys: Vec<String>,
    #[serde(default)]
    secret_encoding: Option<String>,
    #[serde(default)]
    params: Params,
    now_unix: i64,
    expect: Verdict,
    #[serde(default)]
    must: bool,
    #[serde(default)]
    recommended: Option<Verdict>,
    /// What it tests.
    #[serde(default)]
    pub why: String,
}

/// A header's value, or the values of one that was sent several times.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// What the source would say about itself.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Params {
    cert_pem: Option<String>,
    next_secret: Option<String>,
    secondary_secret: Option<String>,
    webhook_id: Option<String>,
    api_key: Option<String>,
    public_key_id: Option<String>,
    audience: Option<String>,
    alg: Option<String>,
    keyid: Option<String>,
    required_fields: Option<Vec<String>>,
    max_age: Option<u32>,
}

/// What a verifier says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Accept,
    Reject,
}

/// What became of a vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The verdict is the one that any correct verifier gives, or that is recommended.
    Passed,
    /// It is another; why.
    Failed(String),
    /// Verifiers differ and nothing is recommended; what this one says.
    Advisory(String),
}

impl Vector {
    /// Reads one line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(line: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(line)
    }

    /// Verifies the request and compares the verdicts.
    pub fn run(&self) -> Outcome {
        let (verdict, reason) = match self.verify() {
            Ok(()) => (Verdict::Accept, "it verifies".to_owned()),
            Err(Refusal::Rejected(reason)) => (Verdict::Reject, reason),
            Err(Refusal::Unknown(reason)) => return Outcome::Failed(reason),
        };
        let binding = if self.must { Some(self.expect) } else { self.recommended };
        match binding {
            None => Outcome::Advisory(reason),
            Some(wanted) if wanted == verdict => Outcome::Passed,
            Some(_) => Outcome::Failed(reason),
        }
    }

    fn verify(&self) -> Result<(), Refusal> {
        let name = self.scheme.as_deref().unwrap_or(&self.provider);
        let preset = Preset::named(name)
            .ok_or_else(|| Refusal::Unknown(format!("there is no preset `{name}`")))?;
        let scheme = preset.scheme(&self.preset_params(preset)).map_err(|faults| {
            let faults: Vec<_> = faults.into_iter().map(|fault| fault.message).collect();
            Refusal::Unknown(faults.join("; "))
        })?;
        let body = STANDARD.decode(&self.body_b64);
        let body = body.map_err(|_| Refusal::Unknown("its body is no base64".to_owned()))?;
        let secrets = self.keys(&scheme)?;
        let source = "vector".parse().map_err(|_| Refusal::Unknown(String::new()))?;
        let now = Timestamp::from_secs(self.now_unix);
        match scheme.verify(&source, &secrets, self.request(body), now) {
            Ok(_) => Ok(()),
            // Authenticity is what vectors are about.
            Err(rejection) if rejection.is_authentic() => Ok(()),
            Err(rejection) => Err(Refusal::Rejected(rejection.to_string())),
        }
    }

    /// The secrets as the source would name them. One that can't be one refuses everything.
    fn keys(&self, scheme: &Scheme) -> Result<Vec<Secret>, Refusal> {
        let Params { cert_pem, next_secret, secondary_secret, .. } = &self.params;
        // What the certificate's URL serves; the key beside it is the same.
        let public_key = if cert_pem.is_some() { cert_pem } else { &self.public_key };
        let single = self.secret.iter().filter(|_| self.secrets.is_empty());
        let public = public_key.iter().filter(|_| self.public_keys.is_empty());
        let texts = single
            .chain(&self.secrets)
            .chain(public)
            .chain(&self.public_keys)
            .chain(next_secret)
            .chain(secondary_secret);
        texts
            .map(|text| scheme.secret(text).map(Secret::new))
            .collect::<Result<_, _>>()
            .map_err(|fault| Refusal::Rejected(fault.to_string()))
    }

    fn preset_params(&self, preset: &Preset) -> BTreeMap<String, String> {
        let Params { webhook_id, api_key, public_key_id, audience, keyid, max_age, .. } =
            &self.params;
        let fields = self.params.required_fields.as_ref();
        let all = [
            ("webhook_id", webhook_id.clone()),
            ("api_key", api_key.clone()),
            ("public_key", public_key_id.clone()),
            ("audience", audience.clone()),
            ("algorithm", self.params.alg.as_deref().map(declared_algorithm)),
            ("key_id", keyid.clone()),
            ("covered", Some(fields.map_or("any".to_owned(), |fields| fields.join(" ")))),
            ("tolerance", Some(max_age.map_or("any".to_owned(), |secs| format!("{secs}s")))),
            ("secret_encoding", self.secret_encoding.clone()),
        ];
        let wanted = |name: &str| preset.params.iter().any(|p| p.trim_end_matches('?') == name);
        all.into_iter()
            .filter(|(name, _)| wanted(name))
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect()
    }

    fn request(&self, body: Vec<u8>) -> Incoming {
        let mut headers = Vec::new();
        for (name, value) in &self.headers {
            let values = match value {
                OneOrMany::One(value) => std::slice::from_ref(value),
                OneOrMany::Many(values) => values.as_slice(),
            };
            let name = name.to_ascii_lowercase();
            headers.extend(values.iter().map(|value| (name.clone(), value.clone().into_bytes())));
        }
        let after_scheme = self.url.find("://").map_or(0, |at| at + 3);
        let target = self.url[after_scheme..].find(['/', '?']).map(|at| after_scheme + at);
        let target = target.map_or("/", |at| &self.url[at..]);
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        Incoming {
            method: self.method.clone(),
            path: path.to_owned(),
            query,
            url: Some(self.url.clone()),
            headers,
            body: body.into(),
            decode: None,
        }
    }
}

/// The name that declarations have for an algorithm of RFC 9421's registry.
fn declared_algorithm(name: &str) -> String {
    match name {
        "ecdsa-p256-sha256" => "ecdsa-p256-sha256-fixed",
        "rsa-v1_5-sha256" => "rsa-sha256",
        other => other,
    }
    .to_owned()
}

enum Refusal {
    Rejected(String),
    /// The vector could not be run; it counts as failed.
    Unknown(String),
}
