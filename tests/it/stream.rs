//! The verbs of streams: their results, the order of bytes, and the locks of directions.

use std::{
    io::{ErrorKind, IoSliceMut, Write},
    net::Shutdown,
    pin::pin,
    time::{Duration, Instant},
};

use asyncoro::{
    AsyncSocket, coro,
    error::{Incomplete, TimedOut},
    time::{sleep, timeout},
};

use crate::pairs::{
    BIG, each, each_plain, half, inner, narrow, pair, pattern, poll_once, read_now, settle,
    started, take_now,
};

const SHORT: Duration = Duration::from_millis(20);

// ---- receiving

#[test]
fn recv_is_one_read_and_zero_at_the_end() {
    each(async |kind| {
        let (socket, mut peer) = half(kind);
        let mut buffer = [0; 8];
        peer.write_all(b"0123456789").unwrap();
        assert_eq!(socket.recv(&mut buffer[..4]).await.unwrap(), 4);
        assert_eq!(&buffer[..4], b"0123");
        assert_eq!(socket.recv(&mut buffer).await.unwrap(), 6);
        assert_eq!(&buffer[..6], b"456789");
        drop(peer);
        assert_eq!(socket.recv(&mut buffer).await.unwrap(), 0);
        assert_eq!(socket.recv(&mut buffer).await.unwrap(), 0);
    });
}

#[test]
fn recv_bytes_gives_memory_of_its_own_and_is_empty_at_the_end() {
    each(async |kind| {
        let (socket, mut peer) = half(kind);
        for max in [3, 4 << 10, 1 << 20] {
            peer.write_all(b"abc").unwrap();
            assert_eq!(socket.recv_bytes(max).await.unwrap(), "abc");
        }
        let long = pattern(40_000);
        peer.write_all(&long).unwrap();
        let mut got = Vec::new();
        while got.len() < long.len() {
            got.extend_from_slice(&socket.recv_bytes(30_000).await.unwrap());
        }
        assert_eq!(got, long);
        drop(peer);
        assert_eq!(socket.recv_bytes(9000).await.unwrap(), "");
        assert_eq!(socket.recv_bytes(9).await.unwrap(), "");
    });
}

#[test]
fn is_full_tells_of_a_send_that_found_no_room_until_the_peer_has_read() {
    each_plain(async |kind| {
        let (socket, peer) = half(kind);
        assert!(!socket.is_full());
        while socket.try_send(&[0; 4096]).is_ok() {}
        assert!(socket.is_full());
        read_now(&peer);
        socket.writable().await.unwrap();
        assert!(!socket.is_full());
    });
}

#[test]
fn has_received_tells_of_what_came_along_and_was_not_taken() {
    each_plain(async |kind| {
        let (socket, mut peer) = half(kind);
        assert!(!socket.has_received());
        peer.write_all(b"\0\0\0\x01a\0\0\0\x01b").unwrap();
        assert_eq!(socket.recv_msg().await.unwrap().unwrap(), "a");
        assert!(socket.has_received());
        assert_eq!(socket.recv_msg().await.unwrap().unwrap(), "b");
        assert!(!socket.has_received());
    });
}

#[test]
fn recv_with_limit_leaves_what_follows() {
    each(async |kind| {
        let (socket, mut peer) = half(kind);
        peer.write_all(b"abcdef").unwrap();
        socket.readable().await.unwrap();
        // What was read ahead is cut the same way as what the system still has.
        assert_eq!(socket.recv_with_limit(2, <[u8]>::to_vec).await.unwrap(), b"ab");
        assert_eq!(socket.recv_all_bytes(1).await.unwrap(), "c");
        assert_eq!(socket.recv_with_limit(2, <[u8]>::to_vec).await.unwrap(), b"de");
        assert_eq!(socket.recv_with_limit(2, <[u8]>::to_vec).await.unwrap(), b"f");
    });
}

