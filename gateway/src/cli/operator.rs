//! What the commands share that ask the running gateway: its admin API, and tables for people.

use std::{
    cell::{OnceCell, RefCell},
    fmt::Write as _,
    path::PathBuf,
    time::Duration,
};

use http::Method;
use serde_json::Value;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Exit, config_fault, runtime, say, tell};
use crate::{
    admin::token_file,
    config::{Contact, Surroundings},
    egress::Asking,
};

#[derive(Debug, clap::Args)]
pub(super) struct Common {
    /// Print what the gateway answers, for programs.
    #[arg(long)]
    json: bool,
    /// The gateway's admin address, if not where the config says.
    #[arg(long, value_name = "http://HOST:PORT")]
    url: Option<String>,
    /// A file of certificates, in PEM, of authorities to believe beside those that browsers trust. The very
    /// certificate that the config names is believed anyway.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A file with a certificate, in PEM, for a gateway that lets in operators who show one.
    #[arg(long, value_name = "FILE", requires = "client_key")]
    cert: Option<PathBuf>,
    /// A file with its private key.
    #[arg(id = "client_key", long = "key", value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// A file with the token, if not where the config says.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The config file.
    #[arg(long, default_value = "gateway.toml")]
    config: PathBuf,
}

impl Common {
    /// The config file.
    pub(super) fn config(&self) -> &std::path::Path {
        &self.config
    }

    /// The files of a certificate to show and its key.
    fn identity(&self) -> Option<(&std::path::Path, &std::path::Path)> {
        self.cert.as_deref().zip(self.key.as_deref())
    }

    /// Whether a program reads the answer.
    pub(super) fn json(&self) -> bool {
        self.json
    }
}

/// The cells of a table, its head first.
pub(super) type Table = Vec<Vec<String>>;

/// Asks the gateway.
pub(super) struct Operator {
    runtime: tokio::runtime::Runtime,
    client: Asking,
    base: String,
    token: Option<String>,
    json: bool,
    /// Ctrl-C, from when a command heeds it. One stream for as long as that runs: what comes while nobody waits
    /// for it is told when somebody does.
    interrupts: OnceCell<RefCell<Signal>>,
}

/// What is at a place, unless Ctrl-C is pressed first.
pub(super) enum Look {
    /// This.
    Found(Value),
    /// The gateway refuses to say.
    Refused(Refused),
    /// Ctrl-C was pressed.
    Interrupted,
}

/// What the gateway says in place of an answer.
pub(super) struct Refused {
    /// The status.
    pub(super) status: u16,
    /// All of it, in words.
    pub(super) reason: String,
}

impl Operator {
    /// Does `work` with the gateway that the config names, and says why it failed if it does.
    pub(super) fn run(common: &Common, work: impl FnOnce(&Self) -> Result<(), String>) -> Exit {
        let needs_token = common.token_file.is_none();
        let contact = match Contact::load(&common.config, &Surroundings::real(), needs_token) {
            Ok(contact) => contact,
            Err(error) => return config_fault(&error),
        };
        match Self::new(common, contact).and_then(|operator| work(&operator)) {
            Ok(()) => Exit::Ok,
            Err(reason) => {
                tell(format_args!("failed to ask the gateway: {reason}"));
                Exit::Failed
            }
        }
    }

    fn new(common: &Common, contact: Contact) -> Result<Self, String> {
        let token = token(common, &contact)?;
        let listens = || super::send::base(contact.listen, contact.tls.is_some());
        let base = common.url.clone().unwrap_or_else(listens);
        let base = format!("{}/v1/", base.trim_end_matches('/'));
        Ok(Self {
            runtime: runtime().map_err(|error| error.to_string())?,
            client: super::send::client(common.ca.as_deref(), contact.tls, common.identity())?,
            base,
            token,
            json: common.json,
            interrupts: OnceCell::new(),
        })
    }

    /// What is at this place.
    pub(super) fn get(&self, path: &str) -> Result<Value, String> {
        self.ask(Method::GET, path, None)
    }

    /// All of a list, page by page, as one.
    pub(super) fn all(&self, path: &str) -> Result<Value, String> {
        let mut all = self.get(path)?;
        while let Some(next) = all["next"].as_str().map(str::to_owned) {
            let mut page = self.get(&with_query(path, [("cursor", Some(next))]))?;
            if let (Value::Array(found), Value::Array(more)) =
                (&mut all["items"], page["items"].take())
            {
                found.extend(more);
            }
            all["next"] = page["next"].take();
        }
        Ok(all)
    }

    /// What comes of this.
    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Value, String> {
        self.ask(Method::POST, path, Some(body))
    }

    /// What comes of putting this there.
    pub(super) fn put(&self, path: &str, body: &Value) -> Result<Value, String> {
        self.ask(Method::PUT, path, Some(body))
    }

    /// What comes of deleting what is there.
    pub(super) fn delete(&self, path: &str) -> Result<Value, String> {
        self.ask(Method::DELETE, path, None)
    }

