//! Messages: their wire format, when they are sent, and their state after a cut or a timeout.

use std::{
    future::Future,
    io::{ErrorKind, Write},
    net::Shutdown,
    pin::Pin,
    task::Poll,
    time::Duration,
};

use asyncoro::{
    AsyncSocket, coro,
    coro::Scheduler,
    error::{Incomplete, MessageTooLong, TimedOut},
    time::{sleep, timeout},
};

use crate::pairs::{
    BIG, KINDS, Kind, Server, assert_closed, blocking, bounded, each, each_at_once, fill_up, half,
    inner, narrow, pair, pattern, poll_once, raw, read_now, settle, started, statistics, take_now,
    wait_for_bytes,
};

const SHORT: Duration = Duration::from_millis(20);

/// Makes a message in its wire format.
fn framed(payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(payload);
    bytes
}

/// Queues messages until no more is accepted, even after TCP's late acknowledgements; returns how
/// many.
async fn fill(socket: &AsyncSocket) -> usize {
    let mut count = 0;
    loop {
        let before = count;
        while socket.try_send_msg(&pattern(1000).into()).is_ok() {
            count += 1;
            settle().await;
        }
        if count == before {
            return count;
        }
        sleep(Duration::from_millis(250)).await;
    }
}

async fn receive_filling(socket: &AsyncSocket, count: usize) {
    for _ in 0..count {
        assert_eq!(socket.recv_msg().await.unwrap().unwrap(), pattern(1000));
    }
}

// ---- receiving

#[test]
fn messages_of_every_length_come_whole_and_end_with_none() {
    each(async |kind| {
        let (near, far) = pair(kind);
        let lengths = [0, 1, 3, 4, 258, 65_531, 65_532, 65_536, 65_537, 131_072, 3 << 20];
        let sender = asyncoro::spawn(async move {
            for len in lengths {
                near.send_msg(&pattern(len)).await.unwrap();
            }
            for len in lengths {
                near.send_msg(&pattern(len)).await.unwrap();
            }
        });
        for len in lengths {
            assert_eq!(far.recv_msg().await.unwrap().unwrap(), pattern(len), "{len}");
        }
        let mut into = vec![1, 2, 3];
        for len in lengths {
            assert_eq!(far.recv_msg_into(&mut into).await.unwrap(), Some(len));
            assert_eq!(into, pattern(len));
        }
        assert_eq!(far.recv_msg().await.unwrap(), None);
        assert_eq!(far.recv_msg_into(&mut into).await.unwrap(), None);
        assert_eq!(far.recv_msg().await.unwrap(), None, "the end stays");
        sender.await.unwrap();
    });
}

#[test]
fn an_end_within_a_message_says_how_many_of_how_many_bytes_came() {
    each(async |kind| {
        let cases = [
            (&b"\0\0"[..], 2, 4),
            (&b"\0\0\0\x05"[..], 0, 5),
            (&b"\0\0\0\x05ab"[..], 2, 5),
            (&b"\0\x10\0\0abc"[..], 3, 1 << 20),
        ];
        for (bytes, got, expected) in cases {
            let (socket, mut peer) = half(kind);
            peer.write_all(bytes).unwrap();
            drop(peer);
            for _ in 0..2 {
                let error = socket.recv_msg().await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
                assert_eq!(inner(&error), Some(&Incomplete { got, expected }));
            }
            let error = socket.recv_msg_into(&mut Vec::new()).await.unwrap_err();
            assert_eq!(inner(&error), Some(&Incomplete { got, expected }));
            assert_eq!(socket.recv_bytes(100).await.unwrap(), bytes, "raw verbs read them");
        }
    });
}

