//! A compiled scheme: what is checked and what is read, with nothing left to parse. A scheme has one
//! rule, or several where a provider sends requests of several kinds.

use crate::{
    declaration::ReplayGuard,
    encoding::Encoding,
    json::Pointer,
    key::{Algorithm, Marks, SecretEncoding},
    key_url::KeyUrl,
    message_signature::Policy,
    place::Place,
    template::{Part, Template},
    timestamp::{Tolerance, Unit},
};

/// One way in which a request of this scheme may look.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    /// What a request must have for the rule to apply.
    pub(crate) require: Vec<Requirement>,
    /// `None`: an insecure source.
    pub(crate) check: Option<Check>,
    pub(crate) event_type: Vec<Type>,
    pub(crate) dedupe: Dedupe,
    /// `None`: as the design says.
    pub(crate) guard: Option<ReplayGuard>,
    /// What `Place::Json` counts.
    pub(crate) pointers: Vec<Pointer>,
}

/// A place that must have a value, or this one.
#[derive(Debug, Clone)]
pub(crate) struct Requirement {
    pub(crate) place: Place,
    pub(crate) value: Option<Box<str>>,
}

/// A type made of the values at these places, joined by full stops. The first must be there.
#[derive(Debug, Clone)]
pub(crate) struct Type(pub(crate) Vec<Place>);

/// An id made of the values at these places. The first must be there.
#[derive(Debug, Clone)]
pub(crate) struct Id(pub(crate) Vec<Place>);

/// How the signature is checked.
#[derive(Debug, Clone)]
pub(crate) struct Check {
    /// All that are in the request are tried.
    pub(crate) signature: Vec<Place>,
    pub(crate) prefix: Box<str>,
    pub(crate) separator: Option<Box<str>>,
    /// One, or those that a JWT may name.
    pub(crate) algorithms: Vec<Algorithm>,
    pub(crate) encoding: Encoding,
    pub(crate) secret_encoding: SecretEncoding,
    pub(crate) proof: Proof,
    pub(crate) timestamp: Option<SignedTime>,
    /// Where the request says what its body's SHA-256 is.
    pub(crate) body_digest: Option<(Place, Encoding)>,
    /// The body is a batch, and each of its items is signed by itself.
    pub(crate) each: Option<Each>,
    /// Where the key lies, if it is fetched.
    pub(crate) key_url: Option<KeyUrl>,
    /// The sender's certificates come with the token.
    pub(crate) chain: Option<Marks>,
}

/// What the signature is over.
#[derive(Debug, Clone)]
pub(crate) enum Proof {
    /// A static token: nothing.
    Token,
    /// Any of these texts; senders differ in how they write a URL.
    Message(Vec<Template>),
    /// The signature is a JSON Web Token with these claims.
    Jwt { claims: Vec<Claim>, end: End },
    /// RFC 9421: the request says what it signed, the policy what it must have.
    HttpMessage(Policy),
}

/// How a JWT ends that does not have to say when it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// At its `exp`, which it must have, and so much later.
    Leeway { secs: i64 },
    /// Not at all, unless it says so: Netlify.
    None,
}

/// What a claim of a JWT must be.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    pub(crate) name: Box<str>,
    pub(crate) value: Template,
    /// Whether it is left out if the body is empty. It is then only left out.
    pub(crate) with_body: bool,
}

/// Where a batch's items are, and the pointers of the places that are looked up in each.
#[derive(Debug, Clone)]
pub(crate) struct Each {
    pub(crate) items: Pointer,
    pub(crate) pointers: Vec<Pointer>,
}

/// The signed time.
#[derive(Debug, Clone)]
pub(crate) struct SignedTime {
    pub(crate) from: TimeFrom,
    pub(crate) unit: Unit,
    pub(crate) tolerance: Tolerance,
}

/// Where the signed time is.
#[derive(Debug, Clone)]
pub(crate) enum TimeFrom {
    /// The item that begins with this, beside the signatures: `t=`. Without a name, the first item.
    Item(Box<str>),
    /// A claim of the JWT.
    Claim(Box<str>),
    At(Place),
}

/// What tells two events apart.
#[derive(Debug, Clone)]
pub(crate) enum Dedupe {
    /// The first of these that the request has; then the content, if that is allowed.
    Id { ids: Vec<Id>, or_content: bool },
    /// Source, type and body.
    Content,
    /// Nothing: equal requests are different events.
    None,
}

