//! Write it as with blocking sockets and threads and add `.await`: a dropped or timed-out `recv`
//! never loses a byte, and the same calls work in a plain thread.
//!
//! asyncoro is asynchronous network programming with the API of blocking sockets. A regular socket
//! is converted to an [`AsyncSocket`], the program is written as it would be with threads, and each
//! call that would block is followed by `.await`; while it waits, a scheduler runs other
//! coroutines. It re-creates, in Rust, the network programming part of the Python framework
//! asyncoro, later renamed pycos, uses its message format, and extends it.
//!
//! - **One socket type** for TCP, UDP and Unix sockets, as in BSD, with the verbs of the standard
//!   library and BSD: [`recv`](AsyncSocket::recv), [`send_all`](AsyncSocket::send_all),
//!   [`accept`](AsyncSocket::accept).
//! - **Messages**: [`send_msg`](AsyncSocket::send_msg) and [`recv_msg`](AsyncSocket::recv_msg)
//!   carry whole byte strings over a stream. Small ones are sent together in one system call.
//! - **Cancelling is safe**: drop any future at any `.await`. Bytes that a dropped receive had read
//!   stay with the socket; a message that has begun to be sent is sent whole.
//! - **A blocking twin**: [`BlockingSocket`] has the same verbs, word for word, for plain threads.
//! - **One thread**: coroutines stay on the thread of their scheduler. They may hold values that
//!   are not `Send`, and share them without locks.
//!
//! # From threads to coroutines
//!
//! The repository's `README.md` shows an echo server twice, side by side: with a thread for each
//! client, and with a coroutine for each. The steps from the first to the second:
//!
//! 1. [`run`] runs a future, and the coroutines that it spawns, on this thread.
//! 2. [`AsyncSocket::new`] converts the listening socket; what it accepts is asynchronous, too.
//! 3. A function that waits is `async`, and each call that would block is followed by `.await`.
//! 4. A thread for each client becomes a coroutine, made by [`spawn`]. [`Coro::or_log`] detaches
//!    it; if it fails, its error goes to [the log](coro#the-log).
//!
//! [`AsyncSocket::create_server`] does in one call what a server's socket needs (open, options,
//! bind, listen); [`AsyncSocket::create_connection`] is its counterpart for clients, and
//! [`AsyncSocket::create_datagram`] for UDP.
//!
//! # Messages
//!
//! TCP keeps no boundaries: bytes sent in three pieces may be received in two or five. A message is
//! received whole, as it was sent. On the wire it is 4 bytes of length, big-endian, and then the
//! payload: the format of asyncoro and pycos programs.
//!
//! ```
//! use asyncoro::AsyncSocket;
//!
//! # fn main() -> std::io::Result<()> {
//! asyncoro::run(async {
//!     let server = AsyncSocket::create_server("127.0.0.1:0").await?;
//!     let address = server.local_addr()?;
//!     asyncoro::spawn(async move {
//!         let (client, _) = server.accept().await?;
//!         // `None`: the peer ended the stream between two messages.
//!         while let Some(message) = client.recv_msg().await? {
//!             client.send_msg(&message).await?;
//!         }
//!         std::io::Result::Ok(())
//!     })
//!     .or_log();
//!
//!     let socket = AsyncSocket::create_connection(address).await?;
//!     socket.send_msg(b"one").await?;
//!     socket.send_msg(b"two").await?;
//!     assert_eq!(socket.recv_msg().await?.unwrap(), "one");
//!     assert_eq!(socket.recv_msg().await?.unwrap(), "two");
//!     socket.close().await
//! })
//! # }
//! ```
//!
//! `send_msg` puts a small message into the socket's queue, and the queue is sent in one system
//! call at the end of the scheduler's turn. [`AsyncSocket::flush`] and [`AsyncSocket::close`] wait
//! until it was sent. A message may have up to 64 MiB, unless [`AsyncSocket::set_message_limit`]
//! sets another limit; a header that announces more is an error before anything is allocated.
//!
//! # TLS
//!
//! The same sockets speak TLS, with the same verbs, in both directions:
//!
//! ```no_run
//! # #[cfg(feature = "tls")]
//! # async fn f() -> std::io::Result<()> {
//! use asyncoro::{AsyncSocket, Tls};
//!
//! // A server: accept gives connections whose handshake is done.
//! let tls = Tls::server("chain.pem", "key.pem")?;
//! let server = AsyncSocket::create_server("0.0.0.0:4433").await?.with_tls(&tls)?;
//!
//! // A client: it verifies the server's certificate and name.
//! let tls = Tls::client()?.ca_file("ca.pem")?;
//! let socket = AsyncSocket::create_tls_connection(("localhost", 4433), &tls).await?;
//! socket.send_msg(b"secret").await?;
//! # Ok(())
//! # }
//! ```
//!
#![cfg_attr(
    feature = "tls",
    doc = "
