//! Why there is no plugin to run.

use std::{io, path::PathBuf};

use hookweir_event::{NameError, PluginName};
use hookweir_host::{HostError, LoadFault};
use thiserror::Error;

/// Why a file did not become a plugin that can be run.
#[derive(Debug, Error)]
pub enum KitError {
    /// The file can't be read.
    #[error("failed to read {}: {source}; is it built? `hookweir plugin build` does", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file's stem, which is the plugin's name, is none.
    #[error("the name of {} is not a plugin's: {source}", path.display())]
    Name {
        /// The file.
        path: PathBuf,
        /// Why.
        source: NameError,
    },
    /// The engine does not start.
    #[error("failed to start the engine: {0}")]
    Host(#[from] HostError),
    /// The system gives no threads.
    #[error("failed to start threads: {0}")]
    Threads(#[source] io::Error),
    /// The gateway would not load it either.
    #[error("failed to load {plugin}: {fault}")]
    Load {
        /// The plugin.
        plugin: PluginName,
        /// Why.
        fault: LoadFault,
    },
}
