//! The audit log: who had what changed, from where, and how it ended. Lines of JSON in `audit.jsonl` of the
//! data folder, which only its owner reads.
//!
//! A change has two lines. The first is on disk before it is begun, or it is not begun; the second before its answer
//! leaves. One without a second was cut off by the end of the process or of the connection. When the file has
//! reached its size it is renamed to `audit.jsonl.1`, that one to `.2` and so on, and the last is forgotten.

mod brief;
mod file;

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use axum::extract::State;
use hookweir_event::Clock;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::Value;
use tokio::sync::oneshot;
use utoipa::{IntoParams, ToSchema};

pub(super) use self::brief::{brief, brief_text};
use self::file::Log;
use super::{
    Caller, Desk,
    asked::{Limit, Params},
    fault::Refused,
    reply::{Answer, Json, Page, time},
};
use crate::{config::AuditConfig, tasks::run_blocking};

/// Writes the audit log, and reads it.
#[derive(Debug, Clone)]
pub struct Audit {
    log: Arc<Mutex<Log>>,
    clock: Clock,
}

/// A change that somebody asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(super) struct Entry {
    /// Its number; they are counted over restarts.
    id: u64,
    /// When it was asked for.
    #[schema(format = DateTime)]
    at: String,
    /// The name of the token that was shown: `admin` for the one of `admin.token`.
    who: String,
    /// Where the request came from.
    client: String,
    /// What was asked for: an operation of this description.
    verb: String,
    /// What it was to be done to: the names in the path.
    object: Option<String>,
    /// What was said beside that, without secrets; what is long is cut, to 4 KiB of it all.
    #[schema(value_type = Object)]
    parameters: Value,
    /// How it ended. Null: it goes on, or its end is not known, since the process or the connection ended first.
    ended: Option<Ended>,
}

/// How a change ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(super) struct Ended {
    /// When.
    #[schema(format = DateTime)]
    at: String,
    /// The status of the answer.
    status: u16,
    /// The word of the refusal, if it was refused.
    code: Option<String>,
}

/// The second line of a change.
#[derive(Debug, Serialize, Deserialize)]
struct End {
    id: u64,
    ended: Ended,
}

/// What somebody wants to have changed.
#[derive(Debug)]
pub(super) struct Wish {
    /// The operation.
    pub(super) verb: String,
    /// The names in the path.
    pub(super) object: Option<String>,
    /// What was said beside that, without secrets and cut to a size.
    pub(super) parameters: Value,
}

/// A change that is written down, and may be begun.
#[derive(Debug)]
pub(super) struct Begun(u64);

impl Audit {
    /// Goes on with the log in this folder.
    ///
    /// # Errors
    /// If it can't be read or written.
    pub fn open(data: &Path, config: AuditConfig, clock: Clock) -> io::Result<Self> {
        let log = Log::open(data, config)?;
        Ok(Self { log: Arc::new(Mutex::new(log)), clock })
    }

    /// Writes down what is asked for, and returns when it is on disk.
    pub(super) async fn begin(&self, caller: &Caller, wish: Wish) -> io::Result<Begun> {
        let Wish { verb, object, parameters } = wish;
        let (at, who) = (time(self.clock.now()), caller.who.clone());
        let client = caller.client.to_string();
        self.with(move |log| {
            let id = log.next();
            let entry = Entry { id, at, who, client, verb, object, parameters, ended: None };
            log.write(&entry)?;
            Ok(Begun(id))
        })
        .await
    }

    /// Writes down how it ended, and returns when that is on disk. The change is made, so that it is only
    /// logged if that fails; the next one is refused if it fails again.
    pub(super) async fn end(&self, begun: Begun, status: u16, code: Option<&str>) {
        let Begun(id) = begun;
        let code = code.map(str::to_owned);
        let end = End { id, ended: Ended { at: time(self.clock.now()), status, code } };
        if let Err(error) = self.with(move |log| log.write(&end)).await {
            tracing::error!(id, status, %error, "the end of a change is not in the audit log");
        }
    }

    async fn page(&self, before: Option<u64>, limit: usize) -> io::Result<Page<Entry>> {
        // Whoever reads is not in the way of changes: only to open the files takes the lock.
        let written = self.with(|log| log.written()).await?;
        let (items, more) = aside(move || written.read(before, limit)).await?;
        let last = items.last().map(|entry| entry.id.to_string());
        Ok(Page { items, next: last.filter(|_| more) })
    }

    /// Works on the files, one after another, on a thread that may wait for the disk. Goes on if whoever
    /// asked has gone: half a line is worse than one that nobody waits for.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Log) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let log = self.log.clone();
        aside(move || work(&mut log.lock().unwrap_or_else(PoisonError::into_inner))).await
    }
}

/// Does what may wait for the disk on a thread that may.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (answer, answered) = oneshot::channel();
    run_blocking(move || {
        let _ = answer.send(work());
    });
    answered.await.unwrap_or_else(|_| Err(io::Error::other("its thread ended")))
}

/// A number of a change: the description's numbers have 63 bits.
#[derive(Debug, Clone, Copy)]
struct Before(u64);

impl<'de> Deserialize<'de> for Before {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = i64::deserialize(deserializer)?;
        u64::try_from(number).map(Self).map_err(|_| D::Error::custom("is no number of a change"))
    }
}

/// Which part of the audit log.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// The `next` of the page before.
    #[serde(default)]
    #[param(value_type = Option<i64>, minimum = 0)]
    cursor: Option<Before>,
    /// How many at most.
    #[serde(default)]
    #[param(value_type = Option<usize>, minimum = 1, maximum = 1000, default = 50)]
    limit: Limit<50>,
}

/// Show who had what changed.
///
/// The newest first.
#[utoipa::path(get, path = "/v1/audit", operation_id = "audit.list", tag = "gateway",
    params(Wanted),
    responses((status = 200, description = "A page of the audit log.", body = Page<Entry>),
              (status = 503, description = "The audit log can't be read.", body = Refused)))]
pub(super) async fn list(
    State(desk): State<Desk>,
    Params(wanted): Params<Wanted>,
) -> Answer<Page<Entry>> {
    let before = wanted.cursor.map(|Before(id)| id);
    Ok(Json(desk.audit.page(before, wanted.limit.0).await?))
}
