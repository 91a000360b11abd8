//! A gateway of the demo's own: a temporary folder, a real child process, real signals.

use std::{
    fs::{self, File},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::chance::Chance;

/// How long the gateway may take to be ready, and to stop.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// Where everything is.
pub(super) struct House {
    dir: TempDir,
    pub(super) public: SocketAddr,
    admin: SocketAddr,
    github: String,
    stripe: String,
}

/// A running gateway. Dropped, it is killed: the demo leaves nothing behind.
pub(super) struct Running {
    child: Child,
}

impl House {
    /// A folder with a config and the plugins in it.
    pub(super) fn build(modules: &[PathBuf]) -> Result<Self, String> {
        let dir = tempfile::Builder::new().prefix("hookweir-demo-").tempdir();
        let dir = dir.map_err(|error| format!("a temporary folder: {error}"))?;
        let secret = || format!("{:032x}", u128::from_ne_bytes(Chance::system().bytes()));
        let (public, admin) = (free_port()?, free_port()?);
        let house =
            Self { dir, public, admin, github: secret(), stripe: format!("whsec_{}", secret()) };
        fs::write(house.config(), house.toml()).map_err(|error| error.to_string())?;
        fs::create_dir(house.plugins()).map_err(|error| error.to_string())?;
        for module in modules {
            let name = module.file_name().unwrap_or_default();
            fs::copy(module, house.plugins().join(name)).map_err(|error| error.to_string())?;
        }
        Ok(house)
    }

    fn toml(&self) -> String {
        let Self { public, admin, .. } = self;
        format!(
            r#"[server]
listen = "{public}"

[admin]
listen = "{admin}"

[sources.github]
path = "/webhooks/github"
scheme = "github"
secrets = [{{ env = "GITHUB_SECRET" }}]

[sources.stripe]
path = "/webhooks/stripe"
scheme = "stripe"
secrets = [{{ env = "STRIPE_SECRET" }}]
rate = "10000/minute"

[plugins.github]
http = ["https://*"]  # it tells whom the config names, and that is nobody here

[plugins.payments]
backoff = "250ms"     # so that nobody waits long for the retry
"#
        )
    }

    pub(super) fn config(&self) -> PathBuf {
        self.dir.path().join("gateway.toml")
    }

    pub(super) fn plugins(&self) -> PathBuf {
        self.dir.path().join("plugins")
    }

    pub(super) fn database(&self) -> PathBuf {
        self.dir.path().join("data/hookweir.db")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.dir.path().join("gateway.log")
    }

    /// The secret of a source, as its sender has it.
    pub(super) fn secret(&self, source: &str) -> &str {
        if source == "github" { &self.github } else { &self.stripe }
    }

    /// Starts the gateway, this very program, and waits until it is ready.
    pub(super) async fn start(&self) -> Result<Running, String> {
        let log = File::options().create(true).append(true).open(self.log());
        let log = log.map_err(|error| format!("{}: {error}", self.log().display()))?;
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let child = Command::new(program)
            .args(["run", "--config"])
            .arg(self.config())
            .env("GITHUB_SECRET", &self.github)
            .env("STRIPE_SECRET", &self.stripe)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| format!("failed to start the gateway: {error}"))?;
        let mut running = Running { child };
        running
            .ready(&format!("http://{}/readyz", self.admin))
            .await
            .map_err(|reason| format!("{reason}; its log:\n{}", tail(&self.log())))?;
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

/// A port that nobody listens on now.
fn free_port() -> Result<SocketAddr, String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|error| error.to_string())?;
    listener.local_addr().map_err(|error| error.to_string())
}

fn tail(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<_> = text.lines().rev().take(20).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}
