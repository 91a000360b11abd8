//! `hookweir plugin try`: recorded events through a new version, beside the live one, and where they differ.
//!
//! It looks at the store and at the kept versions itself and asks no gateway: both are run by the kit in this
//! process, so a comparison costs a gateway nothing but the machine's time, needs no room in its pool, and can be
//! made of a copy of the store. Both versions get the same event, time, chance, state and answers: those that the
//! recorded attempt was given, where they were kept. What each writes is seen by its own later events and goes
//! with the process. Nothing is sent.

mod did;
mod differ;
mod progress;
mod recorded;
mod report;
mod stage;

use std::path::{Path, PathBuf};

use hookweir_event::{EventId, EventType, Origin, Pattern, PluginName, Timestamp};
use hookweir_store::{Filter, Reader};

use self::{
    did::{Answerer, Asked},
    differ::{Difference, Kind, What, differences},
    progress::Progress,
    recorded::{Chosen, Found, Recorded, Store},
    report::{Compared, Tally, unlike},
    stage::Stage,
};
use super::trial;
use crate::{
    cli::{Exit, config_fault, run::on_signal, runtime, say, tell},
    config::{Config, Surroundings},
    tasks::Stop,
};

/// How many events are run if nothing is said.
const LAST: usize = 1000;
/// How many differences are shown without `--all`.
const SHOWN: u64 = 20;

const EXAMPLES: &str = "\
Examples:
  hookweir plugin try payments.wasm --last 1000
  hookweir plugin try payments.wasm --since 2026-11-01T00:00:00Z --match 'stripe/*' --all --json
  hookweir plugin try payments.wasm --fresh-state --answers answers.json --answer-all 200

Answers are written as in an event file; a line that ends in * stands for all that begin so:
  { \"POST https://api.example.com/v1\": { \"status\": 201, \"body\": { \"id\": 1 } },
    \"GET https://api.example.com/*\": { \"status\": 404 } }

A request is answered with what the same one was answered then, by method and URL, where the config has the
plugin's record_requests; else by --answers, else by --answer-all. What nobody answers is denied, and a
difference.

Events on which the live version does not do again what it did then, since the state or the answers of then are
gone, are not comparable, and told apart.

Exit codes: 0 nothing differs, 1 something does, 2 it could not be told, since no event was comparable or
it was interrupted, 64 the config is bad.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    /// The new version. Its name is the plugin's.
    file: PathBuf,
    /// The plugin, if the file has another name.
    #[arg(long, value_name = "NAME")]
    plugin: Option<PluginName>,
    /// What it is compared with, if not the live version: a kept one, by its first digits, or a file.
    #[arg(long, value_name = "VERSION|FILE")]
    against: Option<String>,
    /// The newest so many events [default: 1000, if nothing else says which].
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    last: Option<u32>,
    /// Events received then or later, such as 2026-01-31T12:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Events received before.
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
    /// Events of this source; `plugin.NAME` for outputs.
    #[arg(long)]
    source: Option<Origin>,
    /// Events of exactly this type.
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<EventType>,
    /// Events of this pattern, such as `stripe/payment_intent.*`.
    #[arg(long = "match", value_name = "PATTERN")]
    pattern: Option<Pattern>,
    /// These events alone.
    #[arg(long, value_name = "ID,..", value_delimiter = ',', conflicts_with_all = ["last", "since", "until"])]
    ids: Vec<EventId>,
    /// Begin with no state, in place of what there is now.
    #[arg(long)]
    fresh_state: bool,
    /// What requests are answered with that are not recorded.
    #[arg(long, value_name = "FILE.json")]
    answers: Option<PathBuf>,
    /// The status of the empty answer to every other request.
    #[arg(long, value_name = "STATUS", value_parser = clap::value_parser!(u16).range(100..1000))]
    answer_all: Option<u16>,
    /// Other log lines are a difference too.
    #[arg(long)]
    logs: bool,
    /// Show all differences, not the first 20 alone, and those on events that are not comparable.
    #[arg(long)]
    all: bool,
    /// End with 0 whatever differs.
    #[arg(long)]
    allow_differences: bool,
    /// Print JSON: an object a line for each event shown, and one for the sum at the end.
    #[arg(long)]
    json: bool,
    /// The store's file, if not the one that the config names: a copy, say.
    #[arg(long, value_name = "FILE")]
    db: Option<PathBuf>,
    /// The config file, whose grant and limits count.
    #[arg(long, default_value = "gateway.toml")]
    config: PathBuf,
}

fn time(text: &str) -> Result<Timestamp, String> {
    let at: jiff::Timestamp = text.parse().map_err(|error| format!("{error}"))?;
    Ok(Timestamp::from_millis(at.as_millisecond()))
}

pub(super) fn run(args: &Args) -> Exit {
    let config = match Config::load(&args.config, &Surroundings::real()) {
        Ok(config) => config,
        Err(error) => return config_fault(&error),
    };
    match compare(args, &config) {
        Ok((tally, _)) if tally.different > 0 && !args.allow_differences => Exit::Failed,
        // Nothing differs of what was looked at, which is not what was asked.
        Ok((_, Interrupted(true))) => Exit::Unknown,
        Ok((tally, _)) if tally.same + tally.different == 0 => Exit::Unknown,
        Ok(_) => Exit::Ok,
        Err(reason) => {
            tell(format_args!("failed to try it: {reason}"));
            Exit::Unknown
        }
    }
}

