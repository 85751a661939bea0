//! What libraries written for other runtimes ask for.
//!
//! - [`ThreadBound`]: a value of one scheduler for code that demands `Send`.
//! - Feature `futures-io`: the traits of the crate futures-io on
//!   [`AsyncSocket`](crate::AsyncSocket), and `Stream` on [`Coros`](crate::coro::Coros).
//! - Feature `tokio-io`: those of tokio, without its runtime.
//! - Feature `hyper`: those of `hyper::rt`.
//!
//! The features add implementations and take a crate of traits each. None is on by default.

#[cfg(feature = "futures-io")]
mod stream;
mod thread_bound;

pub use self::thread_bound::ThreadBound;
