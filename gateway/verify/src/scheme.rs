//! The public face of a scheme: made from a preset or a declaration, then asked to prepare secrets,
//! to verify and to sign.

use std::{collections::BTreeMap, fmt, sync::Arc};

use hookweir_event::{SourceName, Timestamp};

use crate::{
    Answered, Declaration, Explanation, Fault, IdClaim, Incoming, Key, KeyFault, Keyring, Outgoing,
    Preset, Rejection, ReplayGuard, Secret, SignError, Unanswered, Verified, Verifier, compile,
    explain,
    handshake::{self, Endpoint},
    key,
    rule::{Check, Rule},
    sign, verify,
};

/// How a source proves itself. Cheap to clone.
#[derive(Clone)]
pub struct Scheme {
    name: Arc<str>,
    /// None where somebody else does the check.
    rules: Arc<[Rule]>,
    handshakes: Arc<[handshake::Prepared]>,
    /// What the handshakes need of the source.
    params: Arc<BTreeMap<String, String>>,
}

impl Scheme {
    /// The scheme of a provider that needs no parameters; see [`Preset::scheme`] for the others.
    pub fn preset(name: &str) -> Option<Self> {
        Preset::named(name)?.scheme(&BTreeMap::new()).ok()
    }

    pub(crate) fn of_preset(
        name: &'static str,
        rules: Vec<Rule>,
        handshakes: Vec<handshake::Prepared>,
        params: &BTreeMap<String, String>,
    ) -> Self {
        let (rules, handshakes) = (rules.into(), handshakes.into());
        Self { name: name.into(), rules, handshakes, params: Arc::new(params.clone()) }
    }

    fn of_rules(name: &str, rules: impl Into<Arc<[Rule]>>) -> Self {
        let (name, rules) = (name.into(), rules.into());
        Self { name, rules, handshakes: Arc::new([]), params: Arc::default() }
    }

