//! What libraries written for other runtimes ask for.
//!
//! - Feature `futures-io`: the traits of futures-io on [`AsyncSocket`](crate::AsyncSocket).
//! - Feature `tokio-io`: those of tokio, without its runtime.
//! - Feature `hyper`: those of `hyper::rt`.
//! - Feature `tokio`: coroutines and tokio's tasks on one thread, in `asyncoro::tokio`.
//!
//! The features add implementations and, but for the last one, take a crate of traits each. None is
//! on by default.

#[cfg(feature = "tokio")]
#[doc(hidden)]
pub mod guest;
