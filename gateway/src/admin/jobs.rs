//! Bulk work: dead letters mended and events replayed by a filter, with how far it is.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Extension,
    extract::{RawQuery, State},
    http::StatusCode,
};
use hookweir_event::PluginName;
use hookweir_store::{DeliveryState, Filter, Mend, Standpoint};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Caller, Desk,
    asked::{At, Moment, Order, Params, Text},
    fault::{Fault, Refused},
    filter::{Filtered, text},
    reply::{Answer, Json, Page, Time},
};
use crate::jobs::{self, NotBegun, Work};

/// What is to be done with all that the filter means.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct JobOrder {
    /// `retry`, `skip` or `discard`: dead letters. `replay`: events.
    kind: Kind,
    /// Of a replay: to this plugin alone, whatever it subscribes to; otherwise to those that subscribe now.
    #[schema(value_type = Option<String>)]
    to: Option<Text<PluginName>>,
    /// Of a replay: a plugin that was replayed an event then or later is not sent it once more. So a replay
    /// that was cut short can be asked for again.
    #[schema(value_type = Option<String>, format = DateTime)]
    unless_replayed_since: Option<Text<Moment>>,
    /// Say how many there are, and do nothing.
    #[serde(default)]
    dry_run: bool,
}

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Retry,
    Skip,
    Discard,
    Replay,
}

/// A job, and how far it is: what it found is done, passed over, failed, or left.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Job {
    /// Its id.
    id: String,
    /// `retry`, `skip`, `discard` or `replay`.
    kind: &'static str,
    /// Of a replay: the one plugin that it goes to.
    to: Option<String>,
    /// What is meant, as it was asked for.
    filter: BTreeMap<String, String>,
    /// Whether it only says how many there are.
    dry_run: bool,
    /// Who asked for it.
    by: String,
    /// `searching`, `running`, `done`, `cancelled` or `failed`.
    state: &'static str,
    /// When it was asked for.
    started_at: Time,
    /// When it ended.
    ended_at: Option<Time>,
    /// Dead letters, or events, that are meant; it grows while the job searches.
    found: u64,
    /// Those that were mended or replayed, or would have been.
    done: u64,
    /// Those for which there was nothing to do: not dead any more, forgotten, or wanted by no plugin.
    passed: u64,
    /// Those that could not be mended or replayed.
    failed: u64,
    /// Those that are still to be done.
    left: u64,
    /// Deliveries that a replay made, or would have made.
    deliveries: u64,
    /// Why it could not go on, or why the first that failed did.
    error: Option<String>,
}

impl From<Arc<jobs::Job>> for Job {
    fn from(job: Arc<jobs::Job>) -> Self {
        let (order, progress) = (&job.order, job.progress());
        let (kind, to) = match &order.work {
            Work::Mend(Mend::Retry) => ("retry", None),
            Work::Mend(Mend::Skip) => ("skip", None),
            Work::Mend(Mend::Discard) => ("discard", None),
            Work::Replay { to, .. } => ("replay", to.as_ref().map(ToString::to_string)),
        };
        Self {
            id: job.id.clone(),
            kind,
            to,
            filter: order.asked.clone(),
            dry_run: order.dry_run,
            by: order.by.clone(),
            state: progress.stage.as_str(),
            started_at: Time(job.started_at),
            ended_at: progress.ended_at.map(Time),
            found: progress.found,
            done: progress.done,
            passed: progress.passed,
            failed: progress.failed,
            left: progress.left(),
            deliveries: progress.deliveries,
            error: progress.error,
        }
    }
}

impl From<NotBegun> for Fault {
    fn from(why: NotBegun) -> Self {
        match why {
            NotBegun::TooMany => Self::new(StatusCode::CONFLICT, "too_many_jobs", why),
            NotBegun::ShuttingDown => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", why)
            }
        }
    }
}

/// Begin a job.
///
/// The parameters say which events are meant, as for lists; of dead letters, without a `state`, all that are not
/// discarded, or, to skip, all that hold others up. It is begun when this answers. Asked twice, dead letters are
/// not mended twice: what is not dead any more is passed over. A job does not outlive the process.
#[utoipa::path(post, path = "/v1/jobs", operation_id = "jobs.begin", tag = "jobs",
    params(Filtered), request_body = JobOrder,
    responses((status = 200, description = "The job.", body = Job),
              (status = 404, description = "No plugin has this name.", body = Refused),
              (status = 409, description = "As many jobs run as may.", body = Refused),
              (status = 503, description = "The gateway is shutting down.", body = Refused)))]
