//! Schemes whose check somebody else does: for the gateway, a plugin. What makes an event of the request
//! (its type, its claims, what is redacted of it) is made here all the same, as for every scheme.

use std::future::Future;

use hookweir_event::SourceName;

use crate::{Incoming, Rejection, place::Place};

/// What a [`Verifier`] says of a request that it found genuine. It stands for all of it: id, type and body.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Vouched {
    /// The sender's own id for the event. None, or an empty one: its content tells it apart.
    pub id: Option<String>,
    /// What happened.
    pub event_type: String,
    /// Places that hold credentials, beside those that are redacted of every request: `header:NAME` and
    /// `query:NAME`.
    pub redact: Vec<String>,
}

/// Proves who sent a request. The crate only names it.
pub trait Verifier {
    /// What it says of the request, given the source's secrets that are valid now.
    ///
    /// # Errors
    /// [`Rejection::Refused`] if it is not genuine, [`Rejection::VerifierFailed`] if the verifier comes to
    /// no answer on this request, [`Rejection::VerifierUnavailable`] if it can't be asked now.
    fn vouch(
        &self,
        source: &SourceName,
        secrets: &[&str],
        request: &Incoming,
    ) -> impl Future<Output = Result<Vouched, Rejection>> + Send;
}

/// The places that a verifier names. One that can't be read might be one that holds a secret, so it is
/// not passed over.
pub(crate) fn places(named: &[String]) -> Result<Vec<Place>, Rejection> {
    let place = |text: &String| {
        let place = Place::parse(text, &mut Vec::new());
        let place = place.ok().filter(|p| matches!(p, Place::Header(_) | Place::Query(_)));
        place.ok_or_else(|| {
            let why =
                format!("to redact, it names {text:?}, which is no `header:NAME` or `query:NAME`");
            Rejection::VerifierFailed(why)
        })
    };
    named.iter().map(place).collect()
}
