//! A gateway of the demo's own: a temporary folder, a real child process, real signals.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::SocketAddr,
    os::unix::{
        fs::PermissionsExt as _,
        process::{CommandExt as _, ExitStatusExt as _},
    },
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{outside::Outside, story::Story};
use crate::{
    chance::Chance,
    cli::ports::Held,
    config::{Config, Surroundings},
};

/// How long the gateway may take to be ready, with all plugins compiled, and to stop. On a quiet machine it is
/// some seconds.
const PATIENCE: Duration = Duration::from_secs(240);
const POLL: Duration = Duration::from_millis(20);

/// Where everything is.
pub(super) struct House {
    pub(super) story: Story,
    dir: TempDir,
    pub(super) public: SocketAddr,
    pub(super) admin: SocketAddr,
    /// Those two, until the gateway is started.
    held: Option<[Held; 2]>,
    /// What the config takes from the environment.
    env: BTreeMap<&'static str, String>,
    /// The names of the plugins in it.
    pub(super) plugins: Vec<String>,
}

/// A running gateway. Dropped, it is killed: the demo leaves nothing behind.
pub(super) struct Running {
    child: Child,
}

impl House {
    /// A folder with a config and the plugins in it.
    pub(super) fn build(
        story: Story,
        modules: &[PathBuf],
        outside: &Outside,
    ) -> Result<Self, String> {
        let dir = tempfile::Builder::new().prefix("hookweir-demo-").tempdir();
        let dir = dir.map_err(|error| format!("a temporary folder: {error}"))?;
        let chance = Chance::system();
        let (public, admin) = (Held::find(&chance)?, Held::find(&chance)?);
        let mut house = Self {
            story,
            dir,
            public: public.address()?,
            admin: admin.address()?,
            held: Some([public, admin]),
            env: secrets(outside),
            plugins: Vec::new(),
        };
        house.write(outside).map_err(|error| error.to_string())?;
        for module in modules {
            let name = module.file_name().unwrap_or_default();
            let placed = fs::copy(module, house.folder().join(name));
            placed.map_err(|error| format!("{}: {error}", module.display()))?;
            house.plugins.extend(module.file_stem().map(|stem| stem.to_string_lossy().into()));
        }
        house.plugins.sort();
        Ok(house)
    }

    fn write(&self, outside: &Outside) -> std::io::Result<()> {
        fs::create_dir(self.folder())?;
        fs::write(self.config(), self.toml(outside))?;
        let export = |(name, value): (&&str, &String)| format!("export {name}='{value}'\n");
        fs::write(self.environment(), self.env.iter().map(export).collect::<String>())?;
        fs::set_permissions(self.environment(), fs::Permissions::from_mode(0o600))
    }

    fn toml(&self, outside: &Outside) -> String {
        let Self { public, admin, .. } = self;
        format!(
            r#"[server]
listen = "{public}"

[admin]
listen = "{admin}"

[alerts]               # the story has the alerts that it tells of
latency = "off"
refusal_rate = "off"
disk_free = "off"
{}{SOURCES}{}"#,
            self.story.alerts(),
            self.story.config(outside)
        )
    }

    pub(super) fn config(&self) -> PathBuf {
        self.dir.path().join("gateway.toml")
    }

    /// The plugins' folder.
    pub(super) fn folder(&self) -> PathBuf {
        self.dir.path().join("plugins")
    }

    /// A place for a plugin that is not to be deployed yet.
    pub(super) fn aside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(super) fn database(&self) -> PathBuf {
        self.data().join("hookweir.db")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.dir.path().join("gateway.log")
    }

    /// The last lines of the log.
    pub(super) fn log_end(&self, lines: usize) -> String {
        let text = fs::read_to_string(self.log()).unwrap_or_default();
        let all: Vec<_> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// A file for a shell, with what the config takes from the environment.
    pub(super) fn environment(&self) -> PathBuf {
        self.dir.path().join("secrets.sh")
    }

    /// A secret that the config takes from the environment.
    pub(super) fn secret(&self, name: &str) -> &str {
        self.env.get(name).map_or("", String::as_str)
    }

    /// The config as the gateway reads it.
    pub(super) fn read_config(&self) -> Result<Config, String> {
        let env = |name: &str| self.env.get(name).cloned();
        let around = Surroundings { env: &env, ..Surroundings::real() };
        Config::load(&self.config(), &around).map_err(|error| error.to_string())
    }

    /// Leaves the folder where it is, and answers where that is.
    pub(super) fn keep(mut self) -> PathBuf {
        self.dir.disable_cleanup(true);
        self.dir.path().to_owned()
    }

    /// This very program, in the environment that the config needs.
    pub(super) fn program(&self) -> Result<Command, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new(program);
        command.envs(&self.env).stdin(Stdio::null());
        Ok(command)
    }

