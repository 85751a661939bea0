//! Code of the caller that a verb calls may use the same socket: nothing of ours is borrowed or
//! locked meanwhile.
//!
//! Unsafe: a signal for one thread, and a handler that does nothing.
#![allow(unsafe_code)]

use std::{
    cell::RefCell,
    future::Future,
    io::{self, ErrorKind},
    mem::MaybeUninit,
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::unix::thread::JoinHandleExt,
    pin::pin,
    sync::{Arc, mpsc},
    task::{Context, Wake, Waker},
    thread,
    time::Duration,
};

use asyncoro::{
    AsyncSocket, BlockingSocket, DatagramBatch,
    addr::{Target, ToAddress},
    error::TimedOut,
    spawn,
    time::timeout,
};
use bytes::Bytes;
use socket2::{Domain, Socket, Type};

use crate::{
    pairs::{
        KINDS, Kind, assert_closed, blocking_pair, bounded, inner, poll_once, run, server, settle,
        started,
    },
    verbs::{
        ACCEPT, End, Face, READERS, Verb, WRITERS, datagram_pairs, datagram_readers, drained, full,
        unit,
    },
};

thread_local! {
    static SOCKET: RefCell<Option<AsyncSocket>> = const { RefCell::new(None) };
    static BLOCKING: RefCell<Option<BlockingSocket>> = const { RefCell::new(None) };
    static LOOKS: RefCell<usize> = const { RefCell::new(0) };
}

/// Calls everything on the socket that does not wait.
fn look() {
    LOOKS.with_borrow_mut(|looks| *looks += 1);
    if let Some(socket) = SOCKET.with_borrow(Clone::clone) {
        // It may be closed by now.
        let _ = (socket.local_addr(), socket.options().recv_buffer_size());
        socket.set_timeout(socket.timeout());
        let _ = (socket.has_received(), socket.is_full(), socket.take_error());
        let _ = (format!("{socket:?}"), socket.peer_addr());
        let _ = socket.try_recv(&mut []);
        let _ = socket.try_send_msg(&Bytes::from_static(b"x"));
        // Verbs that begin, and are given up.
        let _ = poll_once(pin!(socket.readable()));
        let _ = poll_once(pin!(socket.writable()));
    }
    if let Some(socket) = BLOCKING.with_borrow(Clone::clone) {
        socket.local_addr().unwrap();
        socket.set_timeout(socket.timeout());
        let _ = (socket.has_received(), socket.take_error(), format!("{socket:?}"));
        let _ = socket.try_recv(&mut []);
        let _ = socket.try_send_msg(&Bytes::from_static(b"x"));
        // They wait for their turn, if anybody had it.
        let _ = socket.writable();
        let _ = socket.flush();
    }
}

fn looks() -> usize {
    LOOKS.take()
}

/// A buffer that calls [`look`] when its bytes are asked for, and when it is dropped.
struct Shown;

impl AsRef<[u8]> for Shown {
    fn as_ref(&self) -> &[u8] {
        look();
        b"shown"
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        look();
    }
}

/// Memory that calls [`look`] when it is lent, and when it is dropped.
struct Made(Box<[MaybeUninit<u8>]>);

impl AsMut<[MaybeUninit<u8>]> for Made {
    fn as_mut(&mut self) -> &mut [MaybeUninit<u8>] {
        look();
        &mut self.0
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        look();
    }
}

fn make() -> Made {
    look();
    Made(Box::new_uninit_slice(64))
}

/// An address that calls [`look`] when it is converted.
struct To(std::net::SocketAddr);

impl ToAddress for To {
    fn to_target(&self) -> io::Result<Target> {
        look();
        self.0.to_target()
    }
}

/// A waker that calls [`look`] when it is woken and when it is dropped.
struct Looking;

impl Wake for Looking {
    fn wake(self: Arc<Self>) {
        look();
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        look();
    }
}

fn stream() -> (AsyncSocket, AsyncSocket) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let far = listener.accept().unwrap().0;
    (AsyncSocket::new(near).unwrap(), AsyncSocket::new(far).unwrap())
}

