//! `ServerHandle`: stopping a server from elsewhere, and its counts.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use crate::sync::Event;

/// What a server and its handles share.
#[derive(Default)]
pub(super) struct Control {
    pub(super) stop: Event,
    pub(super) end: Event,
    pub(super) keeps_queue: AtomicBool,
    pub(super) accepted: AtomicU64,
    pub(super) open: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) idle: AtomicU64,
    pub(super) forced: AtomicU64,
}

impl Control {
    pub(super) fn add(count: &AtomicU64, number: u64) {
        count.fetch_add(number, Ordering::Relaxed);
    }

    pub(super) fn served(&self) -> Served {
        Served {
            connections: self.accepted.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            idle: self.idle.load(Ordering::Relaxed),
            forced: self.forced.load(Ordering::Relaxed),
        }
    }
}

/// Stops a [`Server`](super::Server) from anywhere: a handler, another coroutine, another thread.
/// Its clones are handles to the same server; they do not keep it.
///
/// # Example
/// ```
/// use asyncoro::{AsyncSocket, serve::Server};
///
/// # fn main() -> std::io::Result<()> {
/// asyncoro::run(async {
///     let listener = AsyncSocket::create_server("127.0.0.1:0").await?;
///     let address = listener.local_addr()?;
///     let server = Server::new(listener);
///     let handle = server.handle();
///     asyncoro::spawn(async move {
///         let client = AsyncSocket::create_connection(address).await?;
///         client.send_msg(b"bye").await?;
///         client.recv_msg().await
///     })
///     .or_log();
///     let served = server
///         .serve(move |client, _| {
///             let handle = handle.clone();
///             async move {
///                 while let Some(message) = client.recv_msg().await? {
///                     client.send_msg(&message).await?;
///                     handle.stop(); // this conversation is finished first
///                 }
///                 std::io::Result::Ok(())
///             }
///         })
///         .await?;
///     assert_eq!((served.connections, served.failed), (1, 0));
///     Ok(())
/// })
/// # }
/// ```
#[derive(Clone)]
pub struct ServerHandle {
    pub(super) control: Arc<Control>,
}

impl ServerHandle {
    /// Begins a graceful end, as the first signal does.
    pub fn stop(&self) {
        self.control.stop.set();
    }

    /// Begins a graceful end, and leaves the listeners open and the connections that wait in their
    /// queues where they are: another process, to which the listeners [were
    /// handed](super::hand_over), or somebody else who has a clone, accepts them.
    pub fn release(&self) {
        self.control.keeps_queue.store(true, Ordering::Release);
        self.control.stop.set();
    }

    /// Ends the server at once, as the second signal does: handlers are terminated.
    pub fn end(&self) {
        self.control.end.set();
        self.control.stop.set();
    }

    /// Returns how many connections have a handler that has not ended.
    pub fn connections(&self) -> u64 {
        self.control.open.load(Ordering::Relaxed)
    }

    /// Returns what was served until now.
    pub fn served(&self) -> Served {
        self.control.served()
    }
}

impl fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHandle")
            .field("connections", &self.connections())
            .field("served", &self.served())
            .finish()
    }
}

/// What a server has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Served {
    /// The connections that were accepted; over TLS, those whose handshake was done.
    pub connections: u64,
    /// Those whose handler has ended with an error or a panic.
    pub failed: u64,
    /// Those that were closed by the [idle timeout](super::Server::idle_timeout).
    pub idle: u64,
    /// Those whose handler was terminated at the end, since it did not end by itself in time.
    pub forced: u64,
}
