//! A compiled scheme: what is checked and what is read, with nothing left to parse. A scheme has one
//! rule, or several where a provider uses several sets of header names.

use crate::{
    declaration::ReplayGuard,
    encoding::Encoding,
    json::Pointer,
    key::{Algorithm, SecretEncoding},
    place::Place,
    template::{Part, Template},
    timestamp::{Tolerance, Unit},
};

/// One way in which a request of this scheme may look.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    /// `None`: an insecure source.
    pub(crate) check: Option<Check>,
    pub(crate) event_type: Vec<Place>,
    pub(crate) dedupe: Dedupe,
    /// `None`: as the design says.
    pub(crate) guard: Option<ReplayGuard>,
    /// What `Place::Json` counts.
    pub(crate) pointers: Vec<Pointer>,
}

/// How the signature is checked.
#[derive(Debug, Clone)]
pub(crate) struct Check {
    pub(crate) signature: Place,
    pub(crate) prefix: Box<str>,
    pub(crate) separator: Option<Box<str>>,
    pub(crate) algorithm: Algorithm,
    pub(crate) encoding: Encoding,
    pub(crate) secret_encoding: SecretEncoding,
    pub(crate) template: Template,
    pub(crate) timestamp: Option<SignedTime>,
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
    /// The item that begins with this, beside the signatures: `t=`.
    Item(Box<str>),
    At(Place),
}

/// What tells two events apart.
#[derive(Debug, Clone)]
pub(crate) enum Dedupe {
    /// The id at the first of these places that has one; then the content, if that is allowed.
    Id { places: Vec<Place>, or_content: bool },
    /// Source, type and body.
    Content,
    /// Nothing: equal requests are different events.
    None,
}

impl Dedupe {
    /// The place that `{id}` stands for.
    pub(crate) fn signed_place(&self) -> Option<&Place> {
        match self {
            Self::Id { places, .. } => places.first(),
            Self::Content | Self::None => None,
        }
    }
}

impl Rule {
    pub(crate) fn body_signed(&self) -> bool {
        self.check.as_ref().is_some_and(|check| check.template.contains(&Part::Body))
    }

    /// Whether a change of the value at `place` breaks the signature.
    pub(crate) fn signs(&self, place: &Place) -> bool {
        let Some(check) = &self.check else {
            return matches!(place, Place::Const(_));
        };
        let template = &check.template;
        match place {
            Place::Const(_) => true,
            place if place.in_body() && template.contains(&Part::Body) => true,
            Place::Query(_) if template.contains(&Part::Url) => true,
            place => {
                template.contains_place(place)
                    || template.contains(&Part::Id) && self.dedupe.signed_place() == Some(place)
            }
        }
    }

    /// Whether a signed time limits how long a captured request is good for.
    pub(crate) fn time_limited(&self) -> bool {
        self.check.as_ref().is_some_and(|check| match &check.timestamp {
            None => false,
            Some(_) if check.template.contains(&Part::Timestamp) => true,
            Some(SignedTime { from: TimeFrom::At(place), .. }) => self.signs(place),
            Some(SignedTime { from: TimeFrom::Item(_), .. }) => false,
        })
    }

    /// Whether the signed bytes are claimed, for an event whose id is signed or not.
    pub(crate) fn guards(&self, id_signed: bool) -> bool {
        let signs_content = self.check.as_ref().is_some_and(|check| check.template.varies());
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