    /// Each line that is at this place, as it comes; as long as it takes.
    pub(super) fn lines(
        &self,
        path: &str,
        each: impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<(), String> {
        let url = format!("{}{path}", self.base);
        let token = self.token.as_deref();
        self.runtime.block_on(super::send::lines(&self.client, &url, token, each))
    }

    /// From now on Ctrl-C does not end the process: [`Self::wait`] and [`Self::look`] tell of it, each press once.
    pub(super) fn heed_interrupts(&self) -> Result<&RefCell<Signal>, String> {
        if let Some(heeded) = self.interrupts.get() {
            return Ok(heeded);
        }
        let _inside = self.runtime.enter();
        let interrupts = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
        Ok(self.interrupts.get_or_init(|| RefCell::new(interrupts)))
    }

    /// Waits for so long. True if Ctrl-C was pressed before.
    pub(super) fn wait(&self, time: Duration) -> Result<bool, String> {
        // Made where the runtime is.
        let time = async { tokio::time::sleep(time).await };
        Ok(self.unless_interrupted(time)?.is_none())
    }

    /// What is at this place.
    ///
    /// # Errors
    /// If there is no answer.
    pub(super) fn look(&self, path: &str) -> Result<Look, String> {
        Ok(match self.unless_interrupted(self.answer(Method::GET, path, None))?.transpose()? {
            Some(Ok(found)) => Look::Found(found),
            Some(Err(refused)) => Look::Refused(refused),
            None => Look::Interrupted,
        })
    }

    /// What `work` comes to; none if Ctrl-C is pressed first.
    fn unless_interrupted<T>(&self, work: impl Future<Output = T>) -> Result<Option<T>, String> {
        let mut interrupts = self.heed_interrupts()?.borrow_mut();
        let interrupts = &mut *interrupts;
        Ok(self.runtime.block_on(async {
            tokio::select! {
                biased;
                _ = interrupts.recv() => None,
                done = work => Some(done),
            }
        }))
    }

    fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, String> {
        let answer = self.runtime.block_on(self.answer(method, path, body))?;
        answer.map_err(|refused| refused.reason)
    }

    async fn answer(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Result<Value, Refused>, String> {
        let url = format!("{}{path}", self.base);
        let token = self.token.as_deref();
        let (status, text) = super::send::ask_by(&self.client, method, &url, token, body).await?;
        let answer: Value = serde_json::from_str(&text)
            .map_err(|_| format!("{url}: {status} {}", text.trim_end()))?;
        if status == 200 {
            return Ok(Ok(answer));
        }
        let reason = format!("{url}: {status} {}", answer["error"].as_str().unwrap_or_default());
        Ok(Err(Refused { status, reason }))
    }

    /// Prints an answer, to people as a table.
    pub(super) fn show(&self, answer: &Value, rows: impl FnOnce(&Value) -> Table) {
        if self.json {
            say(answer);
        } else {
            columns(&rows(answer)).into_iter().for_each(say);
        }
    }

    /// Prints an answer, to people in words.
    pub(super) fn tell(&self, answer: &Value, words: impl std::fmt::Display) {
        if self.json {
            say(answer);
        } else {
            say(words);
        }
    }
}

fn token(common: &Common, contact: &Contact) -> Result<Option<String>, String> {
    if let (None, Some(token)) = (&common.token_file, &contact.token) {
        return Ok(Some(token.as_str().to_owned()));
    }
    if common.token_file.is_none() && contact.insecure {
        return Ok(None);
    }
    let made = token_file(&contact.data_folder);
    let file = common.token_file.as_ref().unwrap_or(&made);
    let text = std::fs::read_to_string(file);
    let text = text.map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(Some(text.trim().to_owned()))
}

/// A table with this head.
pub(super) fn table<const N: usize>(
    head: [&str; N],
    rows: impl Iterator<Item = Vec<String>>,
) -> Table {
    std::iter::once(head.map(str::to_owned).to_vec()).chain(rows).collect()
}

/// `path?a=1&b=2`, of the parameters that have a value.
pub(super) fn with_query<'a>(
    path: &str,
    parameters: impl IntoIterator<Item = (&'a str, Option<String>)>,
) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in parameters {
        if let Some(value) = value {
            query.append_pair(name, &value);
        }
    }
    let mut url = path.to_owned();
    let _ = write!(url, "?{}", query.finish());
    url
}

/// So many of them, in words.
pub(super) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

pub(super) fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

pub(super) fn joined(texts: impl Iterator<Item = String>) -> String {
    let texts: Vec<_> = texts.collect();
    if texts.is_empty() { "-".to_owned() } else { texts.join(", ") }
}

/// Some of it was written by strangers, and a terminal obeys control characters.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Lines of cells, each column as wide as its widest.
fn columns(rows: &[Vec<String>]) -> Vec<String> {
    let count = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<_> = (0..count).map(|column| width(column).unwrap_or_default()).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}
