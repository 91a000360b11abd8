//! A version: one plugin file, compiled, linked, tried, ready to run.

use std::{fmt, sync::Arc};

use hookweir_event::{Digest, PluginName};
use serde_json::{Map, Value};
use wasmtime::component::InstancePre;

use crate::{Exports, Limits, Wants, egress::Egress, guest::Guest, interfaces::Interfaces};

/// One version of a plugin. Cheap to clone; the compiled code goes when the last clone goes, so
/// running attempts finish on the version they started with.
#[derive(Clone)]
pub struct Version(pub(crate) Arc<Inner>);

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
}

impl Version {
    /// The plugin's name.
    pub fn name(&self) -> &PluginName {
        &self.0.name
    }

    /// The digest of the file's bytes: which version it is.
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// What it wants.
    pub fn wants(&self) -> &Wants {
        &self.0.wants
    }

    /// Which of the optional interfaces it exports.
    pub fn exports(&self) -> Exports {
        self.0.interfaces.exports()
    }

    /// What one attempt may use.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version({} {})", self.0.name, self.0.digest.short())
    }
}
