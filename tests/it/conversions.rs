//! Conversion to the other face, and into parts, in each state of a connection: nothing received or
//! queued is lost, and the state is kept.

use std::{
    io::{ErrorKind, Read},
    net::Shutdown,
    thread,
    time::Duration,
};

use asyncoro::{AsyncSocket, pool};

use crate::{
    pairs::{Kind, pair, settle},
    verbs::{End, FILLING, Face, UNIT, each_face, full, named, receive_filling, unit},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fresh,
    /// A message was sent in this turn.
    Queued,
    /// A verb has left a unit over, and another has come since.
    LeftOver,
    /// Part of a message was received.
    HalfWay,
    /// A verb has waited, so the socket is registered.
    HasWaited,
    /// The peer has sent something and ended its stream.
    PeerEnded,
    /// We have ended our stream.
    Ended,
}

const STATES: [State; 7] = [
    State::Fresh,
    State::Queued,
    State::LeftOver,
    State::HalfWay,
    State::HasWaited,
    State::PeerEnded,
    State::Ended,
];

/// Makes an end in this state; returns it with its peer and what it must still receive.
async fn in_state(kind: Kind, face: Face, state: State) -> (End, AsyncSocket, Vec<u8>) {
    let (near, far) = pair(kind);
    let end = End::new(face, near).await;
    let mut due = Vec::new();
    match state {
        State::Fresh => {}
        State::Queued => drop(end.call(named("send_msg"), &unit(9)).await.unwrap()),
        State::LeftOver => {
            far.send_all(&[unit(1), unit(2)].concat()).await.unwrap();
            assert_eq!(end.call(named("recv_msg"), &[]).await.unwrap(), unit(1));
            far.send_all(&unit(3)).await.unwrap();
            due = [unit(2), unit(3)].concat();
        }
        State::HalfWay => {
            end.set_timeout(Some(Duration::from_millis(5)));
            far.send_all(&unit(1)[..5]).await.unwrap();
            end.call(named("recv_msg"), &[]).await.unwrap_err();
            end.set_timeout(None);
            far.send_all(&unit(1)[5..]).await.unwrap();
            due = unit(1).to_vec();
        }
        State::HasWaited => {
            let waiting = end.begin(named("recv"), &[]).await;
            far.send_all(&unit(1)).await.unwrap();
            waiting.result().await.unwrap();
        }
        State::PeerEnded => {
            far.send_all(&unit(1)).await.unwrap();
            far.shutdown(Shutdown::Write).await.unwrap();
            due = unit(1).to_vec();
        }
        State::Ended => {
            end.call(named("shutdown"), &[]).await.unwrap();
        }
    }
    settle().await;
    (end, far, due)
}

/// Converts the socket to the other face.
async fn turned(end: End) -> End {
    match end {
        End::Asynchronous(socket) => End::Blocking(socket.into_blocking().await.unwrap()),
        End::Blocking(socket) => End::Asynchronous(socket.into_async().unwrap()),
    }
}

async fn goes_on(end: &End, far: &AsyncSocket, state: State, mut due: Vec<u8>) {
    if state == State::Queued {
        assert_eq!(far.recv_msg().await.unwrap().unwrap(), unit(9)[4..]);
    }
    while !due.is_empty() {
        let got = end.call(named("recv_msg"), &[]).await.unwrap();
        assert_eq!(got, due[..UNIT], "{state:?}");
        due.drain(..UNIT);
    }
    if state == State::PeerEnded {
        assert!(end.call(named("recv_msg"), &[]).await.unwrap().is_empty());
    } else {
        let waiting = end.begin(named("recv_msg"), &[]).await;
        assert!(!waiting.is_over());
        far.send_all(&unit(4)).await.unwrap();
        assert_eq!(waiting.result().await.unwrap(), unit(4), "{state:?}");
    }
    let sent = end.call(named("send_all"), &unit(5)).await;
    if state == State::Ended {
        assert_eq!(sent.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(far.recv_bytes(9).await.unwrap(), "");
    } else {
        sent.unwrap();
        assert_eq!(far.recv_all_bytes(UNIT).await.unwrap(), unit(5)[..]);
    }
}

#[test]
fn a_connection_in_each_state_goes_on_on_the_other_face_and_back() {
    each_face(async |kind, face| {
        for state in STATES {
            let (end, far, due) = in_state(kind, face, state).await;
            goes_on(&turned(end).await, &far, state, due).await;
            let (end, far, due) = in_state(kind, face, state).await;
            goes_on(&turned(turned(end).await).await, &far, state, due).await;
        }
    });
}

#[test]
fn a_connection_in_each_state_is_taken_apart_with_all_that_was_received() {
    each_face(async |kind, face| {
        let is_plain = [Kind::Tcp4, Kind::Tcp6, Kind::Unix].contains(&kind);
        for state in STATES {
            let (end, far, due) = in_state(kind, face, state).await;
            let (mut socket, rest) = match end {
                End::Asynchronous(socket) => socket.into_parts().await.unwrap(),
                End::Blocking(socket) => socket.into_parts().unwrap(),
            };
            assert!(!socket.nonblocking().unwrap());
            if state == State::Queued {
                assert_eq!(far.recv_msg().await.unwrap().unwrap(), unit(9)[4..]);
            }
            if is_plain {
                // What was not received is the regular socket's.
                far.close().await.unwrap();
                let mut all = rest.to_vec();
                socket.read_to_end(&mut all).unwrap();
                assert_eq!(all, due, "{state:?}");
            } else {
                // TLS ends: what was decrypted is given, the rest is not asked for.
                assert!(due.starts_with(&rest), "{state:?}");
                if state == State::HalfWay || state == State::LeftOver {
                    assert!(!rest.is_empty(), "{state:?}");
                }
                assert_eq!(far.recv_msg().await.unwrap(), None, "{state:?}: a clean end");
            }
        }
    });
}

/// A conversion first sends what is queued, however long that takes; if it is given up, the socket
/// is gone.
#[test]
fn a_full_socket_is_converted_when_its_queue_has_left() {
    each_face(async |kind, face| {
        let (end, far) = full(kind, face).await;
        // In a thread, since one face waits in this one.
        let far = far.into_blocking().await.unwrap();
        let reading = thread::spawn(move || {
            assert_eq!(far.recv_msg().unwrap().unwrap().len(), FILLING);
            far
        });
        let end = turned(end).await;
        let far = pool::run(move || reading.join().unwrap()).await.into_async().unwrap();
        goes_on(&end, &far, State::Fresh, Vec::new()).await;
    });
}

#[test]
fn a_full_socket_is_not_converted_under_a_timeout_and_is_given_back() {
    each_face(async |kind, face| {
        let (end, far) = full(kind, face).await;
        end.set_timeout(Some(Duration::from_millis(20)));
        let end = match end {
            End::Asynchronous(socket) => {
                let refused = socket.into_blocking().await.unwrap_err();
                assert_eq!(refused.error.kind(), ErrorKind::TimedOut);
                End::Asynchronous(refused.socket)
            }
            End::Blocking(socket) => {
                let refused = socket.into_async().unwrap_err();
                assert_eq!(refused.error.kind(), ErrorKind::TimedOut);
                End::Blocking(refused.socket)
            }
        };
        end.set_timeout(None);
        let last = end.begin(named("send_all"), &unit(1)).await;
        receive_filling(&far).await;
        last.result().await.unwrap();
        assert_eq!(far.recv_all_bytes(UNIT).await.unwrap(), unit(1)[..]);
    });
}