#[test]
fn what_receives_may_call_code_that_looks_at_the_socket() {
    run(async || {
        let (near, far) = stream();
        SOCKET.set(Some(near.clone()));
        for waits in [false, true] {
            for verb in ["recv_uninit", "recv_with", "recv_with_limit"] {
                if !waits {
                    far.send_all(b"here").await.unwrap();
                }
                let receiver = near.clone();
                let receiving = started(async move {
                    match verb {
                        "recv_uninit" => receiver.recv_uninit(make).await.map(|(_, got)| got),
                        "recv_with" => receiver.recv_with(|bytes| (look(), bytes.len()).1).await,
                        _ => receiver.recv_with_limit(9, |bytes| (look(), bytes.len()).1).await,
                    }
                })
                .await;
                if waits {
                    far.send_all(b"here").await.unwrap();
                }
                assert_eq!(receiving.await.unwrap().unwrap(), 4, "{verb}");
                assert!(looks() > 0, "{verb}");
            }
        }
        SOCKET.take();
    });
}

#[test]
fn memory_of_a_verb_that_waits_is_dropped_with_nothing_borrowed() {
    run(async || {
        let (near, far) = stream();
        SOCKET.set(Some(near.clone()));
        {
            let mut waiting = pin!(near.recv_uninit(make));
            for _ in 0..3 {
                assert!(poll_once(waiting.as_mut()).is_pending());
            }
        }
        // Code that takes what was there, and code that closes the socket.
        far.send_all(b"here").await.unwrap();
        near.readable().await.unwrap();
        let thief = near.clone();
        let stealing = || {
            let _ = thief.try_recv(&mut [0; 64]);
            Box::<[u8]>::new_uninit_slice(64)
        };
        let stolen = timeout(Duration::from_millis(50), near.recv_uninit(stealing)).await;
        stolen.unwrap_err();
        let closing = || {
            let _ = poll_once(pin!(thief.close()));
            Box::<[u8]>::new_uninit_slice(64)
        };
        far.send_all(b"here").await.unwrap();
        let error = near.recv_uninit(closing).await.unwrap_err();
        assert!(asyncoro::error::is_closed(&error), "{error}");
        SOCKET.take();
    });
}

#[test]
fn what_sends_may_call_code_that_looks_at_the_socket() {
    run(async || {
        let near = AsyncSocket::create_datagram("127.0.0.1:0").await.unwrap();
        let far = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = far.local_addr().unwrap();
        SOCKET.set(Some(near.clone()));
        for count in [1, 2, 64] {
            let batch: Vec<_> = (0..count).map(|_| (Shown, to.into())).collect();
            assert_eq!(near.send_batch(&batch).await.unwrap(), count);
        }
        near.send_to(b"x", To(to)).await.unwrap();
        near.connect(To(to)).await.unwrap();
        let _ = near.bind(To(to));
        assert!(looks() > 0);
        let mut batch = DatagramBatch::new(8, 64);
        UdpSocket::bind("127.0.0.1:0")
            .unwrap()
            .send_to(b"x", near.local_addr().unwrap().socket_addr().unwrap())
            .unwrap();
        let _ = timeout(Duration::from_millis(10), near.recv_batch(&mut batch)).await;
        SOCKET.take();

        let (near, far) = stream();
        SOCKET.set(Some(near.clone()));
        // Longer than what is copied into the queue.
        struct Long(Vec<u8>);
        impl AsRef<[u8]> for Long {
            fn as_ref(&self) -> &[u8] {
                look();
                &self.0
            }
        }
        impl Drop for Long {
            fn drop(&mut self) {
                look();
            }
        }
        near.try_send_msg(&Bytes::from_owner(Long(vec![7; 100_000]))).unwrap();
        // Behind what was sent by those that have looked.
        while far.recv_msg().await.unwrap().unwrap().len() != 100_000 {}
        near.try_send_msg(&Bytes::from_owner(Long(vec![7; 100_000]))).unwrap();
        near.close().await.unwrap();
        SOCKET.take();
    });
}

#[test]
fn wakers_may_look_at_the_socket_that_wakes_replaces_and_drops_them() {
    run(async || {
        let (near, far) = stream();
        SOCKET.set(Some(near.clone()));
        let polled = |future: std::pin::Pin<&mut dyn Future<Output = io::Result<usize>>>| {
            // Each time another one, which takes the place of the one before.
            let waker = Waker::from(Arc::new(Looking));
            future.poll(&mut Context::from_waker(&waker))
        };
        let (mut a, mut b, mut c) = ([0; 1], [0; 1], [0; 1]);
        {
            let mut first = pin!(near.recv(&mut a));
            let mut second = pin!(near.recv(&mut b));
            let mut third = pin!(near.recv(&mut c));
            for _ in 0..3 {
                assert!(polled(first.as_mut()).is_pending());
                assert!(polled(second.as_mut()).is_pending());
                assert!(polled(third.as_mut()).is_pending());
            }
            far.send_all(b"abc").await.unwrap();
            settle().await;
            let mut done = 0;
            while done < 2 {
                settle().await;
                done += usize::from(done == 0 && polled(first.as_mut()).is_ready());
                done += usize::from(done == 1 && polled(second.as_mut()).is_ready());
            }
            // The third is called, and given up.
        }
        assert!(looks() > 0);
        near.close().await.unwrap();
        SOCKET.take();
    });
}

