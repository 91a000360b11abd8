//! The trial of a version before any event: a real instance, so that the types of its exports are
//! checked and its start code has run once, then its `init`. All of an attempt's limits hold.

use std::sync::Arc;

use hookweir_event::Clock;
use wasmtime::{Engine, component::Component};

use crate::{
    LoadFault, NoState,
    attempt::{bounded, store},
    bindings::{lifecycle::WithLifecycle, plugin::Plugin},
    fault::{HANDLER, LIFECYCLE},
    logs::clean,
    outcome,
    version::Inner,
};

/// An init's refusal is one line in a listing.
const MESSAGE_MAX: usize = 1000;

/// Whether it has an `init`. The name says nothing of the type.
pub(crate) fn has_lifecycle(component: &Component) -> bool {
    component.get_export_index(None, LIFECYCLE).is_some()
}

pub(crate) fn wrong_handler(error: &wasmtime::Error) -> LoadFault {
    wrong(HANDLER, error)
}

fn wrong(interface: &'static str, error: &wasmtime::Error) -> LoadFault {
    LoadFault::WrongExport { interface, cause: format!("{error:#}") }
}

/// Tries `version` once.
pub(crate) async fn fly(
    engine: &Engine,
    clock: &Clock,
    version: &Arc<Inner>,
    lifecycle: bool,
) -> Result<(), LoadFault> {
    // Of nobody's: a trial must not depend on it, and leaves nothing.
    let mut store = store(engine, version, clock, Arc::new(NoState));
    store.data_mut().closed = Some("a version is tried without the network");
    let meter = Arc::clone(&store.data().meter);
    let trial = bounded(meter, &version.limits, async {
        let instance = version.pre.instance_pre().instantiate_async(&mut store).await?;
        if let Err(error) = Plugin::new(&mut store, &instance) {
            return Ok(Err(wrong_handler(&error)));
        }
        if !lifecycle {
            return Ok(Ok(()));
        }
        let plugin = match WithLifecycle::new(&mut store, &instance) {
            Ok(plugin) => plugin,
            Err(error) => return Ok(Err(wrong(LIFECYCLE, &error))),
        };
        let init = plugin.hookweir_plugin_lifecycle();
        let answer = init.call_init(&mut store, &version.config_json).await?;
        Ok(answer.map_err(|words| LoadFault::Init(clean(&words, MESSAGE_MAX))))
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