#[test]
fn a_header_over_the_limit_is_a_sticky_error_without_growth() {
    each(async |kind| {
        let (socket, mut peer) = half(kind);
        peer.write_all(&[0xff; 4]).unwrap();
        for _ in 0..3 {
            let error = socket.recv_msg().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData);
            let told = MessageTooLong { len: u32::MAX as usize, limit: 64 << 20 };
            assert_eq!(inner(&error), Some(&told));
        }
        let mut into = Vec::new();
        socket.recv_msg_into(&mut into).await.unwrap_err();
        assert_eq!(into.capacity(), 0);
        // It is sticky since it stays unread.
        assert_eq!(socket.recv_bytes(100).await.unwrap(), &[0xff; 4][..]);
        socket.set_message_limit(5);
        peer.write_all(&framed(b"12345")).unwrap();
        peer.write_all(&framed(b"123456")).unwrap();
        assert_eq!(socket.recv_msg().await.unwrap().unwrap(), "12345", "the limit is inclusive");
        let error = socket.recv_msg().await.unwrap_err();
        assert_eq!(inner(&error), Some(&MessageTooLong { len: 6, limit: 5 }));
        // Only receiving is limited, and a higher limit lets the message through.
        socket.send_msg(b"1234567").await.unwrap();
        socket.set_message_limit(6);
        assert_eq!(socket.recv_msg().await.unwrap().unwrap(), "123456");
    });
}

#[test]
fn a_peer_of_another_protocol_is_recognised_in_the_error() {
    each(async |kind| {
        let (socket, mut peer) = half(kind);
        peer.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        for _ in 0..2 {
            let text = socket.recv_msg().await.unwrap_err().to_string();
            let asks = "does the peer speak messages? it begins with 'GET '";
            assert!(text.ends_with(asks), "{text}");
        }
        assert_eq!(socket.recv_bytes(100).await.unwrap(), &b"GET / HTTP/1.1\r\n\r\n"[..]);
    });
}

#[test]
fn recv_msg_dropped_at_any_byte_goes_on_there() {
    each(async |kind| {
        let (socket, mut peer) = half(kind);
        let mut bytes = framed(b"first");
        bytes.extend(framed(b""));
        bytes.extend(framed(b"second"));
        for cut in 0..=bytes.len() {
            for wait in [false, true] {
                // Dropped after each look, before the bytes come or after.
                let mut receiving = Box::pin(socket.recv_msg());
                if wait {
                    assert!(poll_once(receiving.as_mut()).is_pending());
                }
                peer.write_all(&bytes[..cut]).unwrap();
                if wait {
                    drop(receiving);
                    receiving = Box::pin(socket.recv_msg());
                }
                let mut got = Vec::new();
                loop {
                    settle().await;
                    match poll_once(receiving.as_mut()) {
                        Poll::Ready(message) => got.push(message.unwrap().unwrap()),
                        Poll::Pending if poll_once(receiving.as_mut()).is_pending() => break,
                        Poll::Pending => panic!("what is there is taken by one look"),
                    }
                    receiving = Box::pin(socket.recv_msg());
                }
                drop(receiving);
                peer.write_all(&bytes[cut..]).unwrap();
                while got.len() < 3 {
                    got.push(socket.recv_msg().await.unwrap().unwrap());
                }
                assert_eq!(got, ["first", "", "second"], "cut at {cut}");
            }
        }
    });
}

#[test]
fn a_timeout_never_desynchronises() {
    each(async |kind| {
        let (socket, mut peer) = half(kind);
        let bytes = framed(b"hello");
        for cut in 1..bytes.len() {
            peer.write_all(&bytes[..cut]).unwrap();
            // What was written may still be on its way.
            socket.readable().await.unwrap();
            socket.set_timeout(Some(Duration::from_millis(2)));
            let error = socket.recv_msg().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert_eq!(inner(&error), Some(&TimedOut { done: cut, rest_queued: false }));
            socket.set_timeout(None);
            timeout(Duration::from_millis(1), socket.recv_msg()).await.unwrap_err();
            peer.write_all(&bytes[cut..]).unwrap();
            assert_eq!(socket.recv_msg().await.unwrap().unwrap(), "hello");
        }
    });
}

#[test]
fn raw_verbs_after_an_unfinished_recv_msg_read_its_header_too() {
    each(async |kind| {
        let (socket, mut peer) = half(kind);
        peer.write_all(&framed(b"12345")[..7]).unwrap();
        timeout(SHORT, socket.recv_msg()).await.unwrap_err();
        let mut buffer = [0; 2];
        socket.recv_all(&mut buffer).await.unwrap();
        assert_eq!(buffer, [0, 0]);
        assert_eq!(socket.recv_bytes(2).await.unwrap(), &[0, 5][..]);
        assert_eq!(socket.recv_with(<[u8]>::to_vec).await.unwrap(), b"123");
        peer.write_all(&framed(b"in step again")).unwrap();
        assert_eq!(socket.recv_msg().await.unwrap().unwrap(), "in step again");
    });
}

