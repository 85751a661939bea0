//! What the crate has several values of, as a `Stream` of futures-core.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;

use crate::coro::{Coros, Ended};

/// Yields the results of the coroutines as [`Coros::next`] does; `None` while the set is empty.
impl<T> Stream for Coros<T> {
    type Item = Result<T, Ended>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<T, Ended>>> {
        self.get_mut().poll_member(cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), None)
    }
}
