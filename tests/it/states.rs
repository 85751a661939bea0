//! The result of each verb in each state of a stream, on each face: half closed, with bytes left
//! over, shut down, reset, failed; and of the verbs that never wait.

use std::{
    io::{self, ErrorKind},
    net::Shutdown,
    time::Duration,
};

use asyncoro::{AsyncSocket, error::Incomplete};

use crate::{
    pairs::{Kind, assert_closed, bounded, inner, pair, settle},
    verbs::{
        End, FACES, Face, READERS, Received, UNIT, Verb, WRITERS, each_face, full, named,
        receive_filling, unit,
    },
};

/// Asserts the result of `verb` when the stream has ended after `left`.
#[track_caller]
fn assert_end(result: Received, verb: Verb, left: &[u8]) {
    let cut = |expected| Some(Incomplete { got: left.len(), expected });
    let told = match verb.name {
        "recv_all" | "recv_all_bytes" | "recv_until" => cut(UNIT),
        "recv_line" if !left.is_empty() => cut(UNIT),
        "recv_msg" | "recv_msg_into" if !left.is_empty() => cut(4),
        _ => None,
    };
    match told {
        Some(told) => {
            let error = result.expect_err("the stream has ended");
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{verb:?}");
            assert_eq!(inner(&error), Some(&told), "{verb:?}");
        }
        None if verb.name == "readable" => assert!(result.unwrap().is_empty()),
        None => assert_eq!(result.unwrap(), left, "{verb:?}"),
    }
}

/// The end comes with nothing before it or after a part of a message, before the verb or while it
/// waits. It is permanent, and what was not taken stays.
#[test]
fn each_verb_says_its_own_of_an_end_of_stream() {
    each_face(async |kind, face| {
        for &verb in READERS {
            for (left, waits) in [(0, false), (0, true), (3, false), (3, true)] {
                let (near, far) = pair(kind);
                let end = End::new(face, near).await;
                let left = &unit(7)[..left];
                let waiting = match waits && (left.is_empty() || verb.gathers()) {
                    true => Some(end.begin(verb, &[]).await),
                    false => None,
                };
                far.send_all(left).await.unwrap();
                settle().await;
                far.shutdown(Shutdown::Write).await.unwrap();
                let result = match waiting {
                    Some(waiting) => waiting.result().await,
                    None => end.call(verb, &[]).await,
                };
                assert_end(result, verb, left);
                // Both give their bytes to the caller, who keeps them.
                let is_taken = !verb.gathers() && !verb.only_looks();
                let left = if is_taken { &[][..] } else { left };
                assert_end(end.call(verb, &[]).await, verb, left);
                assert_eq!(end.call(named("recv"), &[]).await.unwrap(), left, "{verb:?}");
                assert_end(end.call(verb, &[]).await, verb, &[]);
                // Half of the connection is as before.
                end.call(named("send_all"), &unit(8)).await.unwrap();
                assert_eq!(far.recv_all_bytes(UNIT).await.unwrap(), unit(8)[..]);
            }
        }
    });
}

fn would_block<T: std::fmt::Debug>(result: io::Result<T>) {
    assert_eq!(result.unwrap_err().kind(), ErrorKind::WouldBlock);
}

/// Asserts that a send fails as after a reset or the peer's end.
fn is_broken<T: std::fmt::Debug>(result: io::Result<T>) {
    let error = result.unwrap_err();
    let kinds = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
    assert!(kinds.contains(&error.kind()), "{error:?}");
}

