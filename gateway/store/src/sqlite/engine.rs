//! The engine's thread: opens the database and serves what is asked at the desk.

use std::thread::JoinHandle;

use tokio::sync::{
    mpsc::{self, WeakSender},
    oneshot,
};

use super::{Op, Signals, anchor::Anchor, open, window::Window, writer::Writer};
use crate::{Health, OpenError, Options, SqliteFile, StoreError, desk::Desk, term};

/// The engine's thread. Dropped, it waits until that has ended, which it does when the desk is gone.
pub(crate) struct Engine {
    thread: Option<JoinHandle<()>>,
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Tells the handles when the writer ended, and when it did so before its time.
struct Farewell(Signals);

impl Drop for Farewell {
    fn drop(&mut self) {
        let in_time = self.0.finished.borrow().is_some();
        if !in_time {
            let reason = "the writer ended early".to_owned();
            self.0.health.send_replace(Health::Poisoned(reason.clone()));
            self.0.finished.send_replace(Some(Err(StoreError::Poisoned(reason))));
        }
    }
}

impl Engine {
    /// Opens the database in the file. What is asked at the desk is done until the desk is gone, or closed.
    pub(crate) async fn open(
        file: SqliteFile,
        options: Options,
    ) -> Result<(Desk, Self, Window), OpenError> {
        let (queue, operations) = mpsc::channel(options.queue.max(1));
        let signals = Signals::default();
        let anchor = Anchor::default();
        let window = Window::beside(file.clone(), anchor.clone());
        let path = file.path.clone();
        let (opened, ready) = oneshot::channel();
        let (back, told) = (queue.downgrade(), signals.clone());
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || {
                let _farewell = Farewell(told.clone());
                run((&file, &options), operations, (back, &anchor), &told, opened);
            })
            .map_err(|source| OpenError::File { path: path.clone(), source })?;
        let engine = Self { thread: Some(thread) };
        match ready.await {
            Ok(opened) => opened?,
            Err(_) => {
                return Err(OpenError::Engine { path, reason: "the writer ended early".into() });
            }
        }
        Ok((Desk::new(queue, signals, term::terms), engine, window))
    }
}

/// The writer thread: opens the database, answers `opened`, then serves until the queue's last sender is
/// gone or [`Op::Close`] arrives.
fn run(
    (file, options): (&SqliteFile, &Options),
    queue: mpsc::Receiver<Op>,
    (back, anchor): (WeakSender<Op>, &Anchor),
    signals: &Signals,
    opened: oneshot::Sender<Result<(), OpenError>>,
) {
    let (database, checkpointer) = match open::open(file, options, back, anchor) {
        Ok(ready) => ready,
        Err(error) => {
            let _ = opened.send(Err(error));
            return;
        }
    };
    let _ = opened.send(Ok(()));
    Writer::new(file, database, checkpointer, signals).serve(queue);
}
