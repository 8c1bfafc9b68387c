//! Connections are few and short, so that nobody can hold them all, or the memory and the files of the process.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

/// The most connections at a time: a few scrapers and probes. Each may make us hold 0.4 MB of a request's head: 26 MB.
const SEATS: usize = 64;

/// How long a connection may last, whatever it does: a scrape takes milliseconds, and whoever comes again connects
/// again. 64 that only sit hold the others up for no longer.
const STAY: Duration = Duration::from_secs(10);

/// Accepts connections while there are seats.
pub struct Few {
    listener: TcpListener,
    seats: Arc<Semaphore>,
}

impl Few {
    pub fn new(listener: TcpListener) -> Self {
        Few { listener, seats: Arc::new(Semaphore::new(SEATS)) }
    }
}

impl Listener for Few {
    type Io = Guest;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Guest, SocketAddr) {
        // Seats are never taken away.
        let seat = self.seats.clone().acquire_owned().await.ok();
        // What cannot be accepted axum waits for, such as a free file.
        let (stream, from) = Listener::accept(&mut self.listener).await;
        (Guest { stream, leave: Box::pin(sleep(STAY)), _seat: seat }, from)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection, its seat, and when it must leave.
pub struct Guest {
    stream: TcpStream,
    leave: Pin<Box<Sleep>>,
    _seat: Option<OwnedSemaphorePermit>,
}

impl Guest {
    /// # Errors
    /// When its time is over.
    fn may_stay(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if self.leave.as_mut().poll(context).is_ready() {
            Err(io::ErrorKind::TimedOut.into())
        } else {
            Ok(())
        }
    }
}

impl AsyncRead for Guest {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.may_stay(context)?;
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Guest {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.may_stay(context)?;
        Pin::new(&mut self.stream).poll_write(context, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
