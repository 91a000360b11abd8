//! `hookweir send`: posts a webhook as a source's sender would, signed with the source's own secret.
//! For trying a source and its plugins by hand.

use std::path::{Path, PathBuf};

use hookweir_event::{Clock, EventType, SourceName};
use hookweir_verify::{Outgoing, Secret};

use super::{Exit, config_fault, runtime, say, tell};
use crate::{
    chance::Chance,
    config::{Config, SourceConfig, Surroundings},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The source to post to, as the config names it.
    source: SourceName,
    /// The event type, where the source reads it from a header.
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<EventType>,
    /// The file with the body; `-` for standard input.
    #[arg(long, value_name = "FILE")]
    body: PathBuf,
    /// The sender's id for the event, where the source reads it from a header; random if left out.
    #[arg(long)]
    id: Option<String>,
    /// The media type of the body.
    #[arg(long, default_value = "application/json")]
    content_type: String,
    /// The gateway, if not where the config says.
    #[arg(long, value_name = "http://HOST:PORT")]
    url: Option<String>,
    /// The config file.
    #[arg(long, default_value = "gateway.toml")]
    config: PathBuf,
}

pub(super) fn run(args: Args) -> Exit {
    let config = match Config::load(&args.config, &Surroundings::real()) {
        Ok(config) => config,
        Err(error) => return config_fault(&error),
    };
    match send(args, &config) {
        Ok((status, reply)) => {
            say(format_args!("{status} {}", reply.trim_end()));
            if (200..300).contains(&status) { Exit::Ok } else { Exit::Failed }
        }
        Err(reason) => {
            tell(format_args!("failed to send: {reason}"));
            Exit::Failed
        }
    }
}

fn send(args: Args, config: &Config) -> Result<(u16, String), String> {
    let source = config.sources.get(&args.source).ok_or_else(|| {
        let names: Vec<_> = config.sources.keys().map(SourceName::as_str).collect();
        format!("there is no source {}; there are: {}", args.source, names.join(", "))
    })?;
    let body = read(&args.body)?;
    let now = Clock::system().now();
    let random = || format!("{:032x}", u128::from_ne_bytes(Chance::system().bytes()));
    let request = Outgoing {
        method: "POST".into(),
        path: source.path.clone(),
        query: None,
        url: source.url_called(None),
        headers: vec![("content-type".into(), args.content_type.into_bytes())],
        body: body.into(),
        event_type: args.event_type,
        id: Some(args.id.unwrap_or_else(random)),
    };
    let signed = sign(source, &request, now)?;
    let base = args.url.unwrap_or_else(|| format!("http://{}", config.server.listen));
    let url = format!("{}{}", base.trim_end_matches('/'), source.path);
    runtime().map_err(|error| error.to_string())?.block_on(post(&url, request, signed))
}

fn sign(
    source: &SourceConfig,
    request: &Outgoing,
    now: hookweir_event::Timestamp,
) -> Result<Vec<(String, String)>, String> {
    if source.scheme.is_insecure() {
        return source.scheme.unsigned(request).map_err(|error| error.to_string());
    }
    let valid = |secret: &&Secret| {
        secret.from.is_none_or(|from| from <= now) && secret.until.is_none_or(|until| now < until)
    };
    let secret =
        source.secrets.iter().find(valid).ok_or("none of the source's secrets is valid now")?;
    source.scheme.sign(&secret.key, request, now).map_err(|error| error.to_string())
}

/// Posts a signed request and answers its status and body.
pub(super) async fn post(
    url: &str,
    request: Outgoing,
    signed: Vec<(String, String)>,
) -> Result<(u16, String), String> {
    let client =
        reqwest::Client::builder().no_proxy().build().map_err(|error| error.to_string())?;
    let mut posting = client.post(url).body(request.body);
    for (name, value) in request.headers {
        posting = posting.header(name, value);
    }
    for (name, value) in signed {
        posting = posting.header(name, value);
    }
    let response =
        posting.send().await.map_err(|error| format!("{url}: {}", root_cause(&error)))?;
    let status = response.status().as_u16();
    let reply = response.text().await.map_err(|error| error.to_string())?;
    Ok((status, reply))
}

/// The innermost cause, which is what helps: "connection refused", not "error sending request".
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    use std::io::Read as _;
    let mut body = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_end(&mut body).map_err(|error| error.to_string())?;
        return Ok(body);
    }
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}
