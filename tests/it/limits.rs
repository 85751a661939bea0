//! Lengths and limits of messages and lines, between ends of either face, and what an accepted
//! socket inherits from its listener.

use std::{io::ErrorKind, time::Duration};

use asyncoro::{
    AsyncSocket,
    error::{DelimiterMissing, MessageTooLong},
    spawn,
};

use crate::{
    pairs::{Kind, inner, pair, pattern, server},
    verbs::{ACCEPT, End, FACES, UNIT, assert_timed_out, each_face, named, unit},
};

const LENGTHS: [usize; 11] = [0, 1, 3, 4, 258, 65_531, 65_532, 65_536, 65_537, 131_072, 3 << 20];

/// Makes a message with its header, as `send_msg` and `recv_msg` of the table of verbs take and
/// return it.
fn message(len: usize) -> Vec<u8> {
    [&(len as u32).to_be_bytes()[..], &pattern(len)].concat()
}

#[test]
fn messages_of_every_length_come_whole_from_each_face_to_each() {
    each_face(async |kind, face| {
        for other in FACES {
            let (near, far) = pair(kind);
            let (near, far) = (End::new(face, near).await, End::new(other, far).await);
            for verb in ["recv_msg", "recv_msg_into"].map(named) {
                let sender = near.clone();
                let sending = spawn(async move {
                    for len in LENGTHS {
                        sender.call(named("send_msg"), &message(len)).await.unwrap();
                    }
                });
                for len in LENGTHS {
                    let got = far.call(verb, &[]).await.unwrap();
                    assert!(got == message(len), "{verb:?}, {len} to {other:?}");
                }
                sending.await.unwrap();
            }
            near.call(named("shutdown"), &[]).await.unwrap();
            assert!(far.call(named("recv_msg"), &[]).await.unwrap().is_empty());
        }
    });
}

fn set_limit(end: &End, limit: usize) {
    match end {
        End::Asynchronous(socket) => socket.set_message_limit(limit),
        End::Blocking(socket) => socket.set_message_limit(limit),
    }
}

#[test]
fn a_message_over_the_limit_stays_unread_on_each_face() {
    each_face(async |kind, face| {
        let (near, far) = pair(kind);
        let end = End::new(face, near).await;
        set_limit(&end, 1);
        far.send_all(&unit(7)).await.unwrap();
        for verb in ["recv_msg", "recv_msg_into", "recv_msg"].map(named) {
            let error = end.call(verb, &[]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData);
            assert_eq!(inner(&error), Some(&MessageTooLong { len: 2, limit: 1 }));
        }
        set_limit(&end, 2);
        assert_eq!(end.call(named("recv_msg"), &[]).await.unwrap(), unit(7), "it is inclusive");
    });
}

#[test]
fn a_line_that_is_too_long_stays_unread_on_each_face() {
    each_face(async |kind, face| {
        let (near, far) = pair(kind);
        let end = End::new(face, near).await;
        let line = [b'x'; UNIT];
        far.send_all(&line).await.unwrap();
        for verb in ["recv_until", "recv_line", "recv_until"] {
            let error = end.call(named(verb), &[]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData);
            assert_eq!(inner(&error), Some(&DelimiterMissing { max: UNIT }));
        }
        assert_eq!(end.call(named("recv_all"), &[]).await.unwrap(), line);
        far.send_all(&unit(7)).await.unwrap();
        assert_eq!(end.call(named("recv_until"), &[]).await.unwrap(), unit(7), "just so long");
    });
}

/// Connects to a listener of [`server`].
async fn client(server: &AsyncSocket) -> AsyncSocket {
    AsyncSocket::create_connection(server.local_addr().unwrap()).await.unwrap()
}

#[test]
fn an_accepted_socket_has_its_listeners_limit_and_face_and_no_timeout() {
    each_face(async |kind, face| {
        if ![Kind::Tcp4, Kind::Tcp6, Kind::Unix].contains(&kind) {
            // As below, with a client that knows the certificate.
            return;
        }
        let listener = server(kind).await;
        let other = listener.clone();
        let peers = [client(&listener).await, client(&listener).await];
        drop(other);
        let listener = End::new(face, listener).await;
        listener.set_timeout(Some(Duration::from_millis(5)));
        set_limit(&listener, 1);
        for peer in peers {
            let accepted = match &listener {
                End::Asynchronous(listener) => {
                    let accepted = listener.accept().await.unwrap().0;
                    assert_eq!(accepted.timeout(), None);
                    End::Asynchronous(accepted)
                }
                End::Blocking(listener) => {
                    let accepted = listener.accept().unwrap().0;
                    assert_eq!(accepted.timeout(), None);
                    End::Blocking(accepted)
                }
            };
            let waiting = accepted.begin(named("recv_msg"), &[]).await;
            peer.send_all(&unit(7)).await.unwrap();
            assert_eq!(waiting.result().await.unwrap_err().kind(), ErrorKind::InvalidData);
        }
        assert_timed_out(listener.call(ACCEPT, &[]).await, ACCEPT, true);
    });
}

#[cfg(feature = "tls")]
#[test]
fn a_socket_accepted_with_tls_has_its_listeners_limit_and_no_timeout() {
    crate::pairs::run(async || {
        let (server_tls, client_tls) = crate::tls::localhost();
        for face in FACES {
            let listener = AsyncSocket::create_server("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port().unwrap();
            let listener = End::new(face, listener.with_tls(&server_tls).unwrap()).await;
            set_limit(&listener, 1);
            let tls = client_tls.clone();
            let asking = spawn(async move {
                let to = ("localhost", port);
                let peer = AsyncSocket::create_tls_connection(to, &tls).await.unwrap();
                peer.send_all(&unit(7)).await.unwrap();
                peer
            });
            let accepted = match &listener {
                End::Asynchronous(listener) => {
                    listener.set_timeout(Some(Duration::from_secs(10)));
                    let accepted = listener.accept().await.unwrap().0;
                    assert_eq!(accepted.timeout(), None);
                    End::Asynchronous(accepted)
                }
                End::Blocking(listener) => {
                    listener.set_timeout(Some(Duration::from_secs(10)));
                    let listener = listener.clone();
                    let accepting = asyncoro::pool::run(move || listener.accept().unwrap().0);
                    let accepted = accepting.await;
                    assert_eq!(accepted.timeout(), None);
                    End::Blocking(accepted)
                }
            };
            let error = accepted.call(named("recv_msg"), &[]).await.unwrap_err();
            assert_eq!(inner(&error), Some(&MessageTooLong { len: 2, limit: 1 }));
            drop(asking.await.unwrap());
        }
    });
}
