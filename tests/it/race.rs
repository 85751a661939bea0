//! Races, a test each: a verb waits while something else happens to its socket.
//!
//! Each passes 1,000 runs of `cargo xtask repeat 1000 race`, on both drivers.

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    io::{ErrorKind, IoSlice, Write},
    mem::MaybeUninit,
    net::Shutdown,
    os::fd::AsRawFd,
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use asyncoro::{
    AsynCoro, AsyncSocket, coro,
    coro::Ended,
    time::{sleep, timeout},
};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, send, sendmsg};
use socket2::{Domain, Type};

use crate::pairs::{
    BIG, Kind, LIMIT, assert_closed, each, half, narrow, pair, pattern, poll_once, raw, run,
    server, settle, started, statistics,
};

type Waiting = Pin<Box<dyn Future<Output = std::io::Result<()>>>>;

/// Begins every verb that can wait on a connected stream, on a clone of `socket`, which receives
/// nothing and can send little.
fn verbs(socket: &AsyncSocket) -> Vec<(&'static str, Waiting)> {
    macro_rules! verb {
        ($name:literal, $call:expr) => {{
            let socket = socket.clone();
            let call: Waiting = Box::pin(async move {
                let call = $call;
                call(&socket).await
            });
            ($name, call)
        }};
    }
    vec![
        verb!("recv", async |s: &AsyncSocket| s.recv(&mut [0; 8]).await.map(drop)),
        verb!("recv_bytes", async |s: &AsyncSocket| s.recv_bytes(8).await.map(drop)),
        verb!("recv_with", async |s: &AsyncSocket| s.recv_with(|_| ()).await),
        verb!("recv_all", async |s: &AsyncSocket| s.recv_all(&mut [0; 8]).await),
        verb!("recv_all_bytes", async |s: &AsyncSocket| s.recv_all_bytes(8).await.map(drop)),
        verb!("recv_until", async |s: &AsyncSocket| s.recv_until(b"\n", 8).await.map(drop)),
        verb!("recv_line", async |s: &AsyncSocket| s.recv_line(8).await.map(drop)),
        verb!("recv_msg", async |s: &AsyncSocket| s.recv_msg().await.map(drop)),
        verb!("peek", async |s: &AsyncSocket| s.peek(&mut [0; 8]).await.map(drop)),
        verb!("readable", async |s: &AsyncSocket| s.readable().await),
        verb!("send_all", async |s: &AsyncSocket| s.send_all(&pattern(BIG)).await),
        verb!("send", async |s: &AsyncSocket| s.send(&pattern(BIG)).await.map(drop)),
        verb!("send_msg", async |s: &AsyncSocket| s.send_msg(&pattern(BIG)).await),
        verb!("writable", async |s: &AsyncSocket| s.writable().await),
        verb!("flush", async |s: &AsyncSocket| s.flush().await),
        verb!("shutdown", async |s: &AsyncSocket| s.shutdown(Shutdown::Write).await),
    ]
}

// ---- close, drop, terminate, shutdown while something waits

#[test]
fn close_wakes_every_verb_that_waits() {
    each(async |kind| {
        let (near, _far) = narrow(kind);
        let mut waiting = Vec::new();
        for (name, verb) in verbs(&near) {
            waiting.push((name, started(verb).await));
        }
        let closing = near.close();
        // TLS gives a peer that does not read 5 s for its close_notify.
        timeout(LIMIT / 2, closing).await.ok();
        for (name, verb) in waiting {
            let result = verb.await.unwrap();
            if result.is_err() {
                assert_closed(result);
            } else {
                assert_eq!(name, "send_all", "only who was done before is done");
            }
        }
        for (_, verb) in verbs(&near) {
            assert_closed(verb.await);
        }
        assert_eq!(statistics().sockets, 0);
    });
}

#[test]
fn close_wakes_accept() {
    each(async |kind| {
        let server = server(kind).await;
        let mut waiting = Vec::new();
        for _ in 0..2 {
            let server = server.clone();
            waiting.push(started(async move { server.accept().await.map(drop) }).await);
        }
        server.close().await.unwrap();
        for accepting in waiting {
            assert_closed(accepting.await.unwrap());
        }
        assert_closed(server.accept().await);
    });
}

