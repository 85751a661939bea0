//! What a stream promises, through each of the traits: the suite is generic over them.

use std::{
    future::{Future, poll_fn},
    io::{self, ErrorKind, IoSlice},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use asyncoro::{
    AsyncSocket,
    coro::yield_now,
    spawn,
    sync::{self, ReceiveError, Slow, local},
};
use futures_util::StreamExt;

use crate::pairs::{KINDS, Kind, pair, run};

type PollIo<T> = Poll<io::Result<T>>;

/// One of the families of traits.
trait Family: 'static {
    fn read(socket: &mut AsyncSocket, cx: &mut Context<'_>, to: &mut [u8]) -> PollIo<usize>;
    fn write(socket: &mut AsyncSocket, cx: &mut Context<'_>, from: &[u8]) -> PollIo<usize>;
    fn write_vectored(
        socket: &mut AsyncSocket,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> PollIo<usize>;
    fn flush(socket: &mut AsyncSocket, cx: &mut Context<'_>) -> PollIo<()>;
    fn end(socket: &mut AsyncSocket, cx: &mut Context<'_>) -> PollIo<()>;
}

struct FuturesIo;

impl Family for FuturesIo {
    fn read(socket: &mut AsyncSocket, cx: &mut Context<'_>, to: &mut [u8]) -> PollIo<usize> {
        futures_util::AsyncRead::poll_read(Pin::new(socket), cx, to)
    }

    fn write(socket: &mut AsyncSocket, cx: &mut Context<'_>, from: &[u8]) -> PollIo<usize> {
        futures_util::AsyncWrite::poll_write(Pin::new(socket), cx, from)
    }

    fn write_vectored(
        socket: &mut AsyncSocket,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> PollIo<usize> {
        futures_util::AsyncWrite::poll_write_vectored(Pin::new(socket), cx, from)
    }

    fn flush(socket: &mut AsyncSocket, cx: &mut Context<'_>) -> PollIo<()> {
        futures_util::AsyncWrite::poll_flush(Pin::new(socket), cx)
    }

    fn end(socket: &mut AsyncSocket, cx: &mut Context<'_>) -> PollIo<()> {
        futures_util::AsyncWrite::poll_close(Pin::new(socket), cx)
    }
}

struct TokioIo;

impl Family for TokioIo {
    fn read(socket: &mut AsyncSocket, cx: &mut Context<'_>, to: &mut [u8]) -> PollIo<usize> {
        let mut buffer = tokio::io::ReadBuf::new(to);
        ready!(tokio::io::AsyncRead::poll_read(Pin::new(socket), cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    fn write(socket: &mut AsyncSocket, cx: &mut Context<'_>, from: &[u8]) -> PollIo<usize> {
        tokio::io::AsyncWrite::poll_write(Pin::new(socket), cx, from)
    }

    fn write_vectored(
        socket: &mut AsyncSocket,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> PollIo<usize> {
        assert!(tokio::io::AsyncWrite::is_write_vectored(socket));
        tokio::io::AsyncWrite::poll_write_vectored(Pin::new(socket), cx, from)
    }

    fn flush(socket: &mut AsyncSocket, cx: &mut Context<'_>) -> PollIo<()> {
        tokio::io::AsyncWrite::poll_flush(Pin::new(socket), cx)
    }

    fn end(socket: &mut AsyncSocket, cx: &mut Context<'_>) -> PollIo<()> {
        tokio::io::AsyncWrite::poll_shutdown(Pin::new(socket), cx)
    }
}

struct Hyper;

impl Family for Hyper {
    fn read(socket: &mut AsyncSocket, cx: &mut Context<'_>, to: &mut [u8]) -> PollIo<usize> {
        let mut buffer = hyper::rt::ReadBuf::new(to);
        ready!(hyper::rt::Read::poll_read(Pin::new(socket), cx, buffer.unfilled()))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    fn write(socket: &mut AsyncSocket, cx: &mut Context<'_>, from: &[u8]) -> PollIo<usize> {
        hyper::rt::Write::poll_write(Pin::new(socket), cx, from)
    }

    fn write_vectored(
        socket: &mut AsyncSocket,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> PollIo<usize> {
        assert!(hyper::rt::Write::is_write_vectored(socket));
        hyper::rt::Write::poll_write_vectored(Pin::new(socket), cx, from)
    }

    fn flush(socket: &mut AsyncSocket, cx: &mut Context<'_>) -> PollIo<()> {
        hyper::rt::Write::poll_flush(Pin::new(socket), cx)
    }

    fn end(socket: &mut AsyncSocket, cx: &mut Context<'_>) -> PollIo<()> {
        hyper::rt::Write::poll_shutdown(Pin::new(socket), cx)
    }
}

async fn read<F: Family>(socket: &mut AsyncSocket, most: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; most];
    let count = poll_fn(|cx| F::read(socket, cx, &mut buffer)).await?;
    buffer.truncate(count);
    Ok(buffer)
}

async fn read_all<F: Family>(socket: &mut AsyncSocket) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let piece = read::<F>(socket, 30_000).await?;
        if piece.is_empty() {
            return Ok(all);
        }
        all.extend(piece);
    }
}

async fn write_all<F: Family>(socket: &mut AsyncSocket, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let sent = poll_fn(|cx| F::write(socket, cx, bytes)).await?;
        bytes = &bytes[sent..];
    }
    Ok(())
}

async fn end<F: Family>(socket: &mut AsyncSocket) -> io::Result<()> {
    poll_fn(|cx| F::end(socket, cx)).await
}

fn numbered(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at % 251) as u8).collect()
}

async fn dropped_reads_lose_no_bytes<F: Family>(kind: Kind) {
    let (mut near, mut far) = pair(kind).await;
    let bytes = numbered(200_000);
    let sender = spawn({
        let bytes = bytes.clone();
        async move {
            for piece in bytes.chunks(777) {
                write_all::<F>(&mut far, piece).await?;
                yield_now().await;
            }
            end::<F>(&mut far).await?;
            io::Result::Ok(far)
        }
    });
    let mut all = Vec::new();
    loop {
        // A read that has to wait is dropped, again and again.
        let mut reading = pin!(read::<F>(&mut near, 500));
        match poll_fn(|cx| Poll::Ready(reading.as_mut().poll(cx))).await {
            Poll::Pending => yield_now().await,
            Poll::Ready(piece) => match piece.unwrap() {
                piece if piece.is_empty() => break,
                piece => all.extend(piece),
            },
        }
    }
    assert!(all == bytes, "{} bytes", all.len());
    sender.await.unwrap().unwrap();
}

async fn either_half_ends_alone<F: Family>(kind: Kind) {
    let (mut near, mut far) = pair(kind).await;
    write_all::<F>(&mut near, b"question").await.unwrap();
    end::<F>(&mut near).await.unwrap();
    assert_eq!(read_all::<F>(&mut far).await.unwrap(), b"question");
    write_all::<F>(&mut far, b"answer").await.unwrap();
    end::<F>(&mut far).await.unwrap();
    assert_eq!(read_all::<F>(&mut near).await.unwrap(), b"answer");
    let late = write_all::<F>(&mut near, b"late").await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::BrokenPipe);
}

async fn a_reader_that_stops_stops_the_writer<F: Family>(kind: Kind) {
    let (mut near, mut far) = pair(kind).await;
    let bytes = numbered(20 << 20);
    let writer = spawn({
        let bytes = bytes.clone();
        async move {
            write_all::<F>(&mut near, &bytes).await?;
            poll_fn(|cx| F::flush(&mut near, cx)).await?;
            end::<F>(&mut near).await
        }
    });
    for _ in 0..100 {
        yield_now().await;
    }
    assert!(!writer.is_finished(), "20 MiB are in no buffer of the system");
    assert!(read_all::<F>(&mut far).await.unwrap() == bytes);
    writer.await.unwrap().unwrap();
}

async fn vectored_writes_keep_their_order<F: Family>(kind: Kind) {
    let (mut near, mut far) = pair(kind).await;
    let texts: Vec<String> = (0..50).map(|at| format!("{at},").repeat(at % 4)).collect();
    let mut slices: Vec<IoSlice> = texts.iter().map(|t| IoSlice::new(t.as_bytes())).collect();
    let mut left = &mut slices[..];
    while !left.is_empty() {
        let sent = poll_fn(|cx| F::write_vectored(&mut near, cx, left)).await.unwrap();
        IoSlice::advance_slices(&mut left, sent);
    }
    end::<F>(&mut near).await.unwrap();
    assert_eq!(read_all::<F>(&mut far).await.unwrap(), texts.concat().as_bytes());
}

async fn verbs_and_traits_take_turns<F: Family>(kind: Kind) {
    let (mut near, mut far) = pair(kind).await;
    for _ in 0..100 {
        far.send_msg(b"message").await.unwrap();
        write_all::<F>(&mut far, b"by a trait").await.unwrap();
        far.send_queued(b"queued").await.unwrap();
        poll_fn(|cx| F::flush(&mut far, cx)).await.unwrap();
        assert_eq!(near.recv_msg().await.unwrap().unwrap(), "message");
        let mut bytes = Vec::new();
        while bytes.len() < 10 {
            bytes.extend(read::<F>(&mut near, 10 - bytes.len()).await.unwrap());
        }
        assert_eq!(bytes, b"by a trait");
        assert_eq!(near.recv_all_bytes(6).await.unwrap(), "queued");
    }
}

async fn the_halves_are_used_by_two_coroutines<F: Family>(kind: Kind) {
    let (mut near, far) = pair(kind).await;
    let echo = spawn(async move {
        let (mut reader, mut writer) = (far.clone(), far);
        loop {
            let piece = read::<F>(&mut reader, 5000).await?;
            if piece.is_empty() {
                return end::<F>(&mut writer).await;
            }
            write_all::<F>(&mut writer, &piece).await?;
        }
    });
    let bytes = numbered(5 << 20);
    let writer = spawn({
        let (mut near, bytes) = (near.clone(), bytes.clone());
        async move {
            write_all::<F>(&mut near, &bytes).await?;
            end::<F>(&mut near).await
        }
    });
    assert!(read_all::<F>(&mut near).await.unwrap() == bytes);
    writer.await.unwrap().unwrap();
    echo.await.unwrap().unwrap();
}

async fn nothing_is_asked_of_an_empty_buffer<F: Family>(kind: Kind) {
    let (mut near, _far) = pair(kind).await;
    assert!(read::<F>(&mut near, 0).await.unwrap().is_empty());
    assert_eq!(poll_fn(|cx| F::write(&mut near, cx, b"")).await.unwrap(), 0);
    assert_eq!(poll_fn(|cx| F::write_vectored(&mut near, cx, &[])).await.unwrap(), 0);
}

/// Runs one test for each kind of socket.
fn each<T>(test: impl Fn(Kind) -> T)
where
    T: Future<Output = ()>,
{
    KINDS.iter().for_each(|&kind| run(test(kind)));
}

macro_rules! suite {
    ($($test:ident)*) => {
        mod futures_io {
            $(#[test]
            fn $test() {
                super::each(super::$test::<super::FuturesIo>);
            })*
        }
        mod tokio_io {
            $(#[test]
            fn $test() {
                super::each(super::$test::<super::TokioIo>);
            })*
        }
        mod hyper_io {
            $(#[test]
            fn $test() {
                super::each(super::$test::<super::Hyper>);
            })*
        }
    };
}

suite! {
    dropped_reads_lose_no_bytes
    either_half_ends_alone
    a_reader_that_stops_stops_the_writer
    vectored_writes_keep_their_order
    verbs_and_traits_take_turns
    the_halves_are_used_by_two_coroutines
    nothing_is_asked_of_an_empty_buffer
}

#[test]
fn channels_are_streams() {
    run(async {
        let (sender, receiver) = local::mailbox(4);
        for number in 1..=3 {
            sender.send(number).await.unwrap();
        }
        drop(sender);
        assert_eq!(receiver.collect::<Vec<_>>().await, [1, 2, 3]);

        let (sender, watched) = sync::watch(0);
        let seen = spawn(watched.map(|value| *value).collect::<Vec<_>>());
        for number in 1..=2 {
            yield_now().await;
            sender.send(number);
            yield_now().await;
        }
        drop(sender);
        assert_eq!(seen.await.unwrap(), [1, 2]);

        let channel = local::Channel::new(2, Slow::DropOldest);
        let late = channel.subscribe();
        for number in 1..=4 {
            channel.send(number).await.unwrap();
        }
        drop(channel);
        let got = late.collect::<Vec<_>>().await;
        assert_eq!(got, [Err(ReceiveError::Lost(2)), Ok(3), Ok(4)]);

        let channel = sync::Channel::new(1, Slow::Disconnect);
        let late = channel.subscribe();
        for number in 1..=2 {
            channel.send(number).await.unwrap();
        }
        assert_eq!(late.collect::<Vec<_>>().await, [Err(ReceiveError::Disconnected)]);
    });
}
