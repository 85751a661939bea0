//! What the tests of locks and channels have in common, which run for both forms of these.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use asyncoro::coro::yield_now;

use crate::within::Foreign;

/// Polls with a waker that does nothing.
pub(crate) fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls with a waker that counts.
pub(crate) fn poll_with<F: Future + Unpin>(
    future: &mut F,
    waker: &Arc<Foreign>,
) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(&Waker::from(waker.clone())))
}

/// Lets all others run until they wait.
pub(crate) async fn settle() {
    for _ in 0..20 {
        yield_now().await;
    }
}