pub(super) async fn begin(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    Params(filtered): Params<Filtered>,
    RawQuery(query): RawQuery,
    Order(order): Order<JobOrder>,
) -> Answer<Job> {
    let query = query.unwrap_or_default();
    let asked: BTreeMap<String, String> =
        form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let mut filter = filtered.without_dedupe()?;
    let replays = order.to.is_some() || order.unless_replayed_since.is_some();
    if replays && order.kind != Kind::Replay {
        return Err(Fault::bad("`to` and `unlessReplayedSince` are for a replay"));
    }
    let work = match order.kind {
        Kind::Retry => mends(&mut filter, Mend::Retry)?,
        Kind::Skip => mends(&mut filter, Mend::Skip)?,
        Kind::Discard => mends(&mut filter, Mend::Discard)?,
        Kind::Replay if asked.is_empty() => {
            return Err(Fault::bad("which events? Say it by a parameter, such as `since`"));
        }
        Kind::Replay => Work::Replay {
            to: text(&order.to),
            unless_replayed_since: text(&order.unless_replayed_since).map(|Moment(at)| at),
        },
    };
    if let Some(Text(name)) = &order.to
        && !desk.board.load().plugins().contains_key(name)
    {
        return Err(Fault::missing("no plugin has this name"));
    }
    let (by, dry_run) = (caller.who, order.dry_run);
    let job = desk.jobs.begin(jobs::Order { work, filter, dry_run, by, asked })?;
    Ok(Json(job.into()))
}

/// A filter means dead letters; which, if it does not say so.
fn mends(filter: &mut Filter, how: Mend) -> Result<Work, Fault> {
    use DeliveryState::{Dead, Discarded};
    let usual = match how {
        Mend::Retry | Mend::Discard => Standpoint::Delivery(Dead),
        Mend::Skip => Standpoint::Blocks,
    };
    match *filter.state.get_or_insert(usual) {
        Standpoint::Delivery(Dead | Discarded) | Standpoint::Blocks => Ok(Work::Mend(how)),
        _ => Err(Fault::bad("state: only what is dead, discarded or blocks can be mended")),
    }
}

/// List jobs.
///
/// Those that run and the last that ended, the newest first.
#[utoipa::path(get, path = "/v1/jobs", operation_id = "jobs.list", tag = "jobs",
    responses((status = 200, description = "The jobs.", body = Page<Job>)))]
pub(super) async fn list(State(desk): State<Desk>) -> Answer<Page<Job>> {
    let items = desk.jobs.all().into_iter().map(Job::from).collect();
    Ok(Json(Page { items, next: None }))
}

/// Show a job.
///
/// And how far it is.
#[utoipa::path(get, path = "/v1/jobs/{id}", operation_id = "jobs.show", tag = "jobs",
    params(("id" = String, Path, description = "The job.")),
    responses((status = 200, description = "The job.", body = Job),
              (status = 404, description = "No job has this id, or it is over for long.", body = Refused)))]
pub(super) async fn show(State(desk): State<Desk>, At(id): At<String>) -> Answer<Job> {
    found(desk.jobs.find(&id))
}

/// Cancel a job.
///
/// It ends after the commit that it is at; what it did stays done. One that is over stays as it is.
#[utoipa::path(post, path = "/v1/jobs/{id}/cancel", operation_id = "jobs.cancel", tag = "jobs",
    params(("id" = String, Path, description = "The job.")),
    responses((status = 200, description = "The job.", body = Job),
              (status = 404, description = "No job has this id, or it is over for long.", body = Refused)))]
pub(super) async fn cancel(State(desk): State<Desk>, At(id): At<String>) -> Answer<Job> {
    found(desk.jobs.cancel(&id))
}

fn found(job: Option<Arc<jobs::Job>>) -> Answer<Job> {
    let missing = || Fault::missing("no job has this id, or it is over for long");
    Ok(Json(job.ok_or_else(missing)?.into()))
}