#[test]
fn try_verbs_tell_each_state_of_receiving() {
    each_face(async |kind, face| {
        let (near, far) = pair(kind);
        let end = End::new(face, near).await;
        // Twice each, since who is told by the driver has to ask the system again.
        for _ in 0..2 {
            would_block(end.try_recv());
            far.send_all(&unit(1)).await.unwrap();
            assert_eq!(end.try_recv().unwrap(), unit(1));
            // Left over by a verb that wanted less.
            far.send_all(&[unit(2), unit(3)].concat()).await.unwrap();
            assert_eq!(end.call(named("recv_msg"), &[]).await.unwrap(), unit(2));
            assert_eq!(end.try_recv().unwrap(), unit(3));
            would_block(end.try_recv());
            // Another has the turn: the bytes are its own.
            let waiting = end.begin(named("recv_all_bytes"), &[]).await;
            would_block(end.try_recv());
            far.send_all(&unit(4)).await.unwrap();
            assert_eq!(waiting.result().await.unwrap(), unit(4));
        }
        far.send_all(&unit(5)).await.unwrap();
        far.shutdown(Shutdown::Write).await.unwrap();
        assert_eq!(end.try_recv().unwrap(), unit(5));
        for _ in 0..2 {
            assert!(end.try_recv().unwrap().is_empty());
        }
        assert_eq!(end.try_send(&unit(6)).unwrap(), UNIT, "the other direction goes on");
        end.close().await.unwrap();
        assert_closed(end.try_recv());
    });
}

#[test]
fn try_verbs_tell_each_state_of_sending() {
    each_face(async |kind, face| {
        let (end, far) = full(kind, face).await;
        would_block(end.try_send(b"x"));
        would_block(end.try_send_msg(b"x"));
        let waiting = end.begin(named("send_all"), &unit(1)).await;
        would_block(end.try_send(b"x"));
        would_block(end.try_send_msg(b"x"));
        receive_filling(&far).await;
        waiting.result().await.unwrap();
        assert_eq!(far.recv_all_bytes(UNIT).await.unwrap(), unit(1)[..]);
        assert_eq!(end.try_send(&unit(2)).unwrap(), UNIT);
        end.try_send_msg(b"three").unwrap();
        assert_eq!(far.recv_all_bytes(UNIT).await.unwrap(), unit(2)[..]);
        assert_eq!(far.recv_msg().await.unwrap().unwrap(), "three");
        end.call(named("shutdown"), &[]).await.unwrap();
        for _ in 0..2 {
            is_broken(end.try_send(b"x"));
            is_broken(end.try_send_msg(b"x").and_then(|()| end.try_send(b"x").map(drop)));
        }
        far.send_all(&unit(3)).await.unwrap();
        end.call(named("readable"), &[]).await.unwrap();
        assert_eq!(end.try_recv().unwrap(), unit(3), "the other direction goes on");
        // Whatever could be queued behind the end is lost, and the close may say so.
        end.close().await.ok();
        assert_closed(end.try_send(b"x"));
        assert_closed(end.try_send_msg(b"x"));
    });
}

/// Without a scheduler, before one, between two, and after the last one.
#[test]
fn try_verbs_work_wherever_they_are_called() {
    for kind in crate::pairs::KINDS.iter().copied() {
        bounded(move || {
            let (near, far) = pair(kind);
            let both = |number| {
                would_block(far.try_recv(&mut [0; UNIT]));
                assert_eq!(near.try_send(&unit(number)).unwrap(), UNIT);
                let mut to = [0; UNIT];
                while far.peek_now(&mut to) == 0 {
                    std::thread::yield_now();
                }
                assert_eq!(to, unit(number), "{kind:?}");
                near.try_send_msg(&"one".into()).unwrap();
                let mut to = [0; 7];
                while far.peek_now(&mut to) == 0 {
                    std::thread::yield_now();
                }
                assert_eq!(&to, b"\0\0\0\x03one");
            };
            both(1);
            // Each scheduler has it registered while it runs.
            for number in 2..4 {
                asyncoro::run(async {
                    let short = Duration::from_millis(1);
                    asyncoro::time::timeout(short, far.recv_bytes(1)).await.unwrap_err();
                    settle().await;
                });
                both(number);
            }
        });
    }
}

trait PeekNow {
    /// Peeks at what has come; returns 0 if nothing has.
    fn peek_now(&self, to: &mut [u8]) -> usize;
}

impl PeekNow for AsyncSocket {
    fn peek_now(&self, to: &mut [u8]) -> usize {
        match self.try_recv(to) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            got => got.unwrap(),
        }
    }
}

