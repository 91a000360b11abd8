//! A plugin that is loaded: it is called as a gateway would call it, and what a call changed is kept for the
//! next one.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hookweir_event::{Digest, Exchanges};
use hookweir_host::{Exports, Host, NotRun, Redaction, Request, Response, Sample, Version, Wants};

use crate::{
    Canned, Event, OtherBody, Ran, memory::Memory, record::Record, time::Time, wire::Wire,
};

/// A loaded plugin. Its calls are made one after another; each blocks until it has ended.
pub struct Plugin {
    runtime: tokio::runtime::Runtime,
    host: Host,
    version: Version,
    memory: Arc<Memory>,
    wire: Wire,
    time: Time,
    /// What a gateway did not keep of what was sent.
    redaction: Arc<Redaction>,
    /// What was sent belongs to one call.
    turn: Mutex<()>,
}

impl Plugin {
    pub(crate) fn new(
        runtime: tokio::runtime::Runtime,
        host: Host,
        version: Version,
        memory: Arc<Memory>,
        wire: Wire,
        time: Time,
        redaction: Redaction,
    ) -> Self {
        let (redaction, turn) = (Arc::new(redaction), Mutex::new(()));
        Self { runtime, host, version, memory, wire, time, redaction, turn }
    }

    /// One attempt on an event. If it is done, what it changed of its state is kept; else nothing is.
    ///
    /// # Panics
    /// If this machine could not run it, or inside an async runtime.
    #[track_caller]
    pub fn run(&self, event: &Event) -> Ran {
        match self.try_run(event) {
            Ok(ran) => ran,
            Err(fault) => panic!("the event was not run: {fault}"),
        }
    }

    /// The same.
    ///
    /// # Errors
    /// If this machine could not run it.
    ///
    /// # Panics
    /// Inside an async runtime.
    pub fn try_run(&self, event: &Event) -> Result<Ran, NotRun> {
        self.call(self.host.call(&self.version, &event.event, event.attempt))
    }

    /// The same, with chance and passing time that hang on the event and the attempt alone: what two versions
    /// do with one event can be compared.
    ///
    /// # Errors
    /// If this machine could not run it.
    ///
    /// # Panics
    /// Inside an async runtime.
    pub fn repeat(&self, event: &Event) -> Result<Ran, NotRun> {
        self.call(self.host.repeat(&self.version, &event.event, event.attempt))
    }

    /// The same with the answers that an attempt was given, as its gateway kept them: each request gets what the
    /// same one got then, in their order; `other_body` says who answers one whose body is another than then.
    /// Others are answered as always.
    ///
    /// # Errors
    /// If this machine could not run it.
    ///
    /// # Panics
    /// Inside an async runtime.
    pub fn repeat_recorded(
        &self,
        event: &Event,
        then: &Exchanges,
        other_body: OtherBody,
    ) -> Result<Ran, NotRun> {
        let record = (Record::new(then, other_body), Arc::clone(&self.redaction));
        let call = self.host.repeat(&self.version, &event.event, event.attempt);
        self.call_with(Some(record), call)
    }

    /// One attempt on a sample's event: state and answers are the sample's, and no others.
    ///
    /// # Errors
    /// If this machine could not run it.
    ///
    /// # Panics
    /// Inside an async runtime.
    pub fn replay(&self, sample: &Sample) -> Result<Ran, NotRun> {
        self.memory.clear();
        self.wire.clear();
        for (key, value) in &sample.rehearsal.state {
            self.memory.put(key, value.clone());
        }
        for (line, answer) in &sample.rehearsal.answers {
            self.wire.can(line, Canned::from(answer.clone()));
        }
        self.try_run(&sample.into())
    }

    /// What its `#[api]` answers. What it changed of its state is kept if it answered.
    ///
    /// # Errors
    /// If this machine could not run it. A module without an api ends as one that trapped.
    ///
    /// # Panics
    /// Inside an async runtime.
    pub fn respond(&self, request: &Request) -> Result<Ran<Response>, NotRun> {
        self.call(self.host.respond(&self.version, request))
    }

    fn call<T>(
        &self,
        call: impl Future<Output = Result<hookweir_host::Ran<T>, NotRun>>,
    ) -> Result<Ran<T>, NotRun> {
        self.call_with(None, call)
    }

    fn call_with<T>(
        &self,
        record: Option<(Record, Arc<Redaction>)>,
        call: impl Future<Output = Result<hookweir_host::Ran<T>, NotRun>>,
    ) -> Result<Ran<T>, NotRun> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // What a call that was cut off left.
        self.wire.take();
        self.wire.play(record);
        let ran = self.runtime.block_on(call)?;
        if ran.result.is_ok() {
            self.memory.commit(&ran.state, self.time.now());
        }
        Ok(Ran { ran, requests: self.wire.take(), unasked: self.wire.unasked() })
    }

    /// Moves the clock on: entries of the state expire, and the plugin is told another time.
    pub fn advance(&self, by: Duration) {
        self.time.advance(by);
    }

    /// One more answer for a line; see [`Kit::http`](crate::Kit::http).
    pub fn answer(&self, line: &str, answer: Canned) {
        self.wire.can(line, answer);
    }

    /// What is in its state under a key.
    pub fn stored(&self, key: &str) -> Option<Vec<u8>> {
        self.memory.get(key, self.time.now())
    }

    /// All of its state.
    pub fn state(&self) -> BTreeMap<String, Vec<u8>> {
        self.memory.all(self.time.now())
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.version.name().as_str()
    }

    /// Which version it is: the digest of the file's bytes.
    pub fn version(&self) -> Digest {
        self.version.digest()
    }

    /// What it wants.
    pub fn wants(&self) -> &Wants {
        self.version.wants()
    }

    /// Which of the optional interfaces it exports.
    pub fn exports(&self) -> Exports {
        self.version.exports()
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plugin({} {})", self.name(), self.version().short())
    }
}
