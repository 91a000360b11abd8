//! What is counted on the line itself: plain atomics behind handles that are looked up once, with a source or
//! a plugin. Counting waits for nobody and asks nobody.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use hookweir_event::{Digest, Histogram, Outcome, Spread};

/// How long answers take, in microseconds: from a commit's sync on a fast disk to what a sender waits at most.
const ACKS: &[u64] = &[
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 10_000_000,
];
/// How long plugins run, in microseconds: the default limit is 10 s.
const RUNS: &[u64] = &[
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000, 30_000_000,
];
/// How long events wait and are handled, in milliseconds: retries are seconds to hours apart.
const WAITS: &[u64] = &[
    1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000,
    1_800_000, 3_600_000, 21_600_000, 86_400_000,
];

/// One number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// One more.
    pub fn one(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, number: u64) {
        self.0.fetch_add(number, Relaxed);
    }

    /// How many so far.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What became of a source's requests.
#[derive(Debug)]
pub struct SourceFigures {
    on: bool,
    /// Requests to its path, whatever came of them.
    pub requests: Count,
    /// New events.
    pub accepted: Count,
    /// Requests that were sent before.
    pub duplicates: Count,
    /// Handshakes that were answered.
    pub handshakes: Count,
    /// Bytes of bodies that were read whole.
    pub body_bytes: Count,
    acks: Histogram,
}

impl SourceFigures {
    /// Counts nothing, unless it is on.
    pub fn new(on: bool) -> Self {
        Self {
            on,
            requests: Count::default(),
            accepted: Count::default(),
            duplicates: Count::default(),
            handshakes: Count::default(),
            body_bytes: Count::default(),
            acks: Histogram::new(ACKS),
        }
    }

    /// A request came.
    pub fn requested(&self) {
        if self.on {
            self.requests.one();
        }
    }

    /// Its body was read.
    pub fn read(&self, bytes: usize) {
        if self.on {
            self.body_bytes.add(bytes as u64);
        }
    }

    /// It was a handshake, and answered.
    pub fn shook_hands(&self) {
        if self.on {
            self.handshakes.one();
        }
    }

    /// It was acknowledged, so many microseconds after its headers were there.
    pub fn acknowledged(&self, duplicate: bool, micros: u64) {
        if self.on {
            if duplicate { &self.duplicates } else { &self.accepted }.one();
            self.acks.count(micros);
        }
    }

    /// How long acknowledgements took, in microseconds.
    pub fn acks(&self) -> Spread {
        self.acks.spread()
    }
}

/// What became of a plugin's deliveries, over all its versions.
#[derive(Debug)]
pub struct PluginFigures {
    on: bool,
    /// Requests to its api.
    pub api_requests: Count,
    /// Attempts that ended.
    pub attempts: Count,
    /// Attempts that ended otherwise than done.
    pub failed: Count,
    waits: Histogram,
    handled: Histogram,
}

impl PluginFigures {
    fn new(on: bool) -> Self {
        Self {
            on,
            api_requests: Count::default(),
            attempts: Count::default(),
            failed: Count::default(),
            waits: Histogram::new(WAITS),
            handled: Histogram::new(WAITS),
        }
    }

    /// Somebody asks its api.
    pub fn asked(&self) {
        if self.on {
            self.api_requests.one();
        }
    }

    /// How long deliveries were due before they were leased, in milliseconds.
    pub fn waits(&self) -> Spread {
        self.waits.spread()
    }

    /// How long deliveries took from the commit of their event until they were done or dead, in milliseconds.
    pub fn handled(&self) -> Spread {
        self.handled.spread()
    }
}

/// What became of the attempts of one version of a plugin.
#[derive(Debug)]
pub struct VersionFigures {
    outcomes: [Count; Outcome::ALL.len()],
    runs: Histogram,
    cpu_micros: Count,
    memory_peak: AtomicU64,
}

impl VersionFigures {
    fn new() -> Self {
        Self {
            outcomes: Default::default(),
            runs: Histogram::new(RUNS),
            cpu_micros: Count::default(),
            memory_peak: AtomicU64::new(0),
        }
    }

    /// How many attempts ended so. Those that no version ran are not among them.
    pub fn outcomes(&self) -> impl Iterator<Item = (Outcome, u64)> {
        Outcome::ALL.into_iter().zip(self.outcomes.iter().map(Count::get))
    }

    /// How long attempts ran, in microseconds.
    pub fn runs(&self) -> Spread {
        self.runs.spread()
    }

    /// The CPU time of all attempts.
    pub fn cpu(&self) -> Duration {
        Duration::from_micros(self.cpu_micros.get())
    }

    /// The most bytes that an attempt had.
    pub fn memory_peak(&self) -> u64 {
        self.memory_peak.load(Relaxed)
    }
}