#[test]
fn recv_with_lends_the_bytes_also_when_it_is_nested() {
    each(async |kind| {
        let (socket, mut peer) = half(kind);
        let (other, mut other_peer) = half(kind);
        peer.write_all(b"outer").unwrap();
        other_peer.write_all(b"inner").unwrap();
        other.readable().await.unwrap();
        let seen = socket.recv_with(|bytes| {
            // The hot buffer is taken: whoever receives meanwhile gets another one.
            let mut buffer = [0; 5];
            let got = other.try_recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..got], b"inner");
            bytes.to_vec()
        });
        assert_eq!(seen.await.unwrap(), b"outer");
        drop(peer);
        assert_eq!(socket.recv_with(<[u8]>::len).await.unwrap(), 0);
    });
}

#[test]
fn recv_vectored_fills_buffers_in_order_from_held_bytes_too() {
    each(async |kind| {
        let (socket, mut peer) = half(kind);
        let (mut one, mut two) = ([0; 2], [0; 4]);
        for held in [false, true] {
            peer.write_all(b"abcde").unwrap();
            if held {
                // An unfinished verb leaves what has come with the socket.
                socket.recv_until(b"\n", 5).await.unwrap_err();
            }
            let slices = &mut [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)];
            assert_eq!(socket.recv_vectored(slices).await.unwrap(), 5);
            assert_eq!((&one, &two[..3]), (b"ab", &b"cde"[..]));
        }
    });
}

#[test]
fn peek_leaves_the_bytes_where_they_are() {
    each(async |kind| {
        let (socket, mut peer) = half(kind);
        let mut buffer = [0; 8];
        let waiting = started({
            let socket = socket.clone();
            async move { socket.peek(&mut [0; 2]).await.unwrap() }
        })
        .await;
        peer.write_all(b"abcd").unwrap();
        assert_eq!(waiting.await.unwrap(), 2);
        assert_eq!(socket.peek(&mut buffer).await.unwrap(), 4);
        assert_eq!(socket.recv(&mut buffer[..1]).await.unwrap(), 1);
        assert_eq!(socket.peek(&mut buffer).await.unwrap(), 3);
        socket.recv_until(b"\n", 3).await.unwrap_err();
        assert_eq!(socket.peek(&mut buffer[..2]).await.unwrap(), 2);
        assert_eq!(&buffer[..2], b"bc");
        assert_eq!(socket.recv_bytes(9).await.unwrap(), "bcd");
        drop(peer);
        assert_eq!(socket.peek(&mut buffer).await.unwrap(), 0);
    });
}

#[test]
fn recv_all_says_how_many_bytes_came_before_the_end() {
    each(async |kind| {
        let (socket, mut peer) = half(kind);
        peer.write_all(b"0123456789").unwrap();
        drop(peer);
        let mut four = [0; 4];
        socket.recv_all(&mut four).await.unwrap();
        assert_eq!(&four, b"0123");
        let mut ten = [0; 10];
        let error = socket.recv_all(&mut ten).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        assert_eq!(inner(&error), Some(&Incomplete { got: 6, expected: 10 }));
        assert_eq!(&ten[..6], b"456789", "what came is in the caller's buffer");
        let error = socket.recv_all(&mut four).await.unwrap_err();
        assert_eq!(inner(&error), Some(&Incomplete { got: 0, expected: 4 }));
        socket.recv_all(&mut []).await.unwrap();
    });
}

#[test]
fn recv_all_bytes_that_ends_early_leaves_the_bytes_readable() {
    each(async |kind| {
        let (socket, mut peer) = half(kind);
        peer.write_all(b"abc").unwrap();
        // What was written may still be on its way.
        socket.readable().await.unwrap();
        socket.set_timeout(Some(SHORT));
        let error = socket.recv_all_bytes(5).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(inner(&error), Some(&TimedOut { done: 3, rest_queued: false }));
        socket.set_timeout(None);
        timeout(SHORT, socket.recv_all_bytes(5)).await.unwrap_err();
        peer.write_all(b"de").unwrap();
        assert_eq!(socket.recv_all_bytes(5).await.unwrap(), "abcde");
        peer.write_all(b"fg").unwrap();
        drop(peer);
        for _ in 0..2 {
            let error = socket.recv_all_bytes(5).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
            assert_eq!(inner(&error), Some(&Incomplete { got: 2, expected: 5 }));
        }
        assert_eq!(socket.recv_all_bytes(0).await.unwrap(), "");
        assert_eq!(socket.recv_bytes(9).await.unwrap(), "fg");
        let error = socket.recv_all_bytes(1).await.unwrap_err();
        assert_eq!(inner(&error), Some(&Incomplete { got: 0, expected: 1 }));
    });
}

