//! Waiting for all futures of a list.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

/// Waits for all futures of a list at once, and returns their values in the order of the list.
///
/// All that are not done are polled whenever one wakes. For more than a few dozen use
/// [`Coros`](crate::coro::Coros), whose members wake alone.
///
/// # Example
/// ```
/// use asyncoro::{AsyncSocket, future::try_join_all};
///
/// # asyncoro::run_until(async {
/// # let server = AsyncSocket::create_server("127.0.0.1:0").await?;
/// # let addresses = [server.local_addr()?, server.local_addr()?];
/// let connecting = addresses.map(|address| AsyncSocket::create_connection(address));
/// let sockets = try_join_all(connecting).await?;
/// assert_eq!(sockets.len(), 2);
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
///
/// # Panics
/// When polled after it has returned the values.
///
/// # Cancel
/// Drops all futures, and the values of those that are done.
pub fn join_all<I>(futures: I) -> JoinAll<I::Item>
where
    I: IntoIterator,
    I::Item: Future,
{
    JoinAll { parts: all(futures) }
}

/// Waits for all futures of a list at once, and returns their values in the order of the list, or
/// the first error.
///
/// See [`join_all`].
///
/// # Errors
/// The error of the future that failed first. The others are dropped with this.
///
/// # Panics
/// As [`join_all`].
///
/// # Cancel
/// As [`join_all`].
pub fn try_join_all<I, T, E>(futures: I) -> TryJoinAll<I::Item>
where
    I: IntoIterator,
    I::Item: Future<Output = Result<T, E>>,
{
    TryJoinAll { parts: all(futures) }
}

/// The future of [`join_all`].
#[must_use = "the futures run when this is awaited"]
pub struct JoinAll<F: Future> {
    /// Taken with the values.
    parts: Option<Vec<Part<F>>>,
}

/// The future of [`try_join_all`].
#[must_use = "the futures run when this is awaited"]
pub struct TryJoinAll<F: Future> {
    /// Taken with the values, or the error.
    parts: Option<Vec<Part<F>>>,
}

/// A future of a list, then its value.
enum Part<F: Future> {
    Running(Pin<Box<F>>),
    Done(F::Output),
}

impl<F: Future> Part<F> {
    /// Polls the future, unless it is done; tells whether it is.
    fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        if let Part::Running(future) = self {
            match future.as_mut().poll(cx) {
                Poll::Ready(value) => *self = Part::Done(value),
                Poll::Pending => return false,
            }
        }
        true
    }

    fn into_value(self) -> Option<F::Output> {
        match self {
            Part::Running(_) => None,
            Part::Done(value) => Some(value),
        }
    }
}

fn all<I>(futures: I) -> Option<Vec<Part<I::Item>>>
where
    I: IntoIterator,
    I::Item: Future,
{
    Some(futures.into_iter().map(|future| Part::Running(Box::pin(future))).collect())
}

const FINISHED: &str = "a join of all futures was polled after it had finished";

impl<F: Future> Future for JoinAll<F> {
    type Output = Vec<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let parts = self.parts.as_mut().expect(FINISHED);
        let mut all_done = true;
        for part in parts {
            all_done &= part.poll(cx);
        }
        if !all_done {
            return Poll::Pending;
        }
        Poll::Ready(self.parts.take().into_iter().flatten().filter_map(Part::into_value).collect())
    }
}

impl<F: Future<Output = Result<T, E>>, T, E> Future for TryJoinAll<F> {
    type Output = Result<Vec<T>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let parts = self.parts.as_mut().expect(FINISHED);
        let (mut all_done, mut failed) = (true, false);
        for part in parts {
            all_done &= part.poll(cx);
            failed = matches!(part, Part::Done(Err(_)));
            if failed {
                break;
            }
        }
        if !all_done && !failed {
            return Poll::Pending;
        }
        // Those that still run are skipped, and dropped here.
        Poll::Ready(self.parts.take().into_iter().flatten().filter_map(Part::into_value).collect())
    }
}

// The futures are pinned in boxes of their own, and values are not pinned.
impl<F: Future> Unpin for JoinAll<F> {}
impl<F: Future> Unpin for TryJoinAll<F> {}

impl<F: Future> fmt::Debug for JoinAll<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, "JoinAll", self.parts.as_ref())
    }
}

impl<F: Future> fmt::Debug for TryJoinAll<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, "TryJoinAll", self.parts.as_ref())
    }
}

fn show<F: Future>(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    parts: Option<&Vec<Part<F>>>,
) -> fmt::Result {
    let running = parts.into_iter().flatten().filter(|part| matches!(part, Part::Running(_)));
    f.debug_struct(name).field("running", &running.count()).finish()
}
