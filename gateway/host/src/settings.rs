//! The numbers: of the whole host ([`Settings`]), and of one plugin ([`Limits`], in its [`Grant`]).

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde_json::{Map, Value};

use crate::egress::{HttpGrant, HttpLimits, SecretGrant};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// What all plugins share.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where compiled code is kept between runs; made with mode 0700, since what lies in it is run
    /// as native code. `None`: every start compiles.
    pub cache: Option<PathBuf>,
    /// How many attempts can have an instance at the same time. More than that are
    /// [`crate::NotRun::PoolExhausted`].
    pub instances: u32,
    /// How many requests plugins can answer at the same time, in instances of their own: events can't
    /// starve them, nor they events.
    pub api_instances: u32,
    /// How many requests plugins can verify at the same time, in instances of their own.
    pub verifier_instances: u32,
    /// How many instances are kept between calls, of all plugins whose limits ask for it.
    pub warm_instances: u32,
    /// The most memory that any plugin's limit may allow; a pool slot's size.
    pub memory_max: u64,
    /// How many plugins compile at the same time.
    pub compile_threads: usize,
    /// How long the compilation of one plugin may take.
    pub compile_time_max: Duration,
    /// The largest file that is looked at.
    pub file_max: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cache: None,
            // Above the 100 concurrent attempts that a plugin may have by default.
            instances: 128,
            // Twice what one plugin may have by default.
            api_instances: 32,
            // Two for each of eight sources; each is done within 50 ms of CPU time.
            verifier_instances: 16,
            // Each holds its memory for as long as nobody calls it.
            warm_instances: 16,
            // Components from interpreters (JavaScript, Python) ask for a few hundred MiB.
            memory_max: 512 * MIB,
            // One at a time leaves the other cores to events.
            compile_threads: 1,
            // A large interpreter takes some 10 s on a slow core.
            compile_time_max: Duration::from_secs(60),
            // A JavaScript engine is 8 MiB, Python about 30.
            file_max: 64 * MIB,
        }
    }
}

/// What the operator allows one plugin.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Grant {
    /// Its limits.
    pub limits: Limits,
    /// Its `config`, which it reads by key or whole.
    pub config: Map<String, Value>,
    /// Where its requests may go. `None`: the operator has not said; nowhere.
    pub http: Option<HttpGrant>,
    /// Its secrets, by name.
    pub secrets: BTreeMap<String, SecretGrant>,
}

/// What one attempt may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in all its linear memories together.
    pub memory: u64,
    /// CPU time in the guest and in host calls.
    pub cpu: Duration,
    /// Time from start to end, waits included.
    pub wall: Duration,
    /// The same for a request that it answers: somebody waits.
    pub api_wall: Duration,
    /// Bytes of all its log lines; what is beyond is dropped and counted.
    pub log_bytes: usize,
    /// How many log lines; what is beyond is dropped and counted.
    pub log_lines: usize,
    /// Bytes of one log line; what is beyond is cut.
    pub log_line_bytes: usize,
    /// How many outputs.
    pub outputs: usize,
    /// Bytes of all its outputs together.
    pub output_bytes: u64,
    /// Bytes of all keys and values of the plugin's state.
    pub state_bytes: u64,
    /// Its requests.
    pub http: HttpLimits,
    /// How many calls one instance may serve. At 1 each call has a fresh one, and nothing that one event
    /// left in memory is there for the next.
    pub reuse: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 64 * MIB,
            cpu: Duration::from_millis(500),
            wall: Duration::from_secs(10),
            api_wall: Duration::from_secs(5),
            log_bytes: 64 * 1024,
            // 64 KiB of lines that say something.
            log_lines: 1000,
            // A line is read by a person; a stack trace fits.
            log_line_bytes: 4 * 1024,
            // An event that becomes more than this is a batch job.
            outputs: 100,
            // As much as the largest webhooks (GitHub's, at most 25 MiB) rarely reach.
            output_bytes: 4 * MIB,
            // A million small entries: a database is for more.
            state_bytes: 64 * MIB,
            http: HttpLimits::default(),
            reuse: 1,
        }
    }
}

impl Limits {
    /// For a request that the plugin answers.
    pub(crate) fn for_api(&self) -> Self {
        Self { wall: self.api_wall, ..self.clone() }
    }

    /// For a request that the plugin verifies. A stranger sent it, and every one of its kind costs this
    /// much before anything is known of it, so it is little, and nobody may raise it.
    pub(crate) fn for_verifier(&self) -> Self {
        Self {
            // A MAC takes microseconds, a public key's signature some milliseconds.
            cpu: Duration::from_millis(50),
            // The rest is waiting for a core.
            wall: Duration::from_secs(1),
            output_bytes: 64 * KIB,
            log_lines: 100,
            ..self.clone()
        }
    }
}
