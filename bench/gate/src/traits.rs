//! The paths `recv-ready` and `send` of `sockets.rs`, through the traits of others.

use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use asyncoro::AsyncSocket;

use crate::BATCH;
use crate::sockets::{SIZE, connection};

/// A family of traits.
pub(crate) trait Family {
    fn read(
        socket: Pin<&mut AsyncSocket>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>>;

    fn write(
        socket: Pin<&mut AsyncSocket>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>>;
}

pub(crate) struct FuturesIo;

impl Family for FuturesIo {
    fn read(
        socket: Pin<&mut AsyncSocket>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        futures_io::AsyncRead::poll_read(socket, context, buffer)
    }

    fn write(
        socket: Pin<&mut AsyncSocket>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        futures_io::AsyncWrite::poll_write(socket, context, bytes)
    }
}

pub(crate) struct TokioIo;

impl Family for TokioIo {
    fn read(
        socket: Pin<&mut AsyncSocket>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = tokio::io::ReadBuf::new(buffer);
        ready!(tokio::io::AsyncRead::poll_read(socket, context, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    fn write(
        socket: Pin<&mut AsyncSocket>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        tokio::io::AsyncWrite::poll_write(socket, context, bytes)
    }
}

pub(crate) struct Hyper;

impl Family for Hyper {
    fn read(
        socket: Pin<&mut AsyncSocket>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = hyper::rt::ReadBuf::new(buffer);
        ready!(hyper::rt::Read::poll_read(socket, context, buffer.unfilled()))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    fn write(
        socket: Pin<&mut AsyncSocket>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        hyper::rt::Write::poll_write(socket, context, bytes)
    }
}

/// Receives bytes that are available.
pub(crate) fn recv<F: Family>(times: usize) {
    let (scheduler, mut socket, mut peer) = connection();
    let pieces = [b'x'; BATCH * SIZE];
    scheduler.enter(async {
        let mut buffer = [0; SIZE];
        for _ in 0..times / BATCH {
            peer.write_all(&pieces).expect("a batch fits into the socket's buffers");
            for _ in 0..BATCH {
                let read = poll_fn(|context| F::read(Pin::new(&mut socket), context, &mut buffer));
                assert_eq!(read.await.expect("the peer is there"), SIZE);
            }
        }
    });
}

/// Sends bytes that fit into the buffers.
pub(crate) fn send<F: Family>(times: usize) {
    let (scheduler, mut socket, mut peer) = connection();
    let mut received = [0; BATCH * SIZE];
    scheduler.enter(async {
        for _ in 0..times / BATCH {
            for _ in 0..BATCH {
                let bytes = [b'x'; SIZE];
                let written = poll_fn(|context| F::write(Pin::new(&mut socket), context, &bytes));
                assert_eq!(written.await.expect("the peer is there"), SIZE);
            }
            peer.read_exact(&mut received).expect("what was sent is there");
        }
    });
}
