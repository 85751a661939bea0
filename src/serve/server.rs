//! `Server`: what is to be served, and how.

use std::{fmt, future::Future, io, panic::Location, pin::Pin, sync::Arc, time::Duration};

use super::{
    connection::Outcome,
    control::{Control, Served, ServerHandle},
    run::{Plan, run},
};
use crate::{addr::Address, signal, socket::AsyncSocket};

/// How long the handlers may take to end.
const GRACE: Duration = Duration::from_secs(8);

/// How long a connection may be silent after the server was told to stop.
const QUIET: Duration = Duration::from_secs(1);

/// Serves connections until Ctrl-C or SIGTERM: calls `handler` for each, in a coroutine of its own,
/// and ends as the [module's page](super) says. It is `Server::new(listener).serve(handler)`; see
/// [`Server`] for what can be set.
///
/// # Example
/// ```no_run
/// use asyncoro::{AsyncSocket, serve, serve::Served};
///
/// fn main() -> std::io::Result<()> {
///     asyncoro::run_until(async {
///         let listener = AsyncSocket::create_server("127.0.0.1:7000").await?;
///         let served = serve(listener, async |client: AsyncSocket, _| -> std::io::Result<()> {
///             while let Some(message) = client.recv_msg().await? {
///                 client.send_msg(&message).await?;
///             }
///             Ok(())
///         })
///         .await?;
///         println!("served {} connections", served.connections);
///         Ok(())
///     })
/// }
/// ```
///
/// # Errors
/// As [`Server::serve`].
///
/// # Cancel
/// As [`Server::serve`].
#[track_caller]
pub fn serve<H, F>(
    listener: AsyncSocket,
    handler: H,
) -> impl Future<Output = io::Result<Served>> + use<H, F>
where
    H: Fn(AsyncSocket, Address) -> F + 'static,
    F: Future + 'static,
    F::Output: Outcome,
{
    Server::new(listener).serve(handler)
}

/// What is to be served, and how; [`serve()`] has all the defaults.
///
/// # Example
/// ```
/// use std::{io, time::Duration};
///
/// use asyncoro::{AsyncSocket, serve::Server};
///
/// # fn main() -> io::Result<()> {
/// # asyncoro::run_until(async {
/// let listener = AsyncSocket::create_server("127.0.0.1:0").await?;
/// # let address = listener.local_addr()?;
/// # let client = asyncoro::spawn(async move {
/// #     let client = AsyncSocket::create_connection(address).await?;
/// #     client.send_all(b"hello\n").await?;
/// #     client.recv_line(80).await
/// # });
/// let served = Server::new(listener)
///     .limit(1000) // the next client waits in the system's queue
///     .idle_timeout(Duration::from_secs(60))
///     .grace(Duration::from_secs(5))
/// #   .without_signals()
///     .stop_when(async { /* a request of an operator, say */
/// #       let _ = client.await;
///     })
///     .serve(|client, peer| async move {
///         while let Some(line) = client.recv_line(1000).await? {
///             client.send_all(format!("{peer} said {line:?}\n").as_bytes()).await?;
///         }
///         io::Result::Ok(())
///     })
///     .await?;
/// assert_eq!((served.connections, served.forced), (1, 0));
/// # Ok(())
/// # })
/// # }
/// ```
#[must_use = "it serves when `serve` is called"]
pub struct Server {
    listeners: Vec<AsyncSocket>,
    limit: Option<usize>,
    idle: Option<Duration>,
    quiet: Option<Duration>,
    grace: Duration,
    has_signals: bool,
    until: Option<Pin<Box<dyn Future<Output = ()>>>>,
    control: Arc<Control>,
}

impl Server {
    /// Makes a server of a listening socket: TCP or Unix, with TLS (`AsyncSocket::with_tls`) or
    /// without.
    pub fn new(listener: AsyncSocket) -> Server {
        Server {
            listeners: vec![listener],
            limit: None,
            idle: None,
            quiet: Some(QUIET),
            grace: GRACE,
            has_signals: true,
            until: None,
            control: Arc::default(),
        }
    }

    /// Adds another listener, for the same handler; `local_addr` of a connection tells by which one
    /// it has come.
    pub fn and_listener(mut self, listener: AsyncSocket) -> Server {
        self.listeners.push(listener);
        self
    }

