//! Opening: whoever gives it up is free at once.

use std::{
    future::Future as _,
    sync::{
        Arc,
        mpsc::{Sender, channel},
    },
    task::{Context, Wake, Waker},
    thread,
    time::Duration,
};

use hookweir_store::Store;

use crate::conformance::support::{Bed, Verbs, event, new};

/// So long nothing here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Says that it was woken.
struct Woken(Sender<()>);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        // Nobody may listen any more.
        let _ = self.0.send(());
    }
}

/// Where a process ends while its store is being opened, the engine may say that it is ready to somebody who does not
/// listen any more, and has the queue still.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_gives_up_when_it_is_open_waits_for_nobody() {
    let mut bed = Bed::new();
    let options = bed.options();
    let (ended, end) = channel();
    thread::spawn(move || {
        let (woken, woke) = channel();
        let waker = Waker::from(Arc::new(Woken(woken)));
        let mut opening = Box::pin(Store::open(options));
        let began = opening.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(began.is_pending(), "it is open before anybody waits");
        woke.recv_timeout(PATIENCE).expect("the engine says that it is ready");
        drop(opening);
        let _ = ended.send(());
    });
    let end = tokio::task::spawn_blocking(move || end.recv_timeout(PATIENCE)).await.unwrap();
    end.expect("the engine does not end");
    // What it had is free.
    let store = bed.boot().await;
    store.keep(new(event("push"), &[], &["a"])).await;
    store.close().await.unwrap();
}
