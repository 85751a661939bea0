//! Failing connections: who gets the error, and that it is never taken for an end of the stream.
//!
//! Unsafe: a socket option that no safe interface sets.
#![allow(unsafe_code)]

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    os::fd::{AsFd, AsRawFd},
    thread,
    time::Duration,
};

use asyncoro::{AsyncSocket, BlockingSocket, time::timeout};
use rustix::fs::{OFlags, fcntl_getfl};
use socket2::{Domain, SockRef, Socket, Type};

use crate::{
    pairs::{KINDS, blocking, bounded, each, pair, reset, run, settle, started, wait_for_end},
    verbs::{End, FACES, READERS, each_face, named, unit},
};

const SHORT: Duration = Duration::from_millis(50);

fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (near, listener.accept().unwrap().0)
}

#[track_caller]
fn assert_reset<T: std::fmt::Debug>(result: io::Result<T>) {
    assert_eq!(result.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_reset_that_a_flush_meets_first_is_no_clean_end() {
    each(async |kind| {
        for _ in 0..10 {
            let (near, far) = pair(kind);
            let reader = near.clone();
            let reading = started(async move { reader.recv_msg().await }).await;
            reset(kind, &near, far);
            wait_for_end(&near);
            let _ = near.send_msg(b"of this turn").await;
            let _ = near.flush().await;
            assert_reset(reading.await.unwrap());
            assert_reset(near.recv_msg().await);
        }
    });
}

#[test]
fn a_reset_is_told_to_everybody_in_line_by_every_verb() {
    each_face(async |kind, face| {
        let (near, far) = pair(kind);
        let end = End::new(face, near).await;
        // What is ready to be read is the reset, which `readable` leaves to the next verb.
        let readers = || READERS.iter().copied().filter(|verb| verb.name != "readable");
        let mut line = Vec::new();
        for verb in readers() {
            line.push((verb, end.begin(verb, &[]).await));
        }
        reset(kind, &end, far);
        for (verb, waiting) in line {
            let error = waiting.result().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{verb:?}");
        }
        for verb in readers().chain(readers()) {
            let error = end.call(verb, &[]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{verb:?}, later");
        }
        assert_reset(end.try_recv());
    });
}

#[test]
fn a_reset_is_told_to_every_thread_that_reads() {
    for kind in KINDS.iter().copied() {
        bounded(move || {
            println!("{kind:?}");
            let (near, far) = pair(kind);
            let near = blocking(near);
            let readers = [0; 3].map(|_| {
                let reader = near.clone();
                thread::spawn(move || reader.recv_msg())
            });
            reset(kind, &near, far);
            for reader in readers {
                assert_reset(reader.join().unwrap());
            }
            assert_reset(near.recv(&mut [0; 8]));
            assert_reset(near.recv_all_bytes(8));
            assert_reset(near.try_recv(&mut [0; 8]));
        });
    }
}

#[test]
fn a_reset_that_was_taken_off_the_socket_is_no_clean_end() {
    each(async |kind| {
        let (near, far) = pair(kind);
        reset(kind, &near, far);
        wait_for_end(&near);
        let taken = near.take_error().unwrap().unwrap();
        assert_eq!(taken.kind(), ErrorKind::ConnectionReset);
        assert!(near.take_error().unwrap().is_none(), "it is taken once");
        assert_reset(near.recv_msg().await);
    });
}

#[test]
fn what_has_come_before_a_reset_is_received_first() {
    each(async |kind| {
        let (near, far) = pair(kind);
        far.send_all(b"before").await.unwrap();
        // It has come once it can be looked at.
        near.peek(&mut [0; 8]).await.unwrap();
        reset(kind, &near, far);
        wait_for_end(&near);
        let _ = near.send(b"meets the reset").await;
        assert_eq!(near.recv_bytes(8).await.unwrap(), "before");
        assert_reset(near.recv_bytes(8).await);
    });
}

#[test]
fn an_end_before_a_reset_stays_an_end() {
    run(async || {
        for face in FACES {
            let (near, mut far) = tcp();
            let end = End::new(face, AsyncSocket::new(near).unwrap()).await;
            far.write_all(&unit(7)).unwrap();
            drop(far);
            wait_for_end(&end);
            // The peer answers with a reset, since nobody is there to read it; this says EPIPE
            // then.
            while end.call(named("send"), b"too late").await.is_ok() {
                settle().await;
            }
            assert_eq!(end.call(named("recv_all_bytes"), &[]).await.unwrap(), unit(7), "{face:?}");
            for verb in ["recv_bytes", "recv_msg"].map(named) {
                assert!(end.call(verb, &[]).await.unwrap().is_empty(), "{verb:?}, {face:?}");
            }
        }
    });
}

#[test]
fn an_error_of_a_datagram_is_told_once() {
    run(async || {
        for face in FACES {
            let near = AsyncSocket::create_datagram("127.0.0.1:0").await.unwrap();
            let far = UdpSocket::bind("127.0.0.1:0").unwrap();
            let to = far.local_addr().unwrap();
            drop(far);
            near.connect(to).await.unwrap();
            let end = End::new(face, near).await;
            end.call(named("send"), b"to nobody").await.unwrap();
            let error = end.call(named("recv"), &[]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{face:?}");
            end.set_timeout(Some(SHORT));
            let error = end.call(named("recv"), &[]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut, "{face:?}");
            end.set_timeout(None);
            end.call(named("send"), b"to nobody").await.unwrap();
            let error = end.call(named("readable"), &[]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{face:?}");
        }
    });
}

/// Makes a socket with something in its error queue: the timestamp of a sent datagram.
#[cfg(target_os = "linux")]
fn noted() -> (UdpSocket, UdpSocket) {
    let (near, far) =
        (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    near.connect(far.local_addr().unwrap()).unwrap();
    far.connect(near.local_addr().unwrap()).unwrap();
    // SO_TIMESTAMPING with TX_SOFTWARE and OPT_TSONLY: each datagram that leaves is noted.
    timestamp(&near);
    near.send(b"noted").unwrap();
    far.recv(&mut [0; 8]).unwrap();
    let polled = &mut [rustix::event::PollFd::new(&near, rustix::event::PollFlags::empty())];
    rustix::event::poll(polled, None).unwrap();
    assert_eq!(polled[0].revents(), rustix::event::PollFlags::ERR);
    (near, far)
}

#[cfg(target_os = "linux")]
fn timestamp(socket: &UdpSocket) {
    let flags = libc::SOF_TIMESTAMPING_TX_SOFTWARE
        | libc::SOF_TIMESTAMPING_SOFTWARE
        | libc::SOF_TIMESTAMPING_OPT_TSONLY;
    let len = size_of_val(&flags) as libc::socklen_t;
    // SAFETY: the kernel reads within the length given.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_TIMESTAMPING,
            (&raw const flags).cast(),
            len,
        )
    };
    assert_eq!(set, 0);
}

#[cfg(target_os = "linux")]
#[test]
fn a_note_in_the_error_queue_is_nothing_to_read() {
    run(async || {
        let (near, far) = noted();
        let near = AsyncSocket::new(near).unwrap();
        timeout(SHORT, near.readable()).await.unwrap_err();
        timeout(SHORT, near.recv(&mut [0; 8])).await.unwrap_err();
        far.send(b"x").unwrap();
        near.readable().await.unwrap();
        assert_eq!(near.recv(&mut [0; 8]).await.unwrap(), 1);
    });
    bounded(|| {
        let (near, far) = noted();
        let near = BlockingSocket::new(near).unwrap();
        near.set_timeout(Some(SHORT));
        assert_eq!(near.readable().unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(near.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::TimedOut);
        near.set_timeout(None);
        let reader = near.clone();
        let reading = thread::spawn(move || reader.recv(&mut [0; 8]));
        far.send(b"x").unwrap();
        assert_eq!(reading.join().unwrap().unwrap(), 1);
        far.send(b"x").unwrap();
        near.readable().unwrap();
    });
}

fn is_blocking(socket: impl AsFd) -> bool {
    !fcntl_getfl(socket).unwrap().contains(OFlags::NONBLOCK)
}

#[test]
fn a_descriptor_that_is_shared_has_its_mode_back_whatever_ends_the_socket() {
    run(async || {
        let shared = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = shared.local_addr().unwrap();
        let used = async || {
            let socket = AsyncSocket::new(shared.try_clone().unwrap()).unwrap();
            let _client = TcpStream::connect(address).unwrap();
            socket.accept().await.unwrap();
            assert!(!is_blocking(&shared), "there is no other way to accept without waiting");
            socket
        };
        drop(used().await);
        assert!(is_blocking(&shared));
        used().await.close().await.unwrap();
        assert!(is_blocking(&shared));
        used().await.into_parts().await.unwrap();
        assert!(is_blocking(&shared));
        drop(used().await.into_blocking().await.unwrap());
        assert!(is_blocking(&shared));
        // The end of a scheduler ends its coroutines, and so their sockets.
        let ended = shared.try_clone().unwrap();
        thread::spawn(move || {
            asyncoro::run_until(async move {
                let socket = AsyncSocket::new(ended).unwrap();
                drop(started(async move { socket.accept().await.map(|_| ()) }).await);
            });
        })
        .join()
        .unwrap();
        assert!(is_blocking(&shared));
        // One that somebody else has taken back is set again.
        let socket = used().await;
        SockRef::from(&shared).set_nonblocking(false).unwrap();
        timeout(SHORT, socket.accept()).await.unwrap_err();
        let _client = TcpStream::connect(address).unwrap();
        socket.accept().await.unwrap();
        drop(socket);
        assert!(is_blocking(&shared));
    });
    bounded(|| {
        let shared = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = BlockingSocket::new(shared.try_clone().unwrap()).unwrap();
        let _client = TcpStream::connect(shared.local_addr().unwrap()).unwrap();
        socket.accept().unwrap();
        socket.close().unwrap();
        assert!(is_blocking(&shared));
        // A socket that has connected; closing has ended the listener for everybody.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let socket = BlockingSocket::new(client.try_clone().unwrap()).unwrap();
        socket.connect(listener.local_addr().unwrap()).unwrap();
        drop(socket);
        assert!(is_blocking(&client));
    });
}

#[test]
fn seqpacket_sockets_are_accepted_and_connected() {
    run(async || {
        let name = |what: &str| format!("@asyncoro-packets-{what}-{}", std::process::id());
        let server = AsyncSocket::open(Domain::UNIX, Type::SEQPACKET).unwrap();
        server.bind(&*name("a")).unwrap();
        server.listen(8).unwrap();
        let accepting = started(async move { server.accept().await }).await;
        let near = AsyncSocket::open(Domain::UNIX, Type::SEQPACKET).unwrap();
        near.connect(&*name("a")).await.unwrap();
        let (far, _) = accepting.await.unwrap().unwrap();
        assert!(format!("{far:?}").contains("seqpacket"), "{far:?}");
        near.send(b"one").await.unwrap();
        near.send(b"two").await.unwrap();
        assert_eq!(far.recv_bytes(16).await.unwrap(), "one");
        assert_eq!(far.recv_bytes(16).await.unwrap(), "two");

        let server = BlockingSocket::open(Domain::UNIX, Type::SEQPACKET).unwrap();
        server.bind(&*name("b")).unwrap();
        server.listen(8).unwrap();
        let near = BlockingSocket::open(Domain::UNIX, Type::SEQPACKET).unwrap();
        near.connect(&*name("b")).unwrap();
        let (far, _) = server.accept().unwrap();
        near.send(b"three").unwrap();
        assert_eq!(far.recv_bytes(16).unwrap(), "three");
        // Datagrams know no connections to accept.
        let datagrams = AsyncSocket::open(Domain::UNIX, Type::DGRAM).unwrap();
        assert_eq!(datagrams.accept().await.unwrap_err().kind(), ErrorKind::InvalidInput);
        let mut rest = Vec::new();
        drop(near);
        (&far).read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"");
    });
}
