//! What libraries written for other runtimes ask for.
//!
//! - Feature `futures-io`: the traits of the crate futures-io on [`AsyncSocket`](crate::AsyncSocket).
//! - Feature `tokio-io`: those of tokio, without its runtime.
//! - Feature `hyper`: those of `hyper::rt`.
//!
//! The features add implementations and take a crate of traits each. None is on by default.
