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

/// How many may come, and for how long.
#[derive(Clone, Copy)]
pub struct Terms {
    /// The most connections at a time. Each may make us hold 0.4 MB of a request's head.
    pub seats: usize,
    /// How long a connection may last, whatever it does: whoever comes again connects again.
    pub stay: Duration,
}

/// A few scrapers and probes: a scrape takes milliseconds. 64 that only sit hold the others up for no longer.
pub const SCRAPERS: Terms = Terms { seats: 64, stay: Duration::from_secs(10) };

/// People with dashboards, who follow a stream: 100 MB of heads if all of them are enemies.
pub const PEOPLE: Terms = Terms { seats: 256, stay: Duration::from_secs(3_600) };

/// Whoever does not take what is sent to him for so long is sent away: what waits for him waits in our memory.
const STUCK: Duration = Duration::from_secs(10);

/// Accepts connections while there are seats.
pub struct Few {
    listener: TcpListener,
    seats: Arc<Semaphore>,
    stay: Duration,
}

impl Few {
    pub fn new(listener: TcpListener, terms: Terms) -> Self {
        Few { listener, seats: Arc::new(Semaphore::new(terms.seats)), stay: terms.stay }
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
        (Guest { stream, leave: Box::pin(sleep(self.stay)), stuck: None, _seat: seat }, from)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection, its seat, and when it must leave.
pub struct Guest {
    stream: TcpStream,
    leave: Pin<Box<Sleep>>,
    /// Since something could not be sent: until when it must be.
    stuck: Option<Pin<Box<Sleep>>>,
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
        let written = Pin::new(&mut self.stream).poll_write(context, from);
        if written.is_ready() {
            self.stuck = None;
            return written;
        }
        match self.stuck.get_or_insert_with(|| Box::pin(sleep(STUCK))).as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
