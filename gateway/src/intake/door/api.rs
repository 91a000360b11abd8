//! `/api/NAME/…`: requests that a plugin answers itself, at once, from its state. Nothing of them is stored
//! but what the plugin changes of its state, and that is on disk before the answer leaves.

use std::{net::IpAddr, time::Duration};

use axum::{
    body::Body,
    http::{Method, Request, Response, header, request::Parts},
};
use hookweir_event::{Change, Digest, Failure, Outcome, PluginName, REDACTED, StateChange};
use hookweir_host::{NotRun, Ran, Version};
use hookweir_store::Written;
use tokio::sync::OwnedSemaphorePermit;

use super::{
    ANSWERS_MAX, Door, reply, tell_logs,
    turns::{Busy, Order, Turns},
};
use crate::{
    budget::Bodies,
    config::{ApiAccess, Priority},
    intake::{Refusal, append, desk::Desk, receive, receive::RequestId},
    live::{Live, Plugin},
    trace,
};

/// The largest body of a request: as a source's, if it does not say otherwise.
const BODY_MAX: u64 = 1 << 20;
/// How often a request is run whose state was changed meanwhile, if it takes no longer than one may. From
/// the second time on only events can change it.
const RUNS_MAX: usize = 32;

/// Whether the path is one of those that are the plugins'.
pub(in crate::intake) fn is_api(path: &str) -> bool {
    path.strip_prefix("/api").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The plugin's name, and the path below it.
fn route(path: &str) -> Option<(PluginName, &str)> {
    let rest = path.strip_prefix("/api/")?;
    let (name, path) = match rest.find('/') {
        Some(end) => rest.split_at(end),
        None => (rest, "/"),
    };
    Some((name.parse().ok()?, path))
}

/// The plugin that the path leads to, if there is one.
pub(in crate::intake) fn plugin<'l>(
    live: &'l Live,
    path: &str,
) -> Option<(&'l PluginName, &'l Plugin)> {
    let (name, _) = route(path)?;
    live.plugins().get_key_value(&name)
}

/// A request that may be read: there is a plugin that answers it, and its address is within its limits.
struct Head<'d> {
    name: PluginName,
    plugin: &'d Plugin,
    parts: Parts,
    body: Body,
}

/// Everything that can be said before a byte of the body is read. Who may not know of a plugin can't tell
/// whether there is one.
fn head<'d>(desk: &'d Desk, request: Request<Body>, client: IpAddr) -> Result<Head<'d>, Refusal> {
    let (parts, body) = request.into_parts();
    let (name, _) = route(parts.uri.path()).ok_or(Refusal::NoSuchApi)?;
    let plugin = desk.live.plugins().get(&name).ok_or(Refusal::NoSuchApi)?;
    let granted = matches!(plugin.api.access, Some(ApiAccess::Public | ApiAccess::Token(_)));
    let answers = plugin.version.as_ref().is_none_or(|version| version.exports().api);
    if !granted || !answers {
        return Err(Refusal::NoSuchApi);
    }
    let taken =
        [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    if !taken.contains(&parts.method) {
        return Err(Refusal::ApiMethodNotAllowed);
    }
    desk.refused.check(client).map_err(Refusal::RateLimited)?;
    desk.api_address.take(client).map_err(Refusal::RateLimited)?;
    Ok(Head { name, plugin, parts, body })
}

/// Whether the request has the plugin's token, if it needs one. Digests are compared, so that the time it
/// takes tells nothing of the token.
fn admit(access: Option<&ApiAccess>, parts: &mut Parts) -> Result<(), Refusal> {
    let Some(ApiAccess::Token(token)) = access else { return Ok(()) };
    let given = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.split_once(' '));
    let given = given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let same = |(_, given): (&str, &str)| {
        Digest::of(given.trim_start().as_bytes()) == Digest::of(token.as_str().as_bytes())
    };
    if !given.is_some_and(same) {
        return Err(Refusal::NoToken);
    }
    // From here on nobody needs to know it.
    let redacted = header::HeaderValue::from_static(REDACTED);
    parts.headers.insert(header::AUTHORIZATION, redacted);
    Ok(())
}

/// The request as the plugin sees it.
fn request(
    parts: &Parts,
    body: bytes::Bytes,
    client: IpAddr,
    id: RequestId,
) -> hookweir_host::Request {
    let path = route(parts.uri.path()).map_or("/", |(_, path)| path);
    let headers = receive::headers(&parts.headers);
    let mut attributes =
        vec![("client".to_owned(), client.to_string()), ("request-id".to_owned(), id.to_string())];
    attributes.extend(trace::parent(&headers));
    hookweir_host::Request {
        method: parts.method.to_string(),
        path: path.to_owned(),
        query: parts.uri.query().map(str::to_owned),
        headers,
        body,
        attributes,
    }
}

/// One request on its way through a plugin.
struct Call<'a> {
    name: &'a PluginName,
    version: &'a Version,
    turns: &'a Turns,
    request: hookweir_host::Request,
    id: RequestId,
}