    /// Sets how many connections have a handler at the same time (default: as many as the limit of
    /// open files allows, at which `accept` waits). Further ones are not refused: they wait in the
    /// system's queue until a handler has ended, and of each listener one may have been accepted.
    ///
    /// Over TLS, handshakes are not counted; they have a limit of their own
    /// (`ServerTls::handshakes`).
    ///
    /// # Panics
    /// If it is 0.
    #[track_caller]
    pub fn limit(mut self, connections: usize) -> Server {
        assert!(connections > 0, "a server with a limit of 0 connections serves nobody");
        self.limit = Some(connections);
        self
    }

    /// Closes connections on which no byte was received or sent for so long, or up to a quarter
    /// longer (default: none are closed). A handler that waits for the peer gets the end of the
    /// stream or an error, and should end; what it returns is no failure.
    ///
    /// Bytes count that the program has received or sent: those that the handler leaves in the
    /// system do not, and neither does the time in which it works. Only sockets are watched that
    /// stay what they are: not one that was taken apart.
    pub fn idle_timeout(mut self, time: Duration) -> Server {
        self.idle = Some(time);
        self
    }

    /// Sets how long the handlers may take to end after the server was told to stop (default 8 s,
    /// which leaves time before the 10 s after which container runtimes kill). Those that have not
    /// ended then are terminated, and the log names them.
    pub fn grace(mut self, time: Duration) -> Server {
        self.grace = time;
        self
    }

    /// Sets how long a connection may be silent after the server was told to stop (default 1 s;
    /// `None`: until the end of the [grace](Server::grace)). When no byte was received or sent for
    /// so long, the handler gets the end of the stream, as if the peer had ended it: so a handler
    /// that knows nothing of stopping ends, too, when it has answered what was asked. Where the
    /// last bytes were received and not sent, a request may be under way: that connection gets the
    /// end of the stream only when no more than this time is left of the grace. Over TLS,
    /// handshakes that have begun are given up when none was done for so long.
    pub fn quiet(mut self, time: Option<Duration>) -> Server {
        self.quiet = time;
        self
    }

    /// Leaves Ctrl-C and SIGTERM to others. Otherwise the first signal stops the server, unless it
    /// was told to stop before, and the second one ends it at once. Neither ends the process by
    /// itself any more, also when the server has ended: a program that goes on then waits for
    /// signals itself ([`signal::shutdown`]).
    pub fn without_signals(mut self) -> Server {
        self.has_signals = false;
        self
    }

    /// Stops the server when this future is done, too; it is dropped with the server.
    #[doc(alias = "with_graceful_shutdown")]
    pub fn stop_when<F>(mut self, future: F) -> Server
    where
        F: Future + 'static,
    {
        self.until = Some(match self.until.take() {
            None => Box::pin(async move { drop(future.await) }),
            Some(before) => Box::pin(async move {
                let _ = crate::future::race(before, future).await;
            }),
        });
        self
    }

    /// Returns a handle that stops the server.
    pub fn handle(&self) -> ServerHandle {
        ServerHandle { control: Arc::clone(&self.control) }
    }

    /// Serves until it is told to stop; returns counts when all handlers have ended and what they
    /// have sent has left. Signals count from this call on, before it is awaited.
    ///
    /// # Errors
    /// Those of `accept` that are not about one connection, after the handlers have ended as at a
    /// stop; those of installing the handlers of signals.
    ///
    /// # Panics
    /// When polled outside a running scheduler.
    ///
    /// # Cancel
    /// Terminates all handlers, and drops the listeners.
    #[track_caller]
    pub fn serve<H, F>(self, handler: H) -> impl Future<Output = io::Result<Served>> + use<H, F>
    where
        H: Fn(AsyncSocket, Address) -> F + 'static,
        F: Future + 'static,
        F::Output: Outcome,
    {
        let plan = Plan {
            listeners: self.listeners,
            limit: self.limit,
            idle: self.idle,
            quiet: self.quiet,
            grace: self.grace,
            // A signal counts from now on.
            signals: self.has_signals.then(signal::shutdown),
            until: self.until,
            control: self.control,
            place: Location::caller(),
        };
        run(plan, handler)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("listeners", &self.listeners)
            .field("limit", &self.limit)
            .field("idle", &self.idle)
            .field("quiet", &self.quiet)
            .field("grace", &self.grace)
            .field("has_signals", &self.has_signals)
            .finish_non_exhaustive()
    }
}
