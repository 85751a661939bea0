//! Verbs on the wrong kind of socket and outside a scheduler: the error names both, and the socket
//! is unchanged.

use std::{
    io::ErrorKind,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
};

use asyncoro::{AsyncSocket, error::WrongKind};

use crate::{
    pairs::{KINDS, Kind, assert_closed, bounded, inner, pair, poll_once, run},
    verbs::{
        ACCEPT, CONNECT, DATAGRAMS, End, FACES, READERS, Verb, WRITERS, datagram_pairs,
        datagram_readers, each_face, named, unit,
    },
};

async fn assert_wrong_kind(end: &End, verb: Verb, kind: &str) {
    let error = end.call(verb, b"127.0.0.1:1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{verb:?}: {error:?}");
    let told = inner::<WrongKind>(&error).expect("a typed inner error");
    assert_eq!((told.verb, told.socket), (verb.name, kind));
    let text = error.to_string();
    assert!(text.contains(verb.name) && text.contains(kind), "{text}");
}

#[test]
fn each_verb_of_datagrams_is_refused_by_each_kind_of_stream() {
    each_face(async |kind, face| {
        let (near, far) = pair(kind);
        let end = End::new(face, near).await;
        let name = if kind == Kind::Unix { "Unix stream socket" } else { "TCP socket" };
        for &verb in DATAGRAMS {
            assert_wrong_kind(&end, verb, name).await;
        }
        end.call(named("send_all"), &unit(1)).await.unwrap();
        assert_eq!(far.recv_bytes(9).await.unwrap(), unit(1)[..]);
    });
}

#[test]
fn each_verb_of_streams_is_refused_by_each_kind_of_datagram_socket() {
    run(async || {
        for face in FACES {
            for (near, far) in datagram_pairs("misplaced").await {
                let is_unix = near.local_addr().unwrap().ip().is_none();
                let name = if is_unix { "Unix datagram socket" } else { "UDP socket" };
                let end = End::new(face, near).await;
                let fits = |verb: &Verb| {
                    datagram_readers().any(|reader| reader.name == verb.name)
                        || ["send", "send_vectored", "writable", "flush", "shutdown"]
                            .contains(&verb.name)
                };
                for verb in READERS.iter().chain(WRITERS).chain(&[ACCEPT]).copied() {
                    if !fits(&verb) {
                        assert_wrong_kind(&end, verb, name).await;
                    }
                }
                let error = end.try_send_msg(b"x").unwrap_err();
                let told = inner::<WrongKind>(&error).unwrap();
                assert_eq!((told.verb, told.socket), ("try_send_msg", name));
                far.send(&unit(1)).await.unwrap();
                assert_eq!(end.call(named("recv"), &[]).await.unwrap(), unit(1));
            }
        }
    });
}

/// `Closed` takes precedence over other errors.
#[test]
fn each_verb_of_another_kind_says_closed_on_a_closed_socket() {
    each_face(async |kind, face| {
        let (near, _far) = pair(kind);
        let end = End::new(face, near).await;
        end.close().await.unwrap();
        for &verb in DATAGRAMS {
            assert_closed(end.call(verb, b"127.0.0.1:1").await);
        }
    });
    run(async || {
        for face in FACES {
            for (near, _far) in datagram_pairs("misplaced-closed").await {
                let end = End::new(face, near).await;
                end.close().await.unwrap();
                for verb in READERS.iter().chain(WRITERS).chain(&[ACCEPT]).copied() {
                    assert_closed(end.call(verb, &unit(1)).await);
                }
                assert_closed(end.try_send_msg(b"x"));
            }
        }
    });
}

/// Polls the verb and returns the text of its panic.
fn panic_of(socket: &AsyncSocket, verb: Verb, bytes: &[u8]) -> String {
    let mut call = (verb.call)(socket.clone(), bytes.to_vec());
    let polled = AssertUnwindSafe(|| poll_once(Pin::as_mut(&mut call)).is_ready());
    let payload = catch_unwind(polled).expect_err("a panic");
    payload.downcast_ref::<String>().expect("a text").clone()
}

#[test]
fn each_verb_polled_outside_a_scheduler_panics_and_does_nothing() {
    for kind in KINDS.iter().copied() {
        bounded(move || {
            let (near, far) = pair(kind);
            assert_eq!(far.try_send(&unit(1)).unwrap(), unit(1).len());
            for &verb in READERS.iter().chain(WRITERS).chain(&[ACCEPT]) {
                let text = panic_of(&near, verb, &unit(2));
                let name = format!("{} ", verb.name);
                assert!(text.contains(&name) && text.contains("asyncoro::run"), "{verb:?}: {text}");
            }
            assert!(panic_of(&near, CONNECT, b"127.0.0.1:1").contains("asyncoro::run"));
            // Nothing was taken, nothing was sent, and nobody has the turn.
            asyncoro::run_until(async {
                assert_eq!(near.recv_bytes(9).await.unwrap(), unit(1)[..]);
                near.send_all(&unit(3)).await.unwrap();
                assert_eq!(far.recv_bytes(9).await.unwrap(), unit(3)[..]);
            });
        });
    }
}
