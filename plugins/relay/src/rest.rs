//! Endpoints by REST: JSON in, JSON out, and `{"error": "a sentence"}` where something is wrong.

use std::time::Duration;

use hookweir_sdk::prelude::*;
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    endpoint::{self, Disabled, Endpoint},
    health::Health,
    now,
    secret::Secrets,
    settings::Settings,
};

const URL_MAX: usize = 2048;
const TYPES_MAX: usize = 100;
const TYPE_MAX: usize = 256;
const DESCRIPTION_MAX: usize = 1000;
/// How long a registration waits to hear whether an endpoint may be reached.
const PROBE: Duration = Duration::from_secs(2);

/// Why a request is not done. Nothing has been written by then.
enum Refusal {
    /// The client is told.
    Told(u16, String),
    Failed(Failure),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

type Answer = Result<Response, Refusal>;

/// What a new endpoint is to be.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Registration {
    url: String,
    types: Vec<String>,
    description: Option<String>,
}

/// What is to be another way; what is left out stays.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    url: Option<String>,
    types: Option<Vec<String>>,
    description: Option<String>,
    state: Option<State>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Enabled,
    Disabled,
}

/// An endpoint as it is shown.
#[derive(Serialize)]
struct Shown<'a> {
    id: &'a str,
    url: &'a str,
    types: &'a [String],
    description: Option<&'a str>,
    created_at: Timestamp,
    state: State,
    disabled_at: Option<Timestamp>,
    disabled_because: Option<&'a str>,
    /// Of the first failure since a delivery was taken.
    failing_since: Option<Timestamp>,
    last_at: Option<Timestamp>,
    last_status: Option<u16>,
    last_error: Option<&'a str>,
    /// When it was made, and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
}

#[derive(Serialize)]
struct Rotated<'a> {
    id: &'a str,
    secret: &'a str,
    /// Until then deliveries are signed with the one before it as well.
    previous_until: Timestamp,
}

/// Answers a request below `/api/relay`.
pub(crate) fn respond(request: &Request) -> Result<Response, Failure> {
    let path: Vec<_> = request.path().trim_matches('/').split('/').collect();
    let answer = match (request.method(), &path[..]) {
        ("GET" | "HEAD", ["endpoints"]) => list(),
        ("POST", ["endpoints"]) => register(request),
        ("GET" | "HEAD", ["endpoints", id]) => show(id),
        ("PATCH", ["endpoints", id]) => change(id, request),
        ("DELETE", ["endpoints", id]) => remove(id),
        ("POST", ["endpoints", id, "rotate"]) => rotate(id),
        (_, ["endpoints"]) => return not_allowed("GET, HEAD, POST"),
        (_, ["endpoints", _]) => return not_allowed("GET, HEAD, PATCH, DELETE"),
        (_, ["endpoints", _, "rotate"]) => return not_allowed("POST"),
        _ => Err(told(404, "there is nothing here; endpoints are at /api/relay/endpoints")),
    };
    match answer {
        Ok(response) => Ok(response),
        Err(Refusal::Told(status, why)) => error(status, &why),
        Err(Refusal::Failed(failure)) => Err(failure),
    }
}

fn list() -> Answer {
    let mut shown = Vec::new();
    for id in endpoint::ids()? {
        if let Some(endpoint) = Endpoint::load(&id)? {
            let health = Health::load(&id)?;
            shown.push(serde_json::to_value(endpoint.shown(&id, &health)).map_err(Failure::from)?);
        }
    }
    Ok(Response::json(&shown)?)
}

fn register(request: &Request) -> Answer {
    let Registration { url, types, description } = read(request)?;
    check(Some(&url), Some(&types), description.as_deref())?;
    let endpoint = Endpoint {
        url,
        types,
        description,
        created_at: now()?,
        secrets: Secrets::new(),
        disabled: None,
    };
    let most = Settings::load()?.endpoints_max;
    let id = endpoint.add(most)?.ok_or_else(|| {
        told(409, format!("there are {most} endpoints, and the operator allows no more"))
    })?;
    log::info!(endpoint = id, "registered");
    let health = Health::load(&id)?;
    let secret = Some(endpoint.secrets.current.expose());
    let shown = Shown { secret, ..endpoint.shown(&id, &health) };
    let location = format!("/api/relay/endpoints/{id}");
    Ok(Response::json(&shown)?.status(201).header("location", location))
}

fn show(id: &str) -> Answer {
    Ok(Response::json(&find(id)?.shown(id, &Health::load(id)?))?)
}