/// For each verb, a waker that uses the socket is woken, replaced and dropped.
#[test]
fn wakers_of_each_verb_may_look_at_the_socket() {
    /// Waits with such wakers, until what it waits for has come.
    async fn waits(near: &AsyncSocket, verb: Verb, bytes: &[u8], come: impl AsyncFnOnce()) {
        SOCKET.set(Some(near.clone()));
        let mut call = (verb.call)(near.clone(), bytes.to_vec());
        let mut polled = || {
            // Each time another one, which takes the place of the one before.
            let waker = Waker::from(Arc::new(Looking));
            call.as_mut().poll(&mut Context::from_waker(&waker))
        };
        for _ in 0..3 {
            assert!(polled().is_pending(), "{verb:?}");
        }
        looks();
        come().await;
        while polled().is_pending() {
            settle().await;
        }
        assert!(looks() > 0, "{verb:?}");
        drop(call);
        // One that is given up.
        let mut call = (verb.call)(near.clone(), bytes.to_vec());
        let waker = Waker::from(Arc::new(Looking));
        let _ = call.as_mut().poll(&mut Context::from_waker(&waker));
        drop((call, waker));
        SOCKET.take();
    }

    run(async || {
        for &verb in READERS {
            let (near, far) = stream();
            waits(&near, verb, &[], async || far.send_all(&unit(1)).await.unwrap()).await;
        }
        for &verb in WRITERS {
            let (end, far) = full(Kind::Unix, Face::Asynchronous).await;
            let End::Asynchronous(near) = end else { unreachable!() };
            waits(&near, verb, &unit(1), async || drop(spawn(drained(far)))).await;
        }
        for verb in datagram_readers() {
            for (near, far) in datagram_pairs(&format!("callbacks-{verb:?}")).await {
                let come = async || assert_eq!(far.send(&unit(1)).await.unwrap(), 6);
                waits(&near, verb, &[], come).await;
            }
        }
        let listener = server(Kind::Tcp4).await;
        let to = listener.local_addr().unwrap().socket_addr().unwrap();
        waits(&listener, ACCEPT, &[], async || drop(TcpStream::connect(to).unwrap())).await;
    });
}

#[test]
fn threads_may_look_at_the_socket_from_what_a_verb_calls() {
    bounded(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let far = BlockingSocket::new(listener.accept().unwrap().0).unwrap();
        let near = BlockingSocket::new(near).unwrap();
        BLOCKING.set(Some(near.clone()));
        for _ in 0..2 {
            far.send_all(b"here").unwrap();
            assert_eq!(near.recv_uninit(make).unwrap().1, 4);
            far.send_all(b"here").unwrap();
            assert_eq!(near.recv_with(|bytes| (look(), bytes.len()).1).unwrap(), 4);
            far.send_all(b"here").unwrap();
            assert_eq!(near.recv_with_limit(9, |bytes| (look(), bytes.len()).1).unwrap(), 4);
        }
        assert!(looks() > 0);
        // One that receives in what receives.
        far.send_all(b"herethere").unwrap();
        let thief = near.clone();
        let mut stolen = Vec::new();
        let stealing = || {
            if stolen.is_empty() {
                stolen = thief.recv_all_bytes(4).unwrap().to_vec();
            }
            Box::<[u8]>::new_uninit_slice(64)
        };
        assert_eq!(near.recv_uninit(stealing).unwrap().1, 5);
        assert_eq!(stolen, b"here");
        near.set_timeout(Some(Duration::from_millis(50)));
        assert_eq!(near.recv_uninit(make).map(|_| ()).unwrap_err().kind(), ErrorKind::TimedOut);
        BLOCKING.take();

        let near = BlockingSocket::create_datagram("127.0.0.1:0").unwrap();
        let far = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = far.local_addr().unwrap();
        BLOCKING.set(Some(near.clone()));
        let batch: Vec<_> = (0..64).map(|_| (Shown, to.into())).collect();
        assert_eq!(near.send_batch(&batch).unwrap(), 64);
        near.send_to(b"x", To(to)).unwrap();
        near.connect(To(to)).unwrap();
        drop(batch);
        BLOCKING.take();
    });
}

