//! Copies of the versions that went live, so that a bad file in the plugins folder does not take a
//! plugin down at the next start either.

use std::{io, os::unix::fs::PermissionsExt as _, path::PathBuf};

use hookweir_event::PluginName;
use tokio::{fs, io::AsyncWriteExt as _};

/// A folder below the data folder, with one file for each plugin.
#[derive(Debug, Clone)]
pub(super) struct LastGood {
    dir: PathBuf,
}

impl LastGood {
    /// Makes the folder if it is not there, closed to others: what is in it gets run.
    pub(super) async fn open(dir: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&dir).await?;
        fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o700)).await?;
        Ok(Self { dir })
    }

    fn path(&self, plugin: &PluginName) -> PathBuf {
        self.dir.join(format!("{plugin}.wasm"))
    }

    /// The version that was live last, if there was one.
    pub(super) async fn read(&self, plugin: &PluginName) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.path(plugin)).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps a version. A crash leaves the one before or this one, whole.
    pub(super) async fn keep(&self, plugin: &PluginName, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(plugin);
        let aside = self.dir.join(format!(".{plugin}.tmp"));
        let mut file = fs::File::create(&aside).await?;
        file.write_all(bytes).await?;
        file.sync_all().await?;
        drop(file);
        fs::rename(&aside, &path).await?;
        fs::File::open(&self.dir).await?.sync_all().await
    }

    /// Forgets a plugin whose file was removed.
    pub(super) async fn forget(&self, plugin: &PluginName) -> io::Result<()> {
        match fs::remove_file(self.path(plugin)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