// ---- sending

#[test]
fn messages_of_one_turn_leave_in_one_call() {
    each(async |kind| {
        let (near, far) = pair(kind);
        let before = statistics().flushes;
        let mut wire = Vec::new();
        for number in 0..16 {
            let payload = format!("message {number}");
            near.send_msg(payload.as_bytes()).await.unwrap();
            wire.extend(framed(payload.as_bytes()));
        }
        let mut buffer = vec![0; 10_000];
        let error = far.try_recv(&mut buffer).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock, "nothing leaves before the turn ends");
        coro::yield_now().await;
        while statistics().flushes == before {
            coro::yield_now().await;
        }
        wait_for_bytes(&far);
        let got = far.try_recv(&mut buffer).unwrap();
        assert_eq!(buffer[..got], wire, "one read gives them all");
        settle().await;
        assert_eq!(statistics().flushes, before + 1);
    });
}

#[test]
fn without_coalescing_each_message_leaves_at_once() {
    each(async |kind| {
        let (near, far) = pair(kind);
        near.send_msg(b"queued").await.unwrap();
        near.set_coalescing(false);
        near.send_msg(b"at once").await.unwrap();
        let mut wire = framed(b"queued");
        wire.extend(framed(b"at once"));
        assert_eq!(take_now(&far, wire.len()), wire);
        near.send_msg(b"").await.unwrap();
        near.send_queued(b"raw").await.unwrap();
        assert_eq!(take_now(&far, 7), b"\0\0\0\0raw");
    });
}

#[test]
fn flush_sends_what_is_queued_before_the_turn_ends() {
    each(async |kind| {
        let (near, far) = pair(kind);
        near.send_msg(b"a").await.unwrap();
        near.flush().await.unwrap();
        assert_eq!(take_now(&far, 5), framed(b"a"));
        near.flush().await.unwrap();
    });
}

#[test]
fn close_into_parts_and_the_end_of_run_send_what_is_queued() {
    for kind in KINDS.iter().copied() {
        bounded(move || {
            println!("{kind:?}");
            let (near, far) = pair(kind);
            asyncoro::run(async move {
                near.send_msg(b"closed").await.unwrap();
                near.close().await.unwrap();
            });
            assert_eq!(take_now(&far, 10), framed(b"closed"));
            let (near, far) = pair(kind);
            let parts = asyncoro::run(async move {
                near.send_msg(b"apart").await.unwrap();
                near.into_parts().await.unwrap()
            });
            assert_eq!(take_now(&far, 9), framed(b"apart"));
            drop(parts);
            let (near, far) = pair(kind);
            asyncoro::run(async move {
                near.send_msg(b"dropped").await.unwrap();
            });
            assert_eq!(take_now(&far, 11), framed(b"dropped"));
            // More than the system takes: the end of run waits for the reader.
            let (near, far) = narrow(kind);
            let far = blocking(far);
            let reader = std::thread::spawn(move || far.recv_msg().unwrap().unwrap());
            asyncoro::run(async move { near.try_send_msg(&pattern(BIG).into()).unwrap() });
            assert_eq!(reader.join().unwrap(), pattern(BIG));
        });
    }
}

#[test]
fn a_dropped_socket_is_given_up_when_its_time_is_over() {
    bounded(|| {
        let scheduler = asyncoro::AsynCoro::builder().linger(SHORT).build().unwrap();
        for kind in KINDS.iter().copied() {
            println!("{kind:?}");
            scheduler.run(async {
                let (near, far) = narrow(kind);
                near.try_send_msg(&pattern(BIG * 8).into()).unwrap();
                settle().await;
                assert_eq!(statistics().sockets, 1);
                drop(near);
                while statistics().sockets > 0 {
                    sleep(Duration::from_millis(1)).await;
                }
                let error = far.recv_msg().await.unwrap_err();
                let cut = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset];
                assert!(cut.contains(&error.kind()), "{error:?}");
            });
        }
    });
}

