//! Servers that end well: accept, serve, stop.
//!
//! [`serve()`] calls a function for each connection, in a coroutine of its own, until Ctrl-C or
//! SIGTERM; [`Server`] has what can be set.
//!
//! ```
//! use asyncoro::{AsyncSocket, serve::Server};
//!
//! # fn main() -> std::io::Result<()> {
//! # asyncoro::run_until(async {
//! let listener = AsyncSocket::create_server("127.0.0.1:0").await?;
//! let address = listener.local_addr()?;
//! let server = Server::new(listener);
//! let handle = server.handle();
//! asyncoro::spawn(async move {
//!     let client = AsyncSocket::create_connection(address).await?;
//!     client.send_msg(b"there and back").await?;
//!     assert_eq!(client.recv_msg().await?.expect("an echo"), "there and back");
//!     handle.stop();
//!     assert_eq!(client.recv_msg().await?, None);
//!     std::io::Result::Ok(())
//! })
//! .or_log();
//!
//! let served = server
//!     .quiet(Some(std::time::Duration::from_millis(20)))
//!     .serve(|client, _| async move {
//!         while let Some(message) = client.recv_msg().await? {
//!             client.send_msg(&message).await?;
//!         }
//!         std::io::Result::Ok(())
//!     })
//!     .await?;
//! assert_eq!((served.connections, served.failed, served.forced), (1, 0, 0));
//! # Ok(())
//! # })
//! # }
//! ```
//!
//! # The end
//! A server stops at the first signal, when [its handle](ServerHandle) is told, when a future of
//! [`Server::stop_when`] is done, or when the soft phase of a [scope](crate::scope) around it
//! begins. Then, in this order:
//! 1. It accepts the connections that wait in the queues of its listeners, and closes these;
//!    with a limit, they are served one after the other.
//! 2. Its handlers are told: [`scope::stopping`](crate::scope::stopping) and
//!    [`is_stopping`](crate::scope::is_stopping) are about the server there. One that serves
//!    request after request looks after each answer, and says in its protocol that this was the
//!    last one.
//! 3. A connection on which nothing moves for a second ([`Server::quiet`]) is at its end, as if the
//!    peer had ended it; one on which a request may be under way is so at the end of the grace.
//! 4. What is left after 8 s ([`Server::grace`]), or at a second signal, is terminated. A warning
//!    in the log names it, and another one says how many connections had waited for the limit.
//! 5. It waits until what the handlers have queued has left, within that time; and returns how many
//!    connections it has served, and how they have ended.
//!
//! A handler that gives up as soon as it is told to stop, by a race of its next receive with
//! `stopping()`, closes connections on which a request may be on its way; look at `is_stopping()`
//! instead, and leave silent connections to the server. A client that connects between the last
//! accept and the close of the listener is refused or reset by the system. To lose none, hand the
//! listener to the next process.
//!
//! # Limits
//! At [a number of connections](Server::limit), and at the limit of open files, a server stops to
//! accept until there is room, and new clients wait in the system's queue. The limit of files is
//! logged once, and the server neither spins nor gives up: it tries again when a connection ends,
//! and ten times a second. A handler that opens files or connections of its own may find none; set
//! a limit that leaves some for it.
//!
//! # Failures
//! A handler that returns an error or panics ends its own connection. This is counted, and
//! [logged](crate::coro#the-log) with the peer's address, which is the name of its coroutine,
//! unless it sets another one. A TLS handshake is no business of the handler, nor of the accepting
//! loop: many run at once, each with a deadline, and one that fails is counted by the listener
//! (`AsyncSocket::failed_handshakes`).
//!
//! # What belongs to a connection
//! The handler's future, and what it awaits. A coroutine that it [spawns](crate::spawn) is its own
//! affair: it is neither told nor waited for. Take a [scope](crate::scope::scope()) inside of the
//! handler for what is to end with it.
//!
//! # Restart
//! The next process of a program takes over the listener, so that no connection is refused or lost
//! in between: the queue of connections belongs to the listener, whoever has it.
//! - Started by the old process: [`inheriting`] starts it with the listener, and [`listener()`]
//!   finds it there. Service managers do the same (socket activation).
//! - Started by somebody else: it connects to a Unix socket of the old one, which gives it the
//!   listeners with [`hand_over`]; it takes them with [`take_over`].
//!
//! Either way the old one is told by [`ServerHandle::release`]: it accepts no more, leaves the
//! queue to the new one, and ends when its connections have.
//!
//! # Processes
//! A child of fork(2) has the listener, but no scheduler and no server.

mod connection;
mod control;
mod hand_over;
mod inherited;
mod run;
mod server;

pub use self::{
    connection::Outcome,
    control::{Served, ServerHandle},
    hand_over::{TakenOver, hand_over, take_over},
    inherited::{Inherited, inherited, inheriting, listener},
    server::{Server, serve},
};
