//! Closing, on each face: it wakes each verb that waits, with the lock of its direction or for it,
//! and each later call reports that the socket is closed.

use std::{io, net::Shutdown, time::Duration};

use asyncoro::{AsyncSocket, spawn, time::timeout};
use socket2::{Domain, Socket, Type};

use crate::{
    pairs::{assert_closed, pair, poll_once, run, server, settle},
    verbs::{
        ACCEPT, CONNECT, DATAGRAMS, Deaf, End, FACES, Face, READERS, Verb, WRITERS, datagram_pairs,
        datagram_readers, each_face, each_kind, full, receive_filling, unit,
    },
};

/// Closes `end` while `verb` waits on it twice, once with the lock and once for it.
async fn closed_while_waiting(end: &End, verb: Verb, bytes: &[u8]) {
    let waiting = [end.begin(verb, bytes).await, end.begin(verb, bytes).await];
    assert!(waiting.iter().all(|waiting| !waiting.is_over()), "{verb:?} has to wait");
    end.close().await.unwrap();
    for waiting in waiting {
        assert_closed(waiting.result().await);
    }
    assert_closed(end.call(verb, bytes).await);
}

#[test]
fn close_wakes_each_verb_that_receives() {
    each_face(async |kind, face| {
        for &verb in READERS {
            let (near, _far) = pair(kind);
            closed_while_waiting(&End::new(face, near).await, verb, &[]).await;
        }
        let server = End::new(face, server(kind).await).await;
        closed_while_waiting(&server, ACCEPT, &[]).await;
    });
}

/// What is queued is sent nevertheless, and the close ends after that.
#[test]
fn close_wakes_each_verb_that_sends() {
    each_face(async |kind, face| {
        for &verb in WRITERS {
            let (end, far) = full(kind, face).await;
            let waiting = [end.begin(verb, &unit(1)).await, end.begin(verb, &unit(2)).await];
            let closing = spawn({
                let end = end.clone();
                async move { end.close().await }
            });
            for waiting in waiting {
                assert_closed(waiting.result().await);
            }
            assert_closed(end.call(verb, &unit(3)).await);
            if face == Face::Asynchronous {
                receive_filling(&far).await;
                assert_eq!(far.recv_msg().await.unwrap(), None, "{verb:?}");
            }
            drop(far);
            timeout(Duration::from_secs(10), closing).await.unwrap().unwrap().ok();
        }
    });
}

#[test]
fn close_wakes_each_verb_of_datagrams() {
    run(async || {
        for face in FACES {
            for verb in datagram_readers() {
                for (near, _far) in datagram_pairs("closing").await {
                    closed_while_waiting(&End::new(face, near).await, verb, &[]).await;
                }
            }
            // Nobody receives: the queue of a Unix socket is full at once, those of UDP never.
            for &verb in &DATAGRAMS[2..] {
                let name = format!("@asyncoro-closing-full-{}", std::process::id());
                let to = AsyncSocket::create_datagram(&name).await.unwrap();
                let open = || Socket::new(Domain::UNIX, Type::DGRAM, None).unwrap();
                let filler = AsyncSocket::new(open()).unwrap();
                filler.connect(&name).await.unwrap();
                while filler.try_send(b"x").is_ok() {}
                let near = AsyncSocket::new(open()).unwrap();
                let end = End::new(face, near).await;
                closed_while_waiting(&end, verb, name.as_bytes()).await;
                drop(to);
            }
        }
    });
}

#[test]
fn close_wakes_a_connect_that_waits_on_each_face() {
    run(async || {
        for face in FACES {
            for deaf in ["127.0.0.1:0", "[::1]:0", ""].map(Deaf::new) {
                let near = AsyncSocket::new(deaf.open()).unwrap();
                let end = End::new(face, near).await;
                let waiting = end.begin(CONNECT, deaf.address.as_bytes()).await;
                assert!(!waiting.is_over(), "nobody answers at {}", deaf.address);
                end.close().await.unwrap();
                assert_closed(waiting.result().await);
            }
        }
    });
}