#[test]
fn a_full_socket_is_flushed_on_by_the_scheduler_alone() {
    each(async |kind| {
        let (near, far) = narrow(kind);
        let count = fill(&near).await;
        // No coroutine touches `near` any more.
        receive_filling(&far, count).await;
        near.send_msg(b"empty again").await.unwrap();
        assert_eq!(far.recv_msg().await.unwrap().unwrap(), "empty again");
    });
}

#[test]
fn payloads_of_64_kib_and_more_stay_behind_the_queue() {
    each(async |kind| {
        let (near, far) = narrow(kind);
        let sender = asyncoro::spawn(async move {
            for round in 0u8..4 {
                near.send_msg(&[round; 3]).await.unwrap();
                near.send_msg(&vec![round; 64 << 10]).await.unwrap();
                near.send_queued(&framed(&[round; 5])).await.unwrap();
                near.send_msg(&vec![round; BIG]).await.unwrap();
                near.send_all(&framed(&[round; 7])).await.unwrap();
                near.try_send_msg(&vec![round; 100_000].into()).unwrap();
            }
        });
        for round in 0u8..4 {
            for len in [3, 64 << 10, 5, BIG, 7, 100_000] {
                assert_eq!(far.recv_msg().await.unwrap().unwrap(), vec![round; len], "{len}");
            }
        }
        assert_eq!(far.recv_msg().await.unwrap(), None);
        sender.await.unwrap();
    });
}