impl Dedupe {
    /// The place that `{id}` stands for.
    pub(crate) fn signed_place(&self) -> Option<&Place> {
        match self {
            Self::Id { ids, .. } => ids.first()?.0.first(),
            Self::Content | Self::None => None,
        }
    }
}

impl Check {
    /// The templates that say what is signed.
    pub(crate) fn templates(&self) -> impl Iterator<Item = &Template> {
        let (texts, claims) = match &self.proof {
            Proof::Token | Proof::HttpMessage(_) => (&[][..], &[][..]),
            Proof::Message(texts) => (texts.as_slice(), &[][..]),
            Proof::Jwt { claims, .. } => (&[][..], claims.as_slice()),
        };
        texts.iter().chain(claims.iter().map(|claim| &claim.value))
    }

    /// Whether a change of the body breaks the signature.
    pub(crate) fn covers_body(&self) -> bool {
        let digest_covered = || match &self.body_digest {
            Some((place, _)) => self.templates().any(|template| template.covers(place)),
            None => matches!(&self.proof, Proof::HttpMessage(policy) if policy.covers_body()),
        };
        // In a batch, `{body}` would be an item; nothing covers what stands between them.
        let is_signature = || self.signature == [Place::Body];
        self.each.is_none()
            && (is_signature() || self.templates().any(Template::covers_body) || digest_covered())
    }

    fn covers(&self, place: &Place) -> bool {
        match place {
            Place::Const(_) => true,
            Place::Token(token, _) => self.signature.contains(token) || self.covers(token),
            place if place.in_body() && self.covers_body() => true,
            _ if self.each.is_some() => false,
            Place::Header(name) => match &self.proof {
                Proof::HttpMessage(policy) => policy.requires(name),
                _ => self.templates().any(|template| template.covers(place)),
            },
            place => self.templates().any(|template| template.covers(place)),
        }
    }

    /// Whether [`crate::Incoming::url`] is needed.
    pub(crate) fn needs_url(&self) -> bool {
        self.templates().any(Template::covers_url)
            || matches!(&self.proof, Proof::HttpMessage(policy) if policy.needs_url())
    }
}

impl Rule {
    pub(crate) fn body_signed(&self) -> bool {
        self.check.as_ref().is_some_and(Check::covers_body)
    }

    /// Whether a change of the value at `place` breaks the signature.
    pub(crate) fn signs(&self, place: &Place) -> bool {
        let Some(check) = &self.check else {
            return matches!(place, Place::Const(_));
        };
        let is_id = || {
            self.dedupe.signed_place() == Some(place)
                && check.templates().any(|template| template.contains(&Part::Id))
        };
        check.covers(place) || is_id()
    }

    /// Whether a signed time limits how long a captured request is good for.
    pub(crate) fn time_limited(&self) -> bool {
        let Some(check) = &self.check else { return false };
        match (&check.timestamp, &check.proof) {
            // The standards sign their times.
            (Some(_), Proof::Jwt { .. } | Proof::HttpMessage(_)) => true,
            (None, Proof::Jwt { end, .. }) => *end != End::None,
            (None, _) => false,
            (Some(time), _) => {
                check.templates().any(|template| template.contains(&Part::Timestamp))
                    || matches!(&time.from, TimeFrom::At(place) if self.signs(place))
            }
        }
    }

    /// Whether the signed bytes are ever claimed.
    pub(crate) fn may_guard(&self) -> bool {
        self.guards(false)
    }

    /// Whether the signed bytes are claimed, for an event whose id is signed or not.
    pub(crate) fn guards(&self, id_signed: bool) -> bool {
        let signs_content = self.check.as_ref().is_some_and(|check| match check.proof {
            Proof::Token => false,
            Proof::Jwt { .. } | Proof::HttpMessage(_) => true,
            Proof::Message(_) => check.templates().any(Template::varies),
        });
        match self.guard {
            Some(ReplayGuard::None) => false,
            Some(ReplayGuard::Content) => signs_content,
            None => {
                signs_content
                    && !id_signed
                    && !self.time_limited()
                    && !matches!(self.dedupe, Dedupe::None)
            }
        }
    }
}