[`AsyncSocket::start_tls`] starts TLS on an open connection. The methods of [`ServerTls`] and
[`ClientTls`] set client certificates, ALPN, versions and pinned certificates."
)]
#![cfg_attr(
    not(feature = "tls"),
    doc = "
This documentation was built without the feature `tls` and leaves out what that adds."
)]
//!
//! # Timeouts and cancelling
//!
//! [`AsyncSocket::set_timeout`] bounds each operation: it is the longest wait without progress.
//! [`time::timeout`] bounds any future as a whole. Neither loses bytes:
//!
//! ```
//! use std::{io, time::Duration};
//!
//! use asyncoro::{AsyncSocket, time::timeout};
//!
//! # fn main() -> io::Result<()> {
//! let (near, far) = std::os::unix::net::UnixStream::pair()?;
//! asyncoro::run(async {
//!     let (near, far) = (AsyncSocket::new(near)?, AsyncSocket::new(far)?);
//!
//!     // Half of a message, then nothing for a while.
//!     far.send_all(&[0, 0, 0, 6, b'w', b'h', b'o']).await?;
//!     let patience = Duration::from_millis(10);
//!     assert!(timeout(patience, near.recv_msg()).await.is_err());
//!
//!     // The next call continues where the dropped one stopped.
//!     far.send_all(b"le!").await?;
//!     assert_eq!(near.recv_msg().await?.unwrap(), "whole!");
//!     Ok(())
//! })
//! # }
//! ```
//!
//! A coroutine is cancelled with [`Coro::terminate`]: its future is dropped by its own scheduler. A
//! socket is closed for all its handles with [`AsyncSocket::close`], and verbs that wait on it end
//! with an error. `docs/cancel.md` in the repository says what dropping does, verb by verb.
//!
//! # Several things at once
//!
//! [`spawn`] starts a coroutine beside this one. [`coro::Coros`] is a set of them: spawn into it,
//! take the values as they end, with a bound if wanted; dropped, it ends those that are left. A
//! [`scope`](scope::scope()) has children that may borrow, and that have ended when it returns; it
//! can be told to stop. [`coro::on_end`] is for a clean-up that has to wait, and [`Coro::monitor`]
//! tells how another coroutine has ended. Inside one coroutine, [`future::join()`] waits for all of
//! some futures and [`future::race()`] for the first; the page of [`future`] has a loop that waits
//! for a message, a timer and a long operation.
//!
//! Coroutines talk by channels ([`sync::mailbox()`], [`sync::Channel`], ...) and share what they
//! change with [`sync::Lock`] and its kin; [`sync::local`] has all of them without atomics.
//!
//! # Threads
//!
//! [`BlockingSocket`] is the blocking twin: the same verbs, which wait in the call instead of in an
//! `.await`. It is `Send` and `Sync`, and [`AsyncSocket::into_blocking`] and
//! [`BlockingSocket::into_async`] turn one into the other, with all bytes that were received and
//! not yet taken.
//!
//! A program that is not asynchronous otherwise runs a scheduler on a thread of its own with
//! [`AsynCoro::start`], and starts coroutines there from any thread. It passes a closure that makes
//! the future, since the future itself stays on the scheduler's thread.
//!
//! ```
//! use std::io;
//!
//! use asyncoro::{AsynCoro, AsyncSocket, BlockingSocket};
//!
//! # fn main() -> io::Result<()> {
//! let scheduler = AsynCoro::start()?;
//! let address = scheduler
//!     .spawn(|| async {
//!         let server = AsyncSocket::create_server("127.0.0.1:0").await?;
//!         let address = server.local_addr()?;
//!         asyncoro::spawn(async move {
//!             let (client, _) = server.accept().await?;
//!             client.send_msg(b"from a coroutine").await
//!         })
//!         .or_log();
//!         io::Result::Ok(address)
//!     })
//!     .value()??; // waits, in this plain thread, for the coroutine's value
//!
//! let socket = BlockingSocket::create_connection(address)?;
//! assert_eq!(socket.recv_msg()?.unwrap(), "from a coroutine");
//! scheduler.join();
//! # Ok(())
//! # }
//! ```
//!
//! [`on()`] does the same for code that is asynchronous, on any executor: it runs a coroutine on a
//! scheduler and awaits its value, without a thread that waits. [`interop::ThreadBound`] carries a
//! value of a scheduler through code that demands `Send`.
//!
//! A thread that has a loop already, a GUI's or another runtime's, drives a scheduler itself, a
//! turn at a time: [`coro::Hosted`]. With the feature `tokio`, `asyncoro::tokio::run` runs
//! coroutines and tokio's tasks on one thread, so that libraries written for tokio work in
//! coroutines.
//!
//! In the other direction, [`pool::run`] runs a blocking function on a thread, and a coroutine
//! awaits its value.
//!
//! # Files and processes
//!
//! [`file::AsyncFile`] is a regular file, a pipe, a terminal or a socket, with one set of verbs; a
//! dropped one loses no byte. [`process::Child`] and [`process::AsyncPipe`] run other programs.
//!
//! # Servers
//!
//! [`serve()`] calls a function for each connection, until Ctrl-C or SIGTERM, and then lets the
//! connections finish. The page of [`mod@serve`] says how, and how a server hands its listener to
//! the next process.
//!
//! # The end of a program
//!
//! [`run`] returns when its future and all coroutines have ended. It does not wait for daemons:
//! `coro::current().set_daemon(true)`. [`run_until`] returns with its future and ends the other
//! coroutines, which suits a program that ends at Ctrl-C. Either way futures are dropped in their
//! own scheduler, and queued messages get up to a second to be sent.
//!
//! # What asyncoro does not do, yet
//!
//! - Several cores: one scheduler uses one. [`AsynCoro::start`] can start more of them, but nothing
//!   spreads connections over them.
//! - Windows, and systems of 32 bits: the crate does not compile there.
//! - File systems beyond files and walks: use [`pool::run`] with `std::fs`.
//!
//! Linux is what is tested. Other Unix systems go through the `polling` crate, which is tested on
//! Linux too; that the library compiles for macOS and FreeBSD, for musl and for 64-bit Arm is
//! checked in CI, but nothing is run there, and nothing is promised.
//!
//! # Where to look
//!
//! [`coro`] for coroutines and schedulers, [`future`] for several futures at once, [`copy_both`]
//! for passing on connections, [`interop`] for libraries of other runtimes, [`time`] for sleeping
//! and timeouts, [`addr`] for addresses, [`error`] for typed errors, [`pool`] for blocking
//! functions, [`resolve`] for host names, [`mod@file`] and [`process`], [`sync`] for locks and
//! channels, [`mod@serve`] for servers, [`signal`] and [`stdio`] for Ctrl-C and standard input. The
//! repository has a tutorial in `docs/tutorial.md` and programs in `examples/`.
pub mod addr;
#[doc(hidden)]
pub mod bindings;
pub mod coro;
mod driver;
pub mod error;
pub mod file;
mod foreign;
mod fork;
mod frame;
pub mod future;
pub mod interop;
mod log;
pub mod pool;
mod primitives;
pub mod process;
pub mod resolve;
pub mod scope;
pub mod serve;
pub mod signal;
mod socket;
pub mod stdio;
pub mod sync;
mod sys;
pub mod time;
#[cfg(feature = "tls")]
mod tls;
mod wheel;

pub use bytes;
#[cfg(feature = "tls")]
pub use rustls;
pub use socket2;

pub use addr::{Address, ToAddress};
pub use coro::{AsynCoro, Coro, on, run, run_until, spawn};
#[cfg(feature = "tokio")]
#[doc(inline)]
pub use interop::guest as tokio;
pub use serve::serve;
pub use socket::{
    AsyncSocket, BlockingRefused, BlockingSocket, Datagram, DatagramBatch, Refused, copy, copy_both,
};
/// The entry points of the fuzz targets in `fuzz/`; not part of the public API.
#[cfg(all(feature = "tls", any(test, fuzzing)))]
#[doc(hidden)]
pub use tls::fuzzing;
#[cfg(feature = "tls")]
pub use tls::{ClientTls, ServerTls, Tls, TlsVersion};

/// Compiles and runs the code of the guides with the documentation's examples.
#[cfg(doctest)]
mod guides {
    #[doc = include_str!("../README.md")]
    mod readme {}
    #[doc = include_str!("../docs/tutorial.md")]
    mod tutorial {}
    #[doc = include_str!("../docs/host.md")]
    mod host {}
    #[cfg(feature = "tokio")]
    #[doc = include_str!("../docs/interop.md")]
    mod interop {}
}
