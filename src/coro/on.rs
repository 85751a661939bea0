//! `on`: a coroutine on a scheduler, awaited from any executor.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use super::{asyncoro::AsynCoro, ended::Ended, handle::Coro};

/// Runs a coroutine on `scheduler` and returns its value, awaited anywhere: in a task of tokio or
/// smol, in a coroutine of another scheduler or of the same one, in a `block_on`.
///
/// `make` is sent to the scheduler's thread and makes the future there, so that the future may hold
/// what is not `Send`: sockets, for example. No thread waits meanwhile. The coroutine starts with
/// the call, and ends with the future that this returns: dropping that terminates it. To let it go
/// on alone, use [`AsynCoro::spawn`].
///
/// # Example
/// A function for any executor, which uses a socket of a scheduler:
/// ```
/// use std::{
///     io,
///     net::SocketAddr,
///     pin::pin,
///     sync::Arc,
///     task::{Context, Poll, Wake, Waker},
///     thread::{self, Thread},
/// };
///
/// use asyncoro::{AsynCoro, AsyncSocket};
///
/// async fn ask(scheduler: &AsynCoro, address: SocketAddr) -> io::Result<Vec<u8>> {
///     asyncoro::on(scheduler, move || async move {
///         let socket = AsyncSocket::create_connection(address).await?;
///         socket.send_msg(b"hello").await?;
///         let answer = socket.recv_msg().await?.expect("it answers");
///         io::Result::Ok(answer.to_vec())
///     })
///     .await?
/// }
///
/// # fn main() -> io::Result<()> {
/// let scheduler = AsynCoro::start()?;
/// # let address = scheduler
/// #     .spawn(|| async {
/// #         let server = AsyncSocket::create_server("127.0.0.1:0").await?;
/// #         let address = server.local_addr()?;
/// #         asyncoro::spawn(async move {
/// #             let (client, _) = server.accept().await?;
/// #             let message = client.recv_msg().await?.expect("a message");
/// #             client.send_msg(&message).await?;
/// #             client.close().await
/// #         })
/// #         .or_log();
/// #         io::Result::Ok(address.to_string().parse().expect("an IP address"))
/// #     })
/// #     .value()??;
/// // A small executor: the thread sleeps until the waker unparks it.
/// struct Unpark(Thread);
///
/// impl Wake for Unpark {
///     fn wake(self: Arc<Self>) {
///         self.0.unpark();
///     }
/// }
///
/// let waker = Waker::from(Arc::new(Unpark(thread::current())));
/// let mut asking = pin!(ask(&scheduler, address));
/// let answer = loop {
///     match asking.as_mut().poll(&mut Context::from_waker(&waker)) {
///         Poll::Ready(answer) => break answer?,
///         Poll::Pending => thread::park(),
///     }
/// };
/// assert_eq!(answer, b"hello");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Ended`], if the coroutine has panicked, or if the scheduler ends or has ended.
///
/// # Cancel
/// Dropping the future terminates the coroutine, as [`Coro::terminate`] does: the scheduler drops
/// the coroutine's future, soon, and not in this call.
#[track_caller]
pub fn on<M, F>(scheduler: &AsynCoro, make: M) -> On<F::Output>
where
    M: FnOnce() -> F + Send + 'static,
    F: Future + 'static,
    F::Output: Send,
{
    On { coro: scheduler.spawn(make) }
}

/// The future of [`on()`]. It is `Send` if `T` is.
#[must_use = "dropping it ends the coroutine: await it, or use `AsynCoro::spawn`"]
pub struct On<T> {
    coro: Coro<T>,
}

impl<T> Future for On<T> {
    type Output = Result<T, Ended>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.coro).poll(cx)
    }
}

impl<T> Drop for On<T> {
    fn drop(&mut self) {
        if !self.coro.is_finished() {
            self.coro.terminate();
        }
    }
}

impl<T> fmt::Debug for On<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("On").field(&self.coro).finish()
    }
}
