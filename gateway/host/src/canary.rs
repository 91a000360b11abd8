//! The trial of a version before any event: a real instance, so that the types of its exports are
//! checked and its start code has run once, then its `init`. All of an attempt's limits hold.

use std::sync::Arc;

use hookweir_event::Clock;
use wasmtime::Engine;

use crate::{
    LoadFault, NoState,
    attempt::{Means, bounded, store},
    outcome,
    version::Inner,
};

/// Tries `version` once.
pub(crate) async fn fly(
    engine: &Engine,
    clock: &Clock,
    version: &Arc<Inner>,
) -> Result<(), LoadFault> {
    // Of nobody's: a trial must not depend on it, and leaves nothing.
    let means = Means {
        clock: clock.clone(),
        state: Some(Arc::new(NoState)),
        subject: None,
        closed: Some("a version is tried without the network"),
        transport: None,
        fixed: None,
        records: false,
    };
    let mut store = store(engine, version, &version.limits, means);
    let meter = Arc::clone(&store.data().meter);
    store.set_epoch_deadline(1);
    let trial = bounded(meter, &version.limits, async {
        let instance = version.pre.instantiate_async(&mut store).await?;
        let lifecycle = match version.interfaces.check(&mut store, &instance) {
            Ok(Some(lifecycle)) => lifecycle,
            Ok(None) => return Ok(Ok(())),
            Err(fault) => return Ok(Err(fault)),
        };
        let answer = lifecycle.call_init(&mut store, &version.config_json).await?;
        Ok(answer
            .map_err(|words| LoadFault::Init(outcome::line(&words, version.egress.redaction()))))
    });
    match trial.await {
        Ok(Ok(verdict)) => verdict,
        Ok(Err(error)) => {
            if let Some(fault) = outcome::not_run(&error) {
                return Err(fault.into());
            }
            let why = outcome::trapped(&error, store.data(), &version.limits);
            Err(LoadFault::Start(why.message))
        }
        Err(timed_out) => Err(LoadFault::Start(timed_out.message)),
    }
}