#[test]
fn send_msg_waits_for_room_under_its_timeout_and_is_withdrawn() {
    each(async |kind| {
        let (near, far) = narrow(kind);
        let count = fill(&near).await;
        near.set_timeout(Some(SHORT));
        for len in [1000, 100_000] {
            let error = near.send_msg(&vec![1; len]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert_eq!(inner(&error), Some(&TimedOut { done: 0, rest_queued: false }));
        }
        let error = near.flush().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        near.set_timeout(None);
        for len in [1000, 100_000] {
            let withdrawn = vec![2; len];
            timeout(SHORT, near.send_msg(&withdrawn)).await.unwrap_err();
        }
        let last = asyncoro::spawn(async move { near.send_msg(b"after them").await });
        receive_filling(&far, count).await;
        assert_eq!(far.recv_msg().await.unwrap().unwrap(), "after them");
        last.await.unwrap().unwrap();
        assert_eq!(far.recv_msg().await.unwrap(), None);
    });
}

#[test]
fn a_message_that_has_begun_to_leave_arrives_whole() {
    each(async |kind| {
        for way in ["timeout", "drop", "terminate"] {
            let (near, far) = narrow(kind);
            let bytes = pattern(BIG);
            match way {
                "timeout" => {
                    near.set_timeout(Some(SHORT));
                    let error = near.send_msg(&bytes).await.unwrap_err();
                    let TimedOut { done, rest_queued } = *inner(&error).unwrap();
                    assert!(rest_queued && 0 < done && done < BIG, "{error}");
                    assert!(error.to_string().contains("stays queued"), "{error}");
                    near.set_timeout(None);
                }
                "drop" => {
                    let mut sending = Box::pin(near.send_msg(&bytes));
                    assert!(poll_once(sending.as_mut()).is_pending());
                }
                _ => {
                    let near = near.clone();
                    let bytes = bytes.clone();
                    let sender = started(async move { near.send_msg(&bytes).await }).await;
                    sender.terminate();
                    sender.await.unwrap_err();
                }
            }
            let next = asyncoro::spawn(async move { near.send_msg(b"next").await });
            assert_eq!(far.recv_msg().await.unwrap().unwrap(), bytes, "{way}");
            assert_eq!(far.recv_msg().await.unwrap().unwrap(), "next", "{way}");
            next.await.unwrap().unwrap();
        }
    });
}

#[test]
fn a_failure_of_a_queued_send_sticks() {
    each(async |kind| {
        let (near, far) = pair(kind);
        drop(far);
        // Each queues; the system says no when the turn ends, at once or after its reset has come.
        while near.send_msg(b"lost").await.is_ok() {
            settle().await;
        }
        let kinds: Vec<ErrorKind> = [
            near.send_msg(b"x").await,
            near.send_queued(b"x").await,
            near.send_all(b"x").await,
            near.send(b"x").await.map(drop),
            near.send_vectored(&[b"x"]).await.map(drop),
            near.try_send(b"x").map(drop),
            near.try_send_msg(&"x".into()),
            near.flush().await,
            near.shutdown(Shutdown::Write).await,
            near.close().await,
        ]
        .map(|result| result.unwrap_err().kind())
        .into();
        assert!(
            kinds.iter().all(|&other| other == kinds[0])
                && [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset].contains(&kinds[0]),
            "{kinds:?}"
        );
        assert_closed(near.flush().await);
    });
}

#[test]
fn a_message_tried_outside_a_scheduler_leaves_at_once() {
    bounded(|| {
        for kind in [Kind::Tcp4, Kind::Tcp6, Kind::Unix] {
            let (near, far) = half(kind);
            near.try_send_msg(&"now".into()).unwrap();
            assert_eq!(read_now(&far), framed(b"now"));
            // What did not fit leaves once a scheduler runs.
            let (near, far) = raw(kind);
            near.set_send_buffer_size(32 << 10).unwrap();
            let near = AsyncSocket::new(near).unwrap();
            near.try_send_msg(&pattern(BIG).into()).unwrap();
            let reader = crate::pairs::read_in_thread(far, BIG + 8);
            asyncoro::run(async { near.send_msg(b"next").await.unwrap() });
            drop(near);
            let mut wire = framed(&pattern(BIG));
            wire.extend(framed(b"next"));
            assert_eq!(reader.join().unwrap()[..], wire[..BIG + 8]);
        }
    });
}

#[test]
fn two_senders_interleave_whole_messages_only() {
    each(async |kind| {
        let (near, far) = narrow(kind);
        let mut senders = Vec::new();
        for byte in [1u8, 2] {
            let near = near.clone();
            senders.push(asyncoro::spawn(async move {
                for number in 0..200 {
                    let len = if number % 50 == 7 { 70_000 } else { number * 13 };
                    near.send_msg(&vec![byte; len + 1]).await.unwrap();
                }
            }));
        }
        drop(near);
        let mut counts = [0, 0];
        while let Some(message) = far.recv_msg().await.unwrap() {
            assert!(message.iter().all(|byte| *byte == message[0]));
            counts[usize::from(message[0]) - 1] += 1;
        }
        assert_eq!(counts, [200, 200]);
    });
}

#[test]
fn a_socket_binds_anew_when_its_scheduler_has_ended() {
    bounded(|| {
        for kind in [Kind::Tcp4, Kind::Tcp6, Kind::Unix] {
            let (near, far) = narrow(kind);
            let first = Scheduler::new().unwrap();
            first.run(async {
                let waiting = timeout(SHORT, far.recv_msg()).await;
                waiting.unwrap_err();
                near.send_msg(b"one").await.unwrap();
                assert_eq!(far.recv_msg().await.unwrap().unwrap(), "one");
            });
            drop(first);
            asyncoro::run(async {
                let receiving = async { far.recv_msg().await.unwrap().unwrap() };
                let sending: Pin<Box<dyn Future<Output = _>>> = Box::pin(near.send_msg(b"two"));
                sending.await.unwrap();
                assert_eq!(receiving.await, "two");
            });
        }
    });
}

// ---- how much is queued

/// Returns how many messages of 1,000 bytes a socket queues when the buffers to the peer are full.
fn queued(socket: &AsyncSocket) -> usize {
    (0..).take_while(|_| socket.try_send_msg(&pattern(1000).into()).is_ok()).count()
}

#[test]
fn the_owner_says_how_much_a_socket_queues() {
    each_at_once(async |kind| {
        let (near, far) = narrow(kind);
        let filled = fill_up(&near, |bytes| near.try_send(bytes));
        let mut count = 0;
        let limits = [(Some(1), 1), (Some(2048), 2), (None, 65), (Some(1 << 20), 1044)];
        for (limit, most) in limits {
            near.set_queue_limit(limit.unwrap_or(64 << 10));
            count += queued(&near);
            assert_eq!(count, most, "{limit:?}");
            assert!(poll_once(Box::pin(near.send_msg(&pattern(1000))).as_mut()).is_pending());
        }
        // More room at once, and nothing that was queued is lost.
        near.set_queue_limit(2 << 20);
        near.send_msg(b"last").await.unwrap();
        drop(near);
        far.recv_all_bytes(filled).await.unwrap();
        for _ in 0..count {
            assert_eq!(far.recv_msg().await.unwrap().unwrap(), pattern(1000));
        }
        assert_eq!(far.recv_msg().await.unwrap().unwrap(), "last");
        assert_eq!(far.recv_msg().await.unwrap(), None);
        // What nobody has set.
        let (near, _far) = narrow(kind);
        fill_up(&near, |bytes| near.try_send(bytes));
        assert_eq!(queued(&near), 65);
    });
}

#[test]
fn a_message_over_the_limit_of_the_queue_still_goes() {
    each(async |kind| {
        let (near, far) = pair(kind);
        near.set_queue_limit(1);
        for len in [0, 1000, 1024, 1025, 5000, 70_000] {
            near.send_msg(&pattern(len)).await.unwrap();
            near.try_send_msg(&pattern(len).into()).unwrap();
            near.send_queued(&framed(b"raw")).await.unwrap();
            for expected in [pattern(len), pattern(len), b"raw".to_vec()] {
                assert_eq!(far.recv_msg().await.unwrap().unwrap(), expected, "{len}");
            }
        }
    });
}

#[test]
fn an_accepted_socket_inherits_the_limit_of_the_queue() {
    each_at_once(async |kind| {
        let server = Server::new(kind).await;
        server.socket.set_queue_limit(4096);
        let (near, _far) = server.accept().await;
        fill_up(&near, |bytes| near.try_send(bytes));
        assert_eq!(queued(&near), 4);
    });
}

#[test]
fn raw_bytes_are_queued_without_waiting_all_or_none() {
    each_at_once(async |kind| {
        let (near, far) = pair(kind);
        near.try_send_queued(b"one ").unwrap();
        near.try_send_queued(b"").unwrap();
        near.try_send_queued(b"call.").unwrap();
        near.try_send_queued(&pattern(100_000)).unwrap();
        assert_eq!(far.recv_all_bytes(9).await.unwrap(), "one call.");
        assert_eq!(far.recv_all_bytes(100_000).await.unwrap(), pattern(100_000));
        let (near, far) = narrow(kind);
        let filled = fill_up(&near, |bytes| near.try_send(bytes));
        let piece = pattern(1000);
        let count = (0..).take_while(|_| near.try_send_queued(&piece).is_ok()).count();
        assert_eq!(count, 65);
        let refused = near.try_send_queued(&piece).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::WouldBlock);
        drop(near);
        far.recv_all_bytes(filled).await.unwrap();
        assert_eq!(far.recv_all_bytes(65_000).await.unwrap(), piece.repeat(65), "and no more");
        assert_eq!(far.recv_bytes(1).await.unwrap(), "");
        far.close().await.unwrap();
        assert_closed(far.try_send_queued(b"x"));
    });
}

#[test]
fn the_blocking_face_queues_by_the_same_limit() {
    each_at_once(async |kind| {
        let (near, far) = narrow(kind);
        let near = near.into_blocking().await.unwrap();
        let far = far.into_blocking().await.unwrap();
        near.set_queue_limit(2048);
        let filled = fill_up(&near, |bytes| near.try_send(bytes));
        let count = (0..).take_while(|_| near.try_send_queued(&[7; 1000]).is_ok()).count();
        assert_eq!(count, 2);
        let reading = std::thread::spawn(move || {
            far.recv_all_bytes(filled).unwrap();
            let rest = far.recv_all_bytes(2000).unwrap();
            assert_eq!(far.recv_bytes(1).unwrap(), "");
            rest
        });
        near.close().unwrap();
        assert_eq!(reading.join().unwrap(), [7; 2000][..]);
    });
}