/// What is counted of one plugin: over all versions, and of the live one and the one before it.
#[derive(Debug, Clone)]
pub struct Figures {
    /// Over all versions.
    pub plugin: Arc<PluginFigures>,
    /// The live one first.
    versions: Vec<(Digest, Arc<VersionFigures>)>,
}

/// So many versions are counted apart.
const VERSIONS_MAX: usize = 2;

impl Figures {
    /// Counts nothing, unless it is on.
    pub fn new(on: bool) -> Self {
        Self { plugin: Arc::new(PluginFigures::new(on)), versions: Vec::new() }
    }

    /// Goes on with what was counted before, unless it was switched on or off meanwhile.
    #[must_use]
    pub fn following(&self, before: &Self) -> Self {
        if self.plugin.on == before.plugin.on { before } else { self }.clone()
    }

    /// The same with this version as the live one. What a version before the last one did is forgotten.
    #[must_use]
    pub fn serving(&self, version: Option<Digest>) -> Self {
        let Some(version) = version else { return self.clone() };
        let mut versions = self.versions.clone();
        let known = versions.iter().position(|(known, _)| *known == version);
        let live = known.map(|at| versions.remove(at));
        versions.insert(0, live.unwrap_or_else(|| (version, Arc::new(VersionFigures::new()))));
        versions.truncate(VERSIONS_MAX);
        Self { plugin: self.plugin.clone(), versions }
    }

    /// Of each version that is counted apart.
    pub fn versions(&self) -> &[(Digest, Arc<VersionFigures>)] {
        &self.versions
    }

    /// Where an attempt of this version is counted.
    pub fn attempt(&self, version: Digest) -> AttemptFigures {
        let own = self.versions.iter().find(|(known, _)| *known == version);
        let version = own.filter(|_| self.plugin.on).map(|(_, figures)| figures.clone());
        AttemptFigures { plugin: self.plugin.clone(), version }
    }
}

/// Where an attempt is counted, from its lease to its settlement.
#[derive(Debug)]
pub struct AttemptFigures {
    plugin: Arc<PluginFigures>,
    /// None: nothing is.
    version: Option<Arc<VersionFigures>>,
}

impl AttemptFigures {
    /// It begins, after its delivery was due for so long.
    pub fn waited(&self, time: Duration) {
        if self.plugin.on {
            self.plugin.waits.count(millis(time));
        }
    }

    /// It ran to an end.
    pub fn ran(&self, outcome: Outcome, wall: Duration, cpu: Duration, memory_peak: u64) {
        let Some(version) = &self.version else { return };
        self.plugin.attempts.one();
        if outcome != Outcome::Done {
            self.plugin.failed.one();
        }
        version.outcomes[outcome as usize].one();
        version.runs.count(micros(wall));
        version.cpu_micros.add(micros(cpu));
        // Most are no higher than the highest before: then it is only read.
        if memory_peak > version.memory_peak() {
            version.memory_peak.fetch_max(memory_peak, Relaxed);
        }
    }

    /// Its delivery is done or dead, so long after its event was committed.
    pub fn handled(&self, time: Duration) {
        if self.plugin.on {
            self.plugin.handled.count(millis(time));
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_live_version_and_the_one_before_are_counted_apart() {
        let [one, two, three] = [b"1", b"2", b"3"].map(|bytes| Digest::of(bytes));
        let names = |figures: &Figures| -> Vec<_> {
            figures.versions().iter().map(|(version, _)| *version).collect()
        };
        let figures = Figures::new(true).serving(Some(one));
        let ran = |figures: &Figures, version| {
            let time = Duration::from_millis(1);
            figures.attempt(version).ran(Outcome::Trap, time, time, 5);
        };
        ran(&figures, one);
        let figures = figures.serving(Some(two)).serving(None);
        assert_eq!(names(&figures), [two, one]);
        let back = figures.serving(Some(one));
        assert_eq!(names(&back), [one, two]);
        assert_eq!(back.versions()[0].1.memory_peak(), 5, "it goes on with its own");
        let figures = figures.serving(Some(three));
        assert_eq!(names(&figures), [three, two]);
        ran(&figures, one);
        assert_eq!(figures.plugin.attempts.get(), 1, "forgotten");
    }

    #[test]
    fn what_is_off_counts_nothing() {
        let version = Digest::of(b"1");
        let figures = Figures::new(false).serving(Some(version));
        let attempt = figures.attempt(version);
        attempt.waited(Duration::ZERO);
        attempt.ran(Outcome::Done, Duration::ZERO, Duration::ZERO, 1);
        attempt.handled(Duration::ZERO);
        let counted = figures.plugin.waits().count() + figures.plugin.handled().count();
        assert_eq!((counted, figures.plugin.attempts.get()), (0, 0));
        let source = SourceFigures::new(false);
        source.requested();
        source.acknowledged(false, 1);
        assert_eq!((source.requests.get(), source.acks().count()), (0, 0));
    }
}