impl Door {
    /// The plugin's answer. What it changed of its state is on disk.
    pub(in crate::intake) async fn answer(
        &self,
        desk: &Desk,
        request: Request<Body>,
        client: IpAddr,
        id: RequestId,
    ) -> Result<Response<Body>, Refusal> {
        let Head { name, plugin, mut parts, body } = head(desk, request, client)?;
        admit(plugin.api.access.as_ref(), &mut parts)?;
        let server = &desk.live.config.server;
        let parties = (desk.budget.clone(), desk.api_shares.clone());
        let terms = (server.bodies_max, Priority::Normal);
        let hold = Bodies::hold(parties, (client, receive::head_bytes(&parts)), terms);
        let mut hold = hold.map_err(Refusal::Overloaded)?;
        let body = receive::read_body(desk, client, (body, BODY_MAX), &mut hold).await?;
        let unavailable = || Refusal::PluginUnavailable("it is not loaded".to_owned());
        let version = plugin.version.as_ref().ok_or_else(unavailable)?;
        let turns = desk.api(&name).ok_or_else(unavailable)?;
        let request = self::request(&parts, body, client, id);
        let call = Call { name: &name, version, turns, request, id };
        let response = self.committed(&call).await?;
        let (method, status) = (&parts.method, response.status().as_u16());
        tracing::debug!(request_id = %id, %client, plugin = %name, %method, status, "answered");
        plugin.record.count_answer();
        Ok(response)
    }

    /// A place for the largest answer that the version may give, before it is asked for one.
    fn place(&self, version: &Version) -> Result<OwnedSemaphorePermit, Refusal> {
        let kib = version.limits().output_bytes.div_ceil(1024).min(ANSWERS_MAX as u64);
        let kib = u32::try_from(kib).unwrap_or(u32::MAX);
        let place = self.answers.clone().try_acquire_many_owned(kib);
        place.map_err(|_| Refusal::PluginBusy)
    }

    /// Runs the call, and again where the state it relied on was changed meanwhile, until what it changed
    /// is on disk.
    async fn committed(&self, call: &Call<'_>) -> Result<Response<Body>, Refusal> {
        let patience = call.version.limits().api_wall;
        let busy = |Busy| Refusal::PluginBusy;
        let turn = call.turns.take(patience).await.map_err(busy)?;
        let place = self.place(call.version)?;
        let (mut run, mut spent) = (0, Duration::ZERO);
        while run < RUNS_MAX && spent < patience {
            let _order = call.order(run, patience).await.map_err(busy)?;
            let (host, version) = (self.host.clone(), call.version.clone());
            let request = call.request.clone();
            let respond = async move { host.respond(&version, &request).await };
            let ran = self.run(turn.clone(), respond).await.map_err(|fault| not_run(&fault))?;
            tell_logs(&ran, call.name.as_str(), call.id);
            let Ran { result, state, wall, .. } = ran;
            (run, spent) = (run + 1, spent + wall);
            // An answer that can't be sent is a failure too, and so leaves nothing.
            let answer = reply::response(result.map_err(failed)?, call.id);
            let answer = answer.map_err(Refusal::PluginFailed)?;
            if !writes(&state) {
                return Ok(reply::held(answer, place));
            }
            let written = self.store.write_state(call.name.clone(), state).await;
            match written.map_err(|error| append::refusal(&error))? {
                Written::Committed => return Ok(reply::held(answer, place)),
                Written::Conflict => {}
            }
        }
        Err(Refusal::PluginBusy)
    }
}

impl Call<'_> {
    /// What it is run beside.
    async fn order(&self, run: usize, patience: Duration) -> Result<Order<'_>, Busy> {
        match run {
            // RFC 9110, section 9.2.1: these are not to change anything.
            0 if matches!(self.request.method.as_str(), "GET" | "HEAD") => Ok(Order::Free),
            0 => self.turns.beside(patience).await,
            _ => self.turns.alone(patience).await,
        }
    }
}

/// Whether anything is to be kept.
fn writes(state: &[StateChange]) -> bool {
    state.iter().any(|change| change.change != Change::Keep)
}

fn not_run(fault: &NotRun) -> Refusal {
    match fault {
        NotRun::PoolExhausted => Refusal::PluginBusy,
        NotRun::ShuttingDown => Refusal::ShuttingDown,
        NotRun::NoMemory | NotRun::State(_) => Refusal::PluginUnavailable(fault.to_string()),
    }
}

/// Why there is no answer, as the one who asked is told of it.
fn failed(failure: Failure) -> Refusal {
    match failure.outcome {
        Outcome::Retry => Refusal::PluginLater(failure.message, failure.retry_after),
        Outcome::Reject => Refusal::PluginRejected(failure.message),
        Outcome::Timeout | Outcome::CpuLimit => Refusal::PluginTimeout(failure.message),
        _ => Refusal::PluginFailed(failure.message),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_names_the_plugin_and_what_it_sees() {
        let routed = |path| route(path).map(|(name, path)| (name.to_string(), path));
        let to = |name: &str, path| Some((name.to_owned(), path));
        assert_eq!(routed("/api/desk/orders/7"), to("desk", "/orders/7"));
        assert_eq!(routed("/api/desk//a%2Fb"), to("desk", "//a%2Fb"));
        assert_eq!(routed("/api/desk"), to("desk", "/"));
        assert_eq!(routed("/api/desk/"), to("desk", "/"));
        for none in ["/api", "/api/", "/api//x", "/api/Desk/x", "/api/gateway/x", "/apis/x"] {
            assert_eq!(routed(none), None, "{none}");
        }
        assert!(is_api("/api") && is_api("/api/x") && !is_api("/apis/x") && !is_api("/x/api"));
    }

    proptest! {
        #[test]
        fn whatever_the_path_a_plugin_sees_what_is_behind_its_name(path in "/api/[a-zA-Z0-9%/._-]{0,40}") {
            if let Some((name, below)) = route(&path) {
                prop_assert!(below.starts_with('/'));
                let whole = format!("/api/{name}{below}");
                prop_assert_eq!(path.trim_end_matches('/'), whole.trim_end_matches('/'));
            }
        }
    }
}
