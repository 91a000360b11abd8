//! Where the story plays: the gateway, the world around it, and the doors by which one looks at both.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use hookweir_event::{Digest, EventId};
use hookweir_store::{DeliveryState, Reader, Shown};
use serde_json::Value;

use super::{
    ending::said,
    house::{House, Running},
    outside::Outside,
    page::Page,
    sender::Sender,
};
use crate::{
    admin::token_file,
    cli::{plugin::put, send},
};

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// Events of one look.
const PAGE: usize = 500;
/// The most that is said of what is waited for in vain.
const WAITING_MAX: usize = 5;

/// All that a chapter may use.
pub(super) struct Stage {
    pub(super) house: House,
    pub(super) outside: Outside,
    pub(super) sender: Sender,
    pub(super) reader: Reader,
    gateway: Option<Running>,
    client: reqwest::Client,
}

impl Stage {
    /// Everything in its place, and the gateway not started yet.
    pub(super) fn new(house: House, outside: Outside, plugins: PathBuf) -> Result<Self, String> {
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build();
        let client = client.map_err(|error| error.to_string())?;
        let sender = Sender::new(house.read_config()?, plugins);
        let reader = Reader::at(house.database());
        Ok(Self { house, outside, sender, reader, gateway: None, client })
    }

    /// Stops the gateway as a supervisor would, and answers whether it ended well.
    pub(super) async fn stop(&mut self) -> Result<(), String> {
        // Whoever reads on would be in the way of the last checkpoint.
        self.reader = Reader::at(self.house.database());
        match self.gateway.take() {
            Some(gateway) => gateway.stop().await,
            None => Ok(()),
        }
    }

    /// Ends the gateway at once, as a power cut would.
    pub(super) fn kill(&mut self) -> Result<(), String> {
        self.reader = Reader::at(self.house.database());
        self.gateway.take().ok_or("the gateway does not run")?.kill()
    }

    /// Starts the gateway, and waits until it is ready.
    pub(super) async fn start(&mut self) -> Result<(), String> {
        self.gateway = Some(self.house.start().await?);
        Ok(())
    }

    /// Ends the stage; what is left is the folder.
    pub(super) fn close(self) -> House {
        drop(self.gateway);
        self.house
    }

