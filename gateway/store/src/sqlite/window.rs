//! Looks at the store without being in its writer's way: a connection of its own, read-only, short
//! snapshots. Works from another process too, while the gateway runs.
//!
//! Queries that are asked at the same time share a thread's turn and a snapshot. Plugins read their state
//! by them, some hundred attempts at a time: with a turn for each, going to a thread and back was a third of
//! all that an event cost.

use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::oneshot;

use super::{anchor::Anchor, schema};
use crate::{ReadError, SqliteFile};

/// How long a snapshot is shared, beyond the query that is being answered: while it is read the log can't
/// start anew.
const SHARED_FOR: Duration = Duration::from_millis(5);

/// A connection to look through. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    file: SqliteFile,
    desk: Arc<Desk>,
    anchor: Anchor,
}

/// Where queries wait for the thread that answers them.
#[derive(Default)]
struct Desk {
    asked: Mutex<Asked>,
    /// Opened by the first query; used by whoever is on duty.
    connection: Mutex<Option<Connection>>,
}

#[derive(Default)]
struct Asked {
    queries: Vec<Query>,
    /// A thread answers, or is about to.
    on_duty: bool,
}

/// Answers whoever asked, from the snapshot or with the reason for having none.
type Query = Box<dyn FnOnce(Result<&Connection, ReadError>) + Send>;
/// What a query came to, a panic included.
type Caught<T> = Result<T, Box<dyn Any + Send>>;

/// The duty of answering what is asked. Dropped undone, by a runtime that has stopped, it leaves
/// nobody waiting.
struct Duty {
    desk: Arc<Desk>,
    done: bool,
}

impl Window {
    /// For a file that no store in this process writes to.
    pub(crate) fn new(file: SqliteFile) -> Self {
        Self::beside(file, Anchor::default())
    }

    /// For the file of a store in this process.
    pub(super) fn beside(file: SqliteFile, anchor: Anchor) -> Self {
        Self { file, desk: Arc::default(), anchor }
    }

    /// The file.
    pub(crate) fn file(&self) -> &SqliteFile {
        &self.file
    }

    /// Another connection to the same file.
    pub(crate) fn apart(&self) -> Self {
        Self::beside(self.file.clone(), self.anchor.clone())
    }

    /// Runs a query in one snapshot, taken after it was asked, on a thread that may block. Once begun it runs
    /// to its end, whether or not anyone waits still; if nobody does before that, it is left out.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, ReadError> {
        let (answer, answered) = oneshot::channel::<Caught<Result<T, ReadError>>>();
        let ask = move |snapshot: Result<&Connection, ReadError>| {
            if answer.is_closed() {
                return;
            }
            let look = || Ok(query(snapshot?)?);
            // Who asked may have gone.
            let _ = answer.send(catch_unwind(AssertUnwindSafe(look)));
        };
        if let Some(duty) = self.desk.ask(Box::new(ask)) {
            let (file, anchor) = (self.file.clone(), self.anchor.clone());
            tokio::task::spawn_blocking(move || {
                duty.answer(&file);
                // The last to go, if nobody waits any more.
                drop(anchor);
            });
        }
        match answered.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => Err(ReadError::Failed("the runtime has stopped".to_owned())),
        }
    }
}

impl Desk {
    /// Leaves a query, and takes up the duty if nobody has it.
    fn ask(self: &Arc<Self>, query: Query) -> Option<Duty> {
        let mut asked = lock(&self.asked);
        asked.queries.push(query);
        (!std::mem::replace(&mut asked.on_duty, true))
            .then(|| Duty { desk: self.clone(), done: false })
    }

    /// What is asked by now; with nothing the duty ends.
    fn next(&self) -> Vec<Query> {
        let mut asked = lock(&self.asked);
        asked.on_duty = !asked.queries.is_empty();
        std::mem::take(&mut asked.queries)
    }
}

impl Duty {
    fn answer(mut self, file: &SqliteFile) {
        let mut connection = lock(&self.desk.connection);
        loop {
            let mut queries = self.desk.next().into_iter();
            if queries.len() == 0 {
                break;
            }
            while queries.len() > 0 {
                let snapshot = match &mut *connection {
                    Some(connection) => connection.transaction().map_err(ReadError::from),
                    empty => connect(file).and_then(|new| Ok(empty.insert(new).transaction()?)),
                };
                match snapshot {
                    Ok(snapshot) => share(&snapshot, &mut queries),
                    Err(error) => queries.by_ref().for_each(|query| query(Err(error.clone()))),
                }
            }
        }
        drop(connection);
        // Whoever asks from here on takes up a duty of their own.
        self.done = true;
    }
}

/// Answers from one snapshot, as long as it may be shared: one query at least.
fn share(snapshot: &Connection, queries: &mut impl Iterator<Item = Query>) {
    let begun = Instant::now();
    for query in queries {
        query(Ok(snapshot));
        if begun.elapsed() > SHARED_FOR {
            return;
        }
    }
}

