//! The two versions, side by side: each in an engine of its own, with the config's grant, its own copy of the state
//! and the same answers, and one clock that stands where the recorded attempt began.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
};

use hookweir_event::{Clock, Digest, Event, Pattern, StateEntry, Timestamp};
use hookweir_kit::{Canned, OtherBody, Plugin, Ran, Sample};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::{
    super::trial,
    Args, as_file,
    recorded::{Recorded, Store},
};
use crate::{config::Config, reload::kept};

/// What ends a line that stands for all that begin so.
const ANY: char = '*';

pub(super) struct Stage {
    live: Plugin,
    candidate: Plugin,
    /// What the clock shows, in Unix milliseconds.
    now: Arc<AtomicI64>,
    /// What the config has them subscribe to, in place of their own lists.
    subscribe: Option<Vec<Pattern>>,
}

impl Stage {
    /// Loads both.
    pub(super) fn set(
        args: &Args,
        config: &Config,
        store: &Store,
        runtime: &Runtime,
    ) -> Result<Self, String> {
        let name = &store.plugin;
        let live = match args.against.as_deref() {
            Some(against) if as_file(against).is_some() => read(Path::new(against))?,
            which => runtime.block_on(kept(config.store.data_folder(), name, which))?.1,
        };
        let entries = match args.fresh_state {
            true => Vec::new(),
            false => runtime.block_on(store.state())?,
        };
        let answers = match &args.answers {
            None => Vec::new(),
            Some(file) => answers(file)?,
        };
        let now = Arc::new(AtomicI64::new(Clock::system().now().as_millis()));
        let load = |what: &str, bytes: Vec<u8>, entries: Vec<StateEntry>| {
            let shown = now.clone();
            let clock = Clock::new(move || Timestamp::from_millis(shown.load(Relaxed)));
            let mut kit = trial::kit().clock(clock).entries(entries);
            kit = trial::granted(kit, config, Some(name));
            for (line, answer) in &answers {
                kit = match line.strip_suffix(ANY) {
                    Some(beginning) => kit.http_below(beginning, answer.clone()),
                    None => kit.http(line, answer.clone()),
                };
            }
            if let Some(status) = args.answer_all {
                kit = kit.http_below("", Canned::new(status));
            }
            kit.load_bytes(name, bytes).map_err(|fault| format!("{what}: {fault}"))
        };
        let candidate = load("the candidate", read(&args.file)?, entries.clone())?;
        let live = load("the live version", live, entries)?;
        trial::note_needs(&candidate, config);
        let own = config.plugins.get(name);
        let subscribe = own.and_then(|own| own.subscribe.clone());
        Ok(Self { live, candidate, now, subscribe })
    }

    /// What is compared, in words.
    pub(super) fn head(&self, fresh_state: bool) -> String {
        let state = if fresh_state { "no state" } else { "the state of now" };
        let (name, candidate) = (self.candidate.name(), self.candidate.version().short());
        format!(
            "{name} {candidate} against {}, beginning with {state}",
            self.live_version().short()
        )
    }

    /// The same for programs.
    pub(super) fn json(&self) -> Value {
        json!({
            "plugin": self.candidate.name(),
            "live": self.live_version().to_string(),
            "candidate": self.candidate.version().to_string(),
        })
    }

    /// What the candidate is compared with.
    pub(super) fn live_version(&self) -> Digest {
        self.live.version()
    }

    /// Runs an event through both, the live version first.
    pub(super) fn run(&self, recorded: &Recorded) -> Result<[Ran; 2], String> {
        self.now.store(recorded.at.as_millis(), Relaxed);
        let event = hookweir_kit::Event::from(recorded.event.clone()).attempt(recorded.attempt);
        let run = |plugin: &Plugin, other_body| {
            let ran = match &recorded.exchanges {
                Some(then) => plugin.repeat_recorded(&event, then, other_body),
                None => plugin.repeat(&event),
            };
            ran.map_err(|fault| fault.to_string())
        };
        // The live version is to do again what it did; what a candidate sends otherwise is for the operator to answer.
        Ok([run(&self.live, OtherBody::Record)?, run(&self.candidate, OtherBody::Canned)?])
    }

    /// Whether a gateway would give the candidate an event that it gives the live version.
    pub(super) fn is_subscribed(&self, event: &Event) -> bool {
        let wants = |plugin: &Plugin| {
            let patterns = self.subscribe.as_ref().unwrap_or(&plugin.wants().subscribe);
            patterns.iter().any(|pattern| pattern.matches(&event.origin, &event.event_type))
        };
        wants(&self.candidate) || !wants(&self.live)
    }
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    fs::read(file).map_err(|error| format!("{}: {error}", file.display()))
}

fn answers(file: &Path) -> Result<Vec<(String, Canned)>, String> {
    let answers = Sample::parse_answers(&read(file)?);
    let answers =
        answers.map_err(|error| format!("the file of answers, {}, {error}", file.display()))?;
    Ok(answers.into_iter().map(|(line, answer)| (line, Canned::from(answer))).collect())
}
