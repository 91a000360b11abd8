//! So many connections and no more: each holds its place from before it is made until it is closed, used or
//! idle. Without that, who talks to many hosts would use up the process's descriptors.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_service::Service;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A connector with a bound on what it has open.
#[derive(Debug, Clone)]
pub(super) struct Bounded<C> {
    connector: C,
    places: Arc<Semaphore>,
}

/// A connection with its place.
#[derive(Debug)]
pub(super) struct Placed<T> {
    stream: T,
    _place: OwnedSemaphorePermit,
}

impl<C> Bounded<C> {
    pub(super) fn new(connector: C, most: usize) -> Self {
        Self { connector, places: Arc::new(Semaphore::new(most)) }
    }
}

impl<C> Service<Uri> for Bounded<C>
where
    C: Service<Uri, Future: Send> + Clone + Send + 'static,
    C::Error: Into<BoxError>,
{
    type Response = Placed<C::Response>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connector.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (mut connector, places) = (self.connector.clone(), self.places.clone());
        Box::pin(async move {
            // Whoever asked has a limit of time.
            let place = places.acquire_owned().await?;
            let stream = connector.call(uri).await.map_err(Into::into)?;
            Ok(Placed { stream, _place: place })
        })
    }
}

impl<T: Connection> Connection for Placed<T> {
    fn connected(&self) -> Connected {
        self.stream.connected()
    }
}

impl<T: Read + Unpin> Read for Placed<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<T: Write + Unpin> Write for Placed<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, buffers)
    }
}
