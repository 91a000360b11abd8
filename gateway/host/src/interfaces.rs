//! What a version exports: the handler, and whichever of the optional interfaces it has.
//!
//! WIT has no optional exports, so each is looked for by its name. A name says nothing of the types:
//! those are checked when an instance is there, which the trial of a version does.

use wasmtime::{
    Store,
    component::{Instance, InstancePre},
};

use crate::{
    LoadFault,
    bindings::plugin::exports::hookweir::plugin::{api, handler, lifecycle, verifier},
    fault::{API, HANDLER, LIFECYCLE, PACKAGE_ANY, VERIFIER},
    guest::Guest,
};

/// Which of the optional interfaces a plugin exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Exports {
    /// `lifecycle`: it wants to see its config before it goes live.
    pub lifecycle: bool,
    /// `api`: it answers requests below `/api/NAME/`.
    pub api: bool,
    /// `verifier`: it proves who sent a request.
    pub verifier: bool,
}

impl Exports {
    /// Those among the names that a component exports.
    pub(crate) fn among(names: &[String]) -> Self {
        let has = |interface: &str| {
            let prefix = format!("{PACKAGE_ANY}{interface}@1.");
            names.iter().any(|name| name.starts_with(&prefix))
        };
        Self { lifecycle: has("lifecycle"), api: has("api"), verifier: has("verifier") }
    }
}

/// Where the functions of each are, so that a call looks nothing up by name.
pub(crate) struct Interfaces {
    pub(crate) handler: handler::GuestIndices,
    lifecycle: Option<lifecycle::GuestIndices>,
    api: Option<api::GuestIndices>,
    verifier: Option<verifier::GuestIndices>,
}

impl Interfaces {
    /// Looks for each.
    ///
    /// # Errors
    /// If the handler is not there, or one of them lacks a function.
    pub(crate) fn find(pre: &InstancePre<Guest>) -> Result<Self, LoadFault> {
        let has = |name| pre.component().get_export_index(None, name).is_some();
        let handler = handler::GuestIndices::new(pre).map_err(wrong(HANDLER))?;
        let lifecycle = has(LIFECYCLE).then(|| lifecycle::GuestIndices::new(pre));
        let api = has(API).then(|| api::GuestIndices::new(pre));
        let verifier = has(VERIFIER).then(|| verifier::GuestIndices::new(pre));
        Ok(Self {
            handler,
            lifecycle: lifecycle.transpose().map_err(wrong(LIFECYCLE))?,
            api: api.transpose().map_err(wrong(API))?,
            verifier: verifier.transpose().map_err(wrong(VERIFIER))?,
        })
    }

    pub(crate) fn exports(&self) -> Exports {
        Exports {
            lifecycle: self.lifecycle.is_some(),
            api: self.api.is_some(),
            verifier: self.verifier.is_some(),
        }
    }

    /// Checks the types of all that are there. Answers the lifecycle, which is called once.
    pub(crate) fn check(
        &self,
        store: &mut Store<Guest>,
        instance: &Instance,
    ) -> Result<Option<lifecycle::Guest>, LoadFault> {
        self.handler.load(&mut *store, instance).map_err(wrong(HANDLER))?;
        if let Some(api) = &self.api {
            api.load(&mut *store, instance).map_err(wrong(API))?;
        }
        if let Some(verifier) = &self.verifier {
            verifier.load(&mut *store, instance).map_err(wrong(VERIFIER))?;
        }
        let lifecycle = self.lifecycle.as_ref().map(|found| found.load(&mut *store, instance));
        lifecycle.transpose().map_err(wrong(LIFECYCLE))
    }

    pub(crate) fn api(&self) -> wasmtime::Result<&api::GuestIndices> {
        self.api.as_ref().ok_or_else(|| absent(API))
    }

    pub(crate) fn verifier(&self) -> wasmtime::Result<&verifier::GuestIndices> {
        self.verifier.as_ref().ok_or_else(|| absent(VERIFIER))
    }
}

/// The gateway looks at [`Exports`] before it calls; this is for one that did not.
fn absent(interface: &str) -> wasmtime::Error {
    wasmtime::format_err!("it does not export `{interface}`")
}

fn wrong(interface: &'static str) -> impl Fn(wasmtime::Error) -> LoadFault {
    move |error| LoadFault::WrongExport { interface, cause: format!("{error:#}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exports_are_told_by_name_in_any_version_of_1() {
        let names = ["hookweir:plugin/handler@1.0.0", "hookweir:plugin/api@1.2.0", "x:y/verifier"];
        let found = Exports::among(&names.map(str::to_owned));
        assert_eq!(found, Exports { api: true, ..Exports::default() });
    }
}
