//! The conformance scenarios of asyncoro and pycos in their Rust form, with `None` and
//! `UnexpectedEof` where Python has empty bytes, and partial results in the error.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use asyncoro::{
    AsyncSocket, BlockingSocket, coro,
    error::{Incomplete, TimedOut, os_code},
    pool,
    time::sleep,
};

use crate::pairs::{
    assert_closed, bounded, each, each_at_once, each_plain, half, inner, pair, pattern,
    read_in_thread, reset, run, server, started, statistics,
};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn s01_frames_on_the_wire() {
    each(async |kind| {
        let (socket, peer) = half(kind);
        let reader = read_in_thread(peer, 4 + 7 + 4 + 258);
        for payload in [&b""[..], b"abc", &[0; 258]] {
            socket.send_msg(payload).await.unwrap();
        }
        let wire = pool::run(move || reader.join().unwrap()).await;
        assert_eq!(wire[..4], [0; 4]);
        assert_eq!(wire[4..11], *b"\0\0\0\x03abc");
        assert_eq!(wire[11..15], [0, 0, 1, 2]);
        assert_eq!(wire[15..], [0; 258]);
    });
}

#[test]
fn s02_three_frames_of_a_raw_peer() {
    each(async |kind| {
        let (socket, mut peer) = half(kind);
        peer.write_all(b"\0\0\0\x03abc\0\0\0\0\0\0\0\x02xy").unwrap();
        for payload in ["abc", "", "xy"] {
            assert_eq!(socket.recv_msg().await.unwrap().unwrap(), payload);
        }
    });
}

#[test]
fn s03_a_frame_byte_by_byte() {
    each(async |kind| {
        let (socket, mut peer) = half(kind);
        let receiving = asyncoro::spawn(async move { socket.recv_msg().await });
        for byte in b"\0\0\0\x05hello" {
            peer.write_all(&[*byte]).unwrap();
            coro::yield_now().await;
        }
        assert_eq!(receiving.await.unwrap().unwrap().unwrap(), "hello");
    });
}

#[test]
fn s04_ends_between_and_within_frames() {
    each(async |kind| {
        let cut = |got, expected| Some(Incomplete { got, expected });
        let cases = [
            (&b""[..], None),
            (b"\0\0", cut(2, 4)),
            (b"\0\0\0\x05", cut(0, 5)),
            (b"\0\0\0\x05ab", cut(2, 5)),
        ];
        for (bytes, expected) in cases {
            let (socket, mut peer) = half(kind);
            peer.write_all(bytes).unwrap();
            drop(peer);
            match (socket.recv_msg().await, expected) {
                (Ok(None), None) => {}
                (Err(error), Some(incomplete)) => assert_eq!(inner(&error), Some(&incomplete)),
                (result, _) => panic!("{bytes:?}: {result:?}"),
            }
        }
    });
}

#[test]
fn s05_recv_all_up_to_the_end() {
    each(async |kind| {
        let (socket, mut peer) = half(kind);
        peer.write_all(b"0123456789").unwrap();
        drop(peer);
        assert_eq!(socket.recv_all_bytes(4).await.unwrap(), "0123");
        let error = socket.recv_all_bytes(10).await.unwrap_err();
        assert_eq!(inner(&error), Some(&Incomplete { got: 6, expected: 10 }));
        assert_eq!(socket.recv_all_bytes(6).await.unwrap(), "456789");
        let error = socket.recv_all_bytes(1).await.unwrap_err();
        assert_eq!(inner(&error), Some(&Incomplete { got: 0, expected: 1 }));
    });
}

#[test]
fn s06_recv_up_to_the_end() {
    each(async |kind| {
        let (socket, mut peer) = half(kind);
        peer.write_all(b"0123456789").unwrap();
        drop(peer);
        for (max, bytes) in [(4, "0123"), (100, "456789"), (1, ""), (1, "")] {
            assert_eq!(socket.recv_bytes(max).await.unwrap(), bytes);
        }
    });
}

