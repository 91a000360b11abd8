//! What a test waits for and can't see into: a gateway's answer, a command's end. It fails when it has waited for
//! too long; a test that hangs tells nobody why.

use std::{
    net::SocketAddr,
    process::{Command, Output, Stdio},
    sync::mpsc::channel,
    thread,
    time::Instant,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{net::TcpStream, task::yield_now, time::timeout};

use crate::house::PATIENCE;

/// A client that asks nobody but the gateway, and gives up an answer that does not come.
pub fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(2 * PATIENCE).build().unwrap()
}

/// What a command says, and how it ends. It may be a compiler that is waited for, and all that the SDK stands on.
#[track_caller]
pub fn output(command: &mut Command) -> Output {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = child.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let pid = Pid::from_child(&child);
    let (ended, end) = channel();
    let waiting = thread::spawn(move || {
        let output = child.wait_with_output();
        // Nobody listens any more if it was in vain.
        let _ = ended.send(());
        output
    });
    let in_time = end.recv_timeout(15 * PATIENCE).is_ok();
    if !in_time {
        // It may have ended in this very moment.
        let _ = kill_process(pid, Signal::KILL);
    }
    // What it has started itself may have its output yet.
    assert!(in_time || end.recv_timeout(PATIENCE).is_ok(), "{command:?} does not end");
    let output = waiting.join().unwrap().unwrap();
    assert!(in_time, "{command:?} does not end: {output:?}");
    output
}

/// Waits for what tells nobody when it comes.
pub async fn until(what: &str, enough: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !enough() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        yield_now().await;
    }
}

/// Waits until nobody takes a connection there any more.
pub async fn until_closed(address: SocketAddr) {
    let closed = async { while TcpStream::connect(address).await.is_ok() {} };
    timeout(PATIENCE, closed).await.expect("it takes connections no more");
}
