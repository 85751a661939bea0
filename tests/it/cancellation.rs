//! Verbs that are cancelled: by the socket's timeout or the caller's, dropped, or terminated; with
//! the lock of their direction, waiting for it, or with others waiting. Nothing is lost, and
//! nothing is sent in part.

use std::{io, pin::Pin, time::Duration};

use asyncoro::{AsyncSocket, coro::Ended, spawn, time::timeout};

use crate::{
    pairs::{pair, poll_once, run, settle},
    verbs::{
        End, FACES, Face, READERS, UNIT, Verb, WRITERS, Waiting, assert_timed_out, datagram_pairs,
        datagram_readers, each_face, full, named, receive_filling, unit,
    },
};

const SHORT: Duration = Duration::from_millis(5);

/// How a verb is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    TimeOut,
    Elapsed,
    Drop,
    /// After what it waits for has come, but before it is polled.
    DropLate,
    Terminate,
}

/// Returns the ways on a face; a verb of a thread cannot be dropped.
fn ways(face: Face) -> &'static [Way] {
    match face {
        Face::Asynchronous => {
            &[Way::TimeOut, Way::Elapsed, Way::Drop, Way::DropLate, Way::Terminate]
        }
        Face::Blocking => &[Way::TimeOut],
    }
}

/// The verb's place among those that wait for the same lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Alone,
    Behind,
    Before,
}

const PLACES: [Place; 3] = [Place::Alone, Place::Behind, Place::Before];

/// Lets `verb` wait and cancels it; meanwhile `comes` has come.
async fn give_up(
    end: &End,
    (verb, bytes): (Verb, &[u8]),
    way: Way,
    next: impl AsyncFnOnce() -> Option<Waiting>,
    comes: impl AsyncFnOnce(),
) -> Option<Waiting> {
    if way == Way::TimeOut {
        end.set_timeout(Some(SHORT));
        let result = end.call(verb, bytes).await;
        end.set_timeout(None);
        let error = result.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{verb:?}: {error:?}");
        let next = next().await;
        comes().await;
        return next;
    }
    let End::Asynchronous(socket) = end else { unreachable!() };
    let mut call = (verb.call)(socket.clone(), bytes.to_vec());
    if way == Way::Terminate {
        let coro = spawn(call);
        settle().await;
        let next = next().await;
        coro.terminate();
        comes().await;
        assert!(matches!(coro.await, Err(Ended::Terminated(_))), "{verb:?}");
        return next;
    }
    assert!(poll_once(Pin::as_mut(&mut call)).is_pending(), "{verb:?}");
    let next = next().await;
    match way {
        Way::Elapsed => {
            timeout(SHORT, call).await.unwrap_err();
            comes().await;
        }
        Way::Drop => {
            drop(call);
            comes().await;
        }
        _ => {
            comes().await;
            settle().await;
            drop(call);
        }
    }
    next
}

/// Sends a unit while `verb` is cancelled, `early` bytes of it before, and checks that the next
/// verb gets it.
async fn receives_nothing(
    end: &End,
    far: &AsyncSocket,
    (verb, way, place): (Verb, Way, Place),
    early: usize,
) {
    let what = (verb, way, place, early);
    let unit = unit(7);
    let take = named(if early > 0 || place == Place::Alone { "recv_all_bytes" } else { "recv" });
    far.send_all(&unit[..early]).await.unwrap();
    let first = match place {
        Place::Behind => Some(end.begin(take, &[]).await),
        _ => None,
    };
    let next = async || match place {
        Place::Before => Some(end.begin(take, &[]).await),
        _ => None,
    };
    let comes = async || far.send_all(&unit[early..]).await.unwrap();
    let next = give_up(end, (verb, &[]), way, next, comes).await;
    let got = match first.or(next) {
        Some(waiting) => waiting.result().await,
        None => end.call(take, &[]).await,
    };
    assert_eq!(got.unwrap(), unit, "{what:?}");
}

