//! Secrets that a provider's handshake brings (Asana, Notion), kept in the data folder: one file for
//! each source. The first handshake is believed, as those providers want it; while there is a
//! secret, no other takes its place. Who wants a new one removes the file and restarts.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use hookweir_event::SourceName;
use hookweir_verify::{KeyFault, Scheme, Secret};
use thiserror::Error;

/// The secret that a source learns, or has learned.
pub struct Learned {
    path: PathBuf,
    scheme: Scheme,
    secret: OnceLock<[Secret; 1]>,
}

/// Why a secret was not kept.
#[derive(Debug, Error)]
pub enum NotKept {
    /// It is none.
    #[error("{0}")]
    Fault(#[from] KeyFault),
    /// Another is kept already.
    #[error("another handshake was first")]
    Known,
    /// It can't be written.
    #[error("failed to write it: {0}")]
    Io(io::Error),
}

impl Learned {
    /// What the source of this name learns.
    pub fn new(data: &Path, source: &SourceName, scheme: &Scheme) -> Self {
        let path = data.join("learned").join(source.as_str());
        Self { path, scheme: scheme.clone(), secret: OnceLock::new() }
    }

    /// Where it is kept, for the operator.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The secret; empty as long as no handshake brought one. Reads the file until there is one.
    pub fn secrets(&self) -> &[Secret] {
        if let Some(secret) = self.secret.get() {
            return secret;
        }
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(path = %self.path.display(), %error, "failed to read a learned secret");
                }
                return &[];
            }
        };
        match self.scheme.secret(&text) {
            Ok(key) => self.secret.get_or_init(|| [Secret::new(key)]),
            Err(fault) => {
                tracing::warn!(path = %self.path.display(), "a learned secret can't be used: {fault}");
                &[]
            }
        }
    }

    /// Keeps what a handshake brought; on disk when this returns.
    ///
    /// # Errors
    /// If there is one already, it is none, or the disk fails.
    pub fn keep(&self, text: &str) -> Result<(), NotKept> {
        self.scheme.secret(text)?;
        self.write(text).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => NotKept::Known,
            _ => NotKept::Io(error),
        })
    }

    /// Written aside and linked to its name, which fails if the name is taken: of two handshakes at
    /// once one is first, and no reader sees half a secret.
    fn write(&self, text: &str) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let aside = tempfile::Builder::new().make_in(folder, |path| {
            File::options().write(true).create_new(true).mode(0o600).open(path)
        })?;
        aside.as_file().write_all(text.as_bytes())?;
        aside.as_file().sync_all()?;
        fs::hard_link(aside.path(), &self.path)?;
        File::open(folder)?.sync_all()
    }
}

impl fmt::Debug for Learned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Learned").field("path", &self.path).finish_non_exhaustive()
    }
}