#[test]
fn recv_until_gives_the_delimiter_too_and_consumes_nothing_without_it() {
    each(async |kind| {
        let (socket, mut peer) = half(kind);
        peer.write_all(b"one\r\ntwo\r").unwrap();
        assert_eq!(socket.recv_until(b"\r\n", 100).await.unwrap(), "one\r\n");
        let line = started({
            let socket = socket.clone();
            async move { socket.recv_until(b"\r\n", 100).await }
        })
        .await;
        peer.write_all(b"\n").unwrap();
        assert_eq!(line.await.unwrap().unwrap(), "two\r\n", "a delimiter in two parts is found");
        peer.write_all(b"12345\n").unwrap();
        for _ in 0..2 {
            let error = socket.recv_until(b"\n", 5).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData);
        }
        assert_eq!(socket.recv_until(b"\n", 6).await.unwrap(), "12345\n");
        peer.write_all(b"cut").unwrap();
        timeout(SHORT, socket.recv_until(b"\n", 100)).await.unwrap_err();
        drop(peer);
        let error = socket.recv_until(b"\n", 100).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        assert_eq!(inner(&error), Some(&Incomplete { got: 3, expected: 100 }));
        assert_eq!(socket.recv_bytes(9).await.unwrap(), "cut");
    });
}

#[test]
fn pieces_longer_than_the_hot_buffer_come_whole() {
    each(async |kind| {
        let (near, far) = pair(kind);
        let bytes = pattern(300_000);
        let sender = asyncoro::spawn({
            let bytes = bytes.clone();
            async move {
                near.send_all(&bytes).await.unwrap();
                near.send_all(&bytes).await.unwrap();
                near.send_all(b"\n").await.unwrap();
                near.send_msg(&bytes).await.unwrap();
            }
        });
        assert_eq!(far.recv_all_bytes(300_000).await.unwrap(), bytes);
        let line = far.recv_until(b"a line of this kind never ends\n", 500_000).await;
        assert_eq!(line.unwrap_err().kind(), ErrorKind::InvalidData);
        assert_eq!(far.recv_all_bytes(300_000).await.unwrap(), bytes);
        assert_eq!(far.recv_bytes(1).await.unwrap(), "\n");
        assert_eq!(far.recv_msg().await.unwrap().unwrap(), bytes);
        sender.await.unwrap();
    });
}

// ---- sending

