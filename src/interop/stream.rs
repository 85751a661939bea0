//! What the crate has several values of, as a `Stream` of futures-core.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;

use crate::{
    coro::{Coros, Ended},
    sync::{ReceiveError, Receiver, Snapshot, Subscriber, WatchReceiver, generic::Sharing},
};

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

/// Yields the messages of a mailbox; it ends when no more will come.
impl<T, S: Sharing> Stream for Receiver<T, S> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.get_mut().poll_receive(cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), None)
    }
}

/// Yields the messages of a channel, and `Err` for what was lost; it ends when the channel is
/// closed, or after `Err(Disconnected)`.
impl<T: Clone, S: Sharing> Stream for Subscriber<T, S> {
    type Item = Result<T, ReceiveError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_streamed(cx)
    }
}

/// Yields the values that it has not seen; it ends when all senders are gone.
impl<T, S: Sharing> Stream for WatchReceiver<T, S> {
    type Item = Snapshot<T, S>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_changed(cx)
    }
}