    /// Waits until nothing is due or running.
    pub(super) async fn settled(&self) -> Result<(), String> {
        let fault = |error: hookweir_store::ReadError| error.to_string();
        let wait = async {
            loop {
                let counts = self.reader.counts().await.map_err(fault)?;
                if counts.due + counts.leased == 0 {
                    return Ok(());
                }
                tokio::time::sleep(POLL).await;
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(settled) => settled,
            Err(_) => Err(format!(
                "after {} s this still waits:\n{}",
                PATIENCE.as_secs(),
                self.waiting().await?
            )),
        }
    }

    /// What is not settled, an event a line.
    async fn waiting(&self) -> Result<String, String> {
        let open = |state| {
            !matches!(state, DeliveryState::Done | DeliveryState::Dead | DeliveryState::Discarded)
        };
        let lines = self.events(None).await?.into_iter().flat_map(|shown| {
            let open = shown.deliveries.iter().filter(|delivery| open(delivery.state));
            let line = |d| format!("{} {} {}", named(&shown), shown.event.id, said(d));
            open.map(line).collect::<Vec<_>>()
        });
        Ok(lines.take(WAITING_MAX).collect::<Vec<_>>().join("\n"))
    }

    /// Waits until all is settled, and checks that the page's events ended as they should.
    pub(super) async fn settle(&self, page: &mut Page) -> Result<(), String> {
        self.settled().await?;
        self.judge(page).await
    }

    /// Checks that the page's events ended as they should.
    pub(super) async fn judge(&self, page: &mut Page) -> Result<(), String> {
        let Some(first) = page.expected.first() else { return Ok(()) };
        let mut all: Vec<_> = self.show(first.event).await?.into_iter().collect();
        all.extend(self.events(Some(first.event)).await?);
        let faults: Vec<_> = page.expected.iter().filter_map(|e| e.compare(&all).err()).collect();
        let what = match page.expected.len() {
            1 => "its event ended as it should".to_owned(),
            count => format!("each of its {count} events ended as it should"),
        };
        page.check(what, if faults.is_empty() { Ok(()) } else { Err(faults.join("\n")) });
        Ok(())
    }

    /// All events behind this one, in the order in which they were committed.
    pub(super) async fn events(&self, after: Option<EventId>) -> Result<Vec<Shown>, String> {
        let mut all: Vec<Shown> = Vec::new();
        loop {
            let after = all.last().map(|shown| shown.event.id).or(after);
            let page = self.reader.events(after, PAGE).await.map_err(|error| error.to_string())?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
        }
    }

    /// One event.
    pub(super) async fn show(&self, id: EventId) -> Result<Option<Shown>, String> {
        self.reader.show(id).await.map_err(|error| error.to_string())
    }

    /// The outputs of an event.
    pub(super) async fn outputs(&self, id: EventId) -> Result<Vec<Shown>, String> {
        let mut events = self.events(Some(id)).await?;
        events.retain(|shown| shown.event.parent == Some(id));
        Ok(events)
    }

    /// The version that the last attempt on an event ran on.
    pub(super) async fn ran_on(&self, id: EventId) -> Result<Option<Digest>, String> {
        let shown = self.show(id).await?;
        let deliveries = shown.map(|shown| shown.deliveries).unwrap_or_default();
        let last = deliveries.first().and_then(|delivery| delivery.attempts.last());
        Ok(last.and_then(|made| made.attempt.version))
    }

    /// What `GET /api/…` answers.
    pub(super) async fn ask(&self, path: &str) -> Result<(u16, Value), String> {
        let url = format!("http://{}/api/{path}", self.house.public);
        let (status, text) = send::ask(&url, None, None).await?;
        Ok((status, serde_json::from_str(&text).unwrap_or_default()))
    }

    /// Asks a plugin's api in any way, with a token.
    pub(super) async fn call(
        &self,
        method: reqwest::Method,
        path: &str,
        token: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Value), String> {
        let url = format!("http://{}/api/{path}", self.house.public);
        let mut calling = self.client.request(method, &url).bearer_auth(token);
        if let Some(body) = body {
            calling = calling.json(body);
        }
        let answer = calling.send().await.map_err(|error| format!("{url}: {error}"))?;
        let status = answer.status().as_u16();
        let text = answer.text().await.map_err(|error| format!("{url}: {error}"))?;
        Ok((status, serde_json::from_str(&text).unwrap_or_default()))
    }

    /// How a plugin stands, as the admin address tells.
    pub(super) async fn plugin(&self, name: &str) -> Result<Value, String> {
        self.admin(&format!("plugins/{name}")).await
    }

    /// What the admin address has at this place.
    pub(super) async fn admin(&self, path: &str) -> Result<Value, String> {
        let token = token_file(&self.house.data());
        let token = fs::read_to_string(&token).map_err(|e| format!("{}: {e}", token.display()))?;
        let url = format!("http://{}/v1/{path}", self.house.admin);
        let (status, text) = send::ask(&url, Some(token.trim()), None).await?;
        match status {
            200 => serde_json::from_str(&text).map_err(|error| format!("{url}: {error}")),
            _ => Err(format!("{url}: {status} {text}")),
        }
    }

    /// Waits until a plugin stands so.
    pub(super) async fn until_plugin(
        &self,
        name: &str,
        what: &str,
        stands: impl Fn(&Value) -> bool,
    ) -> Result<Value, String> {
        let stands = |plugin: &Value| stands(plugin).then(|| plugin.clone());
        self.until(&format!("plugins/{name}"), what, stands).await
    }

    /// Waits until something is found in what the admin address has at this place.
    pub(super) async fn until<T>(
        &self,
        path: &str,
        what: &str,
        found: impl Fn(&Value) -> Option<T>,
    ) -> Result<T, String> {
        let wait = async {
            loop {
                if let Some(found) = found(&self.admin(path).await?) {
                    return Ok(found);
                }
                tokio::time::sleep(POLL).await;
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(found) => found,
            Err(_) => {
                let now = self.admin(path).await?;
                Err(format!("waited {} s for {what}, and {path} is {now}", PATIENCE.as_secs()))
            }
        }
    }

    /// Waits until this version of a plugin is live.
    pub(super) async fn until_live(&self, name: &str, version: Digest) -> Result<Value, String> {
        let what = format!("version {} to be live", version.short());
        let version = version.to_string();
        self.until_plugin(name, &what, |plugin| plugin["live"]["version"] == *version).await
    }

    /// The file of a plugin, as the gateway has it.
    pub(super) fn module(&self, name: &str) -> PathBuf {
        self.house.folder().join(format!("{name}.wasm"))
    }

    /// Reads a plugin's file.
    pub(super) fn read(&self, name: &str) -> Result<Vec<u8>, String> {
        let path = self.module(name);
        fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Replaces a plugin's file, as a deployment would, and answers its version.
    pub(super) fn replace(&self, name: &str, module: &[u8]) -> Result<Digest, String> {
        let path = self.module(name);
        put(module, &path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Digest::of(module))
    }

    /// What a command of this program answers, if it ends well.
    pub(super) fn command(&self, args: &[&str]) -> Result<String, String> {
        match self.hookweir(args)? {
            (0, said, _) => Ok(said),
            (_, _, fault) => Err(format!("`hookweir {}`: {fault}", args.join(" "))),
        }
    }

    /// How a command of this program ends, and what it says as an answer and beside it.
    pub(super) fn hookweir(&self, args: &[&str]) -> Result<(i32, String, String), String> {
        let mut command = self.house.program()?;
        command.args(args).arg("--config").arg(self.house.config());
        let output = command.output().map_err(|error| error.to_string())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        let code =
            output.status.code().ok_or_else(|| format!("it ended with {}", output.status))?;
        Ok((code, text(&output.stdout), text(&output.stderr)))
    }

    /// Whether a text stands in the gateway's log.
    pub(super) fn logged(&self, text: &str) -> Result<bool, String> {
        let log: &Path = &self.house.log();
        let log = fs::read_to_string(log).map_err(|error| format!("{}: {error}", log.display()))?;
        Ok(log.contains(text))
    }
}

/// An event's source and type.
pub(super) fn named(shown: &Shown) -> String {
    format!("{}/{}", shown.event.origin, shown.event.event_type)
}

/// A JSON value in a sentence: text without its quotes.
pub(super) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
