//! A version: one plugin file, compiled, linked, tried, ready to run.

use std::sync::Arc;

use hookweir_event::{Digest, PluginName};

use crate::{Limits, Wants};

/// One version of a plugin. Cheap to clone; the compiled code goes when the last clone goes, so
/// running attempts finish on the version they started with.
#[derive(Debug, Clone)]
pub struct Version(pub(crate) Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) name: PluginName,
    pub(crate) digest: Digest,
    pub(crate) wants: Wants,
    pub(crate) limits: Limits,
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

    /// What one attempt may use.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }
}
