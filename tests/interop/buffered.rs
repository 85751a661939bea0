//! `Buffered`: lines and pieces through either `AsyncBufRead`, and what becomes of the rest.

use asyncoro::{AsyncSocket, interop::Buffered};
use futures_util::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};

use crate::pairs::{KINDS, pair, run};

#[test]
fn lines_are_read_by_futures_io_and_the_rest_stays_with_the_socket() {
    for kind in KINDS {
        run(async {
            let (near, far) = pair(kind).await;
            far.send_all(b"first\nsecond\nthe rest").await.unwrap();
            let mut reader = Buffered::new(near);
            let mut line = String::new();
            reader.read_line(&mut line).await.unwrap();
            reader.read_line(&mut line).await.unwrap();
            assert_eq!(line, "first\nsecond\n");
            reader.write_all(b"thanks").await.unwrap();
            assert_eq!(far.recv_all_bytes(6).await.unwrap(), "thanks");
            let near = reader.into_inner();
            assert_eq!(near.recv_all_bytes(8).await.unwrap(), "the rest");
        });
    }
}

#[test]
fn lines_are_read_by_tokio_and_reads_take_what_is_buffered_first() {
    use tokio::io::{AsyncBufReadExt, AsyncReadExt};
    for kind in KINDS {
        run(async {
            let (near, far) = pair(kind).await;
            far.send_all(b"line\nbuffered").await.unwrap();
            let mut reader = Buffered::new(near);
            let mut line = String::new();
            AsyncBufReadExt::read_line(&mut reader, &mut line).await.unwrap();
            assert_eq!(line, "line\n");
            let mut bytes = [0; 8];
            AsyncReadExt::read_exact(&mut reader, &mut bytes).await.unwrap();
            assert_eq!(&bytes, b"buffered");
            drop(far);
            assert!(AsyncBufReadExt::fill_buf(&mut reader).await.unwrap().is_empty());
        });
    }
}

#[test]
fn what_is_put_back_comes_before_what_has_been_received_meanwhile_and_wakes_who_waits() {
    run(async {
        let (near, far) = pair(KINDS[0]).await;
        let mut reader = Buffered::new(near.clone());
        far.send_all(b"0123456789").await.unwrap();
        let mut two = [0; 2];
        // The first call does not buffer.
        reader.fill_buf().await.unwrap();
        reader.read_exact(&mut two).await.unwrap();
        assert_eq!(&two, b"01");
        far.send_all(b"abc").await.unwrap();
        assert_eq!(near.recv_until(b"b", 9).await.unwrap(), "ab");
        let waiting = asyncoro::spawn({
            let near: AsyncSocket = near.clone();
            async move { near.recv_all_bytes(9).await }
        });
        asyncoro::coro::yield_now().await;
        drop(reader);
        assert_eq!(waiting.await.unwrap().unwrap(), "23456789c");
    });
}

#[test]
fn a_line_end_that_is_put_back_is_found_by_who_has_searched_what_came_behind_it() {
    run(async {
        let (near, far) = pair(KINDS[0]).await;
        let mut reader = Buffered::new(near.clone());
        far.send_all(b"o\n").await.unwrap();
        assert_eq!(reader.fill_buf().await.unwrap(), b"o\n");
        let waiting = asyncoro::spawn({
            let near: AsyncSocket = near.clone();
            async move { near.recv_line(100).await }
        });
        far.send_all(b"tail").await.unwrap();
        while !near.has_received() {
            asyncoro::coro::yield_now().await;
        }
        drop(reader);
        assert_eq!(waiting.await.unwrap().unwrap().unwrap(), "o");
        assert_eq!(near.recv_all_bytes(4).await.unwrap(), "tail");
    });
}
