//! Connections: as many as may be, none that holds anything for long without doing something, and all of them
//! finished before the end.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use std::{fmt, io};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use lanewise_search::Index;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep, timeout};
use tracing::{debug, warn};

use crate::http::{App, router};
use crate::schedule::Scheduler;

/// The bounds of a server.
#[derive(Clone)]
pub struct ServeOptions {
    /// Keys of which a client must give one, as `Authorization: Bearer KEY`; none if everybody is served. `/health` and
    /// `/ready` need none.
    pub api_keys: Vec<String>,
    /// The most bytes of a body.
    pub max_body: usize,
    /// The bytes that bodies, what is made of them, and answers may take together.
    pub max_memory: usize,
    /// The most texts of a request.
    pub max_inputs: usize,
    /// The most connections; more wait until one is closed.
    pub max_connections: usize,
    /// How long a client may take for the header of a request, or be silent between two requests.
    pub header_timeout: Duration,
    /// How long a client may take for a body; large ones get a second more for every 64 KiB.
    pub body_timeout: Duration,
    /// How long a client may take no bytes of an answer.
    pub write_timeout: Duration,
    /// How long requests that were admitted are worked on after the end was asked for.
    pub drain: Duration,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            api_keys: Vec::new(),
            max_body: 32 << 20,
            max_memory: 512 << 20,
            max_inputs: 2048,
            max_connections: 1024,
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            drain: Duration::from_secs(30),
        }
    }
}

impl fmt::Debug for ServeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The keys stay secret.
        f.debug_struct("ServeOptions")
            .field("api_keys", &self.api_keys.len())
            .field("max_body", &self.max_body)
            .field("max_memory", &self.max_memory)
            .field("max_inputs", &self.max_inputs)
            .field("max_connections", &self.max_connections)
            .field("header_timeout", &self.header_timeout)
            .field("body_timeout", &self.body_timeout)
            .field("write_timeout", &self.write_timeout)
            .field("drain", &self.drain)
            .finish()
    }
}

/// How long no connection is accepted after that failed, since the process has too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The most bytes of a header, and of what is buffered of a connection.
const BUFFER_BYTES: usize = 64 << 10;

/// Serves until `shutdown` is there: then no connection is accepted any more, what was admitted is done for at
/// most [`drain`](ServeOptions::drain), and the scheduler is [closed](Scheduler::close).
///
/// A client that closes its side of a connection before it has the answer counts as gone, and what waits for it
/// is dropped.
///
/// # Errors
/// If the address of the listener is not known.
pub async fn serve(
    listener: TcpListener,
    scheduler: Arc<Scheduler>,
    index: Option<Arc<Index>>,
    options: ServeOptions,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let address = listener.local_addr()?;
    debug!(%address, "serving");
    let app = App::new(Arc::clone(&scheduler), index, options.clone());
    let app = Arc::new(app);
    let router = router(Arc::clone(&app));
    let room = Arc::new(Semaphore::new(options.max_connections.max(1)));
    let (stop, stopped) = watch::channel(());
    let mut connections = JoinSet::new();
    let timeouts = (options.header_timeout, options.write_timeout);
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = async {
            // It is never closed.
            let permit = Arc::clone(&room).acquire_owned().await.ok();
            (listener.accept().await, permit)
        };
        tokio::select! {
            (accepted, permit) = accepted => match accepted {
                Ok((stream, _)) => {
                    let connection = connection(stream, router.clone(), timeouts, stopped.clone());
                    connections.spawn(async move {
                        connection.await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    warn!(%error, "no connection can be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
            () = &mut shutdown => break,
        }
    }
    drop(listener);
    app.stop();
    // Nobody listens if there are no connections.
    let _ = stop.send(());
    let all = async { while connections.join_next().await.is_some() {} };
    if timeout(options.drain, all).await.is_err() {
        warn!(
            connections = connections.len(),
            "the time to finish is over"
        );
        connections.shutdown().await;
    }
    scheduler.close();
    Ok(())
}

async fn connection(
    stream: TcpStream,
    router: Router,
    (header_timeout, write_timeout): (Duration, Duration),
    mut stopped: watch::Receiver<()>,
) {
    // Answers are written at once, and nothing follows them.
    let _ = stream.set_nodelay(true);
    let io = TokioIo::new(Impatient::new(stream, write_timeout));
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(BUFFER_BYTES);
    let mut served = pin!(builder.serve_connection(io, TowerToHyperService::new(router)));
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        _ = stopped.changed() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection ended");
    }
}

/// A connection that fails if the other side takes nothing for some time.
struct Impatient {
    stream: TcpStream,
    patience: Duration,
    /// Since a write that could not be done.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Impatient {
    fn new(stream: TcpStream, patience: Duration) -> Self {
        Self {
            stream,
            patience,
            waiting: None,
        }
    }

    fn wait<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let end = Instant::now() + self.patience;
        let sleep = || Box::pin(tokio::time::sleep_until(end));
        let waiting = self.waiting.get_or_insert_with(sleep);
        match waiting.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Impatient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Impatient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wait(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.wait(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.wait(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
