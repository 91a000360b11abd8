//! A collector of traces that throws them away, in a process of its own: what it takes is not the gateway's.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    routing::{get, post},
};

use crate::process::Server;

/// The flag of that process.
pub(crate) const FLAG: &str = "--serve-sink";

/// A running collector.
pub(crate) struct Sink(Server);

impl Sink {
    pub(crate) fn start() -> Self {
        Self(Server::start(FLAG))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// How many bytes it was sent.
    pub(crate) async fn bytes(&self) -> u64 {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let asking = client.get(format!("http://{}/bytes", self.0.address)).send().await;
        asking.unwrap().text().await.unwrap().parse().unwrap()
    }
}

/// The collector's `main`.
pub(crate) fn serve() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        println!("{}", listener.local_addr().unwrap());
        let app = Router::new().route("/v1/traces", post(take)).route("/bytes", get(count));
        axum::serve(listener, app.with_state(Taken::default())).await.unwrap();
    });
}

/// Bytes so far.
type Taken = Arc<AtomicU64>;

async fn take(State(taken): State<Taken>, body: Bytes) {
    taken.fetch_add(body.len() as u64, Relaxed);
}

async fn count(State(taken): State<Taken>) -> String {
    taken.load(Relaxed).to_string()
}