impl Drop for Duty {
    fn drop(&mut self) {
        if !self.done {
            let mut asked = lock(&self.desk.asked);
            asked.queries.clear();
            asked.on_duty = false;
        }
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}

/// No panic leaves what is locked here half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn connect(file: &SqliteFile) -> Result<Connection, ReadError> {
    let SqliteFile { path, vfs, .. } = file;
    let missing = |path: &Path| ReadError::Missing(path.display().to_string());
    if !path.exists() {
        return Err(missing(path));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = match vfs {
        None => Connection::open_with_flags(path, flags)?,
        Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs.as_str())?,
    };
    connection.busy_timeout(Duration::from_secs(2))?;
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get(0));
    if pragma("application_id")? != schema::APPLICATION_ID {
        return Err(missing(path));
    }
    let (found, known) = (pragma("user_version")?, schema::NEWEST);
    if found > known {
        return Err(ReadError::NewerSchema { found, known });
    }
    if found < known {
        return Err(ReadError::OlderSchema { found, known });
    }
    Ok(connection)
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    };

    use super::*;

    fn count(connection: &Connection) -> rusqlite::Result<i64> {
        connection.query_row("SELECT events FROM totals", [], |row| row.get(0))
    }

    /// A window on a store's file, which is gone when the folder is dropped.
    fn window() -> (tempfile::TempDir, Window) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        schema::migrate(&mut Connection::open(&path).unwrap(), 0).unwrap();
        (folder, Window::new(SqliteFile::new(&path)))
    }

    /// Holds the thread on duty in a query until something is sent.
    async fn held(window: &Window) -> (mpsc::Sender<()>, tokio::task::JoinHandle<()>) {
        let (go, wait) = mpsc::channel();
        let (begun, begins) = oneshot::channel();
        let window = window.clone();
        let query = tokio::spawn(async move {
            let wait = move |_: &Connection| {
                begun.send(()).unwrap();
                wait.recv().unwrap();
                Ok(())
            };
            window.look(wait).await.unwrap();
        });
        begins.await.unwrap();
        (go, query)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn queries_asked_meanwhile_are_all_answered_by_the_same_thread() {
        let (_folder, window) = window();
        let (go, held) = held(&window).await;
        let ask = |_| {
            let window = window.clone();
            tokio::spawn(async move {
                let thread =
                    |connection: &Connection| Ok((std::thread::current().id(), count(connection)?));
                window.look(thread).await.unwrap()
            })
        };
        let asked: Vec<_> = (0..200).map(ask).collect();
        while lock(&window.desk.asked).queries.len() < asked.len() {
            tokio::task::yield_now().await;
        }
        go.send(()).unwrap();
        held.await.unwrap();
        let mut answers = Vec::new();
        for answer in asked {
            answers.push(answer.await.unwrap());
        }
        assert!(answers.iter().all(|answer| *answer == (answers[0].0, 0)), "{answers:?}");
        assert_eq!(window.look(count).await.unwrap(), 0, "and the next one finds somebody");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_query_that_panics_is_its_askers_alone() {
        let (_folder, window) = window();
        let (go, held) = held(&window).await;
        let (bad, good) = (window.clone(), window.clone());
        let bad = tokio::spawn(async move {
            bad.look(|_| -> rusqlite::Result<()> { panic!("a bad query") }).await
        });
        let good = tokio::spawn(async move { good.look(count).await });
        while lock(&window.desk.asked).queries.len() < 2 {
            tokio::task::yield_now().await;
        }
        go.send(()).unwrap();
        held.await.unwrap();
        assert!(bad.await.unwrap_err().is_panic());
        assert_eq!(good.await.unwrap().unwrap(), 0);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_asks_sees_what_was_written_before_though_the_thread_was_on_duty_already() {
        let (folder, window) = window();
        assert_eq!(window.look(count).await.unwrap(), 0);
        let (go, held) = held(&window).await;
        let writer = Connection::open(folder.path().join("a.db")).unwrap();
        writer.execute_batch("UPDATE totals SET events = 7").unwrap();
        let asking = window.clone();
        let asked = tokio::spawn(async move { asking.look(count).await });
        while lock(&window.desk.asked).queries.is_empty() {
            tokio::task::yield_now().await;
        }
        go.send(()).unwrap();
        held.await.unwrap();
        assert_eq!(asked.await.unwrap().unwrap(), 7);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_nobody_waits_for_is_not_looked_for() {
        let (_folder, window) = window();
        let (go, held) = held(&window).await;
        let looked = Arc::new(AtomicBool::new(false));
        let looking = looked.clone();
        let look = move |_: &Connection| {
            looking.store(true, Ordering::SeqCst);
            Ok(())
        };
        let mut gone = Box::pin(window.look(look));
        tokio::select! {
            biased;
            answer = &mut gone => panic!("nobody can have answered: {answer:?}"),
            () = std::future::ready(()) => {}
        }
        drop(gone);
        let asking = window.clone();
        let asked = tokio::spawn(async move { asking.look(count).await });
        while lock(&window.desk.asked).queries.len() < 2 {
            tokio::task::yield_now().await;
        }
        go.send(()).unwrap();
        held.await.unwrap();
        assert_eq!(asked.await.unwrap().unwrap(), 0);
        assert!(!looked.load(Ordering::SeqCst));
    }

    #[tokio::test]
    async fn without_a_store_everyone_is_told_and_the_next_one_tries_again() {
        let (folder, window) = window();
        let path = folder.path().join("a.db");
        let aside = folder.path().join("b.db");
        std::fs::rename(&path, &aside).unwrap();
        assert!(matches!(window.look(count).await, Err(ReadError::Missing(_))));
        std::fs::rename(&aside, &path).unwrap();
        assert_eq!(window.look(count).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_runtime_that_stops_leaves_nobody_waiting() {
        let (_folder, window) = window();
        let duty = window.desk.ask(Box::new(|_| ())).expect("nobody was on duty");
        let mut waiting = Box::pin(window.look(count));
        tokio::select! {
            biased;
            answer = &mut waiting => panic!("nobody can have answered: {answer:?}"),
            () = std::future::ready(()) => {}
        }
        // As a runtime drops what it will not run any more.
        drop(duty);
        assert!(matches!(waiting.await, Err(ReadError::Failed(_))));
        assert_eq!(window.look(count).await.unwrap(), 0);
    }
}
