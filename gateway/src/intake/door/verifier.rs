//! Has a plugin say whether a request is genuine. Nothing is stored before it has, and what it says becomes
//! a proof only in `hookweir_verify`.

use std::time::Duration;

use hookweir_event::{Outcome, PluginName, SourceName};
use hookweir_host::{Genuine, NotRun, Request};
use hookweir_verify::{Incoming, Rejection, Verifier, Vouched};

use super::{Door, tell_logs, turns::Busy};
use crate::{
    intake::{desk::Desk, receive::RequestId},
    live::Plugin,
};

/// How long a request waits for its source's verifier. A sender's own patience is some seconds.
const PATIENCE: Duration = Duration::from_secs(1);

/// Asks one plugin about one request.
pub(in crate::intake) struct Clerk<'a> {
    pub(in crate::intake) door: &'a Door,
    pub(in crate::intake) desk: &'a Desk,
    pub(in crate::intake) plugin: &'a PluginName,
    pub(in crate::intake) request: RequestId,
}

impl Verifier for Clerk<'_> {
    async fn vouch(
        &self,
        source: &SourceName,
        secrets: &[&str],
        incoming: &Incoming,
    ) -> Result<Vouched, Rejection> {
        let unavailable = |why: &str| Rejection::VerifierUnavailable(why.to_owned());
        let granted = |plugin: &&Plugin| plugin.verifier;
        let plugin = self.desk.live.plugins().get(self.plugin).filter(granted);
        let version = plugin.and_then(|plugin| plugin.version.clone());
        let version = version.ok_or_else(|| unavailable("the plugin is not loaded"))?;
        if !version.exports().verifier {
            return Err(unavailable("the plugin does not export a verifier"));
        }
        let turns = self.desk.verifier(source);
        let turns = turns.ok_or_else(|| unavailable("the source is being reloaded"))?;
        let turn =
            turns.take(PATIENCE).await.map_err(|Busy| unavailable("too many wait for it"))?;
        let (host, request) = (self.door.host.clone(), request(source, secrets, incoming));
        let ran = self.door.run(turn, async move { host.verify(&version, &request).await }).await;
        let ran = ran.map_err(|fault: NotRun| unavailable(&fault.to_string()))?;
        tell_logs(&ran, self.plugin.as_str(), self.request);
        match ran.result {
            Ok(Ok(genuine)) => Ok(vouched(genuine)),
            Ok(Err(why)) => Err(Rejection::Refused(why)),
            // It waited for a core: no fault of the sender's.
            Err(failure) if failure.outcome == Outcome::Timeout => {
                Err(unavailable(&failure.message))
            }
            Err(failure) => Err(Rejection::VerifierFailed(failure.message)),
        }
    }
}

/// The request as it came, with what the verifier needs beside it.
fn request(source: &SourceName, secrets: &[&str], incoming: &Incoming) -> Request {
    let mut attributes = vec![("source".to_owned(), source.to_string())];
    attributes.extend(incoming.url.iter().map(|url| ("url".to_owned(), url.clone())));
    attributes.extend(secrets.iter().map(|secret| ("secret".to_owned(), (*secret).to_owned())));
    Request {
        method: incoming.method.clone(),
        path: incoming.path.clone(),
        query: incoming.query.clone(),
        headers: incoming.headers.clone(),
        body: incoming.body.clone(),
        attributes,
    }
}

/// What it said, as far as it is asked.
fn vouched(genuine: Genuine) -> Vouched {
    let Genuine { id, event_type, attributes } = genuine;
    let redact = attributes.into_iter().filter(|(name, _)| name == "redact");
    Vouched { id, event_type, redact: redact.map(|(_, place)| place).collect() }
}
