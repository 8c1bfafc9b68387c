//! HTTP: metrics and health of a worker; or the dashboard and the API. A view of what others say of themselves, where people may
//! decide what they know better, in one thread of its own. The only module that names the web stack.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;

use crate::metrics::Metrics;

mod api;
mod ask;
mod assets;
pub mod board;
mod door;
mod guests;
pub mod history;
mod recent;
mod site;

pub use door::Door;

use board::Board;
use guests::{Few, Terms};

/// The form of `/metrics`, which Prometheus reads since 2.5 and which every metric's name and text follow.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Nothing can be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// There is no such port.
    #[error(
        "process {process} would serve at port {port} + {process}: set serve.listen to a lower port, or to off"
    )]
    Port {
        /// The port of the first process.
        port: u16,
        /// Which process this is.
        process: usize,
    },
    /// The address is not ours, or somebody has it.
    #[error("cannot listen at {address}: set serve.listen to an address and port that are free, or to off")]
    Bind {
        /// Where it was tried.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The system has no thread or file left.
    #[error("cannot start to serve")]
    Start(#[from] io::Error),
}

/// What is shown, and the clock (Unix milliseconds).
#[derive(Clone)]
pub struct View {
    /// The metrics of this process.
    pub metrics: Arc<Metrics>,
    /// The time.
    pub now_ms: fn() -> i64,
}

/// What is served.
pub struct Pages(Router, Terms);

impl Pages {
    /// How a worker does: for Prometheus, and for whoever starts it again.
    pub fn of_worker(view: View) -> Self {
        let metrics = get(metrics);
        let health = Router::new().route("/healthz", get(alive)).route("/readyz", get(ready));
        Pages(health.route("/metrics", metrics).with_state(view), guests::SCRAPERS)
    }

    /// The dashboard and the API, for those whom `door` lets in.
    pub fn of_board(board: Arc<Board>, door: Door) -> Self {
        Pages(site::router(board, door), guests::PEOPLE)
    }
}

/// A port that is ours.
pub struct Server {
    listener: TcpListener,
}

impl Server {
    /// Takes the port that falls to `process` of those that work together: of one machine they cannot all have the
    /// same, so the n-th takes the n-th after that of `first`; port 0 is any that is free.
    ///
    /// # Errors
    /// [`ServeError::Port`], [`ServeError::Bind`].
    pub fn bind(first: SocketAddr, process: usize) -> Result<Self, ServeError> {
        let mut address = first;
        if first.port() > 0 {
            let port = u16::try_from(process).ok().and_then(|process| first.port().checked_add(process));
            address.set_port(port.ok_or(ServeError::Port { port: first.port(), process })?);
        }
        let listener = TcpListener::bind(address).map_err(|source| ServeError::Bind { address, source })?;
        Ok(Server { listener })
    }

    /// Where it is.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves `pages` from now on, for the rest of the process.
    ///
    /// # Errors
    /// [`ServeError::Start`].
    pub fn start(self, pages: Pages) -> Result<(), ServeError> {
        let Pages(router, terms) = pages;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        self.listener.set_nonblocking(true)?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(self.listener)?
        };
        let serve = async move { axum::serve(Few::new(listener, terms), router).await };
        thread::Builder::new().name("serve".into()).spawn(move || {
            if let Err(error) = runtime.block_on(serve) {
                tracing::error!(%error, "nothing is served any more");
            }
        })?;
        Ok(())
    }
}

async fn metrics(State(view): State<View>) -> impl IntoResponse {
    ([(CONTENT_TYPE, OPEN_METRICS)], view.metrics.encode((view.now_ms)()))
}

/// That the process answers: one whose work hangs is ended by its watchdog.
async fn alive() -> impl IntoResponse {
    answer(true, "")
}

/// Whether samples are read.
async fn ready(State(view): State<View>) -> impl IntoResponse {
    answer(view.metrics.is_ready(), "starting: not every worker reads yet")
}

fn answer(good: bool, otherwise: &str) -> (StatusCode, String) {
    if good {
        (StatusCode::OK, "ok\n".into())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("{otherwise}\n"))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;
    use crate::metrics::About;

    fn metrics() -> Arc<Metrics> {
        let about = About { engine: "kmeans", hop_ms: 1000, workers: 0..1, publishes: true, start_ms: 5_000 };
        Arc::new(Metrics::new(&about))
    }

    /// The head and the body of an answer.
    fn get(address: SocketAddr, path: &str) -> (String, String) {
        let (mut stream, mut answer) = (TcpStream::connect(address).unwrap(), String::new());
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_lowercase(), body.to_string())
    }

    #[test]
    fn health_and_metrics_are_served() {
        let (metrics, any) = (metrics(), "127.0.0.1:0".parse().unwrap());
        let server = Server::bind(any, 3).unwrap();
        let address = server.address().unwrap();
        server.start(Pages::of_worker(View { metrics: metrics.clone(), now_ms: || 7_500 })).unwrap();
        let check = |path: &str, status: &str, body: &str| {
            let (head, text) = get(address, path);
            assert!(
                head.starts_with(&format!("http/1.1 {status} ")) && text.starts_with(body),
                "{path} {head} {text}"
            );
        };
        check("/healthz", "200", "ok\n");
        check("/readyz", "503", "starting: ");
        metrics.worker(0).unwrap().read(&Default::default(), 0);
        check("/readyz", "200", "ok\n");
        check("/nothing", "404", "");
        let (head, text) = get(address, "/metrics");
        assert!(
            head.contains("\r\ncontent-type: application/openmetrics-text; version=1.0.0; charset=utf-8"),
            "{head}"
        );
        assert!(text.contains("\nlwt_frontier_age_seconds 2.5\n") && text.ends_with("# EOF\n"), "{text}");
    }

    #[test]
    fn a_port_that_is_taken_is_an_error_that_says_what_to_do() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let held = TcpListener::bind(taken).unwrap();
        let error = Server::bind(taken, 0).err().unwrap();
        assert_eq!(
            error.to_string(),
            format!(
                "cannot listen at {taken}: set serve.listen to an address and port that are free, or to off"
            )
        );
        drop(held);
        let error = Server::bind("127.0.0.1:65535".parse().unwrap(), 1).err().unwrap();
        assert!(error.to_string().starts_with("process 1 would serve at port 65535 + 1: "), "{error}");
        let free = Server::bind(taken, 0).unwrap();
        assert_eq!(free.address().unwrap(), taken);
    }
}