#[test]
fn s07_timeouts_keep_partial_data() {
    each(async |kind| {
        let (socket, mut peer) = half(kind);
        socket.set_timeout(Some(ms(50)));
        let begun = Instant::now();
        let error = socket.recv_bytes(1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(begun.elapsed() >= ms(50));
        peer.write_all(b"ab").unwrap();
        let error = socket.recv_all_bytes(5).await.unwrap_err();
        assert_eq!(inner(&error), Some(&TimedOut { done: 2, rest_queued: false }));
        assert_eq!(socket.recv_bytes(9).await.unwrap(), "ab", "they stay readable");
        let error = socket.recv_all_bytes(5).await.unwrap_err();
        assert_eq!(inner(&error), Some(&TimedOut { done: 0, rest_queued: false }));
        peer.write_all(b"\0\0\0\x05he").unwrap();
        assert_eq!(socket.recv_msg().await.unwrap_err().kind(), ErrorKind::TimedOut);
        peer.write_all(b"llo").unwrap();
        assert_eq!(socket.recv_msg().await.unwrap().unwrap(), "hello", "in step");
    });
}

#[test]
fn s08_the_timeout_starts_anew_with_each_byte() {
    each(async |kind| {
        let (socket, mut peer) = half(kind);
        socket.set_timeout(Some(ms(200)));
        let begun = Instant::now();
        let receiving = asyncoro::spawn(async move { socket.recv_all_bytes(5).await });
        for byte in b"abcde" {
            sleep(ms(60)).await;
            peer.write_all(&[*byte]).unwrap();
        }
        assert_eq!(receiving.await.unwrap().unwrap(), "abcde");
        assert!(begun.elapsed() >= ms(300));
    });
}

#[test]
fn s09_a_send_that_times_out_says_how_much_has_left() {
    each(async |kind| {
        let (socket, _peer) = pair(kind);
        socket.set_timeout(Some(ms(50)));
        let error = socket.send_all(&vec![7; 40_000_000]).await.unwrap_err();
        let TimedOut { done, rest_queued } = *inner(&error).unwrap();
        assert!(0 < done && done < 40_000_000 && !rest_queued, "{error}");
        let begun = Instant::now();
        let error = socket.send_all(b"y").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(begun.elapsed() >= ms(50));
    });
}

#[test]
fn s10_zero_and_no_timeout_wait_as_long_as_it_takes() {
    each(async |kind| {
        for none in [Some(Duration::ZERO), None] {
            let (socket, mut peer) = half(kind);
            socket.set_timeout(none);
            assert_eq!(socket.timeout(), None);
            let late = thread::spawn(move || {
                thread::sleep(ms(60));
                peer.write_all(b"late").unwrap();
            });
            assert_eq!(socket.recv_bytes(9).await.unwrap(), "late");
            late.join().unwrap();
        }
    });
}

#[test]
fn s11_an_accepted_socket_is_asynchronous_and_inherits_no_timeout() {
    each_plain(async |kind| {
        let server = server(kind).await;
        server.set_timeout(Some(Duration::from_secs(5)));
        let client = AsyncSocket::create_connection(server.local_addr().unwrap()).await.unwrap();
        let (accepted, from) = server.accept().await.unwrap();
        assert_eq!(accepted.timeout(), None);
        assert_eq!(from, client.local_addr().unwrap());
        let receiving = started(async move { accepted.recv_bytes(9).await }).await;
        client.send_all(b"hi").await.unwrap();
        assert_eq!(receiving.await.unwrap().unwrap(), "hi");
    });
}

#[test]
fn s12_a_blocking_listener_accepts_blocking_sockets() {
    bounded(|| {
        let server = BlockingSocket::create_server("127.0.0.1:0").unwrap();
        let mut client =
            std::net::TcpStream::connect(server.local_addr().unwrap().socket_addr().unwrap())
                .unwrap();
        client.write_all(b"\0\0\0\x02hiXYZ").unwrap();
        let (accepted, _) = server.accept().unwrap();
        assert_eq!(accepted.timeout(), None);
        assert_eq!(accepted.recv_msg().unwrap().unwrap(), "hi");
        assert_eq!(accepted.recv_all_bytes(3).unwrap(), "XYZ");
        accepted.send_msg(b"ok").unwrap();
        let mut wire = [0; 6];
        client.read_exact(&mut wire).unwrap();
        assert_eq!(&wire, b"\0\0\0\x02ok");
    });
}

#[test]
fn s13_connect_well_and_refused() {
    run(async || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let open = || {
            let (domain, kind) = (socket2::Domain::IPV4, socket2::Type::STREAM);
            AsyncSocket::open(domain, kind).unwrap()
        };
        open().connect(address).await.unwrap();
        AsyncSocket::create_connection(address).await.unwrap();
        drop(listener);
        let error = open().connect(address).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        assert_eq!(os_code(&error), Some(111));
        let error = AsyncSocket::create_connection(address).await.unwrap_err();
        assert_eq!(os_code(&error), Some(111));
        assert_eq!(statistics().sockets, 0, "no registration is left");
    });
}

