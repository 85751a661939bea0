//! What libraries written for other runtimes ask for.
//!
//! [`AsyncSocket`](crate::AsyncSocket) implements the traits of others, on plain, Unix and TLS
//! sockets alike. The features that switch them on add implementations and take a crate of traits
//! each; none is on by default.
//!
//! | feature | traits on `AsyncSocket` and `&AsyncSocket` |
//! | --- | --- |
//! | `futures-io` | `AsyncRead`, `AsyncWrite` of [futures-io](https://docs.rs/futures-io) |
//! | `tokio-io` | the same of [`tokio::io`](https://docs.rs/tokio), without its runtime |
//! | `hyper` | `Read`, `Write` of [`hyper::rt`](https://docs.rs/hyper) |
//!
//! `Buffered` has `AsyncBufRead` of the first two. With `futures-io`, [`Coros`](crate::coro::Coros)
//! and the receiving ends of the channels in [`sync`](crate::sync) are a `Stream`. `Executor` and
//! `Timer` are hyper's. [`ThreadBound`] makes a value of one scheduler `Send`, for code that
//! demands it, and implements these traits where the value does.
//!
//! The rules that all of them follow are those of
//! [`AsyncSocket::poll_recv`](crate::AsyncSocket::poll_recv). Ending the writer (`poll_close`,
//! `poll_shutdown`) flushes, then ends the sending half; receiving goes on. Vectored writes are
//! passed through without a copy. Two handles to a socket (clones) may be polled by different
//! coroutines, one reading and one writing.
//!
//! With the feature `tokio`, coroutines and tokio's tasks run on one thread: `asyncoro::tokio`.

#[cfg(any(feature = "futures-io", feature = "tokio-io"))]
mod buffered;
#[cfg(feature = "futures-io")]
mod futures_io;
#[cfg(feature = "tokio")]
#[doc(hidden)]
pub mod guest;
#[cfg(feature = "hyper")]
mod hyper;
#[cfg(feature = "futures-io")]
mod stream;
mod thread_bound;
#[cfg(feature = "hyper")]
mod timer;
#[cfg(feature = "tokio-io")]
mod tokio_io;

#[cfg(any(feature = "futures-io", feature = "tokio-io"))]
pub use self::buffered::Buffered;
pub use self::thread_bound::ThreadBound;
#[cfg(feature = "hyper")]
pub use self::{hyper::Executor, timer::Timer};
