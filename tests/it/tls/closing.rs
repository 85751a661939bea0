//! What was sent before a close arrives, whatever the peer sends late; and how long a close takes.

use std::{
    future::Future,
    io::{self, ErrorKind, Write},
    net::{Shutdown, TcpListener, TcpStream},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use asyncoro::{AsynCoro, AsyncSocket, BlockingSocket, ClientTls, TlsVersion, error::is_closed};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustls::ClientConnection;

use super::{
    each_version, listening, listening_blocking, localhost,
    records::{Identity, Peer},
    run_each_version, secured_by,
};
use crate::{
    bounded::Watched,
    pairs::{BIG, Kind, assert_closed, blocking_pair, bounded, pair, pattern, raw, run, started},
};

/// Bytes that fit into the buffers of both sockets, but not into the peer's alone.
const SIZE: usize = 300_000;

/// A long time, but less than a close takes that gives up.
const SOON: Duration = Duration::from_secs(4);

/// Starts a server that after `pause`, when the client's close has begun, sends records without
/// content, and then reads slowly; its thread returns how many bytes came.
fn late(version: TlsVersion, pause: Duration) -> (u16, ClientTls, JoinHandle<usize>) {
    let identity = Identity::new(version);
    let client = identity.both().1;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = thread::spawn(move || {
        let mut peer = identity.accept(&listener);
        thread::sleep(pause);
        let late = peer.sealer.late();
        peer.send(&late);
        peer.read_to_end().len()
    });
    (port, client, serving)
}

#[test]
fn what_was_sent_arrives_though_tickets_come_after_the_end() {
    const PAUSE: Duration = Duration::from_millis(100);
    each_version(|version| {
        for end in 0..5 {
            let (port, client, serving) = late(version, PAUSE);
            asyncoro::run_until(async move {
                let to = ("localhost", port);
                let socket = AsyncSocket::create_tls_connection(to, &client).await.unwrap();
                socket.send_all(&pattern(SIZE)).await.unwrap();
                match end {
                    0 => socket.close().await.unwrap(),
                    1 => socket.shutdown(Shutdown::Both).await.unwrap(),
                    2 => {
                        socket.shutdown(Shutdown::Write).await.unwrap();
                        socket.close().await.unwrap();
                    }
                    // Dropped, before the end of the scheduler and by it.
                    3 => {
                        drop(socket);
                        asyncoro::time::sleep(3 * PAUSE).await;
                    }
                    _ => drop(socket),
                }
            });
            assert_eq!(serving.join().unwrap(), SIZE, "end {end}");
        }
    });
    each_version(|version| {
        for end in 0..4 {
            let (port, client, serving) = late(version, PAUSE);
            let to = ("localhost", port);
            let socket = BlockingSocket::create_tls_connection(to, &client).unwrap();
            socket.send_all(&pattern(SIZE)).unwrap();
            match end {
                0 => socket.close().unwrap(),
                1 => socket.shutdown(Shutdown::Both).unwrap(),
                2 => {
                    // Somebody reads, and has to be woken.
                    let reader = socket.clone();
                    let reading = thread::spawn(move || reader.recv(&mut [0]));
                    thread::sleep(PAUSE / 2);
                    socket.close().unwrap();
                    reading.join().unwrap().unwrap_err();
                }
                _ => drop(socket),
            }
            assert_eq!(serving.join().unwrap(), SIZE, "end {end} of a thread's");
        }
    });
}

#[test]
fn what_was_sent_arrives_though_another_thread_sends_when_the_socket_is_closed() {
    each_version(|version| {
        let identity = Identity::new(version);
        let client = identity.both().1;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = ("localhost", listener.local_addr().unwrap().port());
        let (closes, closed) = mpsc::channel();
        let serving = thread::spawn(move || {
            let mut peer = identity.accept(&listener);
            closed.recv().unwrap();
            thread::sleep(Duration::from_millis(50));
            let late = peer.sealer.late();
            peer.send(&late);
            peer.read_what_comes().len()
        });
        let socket = BlockingSocket::create_tls_connection(to, &client).unwrap();
        socket.send_all(&pattern(SIZE)).unwrap();
        let writer = socket.clone();
        let writing = Watched::spawn(move || writer.send_all(&vec![0; 64 << 20])).asleep();
        closes.send(()).unwrap();
        socket.close().unwrap();
        assert_closed(writing.join());
        assert!(serving.join().unwrap() >= SIZE);
    });
}

/// A close appends the end of the stream while a thread is in a call that sends; that call's error
/// does not mean that earlier bytes were lost.
#[test]
fn a_close_is_well_though_it_meets_a_thread_in_the_middle_of_sending() {
    for kind in [Kind::Tls, Kind::Tls12].repeat(20) {
        bounded(move || {
            let (near, far) = blocking_pair(kind);
            near.send_all(&pattern(SIZE)).unwrap();
            // What finds no room is nobody's who was told that it has been sent.
            let sender = near.clone();
            let (full, is_full) = mpsc::channel();
            let (over, is_over) = mpsc::channel();
            let sending = thread::spawn(move || {
                let mut said = 0;
                loop {
                    match sender.try_send(&[0; 1000]) {
                        Ok(count) => said += count,
                        Err(error) if error.kind() == ErrorKind::WouldBlock => {
                            full.send(()).unwrap()
                        }
                        Err(error) => {
                            over.send(()).unwrap();
                            return (said, error);
                        }
                    }
                }
            });
            is_full.recv().unwrap();
            let reading = thread::spawn(move || {
                is_over.recv().unwrap();
                let mut came = 0;
                while let Ok(count @ 1..) = far.recv(&mut [0; 4096]) {
                    came += count;
                }
                came
            });
            let closed = near.close();
            let (said, error) = sending.join().unwrap();
            assert_closed::<()>(Err(error));
            let came = reading.join().unwrap();
            match closed {
                Ok(()) => assert!(came >= SIZE + said, "{kind:?}: {came} of {said}"),
                Err(error) => assert!(error.to_string().contains("queued before"), "{error}"),
            }
        });
    }
}

/// A close in another thread ends a send whose last records found no space: they can no longer be
/// sent, so the send must not report them as sent.
#[test]
fn a_send_that_is_closed_under_says_no_more_than_arrives() {
    for kind in [Kind::Tls, Kind::Tls12] {
        bounded(move || {
            let (near, far) = raw(kind);
            near.set_send_buffer_size(32 << 10).unwrap();
            let (near, far) = secured_by(kind.tls().unwrap(), near, far);
            let sender = near.clone();
            let sending = thread::spawn(move || {
                let (bytes, mut said) = (pattern(64 << 10), 0);
                loop {
                    match sender.send(&bytes) {
                        Ok(count) => said += count,
                        Err(error) => return (said, error),
                    }
                }
            });
            let has_room = || {
                let mut polled = [PollFd::new(&near, PollFlags::OUT)];
                rustix::event::poll(&mut polled, Some(&Timespec::default())).unwrap() > 0
            };
            while has_room() {
                thread::yield_now();
            }
            near.close().ok();
            let (said, error) = sending.join().unwrap();
            assert!(is_closed(&error), "{kind:?}: {error:?}");
            let mut came = 0;
            while let Ok(count @ 1..) = far.recv(&mut [0; 4096]) {
                came += count;
            }
            assert!(came >= said, "{kind:?}: {said} bytes were said to be sent, and {came} came");
        });
    }
}

/// A client that after the server's first flight sends everything and its end, and is gone before
/// the server reads a byte of that.
struct Hasty {
    stream: TcpStream,
    session: ClientConnection,
}

impl Hasty {
    fn new(identity: &Identity, port: u16) -> Hasty {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let mut hasty = Hasty { stream, session: identity.client_session() };
        hasty.write();
        hasty
    }

    fn write(&mut self) {
        while self.session.wants_write() {
            self.session.write_tls(&mut self.stream).unwrap();
        }
    }

    fn finish(mut self, bytes: &[u8]) {
        while self.session.is_handshaking() {
            if self.session.wants_write() {
                self.write();
            } else {
                self.session.read_tls(&mut self.stream).unwrap();
                self.session.process_new_packets().unwrap();
            }
        }
        self.session.writer().write_all(bytes).unwrap();
        self.session.send_close_notify();
        self.write();
        self.stream.shutdown(Shutdown::Write).unwrap();
        // A reset follows the end, so that whatever the server sends fails at once.
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

#[test]
fn a_server_whose_tickets_find_nobody_receives_what_the_client_has_sent() {
    run(async || {
        let identity = Identity::new(TlsVersion::V1_3);
        let (server, _) = identity.both();
        let listener = AsyncSocket::create_server("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port().unwrap();
        let hasty = Hasty::new(&identity, port);
        let (socket, _) = listener.accept().await.unwrap();
        let shaking = started({
            let (socket, server) = (socket.clone(), server.clone());
            async move { socket.start_tls(&server).await }
        })
        .await;
        hasty.finish(b"all of it");
        shaking.await.unwrap().unwrap();
        assert_eq!(socket.recv_all_bytes(9).await.unwrap(), "all of it");
        assert_eq!(socket.recv_bytes(9).await.unwrap(), "");
        socket.send_all(b"nobody").await.unwrap_err();
    });
    bounded(|| {
        let identity = Identity::new(TlsVersion::V1_3);
        let (server, _) = identity.both();
        let listener = BlockingSocket::create_server("127.0.0.1:0").unwrap();
        let listener = listener.with_tls(server).unwrap();
        let port = listener.local_addr().unwrap().port().unwrap();
        let hasty = Hasty::new(&identity, port);
        let (socket, _) = listener.accept().unwrap();
        let error = socket.try_recv(&mut [0; 9]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        hasty.finish(b"all of it");
        assert_eq!(socket.recv_all_bytes(9).unwrap(), "all of it");
        assert_eq!(socket.recv_bytes(9).unwrap(), "");
        socket.send_all(b"nobody").unwrap_err();
    });
}

/// If the peer has ended and gone, only our own close_notify is lost.
#[test]
fn who_closes_after_its_peer_is_told_of_no_loss() {
    run_each_version(async |version| {
        let (near, far) = raw(Kind::Tcp4);
        let (near, far) = secured_by(version, near, far);
        let (near, far) = (near.into_async().unwrap(), far.into_async().unwrap());
        near.send_all(b"all").await.unwrap();
        assert_eq!(far.recv_all_bytes(3).await.unwrap(), "all");
        far.send_all(b"all").await.unwrap();
        assert_eq!(near.recv_all_bytes(3).await.unwrap(), "all");
        near.close().await.unwrap();
        far.close().await.unwrap();
    });
    each_version(|version| {
        let (near, far) = raw(Kind::Tcp4);
        let (near, far): (BlockingSocket, BlockingSocket) = secured_by(version, near, far);
        near.send_all(b"all").unwrap();
        assert_eq!(far.recv_all_bytes(3).unwrap(), "all");
        near.close().unwrap();
        far.close().unwrap();
    });
}

/// Starts a client that receives everything, and then stays or closes.
fn receiving(identity: Identity, port: u16, stays: bool) -> JoinHandle<Option<Peer>> {
    thread::spawn(move || {
        let mut peer = identity.connect(port);
        assert_eq!(peer.read_to_end(), b"all");
        stays.then_some(peer)
    })
}

#[test]
fn close_takes_no_long_time_whether_the_peer_closes_too_or_stays() {
    run_each_version(async |version| {
        for stays in [true, false] {
            let identity = Identity::new(version);
            let (listener, port) = listening(&identity.both().0).await;
            let peer = receiving(identity, port, stays);
            let socket = listener.accept().await.unwrap().0;
            socket.send_all(b"all").await.unwrap();
            let begun = Instant::now();
            socket.close().await.unwrap();
            println!("figure: close with a peer that stays ({stays}) took {:?}", begun.elapsed());
            assert!(begun.elapsed() < SOON);
            drop(peer.join().unwrap());
        }
    });
    each_version(|version| {
        for stays in [true, false] {
            let identity = Identity::new(version);
            let (listener, port) = listening_blocking(&identity.both().0);
            let peer = receiving(identity, port, stays);
            let socket = listener.accept().unwrap().0;
            socket.send_all(b"all").unwrap();
            let begun = Instant::now();
            socket.close().unwrap();
            assert!(begun.elapsed() < SOON);
            drop(peer.join().unwrap());
        }
    });
}

/// The peer's answer has acknowledged all that was sent; the acknowledgement of the close_notify
/// may be delayed by 40 ms, and the close must not wait for it.
#[test]
fn a_close_does_not_wait_when_only_its_close_notify_is_not_acknowledged() {
    for kind in [Kind::Tls, Kind::Tls12] {
        run(async move || {
            let (near, far) = pair(kind);
            near.send_all(b"question").await.unwrap();
            assert_eq!(far.recv_all_bytes(8).await.unwrap(), "question");
            far.send_all(b"answer").await.unwrap();
            assert_eq!(near.recv_all_bytes(6).await.unwrap(), "answer");
            let closed = pin!(near.close()).poll(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(closed, Poll::Ready(Ok(()))), "{kind:?}: {closed:?}");
            assert_eq!(far.recv(&mut [0]).await.unwrap(), 0, "{kind:?}");
            assert!(far.peer_closed_cleanly(), "{kind:?}");
        });
    }
}

#[test]
fn a_close_is_well_though_a_peer_that_has_all_has_closed_before() {
    /// Makes a client whose peer answered and closed without a close_notify, so that what it sends
    /// next causes a reset.
    fn answered<T>(version: TlsVersion, connect: impl FnOnce(u16, ClientTls) -> T) -> T {
        let identity = Identity::new(version);
        let client = identity.both().1;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = thread::spawn(move || {
            let mut peer = identity.accept(&listener);
            assert_eq!(peer.read_exact(7), b"request");
            let response = peer.sealer.data(b"response");
            peer.send(&[response]);
        });
        let socket = connect(port, client);
        serving.join().unwrap();
        socket
    }

    each_version(|version| {
        let socket = answered(version, |port, client| {
            let to = ("localhost", port);
            let socket = BlockingSocket::create_tls_connection(to, &client).unwrap();
            socket.send_all(b"request").unwrap();
            socket.recv_all(&mut [0; 8]).unwrap();
            socket
        });
        socket.close().unwrap();
        let socket = answered(version, |port, client| {
            asyncoro::run(async move {
                let to = ("localhost", port);
                let socket = AsyncSocket::create_tls_connection(to, &client).await.unwrap();
                socket.send_all(b"request").await.unwrap();
                socket.recv_all(&mut [0; 8]).await.unwrap();
                socket.into_blocking().await.unwrap()
            })
        });
        asyncoro::run(async move { socket.into_async().unwrap().close().await.unwrap() });
    });
}

/// The peer is gone, so the last record is answered with a reset. It is no longer than a
/// close_notify, but must not be taken for the close_notify that could not be sent.
#[test]
fn close_tells_of_a_short_record_that_met_nobody() {
    fn met_nobody(version: TlsVersion) -> BlockingSocket {
        let (socket, peer) = deaf(Identity::new(version));
        drop(peer);
        socket.send_all(b"x").unwrap();
        let mut polled = [PollFd::new(&socket, PollFlags::empty())];
        assert!(rustix::event::poll(&mut polled, None).unwrap() > 0, "reset");
        socket
    }

    fn judge(closed: io::Result<()>) {
        let kind = closed.unwrap_err().kind();
        assert!(matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{kind:?}");
    }

    each_version(|version| {
        judge(met_nobody(version).close());
        let socket = met_nobody(version);
        judge(asyncoro::run(async move { socket.into_async().unwrap().close().await }));
    });
}

/// Makes a connected client whose peer reads a little and then nothing; returns the peer, too,
/// which must be kept.
fn deaf(identity: Identity) -> (BlockingSocket, TcpStream) {
    let client = identity.both().1;
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let listener = listener.unwrap();
    listener.set_recv_buffer_size(4 << 10).unwrap();
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    listener.bind(&any.into()).unwrap();
    listener.listen(1).unwrap();
    let listener = TcpListener::from(listener);
    let port = listener.local_addr().unwrap().port();
    let accepting = thread::spawn(move || identity.accept(&listener).stream);
    let socket = BlockingSocket::create_tls_connection(("localhost", port), &client).unwrap();
    (socket, accepting.join().unwrap())
}

#[test]
fn close_tells_when_the_peer_has_not_taken_all_of_it() {
    fn judge(closed: io::Result<()>) {
        let error = closed.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error:?}");
        assert!(error.to_string().contains("acknowledged"), "{error}");
    }

    each_version(|version| {
        let new = || deaf(Identity::new(version));
        // Each takes 5 s.
        let ((blocking, _one), (socket, _two)) = (new(), new());
        let closing = thread::spawn(move || {
            blocking.send_all(&pattern(100_000)).unwrap();
            let begun = Instant::now();
            judge(blocking.close());
            assert!(begun.elapsed() < Duration::from_secs(10));
        });
        asyncoro::run_until(async move {
            let socket = socket.into_async().unwrap();
            socket.send_all(&pattern(100_000)).await.unwrap();
            judge(socket.close().await);
        });
        closing.join().unwrap();
    });
}

#[test]
fn a_drop_whose_close_notify_finds_no_room_ends_cleanly_when_there_is_room() {
    each_version(|version| {
        for blocking in [false, true] {
            let identity = Identity::new(version);
            let client = identity.both().1;
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let accepting = thread::spawn(move || identity.accept(&listener));
            let to = ("localhost", port);
            let socket = BlockingSocket::create_tls_connection(to, &client).unwrap();
            let mut peer = accepting.join().unwrap();
            socket.set_timeout(Some(Duration::from_millis(100)));
            let error = socket.send_all(&pattern(32 * BIG)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            let begun = Instant::now();
            let reading = move || {
                thread::sleep(Duration::from_millis(200));
                assert!(!peer.read_to_end().is_empty());
                begun.elapsed()
            };
            let took = if blocking {
                drop(socket);
                thread::spawn(reading).join().unwrap()
            } else {
                asyncoro::run_until(async move {
                    drop(socket.into_async());
                    asyncoro::pool::run(reading).await
                })
            };
            assert!(took < SOON, "{took:?}");
        }
    });
}

struct Counted(AtomicUsize);

impl Wake for Counted {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn an_accept_that_is_dropped_leaves_no_waker() {
    run(async || {
        let (listener, _) = listening(&localhost().0).await;
        let mut wakers = Vec::new();
        for _ in 0..1000 {
            let counted = Arc::new(Counted(AtomicUsize::new(0)));
            let waker = Waker::from(Arc::clone(&counted));
            let mut accepting = pin!(listener.accept());
            let polled = accepting.as_mut().poll(&mut Context::from_waker(&waker));
            assert!(matches!(polled, Poll::Pending));
            wakers.push(counted);
        }
        let kept = wakers.iter().filter(|counted| Arc::strong_count(counted) > 1).count();
        assert_eq!(kept, 0, "wakers of dropped futures");
    });
}

#[test]
fn the_end_of_a_scheduler_waits_no_longer_than_the_peer_takes() {
    each_version(|version| {
        for _ in 0..10 {
            let (near, far) = raw(Kind::Tcp4);
            let (near, far) = secured_by(version, near, far);
            let (ends, ended) = mpsc::channel::<()>();
            let reader = thread::spawn(move || {
                // The socket is dropped by then, and not all of it has arrived.
                let _ = ended.recv();
                let mut all = vec![0; SIZE];
                far.recv_all(&mut all).unwrap();
                far
            });
            let scheduler = AsynCoro::builder().drain(Duration::MAX).build().unwrap();
            scheduler.run_until(async move {
                let near = near.into_async().unwrap();
                near.send_all(&pattern(SIZE)).await.unwrap();
                drop(near);
                drop(ends);
            });
            drop(reader.join().unwrap());
        }
    });
}