/// Makes each call that never waits, on a closed socket.
fn calls_that_never_wait(end: &End) -> Vec<io::Result<()>> {
    macro_rules! calls {
        ($socket:expr) => {
            vec![
                $socket.local_addr().map(drop),
                $socket.peer_addr().map(drop),
                $socket.bind("127.0.0.1:1"),
                $socket.listen(1),
                $socket.take_error().map(drop),
            ]
        };
    }
    let mut calls = match end {
        End::Asynchronous(socket) => calls!(socket),
        End::Blocking(socket) => calls!(socket),
    };
    calls.push(end.try_recv().map(drop));
    calls.push(end.try_send(b"x").map(drop));
    calls.push(end.try_send_msg(b"x"));
    calls
}

#[test]
fn each_call_on_a_closed_socket_says_so() {
    each_face(async |kind, face| {
        let (near, _far) = pair(kind);
        let end = End::new(face, near).await;
        let clone = end.clone();
        clone.close().await.unwrap();
        end.close().await.unwrap();
        for &verb in READERS.iter().chain(WRITERS).chain(&[ACCEPT]) {
            assert_closed(end.call(verb, &unit(1)).await);
        }
        assert_closed(end.call(CONNECT, b"127.0.0.1:1").await);
        for result in calls_that_never_wait(&end) {
            assert_closed(result);
        }
        for how in [Shutdown::Read, Shutdown::Write, Shutdown::Both] {
            assert_closed(match &end {
                End::Asynchronous(socket) => socket.shutdown(how).await,
                End::Blocking(socket) => socket.shutdown(how),
            });
        }
        drop(clone);
        let refused = match end {
            End::Asynchronous(socket) => {
                let refused = socket.into_parts().await.unwrap_err();
                refused.socket.into_blocking().await.map(drop).map_err(io::Error::from)
            }
            End::Blocking(socket) => {
                let refused = socket.into_parts().unwrap_err();
                refused.socket.into_async().map(drop).map_err(io::Error::from)
            }
        };
        assert_closed(refused);
    });
}

#[test]
fn close_under_a_timeout_gives_a_deaf_peer_up_on_each_face() {
    each_face(async |kind, face| {
        let (end, far) = full(kind, face).await;
        end.set_timeout(Some(Duration::from_millis(20)));
        assert_eq!(end.close().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_closed(end.call(WRITERS[0], &unit(1)).await);
        assert!(far.recv_msg().await.is_err(), "the rest of it never comes");
    });
}

#[test]
fn a_forgotten_verb_of_any_name_keeps_its_turn_and_holds_up_no_close() {
    each_kind(async |kind| {
        let forget = |socket: &AsyncSocket, verb: Verb| {
            let mut call = (verb.call)(socket.clone(), unit(1).to_vec());
            assert!(poll_once(call.as_mut()).is_pending(), "{verb:?}");
            std::mem::forget(call);
        };
        for &verb in READERS {
            let (near, far) = pair(kind);
            forget(&near, verb);
            let end = End::Asynchronous(near);
            let waiting = end.begin(READERS[0], &[]).await;
            far.send_all(&unit(1)).await.unwrap();
            settle().await;
            assert!(!waiting.is_over(), "{verb:?} has the turn");
            end.close().await.unwrap();
            assert_closed(waiting.result().await);
        }
        for &verb in WRITERS {
            let (end, far) = full(kind, Face::Asynchronous).await;
            let End::Asynchronous(near) = &end else { unreachable!() };
            forget(near, verb);
            let waiting = end.begin(WRITERS[1], &unit(2)).await;
            let closing = spawn({
                let end = end.clone();
                async move { end.close().await }
            });
            assert_closed(waiting.result().await);
            receive_filling(&far).await;
            closing.await.unwrap().unwrap();
        }
    });
}