    /// Starts the gateway and waits until it is ready.
    pub(super) async fn start(&mut self) -> Result<Running, String> {
        let log = File::options().create(true).append(true).open(self.log());
        let log = log.map_err(|error| format!("{}: {error}", self.log().display()))?;
        self.held = None;
        let child = self
            .program()?
            .args(["run", "--config"])
            .arg(self.config())
            .stdout(Stdio::null())
            .stderr(log)
            // A terminal's Ctrl-C is for the demo, which then ends the gateway calmly.
            .process_group(0)
            .spawn()
            .map_err(|error| format!("failed to start the gateway: {error}"))?;
        let mut running = Running { child };
        running
            .ready(&format!("http://{}/readyz", self.admin))
            .await
            .map_err(|reason| format!("{reason}; its log:\n{}", self.log_end(20)))?;
        Ok(running)
    }
}

impl Running {
    async fn ready(&mut self, url: &str) -> Result<(), String> {
        let client = reqwest::Client::builder().no_proxy().build().map_err(|e| e.to_string())?;
        let asking = async {
            loop {
                if let Ok(Some(status)) = self.child.try_wait() {
                    return Err(format!("the gateway ended: {status}"));
                }
                if client.get(url).send().await.is_ok_and(|reply| reply.status().is_success()) {
                    return Ok(());
                }
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::time::timeout(PATIENCE, asking)
            .await
            .unwrap_or_else(|_| Err("the gateway did not get ready".into()))
    }

    /// Ends the gateway at once, as a power cut would.
    pub(super) fn kill(mut self) -> Result<(), String> {
        let ended = self.child.kill().and_then(|()| self.child.wait());
        let status = ended.map_err(|error| error.to_string())?;
        match status.signal() {
            Some(9) => Ok(()),
            _ => Err(format!("the gateway was not killed, it ended with {status}")),
        }
    }

    /// Asks the gateway to stop, as a supervisor would, and answers whether it ended well.
    pub(super) async fn stop(mut self) -> Result<(), String> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or("the gateway has no process id")?;
        kill_process(pid, Signal::TERM).map_err(|error| error.to_string())?;
        let waiting = async {
            loop {
                match self.child.try_wait() {
                    Ok(Some(status)) if status.success() => return Ok(()),
                    Ok(Some(status)) => return Err(format!("the gateway ended with {status}")),
                    Ok(None) => tokio::time::sleep(POLL).await,
                    Err(error) => return Err(error.to_string()),
                }
            }
        };
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .unwrap_or_else(|_| Err("the gateway did not stop".into()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whose webhooks come: providers by their presets, and two systems of the company's own.
const SOURCES: &str = r#"
[sources.clerk]
path = "/webhooks/clerk"
scheme = "clerk"
secrets = [{ env = "CLERK_SECRET" }]

[sources.github]
path = "/webhooks/github"
scheme = "github"
secrets = [{ env = "GITHUB_SECRET" }]

[sources.shopify]
path = "/webhooks/shopify"
scheme = "shopify"
secrets = [{ env = "SHOPIFY_SECRET" }]

[sources.stripe]
path = "/webhooks/stripe"
scheme = "stripe"
secrets = [{ env = "STRIPE_SECRET" }]
rate = "10000/minute"

[sources.warehouse]   # a system of one's own: its scheme is declared, without code
path = "/webhooks/warehouse"
scheme = { signature = "header:x-signature", algorithm = "hmac-sha256", encoding = "hex", signed = "{body}", type = "header:x-webhook-type", id = "content" }
secrets = [{ env = "WAREHOUSE_SECRET" }]

[sources.monitoring]
path = "/webhooks/monitoring"
scheme = { signature = "header:x-signature", algorithm = "hmac-sha256", encoding = "hex", signed = "{body}", type = "header:x-webhook-type", id = "content" }
secrets = [{ env = "MONITORING_SECRET" }]
"#;

/// New ones for each demo.
fn secrets(outside: &Outside) -> BTreeMap<&'static str, String> {
    let random = || Chance::system().bytes::<32>();
    let hex = || random().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let plain = [
        "GITHUB_SECRET",
        "SHOPIFY_SECRET",
        "WAREHOUSE_SECRET",
        "MONITORING_SECRET",
        "ERP_SECRET",
        "ACCOUNTS_KEY",
        "MAIL_KEY",
        "CI_TOKEN",
        "WAREHOUSE_KEY",
        "RELAY_API_TOKEN",
    ];
    let mut secrets: BTreeMap<_, _> = plain.into_iter().map(|name| (name, hex())).collect();
    secrets.insert("STRIPE_SECRET", format!("whsec_{}", hex()));
    secrets.insert("CLERK_SECRET", format!("whsec_{}", STANDARD.encode(random())));
    secrets.insert("CHAT_URL", format!("{}/services/T0/B0/{}", outside.chat.origin(), hex()));
    secrets
}