    /// The names of all presets.
    pub fn preset_names() -> impl Iterator<Item = &'static str> {
        Preset::all().map(|preset| preset.name)
    }

    /// A declared scheme.
    ///
    /// # Errors
    /// All faults of the declaration.
    pub fn declare(declaration: &Declaration) -> Result<Self, Vec<Fault>> {
        compile::signed(declaration).map(|rule| Self::of_rules("declared", [rule]))
    }

    /// No scheme: everything is taken as verified, and `type` and `id` alone are read. For a source
    /// whose operator says `insecure = true`.
    ///
    /// # Errors
    /// All faults of the declaration; any key but `type` and `id` is one.
    pub fn insecure(declaration: &Declaration) -> Result<Self, Vec<Fault>> {
        compile::insecure(declaration).map(|rule| Self::of_rules("insecure", [rule]))
    }

    /// A scheme whose check a [`Verifier`] does, under a name for people to read. By itself it proves
    /// nothing and takes nothing: see [`Self::verify_by`].
    pub fn vouched(name: &str) -> Self {
        Self::of_rules(name, [])
    }

    /// The preset's name, `declared`, `insecure`, or that which a [`Self::vouched`] one was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a [`Verifier`] does its check.
    pub fn is_vouched(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether it checks nothing.
    pub fn is_insecure(&self) -> bool {
        !self.is_vouched() && self.rules.iter().all(|rule| rule.check.is_none())
    }

    /// Whether it signs the URL, so that [`Incoming::url`] must be given.
    pub fn needs_url(&self) -> bool {
        self.rules.iter().filter_map(|rule| rule.check.as_ref()).any(Check::needs_url)
    }

    /// What the claim of an id is made of: see [`claim_of_id`](crate::claim_of_id).
    pub fn id_claim(&self) -> IdClaim {
        if self.is_vouched() { IdClaim::Alone } else { IdClaim::of(&self.rules) }
    }

    /// Whether requests of this method are for this scheme: `POST`, and what its handshakes use.
    pub fn takes(&self, method: &str) -> bool {
        method == "POST"
            || self.handshakes.iter().any(|prepared| prepared.handshake.method == method)
    }

    /// The answer to `request` if it is one of the provider's handshakes, which are no events; none
    /// if it is to be verified as one.
    pub fn handshake(
        &self,
        source: &SourceName,
        secrets: &[Secret],
        request: &Incoming,
        now: Timestamp,
    ) -> Option<Result<Answered, Unanswered>> {
        let (rules, params) = (&self.rules, &self.params);
        let endpoint = Endpoint { rules, params, source, secrets, now };
        handshake::answer(&self.handshakes, &endpoint, request)
    }

    /// [`Self::handshake`] for a scheme whose keys lie at URLs.
    pub async fn handshake_with(
        &self,
        source: &SourceName,
        keyring: &impl Keyring,
        request: &Incoming,
        now: Timestamp,
    ) -> Option<Result<Answered, Unanswered>> {
        let prepared = self.handshakes.iter().find(|prepared| prepared.is(request))?;
        let mut secrets = Vec::new();
        if prepared.handshake.is_signed() {
            let key = async {
                let location = verify::key_location(&self.rules, request)?;
                let location = location.ok_or(Rejection::NoValidSecret)?;
                keyring.key(self, &location, now, None).await
            };
            match key.await {
                Ok(key) => secrets.push(key.secret),
                Err(rejection) => return Some(Err(Unanswered { status: 401, rejection })),
            }
        }
        self.handshake(source, &secrets, request, now)
    }

    /// The same scheme with the replay guard on or off, whatever its own rule says.
    ///
    /// # Errors
    /// If the guard is to be on and nothing is signed that it could remember: a static token, no
    /// scheme at all, or `id = "none"`.
    pub fn with_replay_guard(self, guard: ReplayGuard) -> Result<Self, Fault> {
        let guarded = |rule: &Rule| Rule { guard: Some(guard), ..rule.clone() };
        let rules: Arc<[Rule]> = self.rules.iter().map(guarded).collect();
        let possible =
            |rule: &Rule| rule.guards(false) && !matches!(rule.dedupe, crate::rule::Dedupe::None);
        if self.is_vouched() {
            return Err(Fault {
                field: "replay_guard",
                message: "what is a replay is for the scheme's verifier to know".to_owned(),
            });
        }
        if guard == ReplayGuard::Content && !rules.iter().all(possible) {
            return Err(Fault {
                field: "replay_guard",
                message:
                    "this scheme signs nothing that could be remembered, or its `id` is `none`"
                        .to_owned(),
            });
        }
        Ok(Self { rules, ..self })
    }

    /// The same scheme with the replay guard off.
    pub fn without_replay_guard(self) -> Self {
        let off = |rule: &Rule| Rule { guard: Some(ReplayGuard::None), ..rule.clone() };
        Self { rules: self.rules.iter().map(off).collect(), ..self }
    }

    /// Prepares a secret as it stands in the configuration.
    ///
    /// # Errors
    /// If it is empty, has white space around it, or is not written as the scheme's secrets are.
    pub fn secret(&self, text: &str) -> Result<Key, KeyFault> {
        if self.is_insecure() {
            return Err(KeyFault::Insecure);
        }
        if self.is_vouched() {
            return Key::plain(text);
        }
        let checks = self.rules.iter().filter_map(|rule| rule.check.as_ref());
        let wanted = checks.map(|check| (check.algorithms.as_slice(), &check.secret_encoding));
        Key::prepare(text, wanted)
    }

    /// Proves that `request` comes from whoever holds one of the `secrets`, and reads its type and
    /// what tells it apart from others.
    ///
    /// # Errors
    /// See [`Rejection`]; [`Rejection::is_authentic`] tells a bad request from a forged one.
    pub fn verify(
        &self,
        source: &SourceName,
        secrets: &[Secret],
        request: Incoming,
        now: Timestamp,
    ) -> Result<Verified, Rejection> {
        verify::verify(&self.rules, source, secrets, request, now)
    }

    /// [`Self::verify`] for a scheme whose check somebody else does. The verifier is given the secrets
    /// that are valid at this time.
    ///
    /// # Errors
    /// What the verifier says; and as [`Self::verify`] of a type that is none.
    pub async fn verify_by(
        &self,
        source: &SourceName,
        secrets: &[Secret],
        verifier: &impl Verifier,
        request: Incoming,
        now: Timestamp,
    ) -> Result<Verified, Rejection> {
        let valid = secrets.iter().filter(|secret| secret.is_valid(now));
        let valid: Vec<&str> = valid.filter_map(|secret| secret.key.text()).collect();
        if valid.is_empty() && !secrets.is_empty() {
            return Err(Rejection::NoValidSecret);
        }
        let vouched = verifier.vouch(source, &valid, &request).await?;
        verify::vouched(source, request, &vouched)
    }

    /// Whether all its keys lie at URLs, so that it can do without configured ones.
    pub fn finds_keys(&self) -> bool {
        !self.is_vouched()
            && self
                .rules
                .iter()
                .all(|rule| rule.check.as_ref().is_some_and(|c| c.key_url.is_some()))
    }

    /// Whether one of its handshakes brings the secret.
    pub fn learns(&self) -> bool {
        self.handshakes.iter().any(|prepared| prepared.handshake.learns())
    }

    /// Makes a key of what was fetched from a [`crate::KeyLocation`]. A certificate's is valid as long as
    /// the certificate.
    ///
    /// # Errors
    /// If it is no public key of the scheme's kind.
    pub fn fetched_key(&self, document: &str) -> Result<Secret, KeyFault> {
        let key = self.secret(document.trim())?;
        Ok(match key::validity(document) {
            Some((from, until)) => Secret { key, from: Some(from), until: Some(until) },
            None => Secret::new(key),
        })
    }

    /// [`Self::verify`] with a key from where the request or the scheme says that it lies. A request
    /// that does not verify with a set of keys is held against a newer one, if there is one by now:
    /// its sender may have rotated them.
    ///
    /// # Errors
    /// As [`Self::verify`]; those of the keyring too.
    pub async fn verify_with(
        &self,
        source: &SourceName,
        keyring: &impl Keyring,
        request: Incoming,
        now: Timestamp,
    ) -> Result<Verified, Rejection> {
        let location = verify::key_location(&self.rules, &request)?;
        let location = location.ok_or(Rejection::NoValidSecret)?;
        let key = keyring.key(self, &location, now, None).await?;
        let fetched = key.at;
        if !location.is_fixed() {
            return self.verify(source, &[key.secret], request, now);
        }
        match self.verify(source, &[key.secret], request.clone(), now) {
            Err(Rejection::BadSignature) => {
                let key = keyring.key(self, &location, now, Some(fetched)).await?;
                if key.at == fetched {
                    return Err(Rejection::BadSignature);
                }
                self.verify(source, &[key.secret], request, now)
            }
            verdict => verdict,
        }
    }

    /// Why `request` does or does not verify, step by step. Shows what was signed, and no secret.
    pub fn explain(
        &self,
        source: &SourceName,
        secrets: &[Secret],
        request: &Incoming,
        now: Timestamp,
    ) -> Explanation {
        explain::explain(&self.rules, source, secrets, request, now)
    }

    /// Prepares a key to sign with: the secret itself, or, where senders have a private key, that: in
    /// PEM, as PKCS #8 (`BEGIN PRIVATE KEY`).
    ///
    /// # Errors
    /// As [`Self::secret`].
    pub fn signing_key(&self, text: &str) -> Result<Key, KeyFault> {
        let checks = self.rules.iter().filter_map(|rule| rule.check.as_ref());
        let wanted = checks.map(|check| (check.algorithms.as_slice(), &check.secret_encoding));
        Key::for_signing(text, wanted)
    }

    /// `request` as its sender would send it: signed, with the timestamp, and with the id and type
    /// where the scheme reads them from headers. A signature inside a JSON body writes the body anew.
    ///
    /// ECDSA and RSA-PSS signatures take randomness from the system; nothing else here does.
    ///
    /// # Errors
    /// If the scheme wants something that the request lacks, or a place that can't be written.
    pub fn sign(
        &self,
        key: &Key,
        request: Outgoing,
        now: Timestamp,
    ) -> Result<Outgoing, SignError> {
        sign::sign(&self.rules, Some(key), request, now)
    }

    /// `request` as it is posted to an insecure source: with type and id in the headers that they
    /// are read from.
    ///
    /// # Errors
    /// If the scheme signs, or reads an id that the request lacks.
    pub fn unsigned(&self, request: Outgoing) -> Result<Outgoing, SignError> {
        sign::sign(&self.rules, None, request, Timestamp::default())
    }
}

impl fmt::Debug for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scheme({})", self.name)
    }
}
