//! The floor: an append-only file, one write and one fdatasync for each batch of what waits. It keeps
//! events and nothing else: no dedupe, no deliveries, no search, and nobody can take them out.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    path::Path,
};

use hookweir_store::NewEvent;
use tokio::sync::{mpsc, oneshot};

/// The most events in one batch, as the store's.
const BATCH_MAX: usize = 1024;

type Wanted = (NewEvent, oneshot::Sender<()>);

/// A handle that appends. The thread ends with the last one.
#[derive(Clone)]
pub(crate) struct Log(mpsc::Sender<Wanted>);

impl Log {
    pub(crate) fn open(folder: &Path) -> Self {
        let path = folder.join("events.log");
        let file = OpenOptions::new().append(true).create_new(true).open(path).unwrap();
        let (sender, wanted) = mpsc::channel(4096);
        std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || write(file, wanted))
            .unwrap();
        Self(sender)
    }

    pub(crate) async fn append(&self, event: NewEvent) {
        let (done, answer) = oneshot::channel();
        self.0.send((event, done)).await.unwrap();
        answer.await.unwrap();
    }
}

fn write(mut file: File, mut wanted: mpsc::Receiver<Wanted>) {
    let (mut batch, mut bytes) = (Vec::new(), Vec::new());
    while wanted.blocking_recv_many(&mut batch, BATCH_MAX) > 0 {
        for (new, _) in &batch {
            encode(new, &mut bytes);
        }
        file.write_all(&bytes).unwrap();
        file.sync_data().unwrap();
        bytes.clear();
        for (_, done) in batch.drain(..) {
            let _ = done.send(());
        }
    }
}

fn encode(new: &NewEvent, out: &mut Vec<u8>) {
    let event = &new.event;
    let mut put = |bytes: &[u8]| {
        out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        out.extend_from_slice(bytes);
    };
    put(event.id.as_bytes());
    put(event.event_type.as_str().as_bytes());
    put(event.path.as_bytes());
    for (name, value) in &event.headers {
        put(name.as_bytes());
        put(value);
    }
    put(&event.body);
}