#[test]
fn bytes_of_send_verbs_are_in_the_kernel_on_return_and_behind_the_queue() {
    each(async |kind| {
        let (socket, peer) = pair(kind);
        let nothing = || {
            let error = peer.try_recv(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
        };
        let came = |bytes: &[u8]| {
            assert_eq!(take_now(&peer, bytes.len()), bytes);
            nothing();
        };
        socket.send_queued(b"queued ").await.unwrap();
        nothing(); // The turn has not ended.
        socket.send_all(b"all ").await.unwrap();
        came(b"queued all ");
        socket.send_queued(b"again ").await.unwrap();
        assert_eq!(socket.send(b"send ").await.unwrap(), 5);
        came(b"again send ");
        socket.send_queued(b"more ").await.unwrap();
        assert_eq!(socket.send_vectored(&[b"ve", b"", b"cto", b"red"]).await.unwrap(), 8);
        came(b"more vectored");
        socket.send_queued(b"pushed").await.unwrap();
        assert_eq!(socket.send(b"").await.unwrap(), 0);
        came(b"pushed"); // An empty send pushes the queue.
        socket.send_queued(b"tried ").await.unwrap();
        assert_eq!(socket.try_send(b"send").unwrap(), 4);
        came(b"tried send");
    });
}

#[test]
fn send_all_goes_on_as_far_as_the_peer_reads() {
    each(async |kind| {
        let (near, far) = narrow(kind);
        let sender = asyncoro::spawn(async move { near.send_all(&pattern(BIG)).await });
        assert_eq!(far.recv_all_bytes(BIG).await.unwrap(), pattern(BIG));
        sender.await.unwrap().unwrap();
        assert_eq!(far.recv_bytes(1).await.unwrap(), "");
    });
}

#[test]
fn shutdown_sends_what_is_queued_first() {
    each(async |kind| {
        let (near, far) = pair(kind);
        near.send_msg(b"last").await.unwrap();
        near.shutdown(Shutdown::Write).await.unwrap();
        assert_eq!(far.recv_msg().await.unwrap().unwrap(), "last");
        assert_eq!(far.recv_msg().await.unwrap(), None);
        far.send_msg(b"other direction").await.unwrap();
        assert_eq!(near.recv_msg().await.unwrap().unwrap(), "other direction");
        let error = near.send_all(b"x").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    });
}

// ---- waiting for what we do not offer, and trying

#[test]
fn readable_and_writable_wait_for_exactly_that() {
    each(async |kind| {
        let (near, far) = narrow(kind);
        near.writable().await.unwrap();
        let reader = started({
            let far = far.clone();
            async move { far.readable().await }
        })
        .await;
        assert!(!reader.is_finished());
        near.send_all(b"x").await.unwrap();
        reader.await.unwrap().unwrap();
        far.readable().await.unwrap();
        let mut filled = 1;
        // The system may make room again after it has said that there is none.
        let writer = loop {
            while let Ok(count) = near.try_send(&[7; 4096]) {
                filled += count;
            }
            let writer = started({
                let near = near.clone();
                async move { near.writable().await }
            })
            .await;
            if !writer.is_finished() {
                break writer;
            }
        };
        far.recv_all_bytes(filled).await.unwrap();
        writer.await.unwrap().unwrap();
        // Bytes that a verb left with the socket are readable, too.
        near.send_all(b"abc").await.unwrap();
        far.recv_until(b"\n", 3).await.unwrap_err();
        far.readable().await.unwrap();
        drop(near);
        assert_eq!(far.recv_bytes(9).await.unwrap(), "abc");
        far.readable().await.unwrap();
        assert_eq!(far.recv_bytes(9).await.unwrap(), "");
    });
}

#[test]
fn try_verbs_see_new_bytes_and_new_room_without_a_wait_between() {
    each(async |kind| {
        let (near, far) = narrow(kind);
        let mut buffer = [0; 65536];
        for round in 0..3 {
            assert_eq!(far.try_recv(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
            near.try_send(b"abc").unwrap();
            assert_eq!(far.try_recv(&mut buffer).unwrap(), 3, "round {round}");
        }
        for _ in 0..3 {
            let mut filled = 0;
            let error = loop {
                match near.try_send(&[7; 4096]) {
                    Ok(count) => filled += count,
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            assert!(filled > 0, "room was seen");
            // The kernel may take its time to acknowledge, so wait for the last byte.
            while filled > 0 {
                match far.try_recv(&mut buffer) {
                    Ok(count) => filled -= count,
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::WouldBlock);
                        coro::yield_now().await;
                    }
                }
            }
            near.writable().await.unwrap();
        }
    });
}

#[test]
fn try_verbs_would_block_while_a_verb_has_the_lock() {
    each(async |kind| {
        let (near, far) = narrow(kind);
        let reader = started({
            let far = far.clone();
            async move { far.recv_bytes(10).await }
        })
        .await;
        near.send_all(b"abc").await.unwrap();
        let error = far.try_recv(&mut [0; 10]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock, "the bytes are the waiting reader's");
        assert_eq!(reader.await.unwrap().unwrap(), "abc");
        let writer = started({
            let near = near.clone();
            async move { near.send_all(&pattern(BIG)).await }
        })
        .await;
        for error in [near.try_send(b"x").unwrap_err(), near.try_send_msg(&"x".into()).unwrap_err()]
        {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
        }
        assert_eq!(far.recv_all_bytes(BIG).await.unwrap(), pattern(BIG));
        writer.await.unwrap().unwrap();
        near.try_send(b"x").unwrap();
    });
}

// ---- turns

#[test]
fn readers_take_turns_first_come_first_served() {
    each(async |kind| {
        let (near, far) = pair(kind);
        let mut readers = Vec::new();
        for _ in 0..4 {
            let far = far.clone();
            readers.push(started(async move { far.recv_all_bytes(3).await.unwrap() }).await);
        }
        // The third leaves the line, the first leaves with the turn.
        readers.remove(2).terminate();
        readers.remove(0).terminate();
        settle().await;
        near.send_all(b"twofou").await.unwrap();
        let mut got = Vec::new();
        for reader in readers {
            got.push(reader.await.unwrap());
        }
        assert_eq!(got, ["two", "fou"]);
    });
}

#[test]
fn one_coroutine_reads_while_another_writes() {
    each(async |kind| {
        let (near, far) = pair(kind);
        let reader = started({
            let near = near.clone();
            async move { near.recv_bytes(9).await }
        })
        .await;
        near.send_all(b"there").await.unwrap();
        assert_eq!(far.recv_all_bytes(5).await.unwrap(), "there");
        assert!(!reader.is_finished());
        far.send_all(b"back").await.unwrap();
        assert_eq!(reader.await.unwrap().unwrap(), "back");
    });
}

#[test]
fn a_whole_send_all_leaves_before_the_next_writer_begins() {
    each(async |kind| {
        let (near, far) = narrow(kind);
        let mut writers = Vec::new();
        for byte in [1u8, 2, 3] {
            let near = near.clone();
            writers.push(started(async move { near.send_all(&vec![byte; BIG / 4]).await }).await);
        }
        for byte in [1u8, 2, 3] {
            assert_eq!(far.recv_all_bytes(BIG / 4).await.unwrap(), vec![byte; BIG / 4]);
        }
        for writer in writers {
            writer.await.unwrap().unwrap();
        }
    });
}

#[test]
fn a_forgotten_verb_keeps_its_turn_until_the_socket_closes() {
    each(async |kind| {
        let (near, far) = pair(kind);
        {
            let mut forgotten = Box::pin(far.recv_bytes(9));
            assert!(poll_once(forgotten.as_mut()).is_pending());
            std::mem::forget(forgotten);
        }
        near.send_all(b"x").await.unwrap();
        let error = far.try_recv(&mut [0; 9]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        timeout(SHORT, far.recv_bytes(9)).await.unwrap_err();
        let waiting = started({
            let far = far.clone();
            async move { far.recv_bytes(9).await }
        })
        .await;
        far.send_all(b"the other direction").await.unwrap();
        far.close().await.unwrap();
        crate::pairs::assert_closed(waiting.await.unwrap());
    });
}

#[test]
fn close_comes_to_an_end_whatever_a_pending_writer_does() {
    each(async |kind| {
        for forget in [false, true] {
            let (near, _far) = narrow(kind);
            let bytes = pattern(BIG);
            let other = near.clone();
            let mut pending = Box::pin(other.send_all(&bytes));
            assert!(poll_once(pending.as_mut()).is_pending());
            if forget {
                std::mem::forget(pending);
                near.close().await.unwrap();
            } else {
                // Somebody who holds the future without polling it any more.
                near.close().await.unwrap();
                crate::pairs::assert_closed(pending.await);
            }
        }
    });
}

// ---- timeouts

#[test]
fn a_timeout_counts_waiting_without_progress() {
    each(async |kind| {
        let (near, far) = narrow(kind);
        far.set_timeout(Some(Duration::from_millis(200)));
        assert_eq!(far.timeout(), Some(Duration::from_millis(200)));
        let slowly = asyncoro::spawn(async move {
            for byte in b"slowly" {
                sleep(Duration::from_millis(60)).await;
                near.send_all(&[*byte]).await.unwrap();
            }
            near
        });
        // Longer in all than the timeout, but never that long without a byte.
        let begun = Instant::now();
        assert_eq!(far.recv_all_bytes(6).await.unwrap(), "slowly");
        assert!(begun.elapsed() >= Duration::from_millis(360));
        let near = slowly.await.unwrap();
        far.set_timeout(Some(SHORT));
        let mut buffer = [0; 4];
        near.send_all(b"ab").await.unwrap();
        let error = far.recv_all(&mut buffer).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(inner(&error), Some(&TimedOut { done: 2, rest_queued: false }));
        near.set_timeout(Some(SHORT));
        let error = near.send_all(&pattern(BIG)).await.unwrap_err();
        let TimedOut { done, rest_queued } = *inner(&error).unwrap();
        assert!(0 < done && done < BIG && !rest_queued, "{error}");
        // Who waits in line waits, too.
        let first = started({
            let far = far.clone();
            far.set_timeout(None);
            async move { far.recv_all_bytes(done + 1).await }
        })
        .await;
        far.set_timeout(Some(SHORT));
        let error = far.recv_bytes(1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        far.set_timeout(None);
        assert_eq!(far.timeout(), None);
        near.set_timeout(None);
        let last = asyncoro::spawn(async move { near.send_all(b"x").await });
        assert_eq!(first.await.unwrap().unwrap().len(), done + 1);
        last.await.unwrap().unwrap();
    });
}

#[test]
fn elapsed_converts_into_an_io_error() {
    each(async |kind| {
        let (near, _far) = pair(kind);
        async fn bounded(socket: &AsyncSocket) -> std::io::Result<usize> {
            timeout(Duration::from_millis(1), socket.recv(&mut [0])).await?
        }
        assert_eq!(bounded(&near).await.unwrap_err().kind(), ErrorKind::TimedOut);
    });
}

// ---- nothing is lost

#[test]
fn a_dropped_receive_loses_no_byte() {
    each(async |kind| {
        let (near, far) = pair(kind);
        let bytes = pattern(200);
        let mut got = Vec::new();
        for (index, byte) in bytes.iter().enumerate() {
            // Each verb waits, sees its byte come, and is dropped before or after it looks.
            let mut buffer = [0; 1];
            {
                let mut dropped: std::pin::Pin<Box<dyn Future<Output = ()>>> = match index % 5 {
                    0 => Box::pin(async { drop(far.recv(&mut buffer).await) }),
                    1 => Box::pin(async { drop(far.recv_all_bytes(5).await) }),
                    2 => Box::pin(async { drop(far.recv_until(b"\n", 50).await) }),
                    3 => Box::pin(async { drop(far.recv_msg().await) }),
                    _ => Box::pin(async { drop(far.peek(&mut buffer).await) }),
                };
                assert!(poll_once(dropped.as_mut()).is_pending());
                near.send_all(&[*byte]).await.unwrap();
                if index % 2 == 0 {
                    settle().await;
                }
            }
            let all = far.recv_bytes(10).await.unwrap();
            got.extend_from_slice(&all);
        }
        assert_eq!(got, bytes);
    });
}

#[test]
fn data_and_end_that_come_together_are_read_to_the_end() {
    each(async |kind| {
        for long in [false, true] {
            let (socket, mut peer) = half(kind);
            let mut reader = pin!(socket.recv_bytes(3));
            assert!(poll_once(reader.as_mut()).is_pending());
            peer.write_all(b"abcdef").unwrap();
            if long {
                // The first event tells of data alone.
                settle().await;
            }
            drop(peer);
            assert_eq!(reader.await.unwrap(), "abc");
            assert_eq!(socket.recv_bytes(100).await.unwrap(), "def");
            assert_eq!(socket.recv_bytes(100).await.unwrap(), "");
        }
    });
}

#[test]
fn a_socket_dropped_with_a_full_queue_still_sends_it() {
    each(async |kind| {
        let (near, far) = narrow(kind);
        let mut count = 0;
        while near.try_send_msg(&pattern(1000).into()).is_ok() {
            count += 1;
            coro::yield_now().await;
        }
        assert!(count > 60, "64 KiB are queued");
        drop(near);
        for _ in 0..count {
            assert_eq!(far.recv_msg().await.unwrap().unwrap(), pattern(1000));
        }
        assert_eq!(far.recv_msg().await.unwrap(), None);
    });
}
