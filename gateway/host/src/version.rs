//! A version: one plugin file, compiled, linked, tried, ready to run.

use std::{fmt, sync::Arc};

use hookweir_event::{Digest, PluginName};
use serde_json::{Map, Value};
use wasmtime::component::InstancePre;

use crate::{
    Exports, Limits, Wants, egress::Egress, guest::Guest, interfaces::Interfaces, warm::Warm,
};

/// One version of a plugin. Cheap to clone; the compiled code goes when the last clone goes, so
/// running attempts finish on the version they started with.
#[derive(Clone)]
pub struct Version {
    pub(crate) inner: Arc<Inner>,
    /// Apart, since what is kept there holds the rest.
    pub(crate) warm: Arc<Warm>,
}

pub(crate) struct Inner {
    pub(crate) name: PluginName,
    pub(crate) digest: Digest,
    pub(crate) wants: Wants,
    pub(crate) limits: Limits,
    pub(crate) config: Map<String, Value>,
    /// The same, written once.
    pub(crate) config_json: String,
    pub(crate) egress: Arc<Egress>,
    pub(crate) pre: InstancePre<Guest>,
    pub(crate) interfaces: Interfaces,
    /// The host counts versions by it.
    pub(crate) _counted: Arc<()>,
}

impl Version {
    /// The plugin's name.
    pub fn name(&self) -> &PluginName {
        &self.inner.name
    }

    /// The digest of the file's bytes: which version it is.
    pub fn digest(&self) -> Digest {
        self.inner.digest
    }

    /// What it wants.
    pub fn wants(&self) -> &Wants {
        &self.inner.wants
    }

    /// Which of the optional interfaces it exports.
    pub fn exports(&self) -> Exports {
        self.inner.interfaces.exports()
    }

    /// What one attempt may use.
    pub fn limits(&self) -> &Limits {
        &self.inner.limits
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version({} {})", self.inner.name, self.inner.digest.short())
    }
}
