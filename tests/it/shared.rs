//! Several sockets with one descriptor, and one socket in several schedulers: every wait is woken.
//!
//! Unsafe: sockets whose descriptor the test keeps.
#![allow(unsafe_code)]

use std::{
    io::{ErrorKind, Write},
    os::fd::AsRawFd,
    os::unix::net::UnixDatagram,
};

use asyncoro::{AsyncSocket, Coro, coro::Scheduler};

use crate::{
    pairs::{Kind, bounded, each_plain, pair, raw, server, started, statistics},
    verbs::{
        ACCEPT, Call, DATAGRAMS, End, Face, READERS, Received, Verb, WRITERS, datagram_pairs,
        datagram_readers, full, named, receive_filling, unit,
    },
};

/// Makes a socket that borrows the descriptor of `owner`, which outlives it.
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

/// Begins a verb in a scheduler, where it waits.
fn waits(scheduler: &Scheduler, verb: Verb, socket: &AsyncSocket, bytes: &[u8]) -> Coro<Received> {
    let call: Call = (verb.call)(socket.clone(), bytes.to_vec());
    let waiting = scheduler.enter(async move { started(call).await });
    assert!(!waiting.is_finished(), "{verb:?} has to wait");
    waiting
}

/// Calls a verb in a scheduler while the other direction waits in another one, and checks that it
/// is refused.
#[track_caller]
fn is_refused(scheduler: &Scheduler, verb: Verb, socket: &AsyncSocket, bytes: &[u8]) {
    let call = (verb.call)(socket.clone(), bytes.to_vec());
    let error = scheduler.enter(call).expect_err("it has to wait");
    assert_eq!(error.kind(), ErrorKind::ResourceBusy, "{verb:?}: {error}");
}

/// Makes a socket with full buffers, in this scheduler, and its peer.
fn without_room(scheduler: &Scheduler) -> (AsyncSocket, AsyncSocket) {
    let (end, far) = scheduler.enter(full(Kind::Unix, Face::Asynchronous));
    let End::Asynchronous(near) = end else { unreachable!() };
    (near, far)
}

#[test]
fn a_socket_that_is_waited_for_is_not_taken_away_by_another_scheduler() {
    bounded(|| {
        let (first, second) = (Scheduler::new().unwrap(), Scheduler::new().unwrap());
        let (near, far) = without_room(&first);
        for &reader in READERS {
            let reading = waits(&first, reader, &near, &[]);
            for &writer in WRITERS {
                is_refused(&second, writer, &near, &unit(1));
            }
            first.enter(far.send_all(&unit(1))).unwrap();
            first.enter(reading).unwrap().unwrap();
            if reader.only_looks() {
                assert_eq!(near.try_recv(&mut [0; 9]).unwrap(), 6);
            }
        }
        // Nothing is lost, and no trace is left of those that were refused.
        first.enter(receive_filling(&far));
        first.enter(near.send_all(b"all")).unwrap();
        assert_eq!(first.enter(far.recv_bytes(9)).unwrap(), "all");
        for &writer in WRITERS {
            let (near, far) = without_room(&first);
            let writing = waits(&first, writer, &near, &unit(1));
            for &reader in READERS {
                is_refused(&second, reader, &near, &[]);
            }
            first.enter(receive_filling(&far));
            first.enter(writing).unwrap().unwrap();
        }
    });
}

#[test]
fn a_datagram_socket_that_is_waited_for_is_not_taken_away_by_another_scheduler() {
    bounded(|| {
        let (first, second) = (Scheduler::new().unwrap(), Scheduler::new().unwrap());
        let name = format!("@asyncoro-shared-full-{}", std::process::id());
        let to = first.enter(AsyncSocket::create_datagram(&name)).unwrap();
        let pairs = first.enter(datagram_pairs("shared"));
        // Where the queue of another Unix socket is full a verb waits for a time, not for events.
        let (near, far) = &pairs[2];
        let filler = AsyncSocket::new(UnixDatagram::unbound().unwrap()).unwrap();
        first.enter(filler.connect(&name)).unwrap();
        while filler.try_send(b"x").is_ok() {}
        for reader in datagram_readers() {
            for &writer in &DATAGRAMS[2..] {
                let reading = waits(&first, reader, near, &[]);
                let writing = waits(&second, writer, near, name.as_bytes());
                assert_eq!(second.enter(to.recv_bytes(9)).unwrap(), "x");
                second.enter(writing).unwrap().unwrap();
                second.enter(far.send(&unit(1))).unwrap();
                first.enter(reading).unwrap().unwrap();
                while near.try_recv(&mut [0; 9]).is_ok() {}
            }
        }
    });
}

#[test]
fn a_socket_that_nobody_waits_for_goes_to_the_scheduler_that_waits_for_it() {
    bounded(|| {
        let (first, second) = (Scheduler::new().unwrap(), Scheduler::new().unwrap());
        let (near, far) = pair(Kind::Unix);
        for &reader in READERS {
            for scheduler in [&first, &second] {
                let reading = waits(scheduler, reader, &near, &[]);
                // One that has not to wait goes on elsewhere.
                for other in [&first, &second] {
                    other.enter(near.send_all(b"goes")).unwrap();
                }
                scheduler.enter(far.send_all(&unit(1))).unwrap();
                scheduler.enter(reading).unwrap().unwrap();
                if reader.only_looks() {
                    assert_eq!(near.try_recv(&mut [0; 9]).unwrap(), 6);
                }
            }
        }
    });
}

#[test]
fn a_verb_of_a_second_scheduler_stands_in_line_behind_the_firsts() {
    bounded(|| {
        let (first, second) = (Scheduler::new().unwrap(), Scheduler::new().unwrap());
        let (near, far) = pair(Kind::Unix);
        let come = |number| first.enter(far.send_all(&unit(number))).unwrap();
        for &reader in READERS {
            for &behind in READERS {
                let one = waits(&first, reader, &near, &[]);
                let two = waits(&second, behind, &near, &[]);
                come(1);
                let one = first.enter(one).unwrap().unwrap();
                let mut next = 1;
                if !reader.only_looks() {
                    assert_eq!(one, unit(1), "{reader:?}");
                    next = 2;
                    come(2);
                }
                let two = second.enter(two).unwrap().unwrap();
                if behind.only_looks() {
                    assert_eq!(near.try_recv(&mut [0; 9]).unwrap(), 6);
                } else {
                    assert_eq!(two, unit(next), "{behind:?} behind {reader:?}");
                }
            }
        }
        let all = named("send_all");
        for pair in WRITERS.iter().flat_map(|&verb| [(verb, all), (all, verb)]) {
            // Nothing can be sent behind the end.
            if pair.0.name == "shutdown" {
                continue;
            }
            let (near, far) = without_room(&first);
            let one = waits(&first, pair.0, &near, &unit(1));
            let two = waits(&second, pair.1, &near, &unit(2));
            first.enter(receive_filling(&far));
            first.enter(one).unwrap().unwrap();
            second.enter(two).unwrap().unwrap();
        }
        let listener = first.enter(server(Kind::Tcp4));
        let address = listener.local_addr().unwrap().socket_addr().unwrap();
        let one = waits(&first, ACCEPT, &listener, &[]);
        let two = waits(&second, ACCEPT, &listener, &[]);
        let _clients = [(); 2].map(|()| std::net::TcpStream::connect(address).unwrap());
        first.enter(one).unwrap().unwrap();
        second.enter(two).unwrap().unwrap();
    });
}