#[test]
fn s14_datagrams_of_a_stream_verb_and_their_timeout() {
    run(async || {
        let here = AsyncSocket::create_datagram("127.0.0.1:0").await.unwrap();
        let there = AsyncSocket::create_datagram("127.0.0.1:0").await.unwrap();
        let to = here.local_addr().unwrap();
        assert_eq!(there.send_to(b"0123456789", &to).await.unwrap(), 10);
        let mut buffer = [0; 4];
        let (count, from) = here.recv_from(&mut buffer).await.unwrap();
        assert_eq!((count, &buffer, &from), (4, b"0123", &there.local_addr().unwrap()));
        assert_eq!(here.send_to(b"back", &from).await.unwrap(), 4);
        here.set_timeout(Some(ms(50)));
        let error = here.recv_from(&mut buffer).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let error = here.recv_msg().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let text = error.to_string();
        assert!(text.contains("recv_msg") && text.contains("UDP socket"), "{text}");
    });
}

#[test]
fn s15_full_duplex_with_writers_first() {
    each(async |kind| {
        const LEN: usize = 20_000_000;
        let (near, far) = pair(kind);
        let mut writers = Vec::new();
        for socket in [near.clone(), far.clone()] {
            writers.push(asyncoro::spawn(async move { socket.send_all(&pattern(LEN)).await }));
        }
        sleep(ms(50)).await;
        let mut readers = Vec::new();
        for socket in [near, far] {
            readers.push(asyncoro::spawn(async move { socket.recv_all_bytes(LEN).await }));
        }
        for writer in writers {
            writer.await.unwrap().unwrap();
        }
        for reader in readers {
            assert!(reader.await.unwrap().unwrap() == pattern(LEN));
        }
    });
}

#[test]
fn s16_two_senders_on_one_socket() {
    each(async |kind| {
        let (near, far) = pair(kind);
        let mut senders = Vec::new();
        for sender in 0..2 {
            let near = near.clone();
            senders.push(asyncoro::spawn(async move {
                for number in 0..50 {
                    near.send_msg(format!("{sender} {number}").as_bytes()).await.unwrap();
                }
            }));
        }
        let mut next = [0, 0];
        for _ in 0..100 {
            let message = far.recv_msg().await.unwrap().unwrap();
            let sender = usize::from(message[0] - b'0');
            assert_eq!(message, format!("{sender} {}", next[sender]));
            next[sender] += 1;
        }
        for sender in senders {
            sender.await.unwrap();
        }
    });
}

#[test]
fn s17_close_wakes_a_pending_recv() {
    each(async |kind| {
        let (near, _far) = pair(kind);
        let pending = started({
            let near = near.clone();
            async move { near.recv_bytes(9).await }
        })
        .await;
        near.close().await.unwrap();
        assert_closed(pending.await.unwrap());
    });
}

#[test]
fn s18_a_terminated_reader_takes_no_bytes_with_it() {
    each(async |kind| {
        let (near, mut peer) = half(kind);
        let reader = started({
            let near = near.clone();
            async move { near.recv_bytes(9).await }
        })
        .await;
        reader.terminate();
        peer.write_all(b"AAA").unwrap();
        reader.await.unwrap_err();
        let reader = started(async move { near.recv_all_bytes(6).await }).await;
        peer.write_all(b"BBB").unwrap();
        assert_eq!(reader.await.unwrap().unwrap(), "AAABBB");
    });
}

#[test]
fn s24_a_reset_while_idle_costs_no_cpu() {
    each_at_once(async |kind| {
        let (near, far) = pair(kind);
        // Registered, then idle.
        asyncoro::time::timeout(ms(1), near.recv_bytes(9)).await.unwrap_err();
        reset(kind, &near, far);
        sleep(ms(20)).await;
        let before = statistics();
        sleep(ms(200)).await;
        let after = statistics();
        let (turns, events) = (after.turns - before.turns, after.events - before.events);
        assert!(turns < 20 && events < 5, "{turns} turns, {events} events while idle");
        let error = near.recv_bytes(9).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}