/// Makes a TCP address whose queue is full, so that connections to it never complete.
fn deaf(kind: Kind) -> (Vec<socket2::Socket>, std::net::SocketAddr) {
    let (domain, any) = match kind {
        Kind::Tcp6 => (Domain::IPV6, "[::1]:0"),
        _ => (Domain::IPV4, "127.0.0.1:0"),
    };
    let any: std::net::SocketAddr = any.parse().unwrap();
    let open = || socket2::Socket::new(domain, Type::STREAM, None).unwrap();
    let listener = open();
    listener.bind(&any.into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let mut sockets = vec![listener];
    for _ in 0..8 {
        let socket = open();
        socket.set_nonblocking(true).unwrap();
        let _ = socket.connect(&address.into());
        sockets.push(socket);
    }
    (sockets, address)
}

#[test]
fn close_drop_and_terminate_end_a_connect_that_waits() {
    run(async || {
        for kind in [Kind::Tcp4, Kind::Tcp6] {
            let (_keep, address) = deaf(kind);
            let domain = if kind == Kind::Tcp4 { Domain::IPV4 } else { Domain::IPV6 };
            let socket = AsyncSocket::open(domain, Type::STREAM).unwrap();
            let connecting = started({
                let socket = socket.clone();
                async move { socket.connect(address).await }
            })
            .await;
            assert!(!connecting.is_finished(), "nobody answers");
            assert_eq!(statistics().sockets, 1);
            socket.close().await.unwrap();
            assert_closed(connecting.await.unwrap());
            assert_eq!(statistics().sockets, 0);
            let connecting = started(AsyncSocket::create_connection(address)).await;
            assert_eq!(statistics().sockets, 1);
            connecting.terminate();
            assert!(matches!(connecting.await, Err(Ended::Terminated(_))));
            assert_eq!(statistics().sockets, 0);
            let short = Duration::from_millis(1);
            timeout(short, AsyncSocket::create_connection(address)).await.unwrap_err();
            assert_eq!(statistics().sockets, 0);
        }
    });
}

#[test]
fn a_dropped_or_terminated_verb_leaves_the_socket_usable() {
    each(async |kind| {
        let (near, far) = pair(kind);
        for terminate in [false, true] {
            for (name, verb) in verbs(&near) {
                if name.starts_with("send") || ["writable", "flush", "shutdown"].contains(&name) {
                    continue;
                }
                if terminate {
                    let waiting = started(verb).await;
                    waiting.terminate();
                    assert!(matches!(waiting.await, Err(Ended::Terminated(_))), "{name}");
                } else {
                    let mut verb = verb;
                    assert!(poll_once(verb.as_mut()).is_pending(), "{name}");
                    drop(verb);
                }
                far.send_all(name.as_bytes()).await.unwrap();
                assert_eq!(near.recv_all_bytes(name.len()).await.unwrap(), name);
            }
        }
    });
}

#[test]
fn dropped_and_terminated_senders_leave_the_turn_to_the_next() {
    each(async |kind| {
        let (near, far) = narrow(kind);
        let first = started({
            let near = near.clone();
            async move { near.send_all(&pattern(BIG)).await }
        })
        .await;
        let second = started({
            let near = near.clone();
            async move { near.send_all(&pattern(BIG)).await }
        })
        .await;
        let last = started({
            let near = near.clone();
            async move { near.send_all(b"the end").await }
        })
        .await;
        second.terminate();
        first.terminate();
        drop((first, second, near));
        let mut all = Vec::new();
        loop {
            let bytes = far.recv_bytes(65536).await.unwrap();
            if bytes.is_empty() {
                break;
            }
            all.extend_from_slice(&bytes);
        }
        last.await.unwrap().unwrap();
        assert!(all.ends_with(b"the end") && all.len() < BIG, "{}", all.len());
    });
}

#[test]
fn shutdown_ends_a_recv_that_waits() {
    each(async |kind| {
        for how in [Shutdown::Read, Shutdown::Both] {
            let (near, _far) = pair(kind);
            let reader = started({
                let near = near.clone();
                async move { near.recv_msg().await }
            })
            .await;
            near.shutdown(how).await.unwrap();
            assert_eq!(reader.await.unwrap().unwrap(), None);
        }
    });
}

#[test]
fn shutdown_of_reading_does_not_wait_for_a_writer() {
    each(async |kind| {
        let (near, _far) = narrow(kind);
        let writer = started({
            let near = near.clone();
            async move { near.send_all(&pattern(BIG)).await }
        })
        .await;
        let reader = started({
            let near = near.clone();
            async move { near.recv_bytes(9).await }
        })
        .await;
        near.shutdown(Shutdown::Read).await.unwrap();
        assert_eq!(reader.await.unwrap().unwrap(), "");
        writer.terminate();
    });
}

#[test]
fn a_peer_that_leaves_wakes_readers_and_writers() {
    each(async |kind| {
        let (near, far) = narrow(kind);
        let reader = started({
            let near = near.clone();
            async move { near.recv_bytes(9).await }
        })
        .await;
        let writer = started({
            let near = near.clone();
            async move { near.send_all(&pattern(BIG)).await }
        })
        .await;
        drop(far);
        let error = writer.await.unwrap().unwrap_err();
        let left = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
        assert!(left.contains(&error.kind()), "{error:?}");
        match reader.await.unwrap() {
            Ok(bytes) => assert_eq!(bytes, ""),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    });
}

// ---- wakes from elsewhere

#[test]
fn a_wake_from_another_thread_finds_the_waiting_verb() {
    each(async |kind| {
        let (near, far) = pair(kind);
        // Coroutines of this scheduler wait; plain threads and another scheduler end the waits.
        let (from, mut peer) = half(kind);
        let waiting = started(async move { from.recv_msg().await }).await;
        let writing = thread::spawn(move || peer.write_all(b"\0\0\0\x02hi").unwrap());
        assert_eq!(waiting.await.unwrap().unwrap().unwrap(), "hi");
        writing.join().unwrap();
        let reader = started({
            let far = far.clone();
            async move { far.recv_bytes(9).await }
        })
        .await;
        let here = AsynCoro::current();
        let (tell, told) = std::sync::mpsc::channel();
        let spawning = thread::spawn(move || {
            let spawned = here.spawn(move || async move { tell.send(()).unwrap() });
            drop(spawned);
        });
        while told.try_recv().is_err() {
            sleep(Duration::from_micros(200)).await;
        }
        spawning.join().unwrap();
        near.send_all(b"x").await.unwrap();
        assert_eq!(reader.await.unwrap().unwrap(), "x");
    });
}

/// Polls two futures with a waker of its own, whose wakes another thread passes on; the first that
/// is ready wins.
async fn foreign_select<A: Future, B: Future>(a: A, b: B) -> Result<A::Output, B::Output> {
    struct Relay(Waker);
    impl Wake for Relay {
        fn wake(self: Arc<Self>) {
            thread::spawn(move || self.0.wake_by_ref());
        }
    }
    let (mut a, mut b) = (pin!(a), pin!(b));
    poll_fn(|cx| {
        let waker = Waker::from(Arc::new(Relay(cx.waker().clone())));
        let cx = &mut Context::from_waker(&waker);
        if let Poll::Ready(value) = a.as_mut().poll(cx) {
            return Poll::Ready(Ok(value));
        }
        b.as_mut().poll(cx).map(Err)
    })
    .await
}

#[test]
fn a_foreign_waker_is_honoured() {
    each(async |kind| {
        let (one, one_peer) = pair(kind);
        let (two, two_peer) = pair(kind);
        let got = Rc::new(RefCell::new(Vec::new()));
        let selecting = started({
            let got = Rc::clone(&got);
            async move {
                while got.borrow().len() < 8 {
                    let bytes = match foreign_select(one.recv_bytes(9), two.recv_msg()).await {
                        Ok(bytes) => bytes.unwrap(),
                        Err(message) => message.unwrap().unwrap(),
                    };
                    got.borrow_mut().extend_from_slice(&bytes);
                }
                // A plain await after foreign ones, on the same socket.
                one.recv_bytes(9).await.unwrap()
            }
        })
        .await;
        let reached = async |count| {
            while got.borrow().len() < count {
                sleep(Duration::from_micros(200)).await;
            }
        };
        for count in [2, 4] {
            one_peer.send_all(b"a").await.unwrap();
            reached(count - 1).await;
            two_peer.send_msg(b"b").await.unwrap();
            reached(count).await;
        }
        assert_eq!(*got.borrow(), b"abab");
        // Both at once: nothing is lost, whichever is dropped when the other wins.
        for count in [6, 8] {
            one_peer.send_all(b"a").await.unwrap();
            two_peer.send_msg(b"b").await.unwrap();
            reached(count).await;
        }
        one_peer.send_all(b"c").await.unwrap();
        assert_eq!(selecting.await.unwrap(), "c");
    });
}

#[test]
fn a_waker_that_changes_is_the_one_that_is_woken() {
    each(async |kind| {
        let (near, far) = pair(kind);
        let mut receiving = Box::pin(async move { far.recv_bytes(9).await });
        assert!(poll_once(receiving.as_mut()).is_pending());
        let receiving = started(receiving).await;
        near.send_all(b"x").await.unwrap();
        assert_eq!(receiving.await.unwrap().unwrap(), "x");
    });
}

// ---- two of a kind

#[test]
fn two_readers_share_the_stream_without_loss() {
    each(async |kind| {
        let (near, far) = pair(kind);
        let mut readers = Vec::new();
        for _ in 0..2 {
            let far = far.clone();
            readers.push(asyncoro::spawn(async move {
                let mut got = Vec::new();
                while let Some(message) = far.recv_msg().await.unwrap() {
                    got.push(u32::from_be_bytes(message[..4].try_into().unwrap()));
                    if got.len() % 7 == 0 {
                        coro::yield_now().await;
                    }
                }
                got
            }));
        }
        for number in 0..100u32 {
            near.send_msg(&number.to_be_bytes()).await.unwrap();
            if number % 5 == 0 {
                settle().await;
            }
        }
        near.close().await.unwrap();
        let mut all = Vec::new();
        for reader in readers {
            let got = reader.await.unwrap();
            assert!(got.is_sorted());
            all.extend(got);
        }
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<_>>());
    });
}

#[test]
fn two_writers_send_whole_frames() {
    each(async |kind| {
        let (near, far) = narrow(kind);
        for byte in [1u8, 2] {
            let near = near.clone();
            drop(asyncoro::spawn(async move {
                for len in [1, 10, 70_000, 3, 20_000, 100_000, 1, 65_536] {
                    near.send_msg(&vec![byte; len]).await.unwrap();
                }
            }));
        }
        drop(near);
        let mut lengths = [Vec::new(), Vec::new()];
        while let Some(message) = far.recv_msg().await.unwrap() {
            assert!(message.iter().all(|byte| *byte == message[0]));
            lengths[usize::from(message[0] - 1)].push(message.len());
        }
        for lengths in lengths {
            assert_eq!(lengths, [1, 10, 70_000, 3, 20_000, 100_000, 1, 65_536]);
        }
    });
}

#[test]
fn forgotten_futures_do_not_hold_up_a_close() {
    each(async |kind| {
        let (near, far) = narrow(kind);
        for verb in [0, 1, 2] {
            let near = near.clone();
            let forgotten: Waiting = match verb {
                0 => Box::pin(async move { near.recv_msg().await.map(drop) }),
                1 => Box::pin(async move { near.send_all(&pattern(BIG)).await }),
                _ => Box::pin(async move { near.recv_bytes(1).await.map(drop) }),
            };
            // The second reader stands in line behind the first.
            let mut forgotten = forgotten;
            assert!(poll_once(forgotten.as_mut()).is_pending());
            std::mem::forget(forgotten);
        }
        let waiting = started({
            let near = near.clone();
            async move { near.recv_bytes(1).await }
        })
        .await;
        near.close().await.unwrap();
        assert_closed(waiting.await.unwrap());
        while !far.recv_bytes(65536).await.unwrap().is_empty() {}
    });
}

// ---- what the kernel tells, and when

#[test]
fn an_old_event_never_reaches_a_new_socket_with_the_same_number() {
    each(async |kind| {
        for _ in 0..10 {
            let (near, mut peer) = half(kind);
            let number = near.as_raw_number();
            let reader = started({
                let near = near.clone();
                async move { near.recv_bytes(9).await }
            })
            .await;
            // The event is under way when the number is freed and given away again.
            peer.write_all(b"old").unwrap();
            near.close().await.unwrap();
            drop(near);
            let (one, two) = raw(kind);
            let reused = [one.as_raw_fd(), two.as_raw_fd()].contains(&number);
            let (one, two) = (AsyncSocket::new(one).unwrap(), AsyncSocket::new(two).unwrap());
            let waits = [&one, &two].map(|socket| {
                let socket = socket.clone();
                asyncoro::spawn(async move { socket.recv_bytes(9).await })
            });
            assert_closed(reader.await.unwrap());
            settle().await;
            assert!(waits.iter().all(|wait| !wait.is_finished()), "reused: {reused}");
            one.send_all(b"new").await.unwrap();
            two.send_all(b"new").await.unwrap();
            for wait in waits {
                assert_eq!(wait.await.unwrap().unwrap(), "new");
            }
        }
    });
}

trait RawNumber {
    fn as_raw_number(&self) -> i32;
}

impl RawNumber for AsyncSocket {
    fn as_raw_number(&self) -> i32 {
        std::os::fd::AsFd::as_fd(self).as_raw_fd()
    }
}

#[test]
fn an_urgent_byte_in_mid_stream_hides_nothing() {
    each(async |kind| {
        if kind == Kind::Unix {
            // Descriptors in flight are its counterpart, below.
            return;
        }
        for wait in [false, true] {
            let (socket, peer) = pair(kind);
            let collecting = async move {
                let mut got = Vec::new();
                while got.len() < 6 {
                    got.extend_from_slice(&socket.recv_bytes(100).await.unwrap());
                }
                got
            };
            // Before the first look, or while it waits.
            let collecting =
                if wait { started(collecting).await } else { asyncoro::spawn(collecting) };
            peer.try_send(b"abc").unwrap();
            // Beneath TLS, which knows nothing of it.
            send(&peer, b"!", SendFlags::OOB).unwrap();
            peer.try_send(b"def").unwrap();
            assert_eq!(collecting.await.unwrap(), b"abcdef");
        }
    });
}

#[test]
fn a_unix_stream_with_descriptors_in_flight_is_read_to_the_end() {
    run(async || {
        for wait in [false, true] {
            let (socket, peer) = half(Kind::Unix);
            let collecting = async move {
                let mut got = Vec::new();
                loop {
                    let bytes = socket.recv_bytes(100).await.unwrap();
                    if bytes.is_empty() {
                        return got;
                    }
                    got.extend_from_slice(&bytes);
                }
            };
            let collecting =
                if wait { started(collecting).await } else { asyncoro::spawn(collecting) };
            for part in [b"abc", b"def", b"ghi"] {
                let fds = [std::os::fd::AsFd::as_fd(&peer)];
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
                let mut control = SendAncillaryBuffer::new(&mut space);
                if part != b"ghi" {
                    assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
                }
                sendmsg(&peer, &[IoSlice::new(part)], &mut control, SendFlags::empty()).unwrap();
            }
            drop(peer);
            assert_eq!(collecting.await.unwrap(), b"abcdefghi");
        }
    });
}

#[test]
fn data_and_the_end_at_any_moment_are_read_to_the_end() {
    each(async |kind| {
        for turns in 0..6 {
            let (socket, mut peer) = half(kind);
            let collecting = started(async move {
                let mut got = Vec::new();
                loop {
                    let bytes = socket.recv_bytes(4).await.unwrap();
                    if bytes.is_empty() {
                        return got;
                    }
                    got.extend_from_slice(&bytes);
                }
            })
            .await;
            peer.write_all(b"abcdef").unwrap();
            for _ in 0..turns {
                coro::yield_now().await;
            }
            let leaving = thread::spawn(move || drop(peer));
            assert_eq!(collecting.await.unwrap(), b"abcdef");
            leaving.join().unwrap();
        }
    });
}

#[test]
fn bytes_from_another_thread_at_any_moment_wake_the_reader() {
    each(async |kind| {
        let (socket, mut peer) = half(kind);
        let writer = thread::spawn(move || {
            for byte in 0..100u8 {
                peer.write_all(&[byte]).unwrap();
                if byte % 3 == 0 {
                    thread::yield_now();
                }
            }
        });
        for byte in 0..100u8 {
            let mut got = [0];
            socket.recv_all(&mut got).await.unwrap();
            assert_eq!(got, [byte]);
        }
        writer.join().unwrap();
    });
}
