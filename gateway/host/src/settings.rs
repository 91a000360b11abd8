//! The numbers: of the whole host ([`Settings`]), and of one plugin ([`Limits`], in its [`Grant`]).

use std::{collections::BTreeMap, path::PathBuf, thread::available_parallelism, time::Duration};

use serde_json::{Map, Value};

use crate::egress::{GATHERED_MAX, HttpGrant, HttpLimits, SecretGrant};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// The most that [`Limits::core_instances`] may allow: a component's share of the pool.
pub const CORE_INSTANCES_MAX: u32 = 32;
/// The most that [`Limits::table_elements`] may allow: each of eight tables has its share of the pool.
pub const TABLE_ELEMENTS_MAX: u64 = 8 * TABLE_MAX as u64;
/// A plugin has too few functions for more to be of use, and each may take hundreds of MiB.
const COMPILE_THREADS_MAX: usize = 4;
/// Elements that one table may have.
pub(crate) const TABLE_MAX: usize = 100_000;

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
    /// Bytes of memory that those may have together; one that does not fit is not kept.
    pub warm_memory: u64,
    /// The most memory that any plugin's limit may allow; a pool slot's size.
    pub memory_max: u64,
    /// Threads that compile, one plugin after another.
    pub compile_threads: usize,
    /// Bytes of a guest's stack. One number for all plugins: the engine's, and there is one engine.
    pub stack: usize,
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
            warm_memory: 1024 * MIB,
            // Components from interpreters (JavaScript, Python) ask for a few hundred MiB.
            memory_max: 512 * MIB,
            // At low priority, so that events lose little; a swap takes half as long on two as on one.
            compile_threads: available_parallelism()
                .map_or(1, usize::from)
                .min(COMPILE_THREADS_MAX),
            // wasmtime's own default, deep enough for recursive parsers.
            stack: 512 << 10,
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
    /// Elements in all its tables together.
    pub table_elements: u64,
    /// Core instances: a plugin of Rust is three, one of an interpreter some twenty.
    pub core_instances: u32,
    /// Handles of resources that it may hold at a time: streams, pollables, requests of wasi:http.
    pub handles: usize,
    /// Bytes that it may hand over at once: in a host call, or as its answer. `None`: what its outputs
    /// and requests need.
    pub host_call_bytes: Option<u64>,
    /// Random bytes in one call, by the contract or by WASI.
    pub random_bytes: u32,
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
    /// What it may be, before it is called at all.
    pub module: ModuleLimits,
}

/// How large a plugin's file may be, and what it may cost to compile it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleLimits {
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes of code in one function: compile time grows faster than its size.
    pub function_bytes: u64,
    /// How long its compilation may take.
    pub compile_time: Duration,
}

impl Default for ModuleLimits {
    fn default() -> Self {
        Self {
            // A JavaScript engine is 8 MiB, Python about 30.
            bytes: 64 * MIB,
            // The largest interpreter loops have some 200 KiB. Of those made to hurt the compiler, one of
            // 1 MiB took 2.2 s and 390 MiB, and half of each at half the size.
            function_bytes: 512 * KIB,
            // JavaScript's and Python's take some 10 s on two slow cores; with the compiler less optimised, as in
            // tests, beside other work, 38 s were seen.
            compile_time: Duration::from_secs(60),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 64 * MIB,
            // Interpreters have some ten thousand functions.
            table_elements: 100_000,
            core_instances: CORE_INSTANCES_MAX,
            // The engine's own default of 100,000 costs the host megabytes.
            handles: 1000,
            host_call_bytes: None,
            // As the contract says.
            random_bytes: 64 << 10,
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
            module: ModuleLimits::default(),
        }
    }
}

impl Limits {
    /// Bytes that one attempt may take: its linear memories, and what is kept of its requests until it is settled.
    pub fn attempt_bytes(&self) -> u64 {
        let recorded = self.http.record.map_or(0, |record| record.bytes);
        self.memory.saturating_add(recorded)
    }

    /// Bytes that it may hand over at once.
    pub(crate) fn at_once(&self) -> usize {
        // Twice the outputs, so that one that is over their limit gets a message that says so; all bodies
        // of one `send-all`; and room for what is around them.
        let needed = || {
            let outputs = self.output_bytes.saturating_mul(2);
            outputs.max(self.http.request_bytes).max(GATHERED_MAX).saturating_add(MIB)
        };
        let bytes = self.host_call_bytes.unwrap_or_else(needed);
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_without_an_answer_ends_before_its_attempt() {
        let limits = Limits::default();
        assert!(limits.http.timeout <= limits.wall / 2, "{limits:?}");
    }
}
