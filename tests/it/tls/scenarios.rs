//! The verbs of a TLS socket behave as without TLS.

use std::{io::ErrorKind, net::Shutdown, thread, time::Duration};

use asyncoro::{AsyncSocket, BlockingSocket, TlsVersion, coro, time::sleep};

use super::{each_version, listening, listening_blocking, localhost_by, run_each_version};
use crate::pairs::{BIG, LIMIT, pattern};

const SHORT: Duration = Duration::from_millis(50);

/// Makes a TLS connection; returns the accepted end first.
async fn pair(version: TlsVersion) -> (AsyncSocket, AsyncSocket) {
    let (server, client) = localhost_by(version);
    let (listener, port) = listening(&server).await;
    let connecting = coro::spawn(async move {
        AsyncSocket::create_tls_connection(("localhost", port), &client).await.unwrap()
    });
    let accepted = listener.accept().await.unwrap().0;
    (accepted, connecting.await.unwrap())
}

fn pair_blocking(version: TlsVersion) -> (BlockingSocket, BlockingSocket) {
    let (server, client) = localhost_by(version);
    let (listener, port) = listening_blocking(&server);
    let connecting = thread::spawn(move || {
        BlockingSocket::create_tls_connection(("localhost", port), &client).unwrap()
    });
    let accepted = listener.accept().unwrap().0;
    accepted.set_timeout(Some(LIMIT));
    accepted.flush().unwrap();
    let connected = connecting.join().unwrap();
    connected.set_timeout(Some(LIMIT));
    (accepted, connected)
}

/// S29: sends 20 MB to a reader that begins later.
#[test]
fn twenty_megabytes_to_a_late_reader_arrive() {
    run_each_version(async |version| {
        let (far, near) = pair(version).await;
        let sending = coro::spawn(async move {
            far.send_all(&pattern(20 << 20)).await.unwrap();
            far.close().await.unwrap();
        });
        sleep(Duration::from_millis(400)).await;
        assert!(near.recv_all_bytes(20 << 20).await.unwrap() == pattern(20 << 20));
        assert_eq!(near.recv(&mut [0]).await.unwrap(), 0);
        assert!(near.peer_closed_cleanly());
        sending.await.unwrap();
    });
}

/// S31, and the other ways to end.
#[test]
fn close_drop_and_shutdown_send_close_notify() {
    run_each_version(async |version| {
        for end in [Ending::Close, Ending::Drop, Ending::Shutdown] {
            let (far, near) = pair(version).await;
            far.send_all(b"bye").await.unwrap();
            match end {
                Ending::Close => far.close().await.unwrap(),
                Ending::Drop => drop(far),
                Ending::Shutdown => far.shutdown(Shutdown::Write).await.unwrap(),
            }
            assert_eq!(near.recv_all_bytes(3).await.unwrap(), "bye");
            assert!(near.recv_bytes(9).await.unwrap().is_empty());
            assert!(near.peer_closed_cleanly());
            assert_eq!(near.recv_msg().await.unwrap(), None);
        }
    });
    each_version(|version| {
        for end in [Ending::Close, Ending::Drop, Ending::Shutdown] {
            let (far, near) = pair_blocking(version);
            far.send_all(b"bye").unwrap();
            match end {
                Ending::Close => far.close().unwrap(),
                Ending::Drop => drop(far),
                Ending::Shutdown => far.shutdown(Shutdown::Write).unwrap(),
            }
            assert_eq!(near.recv_all_bytes(3).unwrap(), "bye");
            assert!(near.recv_bytes(9).unwrap().is_empty());
            assert!(near.peer_closed_cleanly());
        }
    });
}

#[derive(Clone, Copy)]
enum Ending {
    Close,
    Drop,
    Shutdown,
}

