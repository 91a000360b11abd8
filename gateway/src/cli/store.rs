//! `hookweir store`: looks for damage, copies the store while the gateway runs, and puts a copy back.

use std::path::{Path, PathBuf};

use hookweir_store::care::{self, CareError};

use super::{Exit, config_fault, say, tell};
use crate::config::{Contact, Surroundings};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Read all of the store and name what is damaged. The gateway may be running.
    Check(Place),
    /// Copy the store, as it is now, to a new file. The gateway may be running.
    Backup {
        /// The file to make.
        file: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Put a copy in the place of the store, which is kept beside it. The gateway must be stopped.
    ///
    /// What was accepted after the copy was made is in the old store alone.
    Restore {
        /// The copy.
        file: PathBuf,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Place {
    /// The store's file, if not the one that the config names.
    #[arg(long, value_name = "FILE")]
    db: Option<PathBuf>,
    /// The config file.
    #[arg(long, default_value = "gateway.toml")]
    config: PathBuf,
}

pub(super) fn run(command: &Command) -> Exit {
    let (Command::Check(place) | Command::Backup { place, .. } | Command::Restore { place, .. }) =
        command;
    let store = match &place.db {
        Some(db) => db.clone(),
        None => match Contact::load(&place.config, &Surroundings::real(), false) {
            Ok(contact) => contact.store,
            Err(error) => return config_fault(&error),
        },
    };
    let done = match command {
        Command::Check(_) => check(&store),
        Command::Backup { file, .. } => back_up(&store, file),
        Command::Restore { file, .. } => restore(file, &store),
    };
    done.unwrap_or_else(|error| {
        tell(format_args!("failed: {error}"));
        Exit::Failed
    })
}

fn check(store: &Path) -> Result<Exit, CareError> {
    let damage = care::check(store)?;
    if damage.is_empty() {
        say(format_args!("{} is sound", store.display()));
        return Ok(Exit::Ok);
    }
    damage.iter().for_each(say);
    tell(format_args!("{} is damaged; restore a copy, or ask for help", store.display()));
    Ok(Exit::Failed)
}

fn back_up(store: &Path, file: &Path) -> Result<Exit, CareError> {
    let mut told = 0;
    let bytes = care::back_up(store, file, &mut |progress| {
        let tenths = progress.done * 10 / progress.all.max(1);
        // A small store is copied in one look, and there is nothing to wait for.
        if tenths > told && tenths < 10 {
            told = tenths;
            tell(format_args!("{tenths}0 % copied"));
        }
    })?;
    say(format_args!("{} holds {} in {bytes} bytes, checked", file.display(), store.display()));
    Ok(Exit::Ok)
}

fn restore(file: &Path, store: &Path) -> Result<Exit, CareError> {
    let old = care::restore(file, store)?;
    say(format_args!("{} is in the place of {}", file.display(), store.display()));
    if let Some(old) = old {
        say(format_args!("the old store is {}", old.display()));
    }
    Ok(Exit::Ok)
}