/// Does nothing; without it the signal would end the process.
extern "C" fn nothing(_: libc::c_int) {}

#[test]
fn whoever_is_asked_at_a_signal_may_use_the_socket_and_never_waits_for_itself() {
    bounded(|| {
        let handler = nothing as extern "C" fn(libc::c_int);
        // SAFETY: the handler does nothing.
        unsafe { libc::signal(libc::SIGURG, handler as libc::sighandler_t) };
        let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
        let (near, far) = (BlockingSocket::new(near).unwrap(), BlockingSocket::new(far).unwrap());
        let (said, hear) = mpsc::channel();
        let socket = near.clone();
        let asked = near.clone();
        let reading = thread::spawn(move || {
            BlockingSocket::on_interrupt(move || {
                // The other direction is free; this thread's own is refused instead of hanging.
                asked.send_all(b"from the handler").unwrap();
                let refused = asked.recv(&mut [0; 8]).unwrap_err();
                said.send(refused.kind()).unwrap();
                Ok(())
            });
            socket.recv_bytes(8)
        });
        let kind = loop {
            // SAFETY: the thread runs until it is joined.
            unsafe { libc::pthread_kill(reading.as_pthread_t(), libc::SIGURG) };
            if let Ok(kind) = hear.recv_timeout(Duration::from_millis(20)) {
                break kind;
            }
        };
        assert_eq!(kind, ErrorKind::Deadlock);
        assert_eq!(far.recv_all_bytes(16).unwrap(), "from the handler");
        far.send_all(b"goes on").unwrap();
        assert_eq!(reading.join().unwrap().unwrap(), "goes on");
    });
}

/// Of the queue that the interrupted verb waits behind nothing more is sent.
#[test]
fn a_close_in_the_middle_of_an_own_verb_tells_that_the_queue_is_lost() {
    for kind in KINDS.iter().copied() {
        bounded(move || {
            let handler = nothing as extern "C" fn(libc::c_int);
            // SAFETY: the handler does nothing.
            unsafe { libc::signal(libc::SIGURG, handler as libc::sighandler_t) };
            let (near, far) = blocking_pair(kind);
            near.set_timeout(Some(Duration::from_millis(20)));
            let error = near.send_queued(&vec![7; 32 << 20]).unwrap_err();
            assert!(inner::<TimedOut>(&error).unwrap().rest_queued);
            near.set_timeout(None);
            let (said, hear) = mpsc::channel();
            let closes = near.clone();
            let sending = thread::spawn(move || {
                BlockingSocket::on_interrupt(move || {
                    said.send(closes.close()).unwrap();
                    Ok(())
                });
                near.send_all(&[1; 100])
            });
            let mut told = loop {
                // SAFETY: the thread runs until it is joined.
                unsafe { libc::pthread_kill(sending.as_pthread_t(), libc::SIGURG) };
                // Signals that come while it closes make it close once more, which is in vain.
                if let Ok(closed) = hear.recv_timeout(Duration::from_millis(20)) {
                    break vec![closed];
                }
            };
            // A close over TLS waits until the peer has what the system had.
            let reading = thread::spawn(move || while let Ok(1..) = far.recv(&mut [0; 65536]) {});
            assert_closed(sending.join().unwrap());
            reading.join().unwrap();
            told.extend(hear);
            assert_eq!(told.iter().filter(|closed| closed.is_err()).count(), 1, "{kind:?}");
        });
    }
}

#[test]
fn a_signal_ends_connecting_if_whoever_is_asked_says_so() {
    bounded(|| {
        let handler = nothing as extern "C" fn(libc::c_int);
        // SAFETY: the handler does nothing.
        unsafe { libc::signal(libc::SIGURG, handler as libc::sighandler_t) };
        // Its queue is full, so that the system does not answer.
        let silent = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        silent.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        silent.listen(0).unwrap();
        let address = silent.local_addr().unwrap().as_socket().unwrap();
        let _first = TcpStream::connect(address).unwrap();
        let connecting = thread::spawn(move || {
            BlockingSocket::on_interrupt(|| Err(ErrorKind::Interrupted.into()));
            BlockingSocket::create_connection(address).map(drop)
        });
        while !connecting.is_finished() {
            // SAFETY: the thread runs until it is joined.
            unsafe { libc::pthread_kill(connecting.as_pthread_t(), libc::SIGURG) };
            thread::sleep(Duration::from_millis(20));
        }
        let error = connecting.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}");
    });
}
