//! One descriptor, several sockets; one socket, several schedulers: nobody who waits is forgotten.
//!
//! Unsafe: sockets whose descriptor the test keeps.
#![allow(unsafe_code)]

use std::{
    io::{ErrorKind, Write},
    os::fd::AsRawFd,
    os::unix::net::UnixStream,
};

use asyncoro::{AsyncSocket, coro::Scheduler};

use crate::pairs::{bounded, each_plain, raw, started, statistics};

/// A socket that borrows the descriptor of `owner`, which outlives it.
fn borrow(owner: &impl AsRawFd) -> AsyncSocket {
    // SAFETY: each test drops it before `owner`.
    unsafe { AsyncSocket::borrow_raw(owner.as_raw_fd()).unwrap() }
}

#[test]
fn two_sockets_of_one_descriptor_are_both_told() {
    each_plain(async |kind| {
        let (mut peer, owner) = raw(kind);
        let (first, second) = (borrow(&owner), borrow(&owner));
        for _ in 0..20 {
            let (one, two) = (first.clone(), second.clone());
            let one = started(async move { one.recv_bytes(1).await }).await;
            let two = started(async move { two.recv_bytes(1).await }).await;
            peer.write_all(b"a").unwrap();
            peer.write_all(b"a").unwrap();
            assert_eq!(one.await.unwrap().unwrap(), "a");
            assert_eq!(two.await.unwrap().unwrap(), "a");
        }
        // One goes, the other one is still told; the place is free for a third.
        assert_eq!(statistics().sockets, 2);
        drop(first);
        assert_eq!(statistics().sockets, 1);
        let third = borrow(&owner);
        for socket in [second.clone(), third] {
            let reading = started(async move { socket.recv_bytes(1).await }).await;
            peer.write_all(b"b").unwrap();
            assert_eq!(reading.await.unwrap().unwrap(), "b");
        }
        drop(second);
        assert_eq!(statistics().sockets, 0);
    });
}

#[test]
fn two_sockets_of_one_descriptor_both_hear_of_room_and_of_the_end() {
    each_plain(async |kind| {
        let (peer, owner) = raw(kind);
        for socket in [&peer, &owner] {
            socket.set_send_buffer_size(32 << 10).unwrap();
        }
        let (first, second) = (borrow(&owner), borrow(&owner));
        let mut coros = Vec::new();
        for socket in [&first, &second] {
            let socket = socket.clone();
            // Not registered for reading alone, and then for both.
            coros.push(started(async move { socket.recv_bytes(1).await.map(|_| ()) }).await);
        }
        for socket in [&first, &second] {
            let socket = socket.clone();
            coros.push(started(async move { socket.send_all(&vec![0; 256 << 10]).await }).await);
        }
        let peer = AsyncSocket::new(peer).unwrap();
        for _ in 0..2 {
            peer.recv_all_bytes(256 << 10).await.unwrap();
        }
        drop(peer);
        for coro in coros {
            coro.await.unwrap().unwrap();
        }
    });
}

#[test]
fn a_socket_that_is_waited_for_is_not_taken_away_by_another_scheduler() {
    bounded(|| {
        let (first, second) = (Scheduler::new().unwrap(), Scheduler::new().unwrap());
        let (mut peer, near) = UnixStream::pair().unwrap();
        let socket = AsyncSocket::new(near).unwrap();
        let reader = socket.clone();
        let reading =
            first.enter(async move { started(async move { reader.recv_bytes(8).await }).await });
        // A verb that has to wait is refused there, one that has not goes on.
        second.enter(async {
            socket.send_all(b"goes").await.unwrap();
            let error = socket.send_all(&vec![0; 8 << 20]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ResourceBusy, "{error}");
        });
        peer.write_all(b"here").unwrap();
        assert_eq!(first.enter(reading).unwrap().unwrap(), "here");
        // Nobody waits any more: it moves.
        peer.write_all(b"there").unwrap();
        second.enter(async {
            assert_eq!(socket.recv_bytes(8).await.unwrap(), "there");
            let reader = socket.clone();
            let reading = started(async move { reader.recv_bytes(8).await }).await;
            peer.write_all(b"again").unwrap();
            assert_eq!(reading.await.unwrap().unwrap(), "again");
        });
    });
}

#[test]
fn a_reader_of_a_second_scheduler_stands_in_line_behind_the_firsts() {
    bounded(|| {
        let (first, second) = (Scheduler::new().unwrap(), Scheduler::new().unwrap());
        let (mut peer, near) = UnixStream::pair().unwrap();
        let socket = AsyncSocket::new(near).unwrap();
        let reading = |scheduler: &Scheduler| {
            let reader = socket.clone();
            scheduler.enter(async move { started(async move { reader.recv_bytes(1).await }).await })
        };
        let (one, two) = (reading(&first), reading(&second));
        peer.write_all(b"ab").unwrap();
        assert_eq!(first.enter(one).unwrap().unwrap(), "a");
        assert_eq!(second.enter(two).unwrap().unwrap(), "b");
    });
}
