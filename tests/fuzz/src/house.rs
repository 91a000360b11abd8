//! A gateway in this process, so that what runs of it is seen: its ports, and its books.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{Mutex, OnceLock},
    time::Duration,
};

use hookweir_event::Origin;
use hookweir_store::{Counts, Filter, Reader};
use hookweir_tests::house::{InProcess, surrounds};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// How long an answer may take: more than each limit of the config.
const PATIENCE: Duration = Duration::from_secs(20);
/// What operators show.
pub(crate) const TOKEN: &str = "a-token-of-an-operator-0123456789";
/// What senders sign with.
const SECRET: &str = "a-secret-of-a-sender-0123456789";

const CONFIG: &str = r#"
[server]
listen = "127.0.0.1:0"
address_rate = "off"
refused_rate = "off"
header_timeout = "2s"
body_timeout = "2s"

[admin]
listen = "127.0.0.1:0"
token = { env = "TOKEN" }

[sources.github]
path = "/webhooks/github"
scheme = "github"
secrets = [{ env = "SECRET" }]
rate = "off"

[sources.open]
path = "/open"
scheme = { type = "header:x-type", id = "content" }
insecure = true
body_max = "64KiB"
rate = "off"
"#;

/// The gateway of this process.
pub(crate) struct House {
    runtime: Runtime,
    pub(crate) public: SocketAddr,
    pub(crate) admin: SocketAddr,
    reader: Reader,
    /// One input at a time, so that it is known whose the events are.
    turn: Mutex<()>,
    /// Kept for as long as the process.
    _folder: TempDir,
}

impl House {
    /// Started when it is first asked for.
    pub(crate) fn of_this_process() -> &'static Self {
        static HOUSE: OnceLock<House> = OnceLock::new();
        HOUSE.get_or_init(Self::start)
    }

    fn start() -> Self {
        heed_panics();
        let folder = tempfile::Builder::new().prefix("hookweir-fuzz-").tempdir().unwrap();
        let file = folder.path().join("gateway.toml");
        std::fs::write(&file, CONFIG).unwrap();
        let env = |name: &str| match name {
            "TOKEN" => Some(TOKEN.to_owned()),
            "SECRET" => Some(SECRET.to_owned()),
            _ => None,
        };
        let (config, around) = surrounds(&file, &env);
        let reader = Reader::of(&config.store.location()).unwrap();
        let runtime = Runtime::new().unwrap();
        let gateway = runtime.block_on(InProcess::start(config, around));
        let (public, admin) = (gateway.public, gateway.admin);
        runtime.spawn(async move {
            let ended = gateway.ended().await;
            // Nobody asked it to.
            eprintln!("the gateway ended: {ended:?}");
            std::process::abort();
        });
        Self { runtime, public, admin, reader, turn: Mutex::default(), _folder: folder }
    }

    /// Does something while nobody else does.
    pub(crate) fn alone<T>(&self, act: impl FnOnce() -> T) -> T {
        let _turn = self.turn.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        act()
    }

    /// How many events the store has, and so on.
    pub(crate) fn counts(&self) -> Counts {
        self.runtime.block_on(self.reader.counts()).unwrap()
    }

    /// Whether there is an event of the source that takes none without a signature.
    pub(crate) fn has_signed(&self) -> bool {
        let origin = Some(Origin::Source("github".parse().unwrap()));
        let filter = Filter { origin, ..Filter::default() };
        let found = self.runtime.block_on(self.reader.search_ids(&filter, None, 1));
        !found.unwrap().found.is_empty()
    }
}

/// A panic in the gateway's own threads costs a request and no more: here it is what is looked for.
fn heed_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        before(panic);
        let thread = std::thread::current();
        if matches!(thread.name(), Some("tokio-rt-worker" | "hookweir-guest")) {
            std::process::abort();
        }
    }));
}

/// Sends these bytes over a connection of their own and no more, and answers what came back until its end.
pub(crate) fn exchange(to: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    // It may hang up before it has all of it.
    let _ = stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write));
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "no answer and no end");
    }
    answer
}