/// After the peer has closed while something was queued, each verb that sends, and the close,
/// report the same failure, whichever found it.
#[test]
fn each_later_verb_tells_of_a_failure() {
    each_face(async |kind, face| {
        for &verb in WRITERS {
            let (end, far) = full(kind, face).await;
            drop(far);
            // The first verbs may still find the reset itself.
            let result = end.call(verb, &unit(1)).await;
            is_broken(result);
            for &later in WRITERS {
                is_broken(end.call(later, &unit(2)).await);
            }
            is_broken(end.try_send(b"x"));
            is_broken(end.try_send_msg(b"x"));
            is_broken(end.close().await);
            assert_closed(end.call(verb, &unit(1)).await);
        }
    });
}

/// At least one read reports a reset, and none reports a clean end before it.
#[test]
fn a_reset_ends_each_verb_that_receives() {
    for kind in [Kind::Tcp4, Kind::Tcp6] {
        for face in FACES {
            bounded(move || {
                asyncoro::run_until(async {
                    for &verb in READERS {
                        let (near, far) = pair(kind);
                        let end = End::new(face, near).await;
                        let waiting = end.begin(verb, &[]).await;
                        far.options().set_linger(Some(Duration::ZERO)).unwrap();
                        drop(far);
                        match waiting.result().await {
                            Ok(got) => assert!(got.is_empty() && verb.name == "readable"),
                            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
                        }
                    }
                });
            });
        }
    }
}

#[test]
fn after_the_own_end_of_receiving_each_verb_says_that_the_stream_has_ended() {
    each_face(async |kind, face| {
        for &verb in READERS {
            let (near, far) = pair(kind);
            let end = End::new(face, near).await;
            let waiting = end.begin(verb, &[]).await;
            match &end {
                End::Asynchronous(socket) => socket.shutdown(Shutdown::Read).await.unwrap(),
                End::Blocking(socket) => socket.shutdown(Shutdown::Read).unwrap(),
            }
            assert_end(waiting.result().await, verb, &[]);
            assert_end(end.call(verb, &[]).await, verb, &[]);
            if face == Face::Blocking {
                end.call(named("send_all"), &unit(1)).await.unwrap();
                assert_eq!(far.recv_all_bytes(UNIT).await.unwrap(), unit(1)[..]);
            }
        }
    });
}

/// A message that would only be queued fails at once, as does a direct send; neither counts as a
/// failure of what was sent before.
#[test]
fn after_the_own_end_of_sending_each_verb_says_so() {
    each_face(async |kind, face| {
        let (near, far) = pair(kind);
        let end = End::new(face, near).await;
        end.call(named("send_msg"), &unit(1)).await.unwrap();
        end.call(named("shutdown"), &[]).await.unwrap();
        for &verb in WRITERS {
            let result = end.call(verb, &unit(2)).await;
            match verb.name {
                "flush" | "writable" | "shutdown" => drop(result.unwrap()),
                _ => assert_eq!(result.unwrap_err().kind(), ErrorKind::BrokenPipe, "{verb:?}"),
            }
        }
        assert_eq!(end.try_send(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(end.try_send_msg(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
        let far = drained_of_message(far).await;
        end.close().await.unwrap();
        drop(far);
    });
}

#[test]
fn a_refused_send_breaks_nothing_where_nothing_was_queued() {
    each_face(async |kind, face| {
        let (near, far) = pair(kind);
        near.try_send_queued(b"").unwrap();
        let end = End::new(face, near).await;
        end.call(named("send_queued"), b"").await.unwrap();
        end.call(named("shutdown"), &[]).await.unwrap();
        let refused = end.call(named("send"), b"x").await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::BrokenPipe);
        for verb in ["flush", "writable", "shutdown"] {
            end.call(named(verb), &[]).await.unwrap();
        }
        assert_eq!(far.recv(&mut [0]).await.unwrap(), 0);
        end.close().await.unwrap();
    });
}

/// Receives one message and then the end.
async fn drained_of_message(far: AsyncSocket) -> AsyncSocket {
    assert_eq!(far.recv_msg().await.unwrap().unwrap(), unit(1)[4..]);
    assert!(far.recv_msg().await.unwrap().is_none());
    far
}
