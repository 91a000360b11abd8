//! `hookweir store`: looks for damage, backs the store up while the gateway runs, and puts a backup back; and moves what is
//! in a file into a database. For a store that is in one, PostgreSQL has programs of its own.

use std::path::{Path, PathBuf};

use hookweir_store::{
    Copied, CopyOutcome, CopyProgress, CopyStage, Copying, Location, PostgresDatabase, SqliteFile,
    care::{self, CareError},
};

use super::{Exit, config_fault, say, tell};
use crate::config::{Config, Contact, Surroundings};

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
    /// Copy everything from a file into a database, and see that it is the same. The gateway must be stopped.
    ///
    /// The file stays as it is. Killed, or cut off, the same command goes on where it was. No gateway opens the copy
    /// until it is whole. The other way, from a database into a file, is not there.
    Copy(CopyArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct CopyArgs {
    /// The store to copy: sqlite:PATH.
    from: String,
    /// The database to copy it into: postgres://USER@HOST/DATABASE.
    ///
    /// Others on this machine can see a password that is in it: --to-config FILE hides it.
    #[arg(required_unless_present = "to_config", conflicts_with = "to_config")]
    to: Option<String>,
    /// Copy it into the database that this config's [store] names.
    #[arg(long, value_name = "FILE")]
    to_config: Option<PathBuf>,
    /// The schema of the database, as `store.schema`.
    #[arg(long, value_name = "NAME", conflicts_with = "to_config", default_value = "hookweir")]
    schema: String,
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
    match command {
        Command::Check(place) => in_file(place, check),
        Command::Backup { file, place } => in_file(place, |store| back_up(store, file)),
        Command::Restore { file, place } => in_file(place, |store| restore(file, store)),
        Command::Copy(args) => copy(args),
    }
}

/// Sees to the store in the file that is meant.
fn in_file(place: &Place, see_to: impl FnOnce(&Path) -> Result<Exit, CareError>) -> Exit {
    let store = match &place.db {
        Some(db) => db.clone(),
        None => match Contact::load(&place.config, &Surroundings::real(), false) {
            Ok(Contact { store: Some(file), .. }) => file,
            Ok(_) => return not_a_file(),
            Err(error) => return config_fault(&error),
        },
    };
    see_to(&store).unwrap_or_else(|error| {
        tell(format_args!("failed: {error}"));
        Exit::Failed
    })
}

/// What is made for a file says who does it for a database.
fn not_a_file() -> Exit {
    tell(
        "failed: the store is in a database, whose own programs see to it: pg_dump copies it while gateways run, \
         pg_restore puts a copy back while none does, pg_amcheck looks for damage",
    );
    Exit::Failed
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

fn copy(args: &CopyArgs) -> Exit {
    let from = match args.from.strip_prefix("sqlite:").filter(|path| !path.is_empty()) {
        Some(path) => Location::from(SqliteFile::new(path)),
        None if args.from.starts_with("postgres") => {
            Location::from(PostgresDatabase::new(&args.from))
        }
        None => {
            tell(
                "failed: the store to copy is named as sqlite:PATH, such as sqlite:data/hookweir.db",
            );
            return Exit::Failed;
        }
    };
    let (to, place) = match target(args) {
        Ok(target) => target,
        Err(exit) => return exit,
    };
    let mut told = (CopyStage::Copying, 0);
    match Copying::new(from, to).run(&mut |progress| tell_progress(progress, &mut told)) {
        Ok(CopyOutcome::Whole(copied)) => {
            let Copied { events, deliveries, attempts, claims, entries } = copied;
            say(format_args!(
                "{place} holds all of {}: {events} events, {deliveries} deliveries, {attempts} attempts, {claims} dedupe \
                 keys, {entries} entries of state; both were read again, and are the same",
                args.from
            ));
            Exit::Ok
        }
        Ok(CopyOutcome::WasWhole) => {
            say(format_args!("{place} holds all of {} already", args.from));
            Exit::Ok
        }
        Err(error) => {
            tell(format_args!("failed: {error}"));
            Exit::Failed
        }
    }
}

/// Where to, and how that is said: without a password.
fn target(args: &CopyArgs) -> Result<(Location, String), Exit> {
    let Some(file) = &args.to_config else {
        let url = args.to.as_deref().unwrap_or_default();
        if !url.starts_with("postgres") {
            tell("failed: it is copied into a database of PostgreSQL's, postgres://..");
            return Err(Exit::Failed);
        }
        let database =
            PostgresDatabase { schema: args.schema.clone(), ..PostgresDatabase::new(url) };
        if database.has_password() {
            tell(
                "others on this machine can see the password in the address; --to-config FILE hides it",
            );
        }
        let place = format!("{database}, schema {}", database.schema);
        return Ok((database.into(), place));
    };
    let config = Config::load(file, &Surroundings::real()).map_err(|error| config_fault(&error))?;
    Ok((config.store.location(), config.store.to_string()))
}

/// Says each tenth of each stage. A small store is through before there is anything to wait for.
fn tell_progress(progress: CopyProgress, told: &mut (CopyStage, u64)) {
    let CopyProgress { stage, done, all } = progress;
    let tenths = done * 10 / all.max(1);
    if (stage, tenths) == *told || tenths >= 10 {
        return;
    }
    *told = (stage, tenths);
    let what = match stage {
        CopyStage::Copying => "copied",
        CopyStage::Reading => "of the store read again",
        CopyStage::Verifying => "of the copy read again",
    };
    if tenths > 0 {
        tell(format_args!("{tenths}0 % {what}"));
    }
}