#[test]
fn a_receive_that_is_given_up_loses_nothing() {
    each_face(async |kind, face| {
        let (near, far) = pair(kind);
        let end = End::new(face, near).await;
        for &verb in READERS {
            for &way in ways(face) {
                for place in PLACES {
                    receives_nothing(&end, &far, (verb, way, place), 0).await;
                }
            }
        }
    });
}

#[test]
fn a_receive_that_is_given_up_half_way_leaves_its_bytes_to_the_next() {
    each_face(async |kind, face| {
        let (near, far) = pair(kind);
        let end = End::new(face, near).await;
        for &verb in READERS.iter().filter(|verb| verb.gathers()) {
            for &way in ways(face) {
                for place in PLACES {
                    receives_nothing(&end, &far, (verb, way, place), 3).await;
                }
            }
        }
    });
}

#[test]
fn a_receive_of_datagrams_that_is_given_up_loses_none() {
    run(async || {
        for (near, far) in datagram_pairs("given-up").await {
            let mut near = Some(near);
            for face in FACES {
                let end = End::new(face, near.take().unwrap()).await;
                for verb in datagram_readers() {
                    for &way in ways(face) {
                        let comes = async || assert_eq!(far.send(&unit(7)).await.unwrap(), UNIT);
                        give_up(&end, (verb, &[]), way, async || None, comes).await;
                        let got = end.call(named("recv"), &[]).await.unwrap();
                        assert_eq!(got, unit(7), "{verb:?} {way:?}");
                    }
                }
                if let End::Asynchronous(socket) = end {
                    near = Some(socket);
                }
            }
        }
    });
}

/// Cancels each verb in each way while nothing can be sent; then what was sent before and after
/// arrives, and nothing else.
#[test]
fn a_send_that_is_given_up_has_sent_nothing() {
    each_face(async |kind, face| {
        for place in PLACES {
            let (end, far) = full(kind, face).await;
            let mut others = Vec::new();
            if place == Place::Behind {
                others.push(end.begin(named("send_all"), &unit(1)).await);
            }
            for &verb in WRITERS {
                for &way in ways(face) {
                    if way == Way::TimeOut && face == Face::Asynchronous && !others.is_empty() {
                        // It is the socket's: the others would give up, too.
                        continue;
                    }
                    let next = async || match (place, others.is_empty()) {
                        (Place::Before, true) => Some(end.begin(named("send_all"), &unit(1)).await),
                        _ => None,
                    };
                    let next = give_up(&end, (verb, &unit(2)), way, next, async || ()).await;
                    others.extend(next);
                }
            }
            let last = end.begin(named("send_all"), &unit(3)).await;
            receive_filling(&far).await;
            for other in others {
                other.result().await.unwrap();
                assert_eq!(far.recv_all_bytes(UNIT).await.unwrap(), unit(1)[..], "{place:?}");
            }
            last.result().await.unwrap();
            assert_eq!(far.recv_all_bytes(UNIT).await.unwrap(), unit(3)[..], "{place:?}");
        }
    });
}

#[test]
fn each_verb_that_times_out_says_that_nothing_of_it_moved() {
    each_face(async |kind, face| {
        let (near, _far) = pair(kind);
        let end = End::new(face, near).await;
        for in_line in [false, true] {
            let _first = match in_line {
                true => Some(end.begin(named("recv"), &[]).await),
                false => None,
            };
            end.set_timeout(Some(SHORT));
            for &verb in READERS {
                assert_timed_out(end.call(verb, &[]).await, verb, true);
            }
            end.set_timeout(None);
        }
        end.close().await.unwrap();
        let (end, far) = full(kind, face).await;
        for in_line in [false, true] {
            let _first = match in_line {
                true => Some(end.begin(named("send_all"), &unit(1)).await),
                false => None,
            };
            end.set_timeout(Some(SHORT));
            for &verb in WRITERS {
                // A thread in line cannot look at the queue: another one has it.
                let sees_queue = face == Face::Asynchronous || !in_line;
                assert_timed_out(end.call(verb, &unit(2)).await, verb, sees_queue);
            }
            end.set_timeout(None);
        }
        drop(far);
    });
}