#[test]
fn a_conversation_goes_on_on_the_other_face_and_ends_with_the_parts() {
    run_each_version(async |version| {
        let (far, near) = pair(version).await;
        // Said and not taken: part of it is in a buffer of ours.
        far.send_all(b"one\ntwo\n").await.unwrap();
        assert_eq!(near.recv_until(b"\n", 9).await.unwrap(), "one\n");
        let near = near.into_blocking().await.unwrap();
        assert_eq!(near.recv_until(b"\n", 9).unwrap(), "two\n");
        near.send_all(b"three\n").unwrap();
        assert_eq!(far.recv_until(b"\n", 9).await.unwrap(), "three\n");
        let near = near.into_async().unwrap();
        near.send_msg(b"four").await.unwrap();
        assert_eq!(far.recv_msg().await.unwrap().unwrap(), "four");

        far.send_all(b"five\nsix\n").await.unwrap();
        assert_eq!(near.recv_until(b"\n", 9).await.unwrap(), "five\n");
        let (plain, received) = near.into_parts().await.unwrap();
        assert_eq!(received, "six\n");
        assert_eq!(far.recv(&mut [0]).await.unwrap(), 0);
        assert!(far.peer_closed_cleanly());
        drop(plain);
    });
}

#[test]
fn timeouts_are_those_of_a_plain_socket() {
    run_each_version(async |version| {
        let (far, near) = pair(version).await;
        near.set_timeout(Some(SHORT));
        assert_eq!(near.recv_msg().await.unwrap_err().kind(), ErrorKind::TimedOut);
        far.send_msg(b"late").await.unwrap();
        assert_eq!(near.recv_msg().await.unwrap().unwrap(), "late");
        // Nobody reads.
        let error = near.send_all(&pattern(32 * BIG)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        // What was taken of it arrives, whole and in order.
        let reading = coro::spawn(async move {
            let mut all = Vec::new();
            loop {
                let some = far.recv_bytes(BIG).await.unwrap();
                if some.is_empty() {
                    break;
                }
                all.extend_from_slice(&some);
            }
            assert!(far.peer_closed_cleanly());
            all
        });
        near.set_timeout(None);
        near.close().await.unwrap();
        let all = reading.await.unwrap();
        assert!(all == pattern(all.len()));
    });
    each_version(|version| {
        let (far, near) = pair_blocking(version);
        near.set_timeout(Some(SHORT));
        assert_eq!(near.recv_msg().unwrap_err().kind(), ErrorKind::TimedOut);
        far.send_msg(b"late").unwrap();
        assert_eq!(near.recv_msg().unwrap().unwrap(), "late");
        let error = near.send_all(&pattern(32 * BIG)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn one_thread_reads_while_another_writes() {
    each_version(|version| {
        const LEN: usize = 4 * BIG;
        let both = |socket: BlockingSocket| {
            let sender = socket.clone();
            let sending = thread::spawn(move || sender.send_all(&pattern(LEN)).unwrap());
            assert!(socket.recv_all_bytes(LEN).unwrap() == pattern(LEN));
            sending.join().unwrap();
        };
        let (far, near) = pair_blocking(version);
        let other = thread::spawn(move || both(far));
        both(near);
        other.join().unwrap();
    });
}

#[test]
fn what_was_said_and_is_decrypted_already_is_seen_by_readable_peek_and_try_recv() {
    run_each_version(async |version| {
        let (far, near) = pair(version).await;
        let mut buffer = [0; 3];
        assert_eq!(near.try_recv(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
        far.send_all(b"abcdef").await.unwrap();
        near.readable().await.unwrap();
        assert_eq!(near.peek(&mut buffer).await.unwrap(), 3);
        assert_eq!(near.recv(&mut buffer).await.unwrap(), 3);
        assert_eq!(&buffer, b"abc");
        // The rest is in no buffer of the kernel's.
        near.readable().await.unwrap();
        assert_eq!(near.try_recv(&mut buffer).unwrap(), 3);
        assert_eq!(&buffer, b"def");
        assert_eq!(near.try_recv(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
    });
    each_version(|version| {
        let (far, near) = pair_blocking(version);
        let mut buffer = [0; 3];
        assert_eq!(near.try_recv(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
        far.send_all(b"abcdef").unwrap();
        near.readable().unwrap();
        assert_eq!(near.peek(&mut buffer).unwrap(), 3);
        assert_eq!(near.recv(&mut buffer).unwrap(), 3);
        near.readable().unwrap();
        assert_eq!(near.try_recv(&mut buffer).unwrap(), 3);
        assert_eq!(&buffer, b"def");
    });
}