/// Whether it ended before all was looked at.
struct Interrupted(bool);

fn compare(args: &Args, config: &Config) -> Result<(Tally, Interrupted), String> {
    let runtime = runtime().map_err(|error| format!("failed to start threads: {error}"))?;
    let stop = {
        let _context = runtime.enter();
        on_signal()
    };
    let plugin = match &args.plugin {
        Some(plugin) => plugin.clone(),
        None => trial::name(&args.file).map_err(|error| {
            format!("the name of {} is no plugin's: {error}", args.file.display())
        })?,
    };
    let reader = match &args.db {
        Some(copy) => Reader::at(copy),
        None => Reader::of(&config.store.location()).map_err(|error| error.to_string())?,
    };
    let store = Store { reader, plugin };
    let ids = runtime.block_on(store.ids(&chosen(args)))?;
    if ids.is_empty() {
        return Err(format!("{} has no such events", store.plugin));
    }
    let stage = Stage::set(args, config, &store, &runtime)?;
    if !args.json {
        say(stage.head(args.fresh_state));
    }
    let mut trying = Trying {
        args,
        stage,
        tally: Tally::default(),
        progress: Progress::new(ids.len()),
        shown: 0,
    };
    let interrupted = trying.all(&ids, &stop, |id| runtime.block_on(store.look(id)))?;
    trying.end(interrupted);
    Ok((trying.tally, Interrupted(interrupted)))
}

fn chosen(args: &Args) -> Chosen {
    let said = args.since.is_some() || args.until.is_some() || !args.ids.is_empty();
    let last = args.last.map(|last| usize::try_from(last).unwrap_or(usize::MAX));
    let filter = Filter {
        origin: args.source.clone(),
        event_type: args.event_type.clone(),
        pattern: args.pattern.clone(),
        since: args.since,
        until: args.until,
        ..Filter::default()
    };
    Chosen { filter, last: last.or((!said).then_some(LAST)), ids: args.ids.clone() }
}

/// What `--against` names, if it is a file.
fn as_file(against: &str) -> Option<&Path> {
    let path = Path::new(against);
    path.is_file().then_some(path)
}

/// The comparison under way.
struct Trying<'a> {
    args: &'a Args,
    stage: Stage,
    tally: Tally,
    progress: Progress,
    /// Events that were shown.
    shown: u64,
}

impl Trying<'_> {
    /// One event after another. Whether it was interrupted.
    fn all(
        &mut self,
        ids: &[EventId],
        stop: &Stop,
        look: impl Fn(EventId) -> Result<Found, String>,
    ) -> Result<bool, String> {
        for (done, id) in ids.iter().enumerate() {
            if stop.is_asked() {
                return Ok(true);
            }
            match look(*id)? {
                Found::Recorded(recorded) => self.one(*recorded)?,
                Found::NotRun => self.tally.not_run += 1,
                Found::Lost => self.tally.lost += 1,
            }
            self.progress.at(done + 1);
        }
        Ok(false)
    }

    fn one(&mut self, recorded: Recorded) -> Result<(), String> {
        let ([live, candidate], unanswered) = {
            let ran = self.stage.run(&recorded)?;
            self.tally.add_costs(&ran[0], &ran[1]);
            let both = ran.each_ref().map(did::Did::from);
            let alone = |asked: &Asked| asked.by == Answerer::Nobody;
            let unanswered = both.iter().any(|did| did.requests.iter().any(alone));
            (both, unanswered)
        };
        let mut differences = differences(&live, &candidate, self.args.logs);
        if !self.stage.is_subscribed(&recorded.event) {
            let what = What::Gone("the candidate would not be given this event".to_owned());
            let one = Difference { kind: Kind::Subscription, of: String::new(), what };
            differences.insert(0, one);
        }
        let unlike = unlike(&recorded, &live);
        let sent = candidate.requests;
        let compared = Compared { recorded, live, unlike, differences, sent, unanswered };
        self.tally.add(&compared);
        self.show(&compared);
        Ok(())
    }

    fn show(&mut self, compared: &Compared) {
        let Compared { unlike, differences, .. } = compared;
        let meant = if self.args.all {
            unlike.is_some() || !differences.is_empty()
        } else {
            unlike.is_none() && !differences.is_empty() && self.shown < SHOWN
        };
        if !meant {
            return;
        }
        self.shown += 1;
        self.progress.clear();
        if self.args.json {
            say(compared.json());
        } else {
            compared.lines(self.stage.live_version()).into_iter().for_each(say);
        }
    }

    fn end(&mut self, interrupted: bool) {
        self.progress.clear();
        if self.args.json {
            let mut sum = self.stage.json();
            sum["interrupted"] = interrupted.into();
            sum["shown"] = self.shown.into();
            sum["sum"] = self.tally.json();
            say(sum);
            return;
        }
        let hidden = self.tally.different.saturating_sub(self.shown);
        if hidden > 0 {
            say(format_args!("{hidden} more differ; --all shows them"));
        }
        if interrupted {
            say("interrupted; so far:");
        }
        self.tally.lines().into_iter().for_each(say);
    }
}
