//! `hookweir verify`: what the presets make of recorded requests.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
};

use hookweir_event::{Clock, Timestamp};
use hookweir_verify::{
    Incoming, Preset, Secret,
    vector::{Outcome, Vector},
};

use super::{Exit, say, tell};

#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(super) struct Args {
    /// Test vectors, one JSON object a line: each is verified, and its verdict compared.
    #[arg(long, value_name = "FILE.jsonl")]
    vectors: Vec<PathBuf>,
    /// List the presets, each with its provider's page.
    #[arg(long)]
    list: bool,
    /// Explain why one captured request, read from standard input, does or does not verify by this
    /// preset.
    #[arg(long, value_name = "PRESET", requires = "secret_env")]
    scheme: Option<String>,
    /// The environment variable that holds the secret or the public key.
    #[arg(long, value_name = "VAR", requires = "scheme")]
    secret_env: Option<String>,
    /// What the preset needs beside it, such as webhook_id=WH-1.
    #[arg(long, value_name = "NAME=VALUE", requires = "scheme")]
    param: Vec<String>,
    /// The URL that the sender called, without a query, where the preset signs it.
    #[arg(long, value_name = "URL", requires = "scheme")]
    public_url: Option<String>,
    /// The time of the request, in seconds since 1970; now if left out.
    #[arg(long, value_name = "SECONDS", requires = "scheme")]
    at: Option<i64>,
}

pub(super) fn run(args: &Args) -> Exit {
    if args.list {
        for preset in Preset::all() {
            say(format_args!("{:<24} {}", preset.name, preset.docs));
        }
    }
    if let (Some(preset), Some(variable)) = (&args.scheme, &args.secret_env) {
        return explain(args, preset, variable).unwrap_or_else(|reason| {
            tell(reason);
            Exit::Failed
        });
    }
    if args.vectors.is_empty() {
        return Exit::Ok;
    }
    let mut tally = Tally::default();
    for path in &args.vectors {
        if let Err(reason) = tally.file(path) {
            tell(format_args!("{}: {reason}", path.display()));
            return Exit::Failed;
        }
    }
    tally.report()
}

fn explain(args: &Args, preset: &str, variable: &str) -> Result<Exit, String> {
    if preset.starts_with("plugin:") {
        return Err(format!(
            "{preset}: only a running gateway asks a plugin; `hookweir source refusals SOURCE` shows what \
             it said of the source's last requests"
        ));
    }
    let preset = Preset::named(preset)
        .ok_or_else(|| format!("no preset \"{preset}\"; `hookweir verify --list` names them"))?;
    let mut params = BTreeMap::new();
    for param in &args.param {
        let (name, value) =
            param.split_once('=').ok_or_else(|| format!("\"{param}\": expected NAME=VALUE"))?;
        params.insert(name.to_owned(), value.to_owned());
    }
    let scheme = preset.scheme(&params).map_err(|faults| {
        let faults: Vec<_> = faults.into_iter().map(|fault| fault.message).collect();
        faults.join("\n")
    })?;
    let secret = std::env::var(variable).map_err(|error| format!("{variable}: {error}"))?;
    let secret = scheme.secret(&secret).map_err(|fault| format!("{variable}: {fault}"))?;
    let mut captured = Vec::new();
    std::io::stdin().read_to_end(&mut captured).map_err(|error| error.to_string())?;
    let mut request = parse(&captured).ok_or(
        "standard input is no HTTP request: a request line, headers, an empty line, a body",
    )?;
    if scheme.needs_url() && args.public_url.is_none() {
        return Err(format!("the preset {} signs the URL; say --public-url", preset.name));
    }
    request.url = args.public_url.as_ref().map(|url| match &request.query {
        Some(query) => format!("{url}?{query}"),
        None => url.clone(),
    });
    let now = match args.at {
        Some(seconds) => Timestamp::from_secs(seconds),
        None => Clock::system().now(),
    };
    let source = "captured".parse().map_err(|_| "no source name".to_owned())?;
    let explanation = scheme.explain(&source, &[Secret::new(secret)], &request, now);
    say(&explanation);
    Ok(if explanation.verdict.is_ok() { Exit::Ok } else { Exit::Failed })
}

/// A request as it went over the wire, or as an editor saved it: lines end in CRLF or LF.
fn parse(captured: &[u8]) -> Option<Incoming> {
    let blank = |end: &[u8]| captured.windows(end.len()).position(|window| window == end);
    let (head, body) = match (blank(b"\r\n\r\n"), blank(b"\n\n")) {
        (Some(at), lf) if lf.is_none_or(|lf| at < lf) => (&captured[..at], &captured[at + 4..]),
        (_, Some(at)) => (&captured[..at], &captured[at + 2..]),
        _ => (captured.trim_ascii_end(), &b""[..]),
    };
    let mut lines = head.split(|b| *b == b'\n').map(<[u8]>::trim_ascii_end);
    let first = str::from_utf8(lines.next()?).ok()?;
    let mut words = first.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    words.next()?.strip_prefix("HTTP/")?;
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (target, None),
    };
    let mut headers = Vec::new();
    for line in lines {
        let colon = line.iter().position(|b| *b == b':')?;
        let name = str::from_utf8(&line[..colon]).ok()?.to_ascii_lowercase();
        headers.push((name, line[colon + 1..].trim_ascii().to_vec()));
    }
    Some(Incoming {
        method: method.to_owned(),
        path: path.to_owned(),
        query,
        url: None,
        headers,
        body: body.to_vec().into(),
        decode: None,
    })
}

#[derive(Debug, Default, Clone, Copy)]
struct Count {
    passed: u32,
    failed: u32,
    advisory: u32,
}

#[derive(Debug, Default)]
struct Tally {
    providers: BTreeMap<String, Count>,
}

impl Tally {
    /// Runs the vectors of one file. A line that can't be read stops it: a vector that does not run
    /// must not look like one that passes.
    fn file(&mut self, path: &Path) -> Result<(), String> {
        let file = File::open(path).map_err(|error| error.to_string())?;
        for (index, line) in BufReader::new(file).lines().enumerate() {
            let at = |error: &dyn std::fmt::Display| format!("line {}: {error}", index + 1);
            let line = line.map_err(|error| at(&error))?;
            if line.trim().is_empty() {
                continue;
            }
            let vector = Vector::parse(&line).map_err(|error| at(&error))?;
            let count = self.providers.entry(vector.provider.clone()).or_default();
            match vector.run() {
                Outcome::Passed => count.passed += 1,
                Outcome::Advisory(_) => count.advisory += 1,
                Outcome::Failed(reason) => {
                    count.failed += 1;
                    say(format_args!("FAILED {}: {reason} ({})", vector.id, vector.why));
                }
            }
        }
        Ok(())
    }

    fn report(&self) -> Exit {
        let mut all = Count::default();
        for (provider, count) in &self.providers {
            let Count { passed, failed, advisory } = *count;
            say(format_args!("{provider}: {passed} passed, {failed} failed, {advisory} advisory"));
            all.passed += passed;
            all.failed += failed;
            all.advisory += advisory;
        }
        let Count { passed, failed, advisory } = all;
        say(format_args!("{passed} passed, {failed} failed, {advisory} advisory"));
        match (failed, passed) {
            (0, 1..) => Exit::Ok,
            (0, 0) => {
                tell("there was nothing to verify");
                Exit::Failed
            }
            _ => Exit::Failed,
        }
    }
}
