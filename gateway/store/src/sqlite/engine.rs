//! The engine's thread: opens the database and serves what is asked at the desk.

use tokio::sync::{
    mpsc::{self, WeakSender},
    oneshot,
};

use super::{Op, Signals, anchor::Anchor, window::Window, writer::Writer};
use crate::{
    OpenError, Options, SqliteFile,
    desk::{Desk, ENDED_EARLY, Engine},
    term,
};

/// Opens the database in the file. What is asked at the desk is done until the desk is gone, or closed.
pub(crate) async fn open(
    file: SqliteFile,
    options: Options,
) -> Result<(Desk, Engine, Window), OpenError> {
    let (queue, operations) = mpsc::channel(options.queue.max(1));
    let signals = Signals::default();
    let anchor = Anchor::default();
    let window = Window::beside(file.clone(), anchor.clone());
    let path = file.path.clone();
    let (opened, ready) = oneshot::channel();
    let (back, told) = (queue.downgrade(), signals.clone());
    let engine = Engine::start("store-writer", &signals, move || {
        run((&file, &options), operations, (back, &anchor), &told, opened);
    });
    let engine = engine.map_err(|source| OpenError::File { path: path.clone(), source })?;
    // Whoever gives up now drops the desk first, by which the engine ends.
    let desk = Desk::new(queue, signals, term::terms);
    let ended_early = || OpenError::Engine { path, reason: ENDED_EARLY.to_owned() };
    ready.await.unwrap_or_else(|_| Err(ended_early()))?;
    Ok((desk, engine, window))
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
    let (database, checkpointer) = match super::open::open(file, options, back, anchor) {
        Ok(ready) => ready,
        Err(error) => {
            let _ = opened.send(Err(error));
            return;
        }
    };
    let _ = opened.send(Ok(()));
    Writer::new(file, database, checkpointer, signals).serve(queue);
}
