//! stdout and stderr of a guest: each line becomes a log line of the attempt.
//!
//! A stream that fills up or closes would trap the guest; this one takes everything, and the logs
//! drop what is too much.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use hookweir_event::LogLevel;
use tokio::io::AsyncWrite;
use wasmtime_wasi::{
    async_trait,
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamResult},
};

use crate::guest::SharedLogs;

/// How much a guest may write at once, and the longest line that is kept together.
const CHUNK: usize = 8 << 10;

/// All streams made of it write to the same lines.
#[derive(Clone)]
pub(crate) struct Stdio(Arc<Inner>);

struct Inner {
    logs: SharedLogs,
    level: LogLevel,
    /// What came since the last line break.
    rest: Mutex<Vec<u8>>,
}

impl Stdio {
    pub(crate) fn new(logs: SharedLogs, level: LogLevel) -> Self {
        Self(Arc::new(Inner { logs, level, rest: Mutex::default() }))
    }

    /// Writes a last line that has no line break. For when the call is over: the guest may hold the
    /// stream longer.
    pub(crate) fn finish(&self) {
        let mut rest = self.0.rest.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.line(&mut rest);
    }
}

impl Inner {
    fn take(&self, bytes: &[u8]) {
        let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            rest.extend_from_slice(piece);
            if piece.ends_with(b"\n") || rest.len() > CHUNK {
                self.line(&mut rest);
            }
        }
    }

    fn line(&self, rest: &mut Vec<u8>) {
        let text = String::from_utf8_lossy(rest);
        let text = text.trim_end_matches(['\n', '\r']);
        if !text.is_empty() {
            self.logs.lock().write(self.level, text, &[]);
        }
        rest.clear();
    }
}

impl IsTerminal for Stdio {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stdio {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for Stdio {
    async fn ready(&mut self) {}
}

impl OutputStream for Stdio {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.take(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(CHUNK)
    }
}

impl AsyncWrite for Stdio {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
