//! All that is kept of events, a line of JSON for each, for as long as it takes. A page at a time is in memory.

use std::collections::VecDeque;

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{HeaderValue, Response, header},
};
use futures_util::stream;
use hookweir_store::{Cursor, Exported, Filter, ReadError, Reader};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Desk,
    asked::{Params, Text},
    fault::{Fault, Refused},
    filter::{Filtered, text},
    shown::Event,
};

/// Events of a page, if their bodies are small.
const PAGE: usize = 200;

/// Where an export begins.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct From {
    /// The `cursor` of the last line of an export that was cut short.
    #[param(value_type = Option<String>)]
    cursor: Option<Text<Cursor>>,
}

/// One line of an export.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Line {
    /// Where an export goes on that ended after this line.
    cursor: String,
    /// The event with its content, its deliveries, their attempts and what they logged.
    event: Event,
}

impl Line {
    fn new(exported: Exported) -> Self {
        let Exported { next, shown, event } = exported;
        let mut line = Event::from(shown);
        match event {
            Some(whole) => line = line.with_content(whole),
            None => line.unreadable = Some("it has rotted on the disk".to_owned()),
        }
        Self { cursor: next.to_string(), event: line }
    }
}

/// Export events.
///
/// Each as one line of JSON with all that is kept of it, the newest first. What comes meanwhile is not among them.
/// An export that was cut short goes on behind its last line with that line's `cursor`.
#[utoipa::path(get, path = "/v1/export", operation_id = "events.export", tag = "events",
    params(Filtered, From),
    responses((status = 200, description = "The events, a line each.", body = Line, content_type = "application/x-ndjson"),
              (status = 500, description = "The store can't be read.", body = Refused)))]
pub(super) async fn export(
    State(desk): State<Desk>,
    Params(filtered): Params<Filtered>,
    Params(from): Params<From>,
) -> Result<Response<Body>, Fault> {
    let filter = filtered.without_dedupe()?;
    // With a connection of its own: others need not wait for it.
    let reader = desk.store.reader().apart();
    let mut lines =
        Lines { reader, filter, from: text(&from.cursor), lines: VecDeque::new(), more: true };
    // What can't be read at all is answered so, while that can be said.
    lines.fill().await?;
    let body = stream::try_unfold(lines, async |mut lines| {
        let line = lines.next().await?;
        Ok::<_, ReadError>(line.map(|line| (line, lines)))
    });
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// The lines of an export that were not sent yet.
struct Lines {
    reader: Reader,
    filter: Filter,
    from: Option<Cursor>,
    lines: VecDeque<Exported>,
    more: bool,
}

impl Lines {
    /// The next line; none if that was all.
    async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        self.fill().await?;
        let Some(exported) = self.lines.pop_front() else { return Ok(None) };
        let mut line = serde_json::to_vec(&Line::new(exported))
            .map_err(|error| ReadError::Failed(error.to_string()))?;
        line.push(b'\n');
        Ok(Some(line.into()))
    }

    /// Sees to it that there is a line, if there is one more. A page may have none, and more may come.
    async fn fill(&mut self) -> Result<(), ReadError> {
        while self.lines.is_empty() && self.more {
            let page = self.reader.whole(&self.filter, self.from, PAGE).await?;
            self.lines.extend(page.found);
            (self.from, self.more) = (page.next, page.next.is_some());
        }
        Ok(())
    }
}