fn change(id: &str, request: &Request) -> Answer {
    let mut endpoint = find(id)?;
    let Change { url, types, description, state } = read(request)?;
    check(url.as_deref(), types.as_deref(), description.as_deref())?;
    let is_fresh = url.is_some() || matches!(state, Some(State::Enabled));
    endpoint.url = url.unwrap_or(endpoint.url);
    endpoint.types = types.unwrap_or(endpoint.types);
    endpoint.description = description.or(endpoint.description);
    match state {
        Some(State::Enabled) => endpoint.disabled = None,
        Some(State::Disabled) if endpoint.disabled.is_none() => {
            let because = "its owner asked for it".to_owned();
            endpoint.disabled = Some(Disabled { at: now()?, because });
        }
        Some(State::Disabled) | None => {}
    }
    if is_fresh {
        Health::forgive(id)?;
    }
    endpoint.save(id)?;
    Ok(Response::json(&endpoint.shown(id, &Health::load(id)?))?)
}

fn remove(id: &str) -> Answer {
    match endpoint::remove(id)? {
        true => Ok(Response::new(204)),
        false => Err(unknown()),
    }
}

fn rotate(id: &str) -> Answer {
    let mut endpoint = find(id)?;
    let previous_until = endpoint.secrets.rotate(now()?)?.ok_or_else(|| {
        told(409, "its secret was replaced too often in 24 hours; those before it still sign")
    })?;
    endpoint.save(id)?;
    log::info!(endpoint = id, "has a new secret");
    let secret = endpoint.secrets.current.expose();
    Ok(Response::json(&Rotated { id, secret, previous_until })?)
}

impl Endpoint {
    fn shown<'a>(&'a self, id: &'a str, health: &'a Health) -> Shown<'a> {
        let (last, disabled) = (health.last(), self.disabled.as_ref());
        Shown {
            id,
            url: &self.url,
            types: &self.types,
            description: self.description.as_deref(),
            created_at: self.created_at,
            state: if disabled.is_none() { State::Enabled } else { State::Disabled },
            disabled_at: disabled.map(|disabled| disabled.at),
            disabled_because: disabled.map(|disabled| disabled.because.as_str()),
            failing_since: health.failing_since(),
            last_at: last.as_ref().map(|last| last.at),
            last_status: last.as_ref().and_then(|last| last.status),
            last_error: last.and_then(|last| last.error),
            secret: None,
        }
    }
}

fn find(id: &str) -> Result<Endpoint, Refusal> {
    Endpoint::load(id)?.ok_or_else(unknown)
}

fn read<T: DeserializeOwned>(request: &Request) -> Result<T, Refusal> {
    request.json().map_err(|failure| told(400, failure.message()))
}

/// Whether what is given can be an endpoint's.
fn check(
    url: Option<&str>,
    types: Option<&[String]>,
    description: Option<&str>,
) -> Result<(), Refusal> {
    if let Some(types) = types {
        let fits = |pattern: &String| {
            let plain = |c: char| !c.is_whitespace() && !c.is_control();
            (1..=TYPE_MAX).contains(&pattern.len()) && pattern.chars().all(plain)
        };
        if !(1..=TYPES_MAX).contains(&types.len()) || !types.iter().all(fits) {
            let why = format!(
                "types is a list of 1 to {TYPES_MAX} patterns such as \"order.*\", each of 1 to {TYPE_MAX} bytes without white space"
            );
            return Err(told(422, why));
        }
    }
    if description.is_some_and(|text| text.len() > DESCRIPTION_MAX) {
        return Err(told(422, format!("the description has more than {DESCRIPTION_MAX} bytes")));
    }
    match url {
        Some(url) => check_url(url),
        None => Ok(()),
    }
}

/// Whether deliveries can go to this URL. What is granted, and which addresses a name leads to, only the gateway
/// knows: it is asked by a request that changes nothing, whose answer does not matter.
fn check_url(url: &str) -> Result<(), Refusal> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let authority = rest.and_then(|rest| rest.split(['/', '\\', '?', '#']).next());
    let why = match authority {
        _ if url.len() > URL_MAX => format!("the URL has more than {URL_MAX} bytes"),
        None | Some("") => "the URL begins with https:// and a host".to_owned(),
        Some(authority) if authority.contains('@') => {
            "the URL has a user in it; leave credentials out, and check the signature instead"
                .to_owned()
        }
        Some(_) if url.contains('#') => "the URL has a fragment, which is never sent".to_owned(),
        Some(_) => match http::Request::new("HEAD", url).timeout(PROBE).send() {
            Err(error) if error.code() == "denied" => {
                format!("the gateway may not send to this URL: {}", error.message())
            }
            Err(error) if error.code() == "invalid" => error.message().to_owned(),
            // It may be down today.
            _ => return Ok(()),
        },
    };
    Err(told(422, why))
}

fn told(status: u16, why: impl Into<String>) -> Refusal {
    Refusal::Told(status, why.into())
}

fn unknown() -> Refusal {
    told(404, "there is no such endpoint")
}

fn not_allowed(methods: &str) -> Result<Response, Failure> {
    Ok(error(405, &format!("this can be asked with {methods}"))?.header("allow", methods))
}

fn error(status: u16, why: &str) -> Result<Response, Failure> {
    #[derive(Serialize)]
    struct Said<'a> {
        error: &'a str,
    }
    Ok(Response::json(&Said { error: why })?.status(status))
}
