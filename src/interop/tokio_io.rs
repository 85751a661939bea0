//! The traits of `tokio::io` on [`AsyncSocket`]; nothing here needs tokio's runtime.
//!
//! Unsafe: says how many bytes of a [`ReadBuf`] are initialised, after they were received into it.
#![allow(unsafe_code)]

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::socket::AsyncSocket;

fn read(
    socket: &AsyncSocket,
    cx: &mut Context<'_>,
    buffer: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    // SAFETY: `poll_recv_uninit` only writes bytes into it.
    let room = unsafe { buffer.unfilled_mut() };
    let count = ready!(socket.poll_recv_uninit(cx, room))?;
    // SAFETY: the first `count` bytes of the room were written.
    unsafe { buffer.assume_init(count) };
    buffer.advance(count);
    Poll::Ready(Ok(()))
}

macro_rules! implement {
    ($($socket:ty),*) => {$(
        impl AsyncRead for $socket {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                read(&self, cx, buffer)
            }
        }

        impl AsyncWrite for $socket {
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
