//! The traits of `hyper::rt`: `Read` and `Write` on [`AsyncSocket`], an executor.
//!
//! Unsafe: says how many bytes of a [`ReadBufCursor`] are filled, after they were received into it.
#![allow(unsafe_code)]

use std::{
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use ::hyper::rt::{self, ReadBufCursor};

use crate::{coro, socket::AsyncSocket};

fn read(
    socket: &AsyncSocket,
    cx: &mut Context<'_>,
    mut buffer: ReadBufCursor<'_>,
) -> Poll<io::Result<()>> {
    // SAFETY: `poll_recv_uninit` only writes bytes into it.
    let room = unsafe { buffer.as_mut() };
    let count = ready!(socket.poll_recv_uninit(cx, room))?;
    // SAFETY: the first `count` bytes of the room were written.
    unsafe { buffer.advance(count) };
    Poll::Ready(Ok(()))
}

macro_rules! implement {
    ($($socket:ty),*) => {$(
        impl rt::Read for $socket {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffer: ReadBufCursor<'_>,
            ) -> Poll<io::Result<()>> {
                read(&self, cx, buffer)
            }
        }

        impl rt::Write for $socket {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffer: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.poll_send(cx, buffer)
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffers: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                self.poll_send_vectored(cx, buffers)
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                AsyncSocket::poll_flush(&self, cx)
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                AsyncSocket::poll_shutdown(&self, cx)
            }
        }
    )*};
}

implement!(AsyncSocket, &AsyncSocket);

/// hyper's executor: starts each future as a coroutine of the scheduler that runs on this thread.
///
/// The futures need not be `Send`. HTTP/2, for one, needs an executor.
///
/// ```
/// use asyncoro::interop::Executor;
/// use hyper::rt::Executor as _;
///
/// asyncoro::run(async {
///     Executor.execute(async { println!("in a coroutine of its own") });
/// });
/// ```
///
/// # Panics
/// `execute` panics outside a running scheduler.
#[derive(Clone, Copy, Debug, Default)]
pub struct Executor;

impl<F> rt::Executor<F> for Executor
where
    F: Future + 'static,
    F::Output: 'static,
{
    #[track_caller]
    fn execute(&self, future: F) {
        drop(coro::spawn(future));
    }
}
