//! Which files a config was made of, and what was in them when they were read: the config's own and those
//! that its secrets name, whether it could be followed or not. One that was refused for want of a
//! secret's file is read again when the file comes.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use hookweir_event::Digest;

use super::{Config, ConfigError, Surroundings};

/// What was read, good or bad.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    files: Vec<PathBuf>,
    digest: Digest,
}

impl Seen {
    /// Reads a config, and remembers what it read, good or bad.
    pub fn load(path: &Path, around: &Surroundings<'_>) -> (Result<Config, ConfigError>, Self) {
        let read = Mutex::new(Vec::new());
        let file = |path: &Path| {
            let text = (around.file)(path);
            let field = field(&text).to_owned();
            read.lock().unwrap_or_else(PoisonError::into_inner).push((path.to_owned(), field));
            text
        };
        let config = Config::load(path, &Surroundings { env: around.env, file: &file });
        let read = read.into_inner().unwrap_or_else(PoisonError::into_inner);
        let (files, texts): (Vec<_>, Vec<_>) = read.into_iter().unzip();
        (config, Self { files, digest: digest(&texts) })
    }

    /// As these files are now.
    fn now(files: Vec<PathBuf>, around: &Surroundings<'_>) -> Self {
        let texts: Vec<_> =
            files.iter().map(|path| field(&(around.file)(path)).to_owned()).collect();
        Self { files, digest: digest(&texts) }
    }

    /// Whether the files say today what they said.
    pub(crate) fn holds(&self, around: &Surroundings<'_>) -> bool {
        *self == Self::now(self.files.clone(), around)
    }

    /// The config's own file.
    pub(crate) fn config(&self) -> &Path {
        self.files.first().map_or(Path::new(""), PathBuf::as_path)
    }

    /// The files, the config's first.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(PathBuf::as_path)
    }
}

/// A file that can't be read is as good as an empty one.
fn field(text: &io::Result<String>) -> &str {
    text.as_deref().unwrap_or_default()
}

fn digest(texts: &[String]) -> Digest {
    let fields: Vec<_> = texts.iter().map(String::as_bytes).collect();
    Digest::of_fields(&fields)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const CONFIG: &str =
        "[sources.a]\npath = \"/a\"\nscheme = \"github\"\nsecrets = [{ file = \"late\" }]\n";

    thread_local! {
        static SECRET: Cell<Option<&'static str>> = const { Cell::new(None) };
    }

    fn around() -> Surroundings<'static> {
        Surroundings {
            env: &|_| None,
            file: &|path| match path.file_name().and_then(|name| name.to_str()) {
                Some("gateway.toml") => Ok(CONFIG.to_owned()),
                _ => SECRET.get().map(str::to_owned).ok_or(io::ErrorKind::NotFound.into()),
            },
        }
    }

    #[test]
    fn the_files_of_a_config_that_is_refused_are_remembered_too() {
        let (config, seen) = Seen::load(Path::new("/x/gateway.toml"), &around());
        assert!(config.is_err());
        assert!(seen.holds(&around()));
        let files: Vec<_> = seen.files().collect();
        assert_eq!(files, [Path::new("/x/gateway.toml"), Path::new("/x/late")]);
        SECRET.set(Some("here-at-last"));
        assert!(!seen.holds(&around()));
        let (config, seen) = Seen::load(Path::new("/x/gateway.toml"), &around());
        let config = config.unwrap();
        assert!(seen.holds(&around()));
        let files = [Path::new("/x/gateway.toml")].into_iter().map(Path::to_owned);
        let files = files.chain(config.secret_files).collect();
        assert_eq!(Seen::now(files, &around()), seen);
    }
}
