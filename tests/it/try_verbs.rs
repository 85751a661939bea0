//! `try_` verbs return `WouldBlock` only if the system would block.

use std::{io::ErrorKind, os::unix::net::UnixStream, thread, time::Duration};

use asyncoro::{AsyncSocket, coro::yield_now, error::TimedOut, run, spawn, time::sleep};
use bytes::Bytes;

use crate::{
    pairs::{self, KINDS, blocking_pair, bounded, each, take_now},
    verbs::{End, each_face},
};

fn pair() -> (AsyncSocket, AsyncSocket) {
    let (near, far) = UnixStream::pair().unwrap();
    (AsyncSocket::new(near).unwrap(), AsyncSocket::new(far).unwrap())
}

fn fill(socket: &AsyncSocket) {
    while socket.try_send(&[0; 4096]).is_ok() {}
}

fn empty(socket: &AsyncSocket) {
    while socket.try_recv(&mut [0; 65536]).is_ok() {}
}

fn try_again(near: &AsyncSocket, far: &AsyncSocket) {
    assert_eq!(near.try_recv(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    fill(near);
    empty(far);
    assert_eq!(near.try_send(b"x").unwrap(), 1);
    assert_eq!(far.try_recv(&mut [0]).unwrap(), 1);
}

#[test]
fn a_try_verb_asks_the_system_again_outside_a_scheduler() {
    let (near, far) = pair();
    (0..3).for_each(|_| try_again(&near, &far));
}

#[test]
fn a_try_verb_asks_the_system_again_in_a_later_turn() {
    asyncoro::run(async {
        let (near, far) = pair();
        for _ in 0..3 {
            assert_eq!(near.try_recv(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
            fill(&near);
            sleep(Duration::from_millis(1)).await;
            empty(&far);
            sleep(Duration::from_millis(1)).await;
            assert_eq!(near.try_send(b"x").unwrap(), 1);
            sleep(Duration::from_millis(1)).await;
            assert_eq!(far.try_recv(&mut [0]).unwrap(), 1);
        }
    });
}

#[test]
fn try_send_msg_takes_more_in_one_turn_than_the_queue_holds() {
    each(async |kind| {
        let (near, far) = pairs::pair(kind);
        near.options().set_send_buffer_size(200 << 10).unwrap();
        let message = Bytes::from(vec![7; 1 << 10]);
        for _ in 0..100 {
            near.try_send_msg(&message).unwrap();
        }
        for _ in 0..100 {
            assert_eq!(far.recv_msg().await.unwrap().unwrap(), message);
        }
    });
}

#[test]
fn try_send_msg_goes_on_once_the_peer_has_read() {
    bounded(|| {
        let message = Bytes::from(vec![7; 1 << 10]);
        for kind in KINDS.iter().copied() {
            let (near, far) = blocking_pair(kind);
            let mut sent = 0;
            while near.try_send_msg(&message).is_ok() {
                sent += 1;
            }
            assert!(sent > 64, "{kind:?}");
            let messages = sent + 1;
            let reading = thread::spawn(move || {
                for _ in 0..messages {
                    assert_eq!(far.recv_msg().unwrap().unwrap().len(), 1 << 10);
                }
            });
            near.writable().unwrap();
            near.try_send_msg(&message).expect("the queue can leave");
            near.flush().unwrap();
            reading.join().unwrap();
        }
    });
}

#[test]
fn without_coalescing_a_tried_message_leaves_at_once() {
    each(async |kind| {
        let (near, far) = pairs::pair(kind);
        near.set_coalescing(false);
        near.try_send_msg(&Bytes::from_static(b"now")).unwrap();
        assert_eq!(take_now(&far, 7), b"\0\0\0\x03now", "no turn has ended in between");
    });
}

#[test]
fn a_flush_that_times_out_says_that_the_rest_still_leaves() {
    run(async {
        let (near, far) = pair();
        let long = Bytes::from(vec![7; 8 << 20]);
        near.try_send_msg(&long).unwrap();
        near.set_timeout(Some(Duration::from_millis(20)));
        let error = near.flush().await.unwrap_err();
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<TimedOut>()).unwrap();
        assert!(inner.rest_queued);
        near.set_timeout(None);
        let (received, flushed) = (spawn(async move { far.recv_msg().await }), near.flush().await);
        flushed.unwrap();
        assert_eq!(received.await.unwrap().unwrap().unwrap(), long);
    });
}

#[test]
fn receiving_into_nothing_is_over_at_once() {
    each_face(async |kind, face| {
        let (near, far) = pairs::pair(kind);
        // With nothing to receive, and with something, which stays.
        match End::new(face, near).await {
            End::Asynchronous(near) => {
                for sent in ["", "x"] {
                    far.send(sent.as_bytes()).await.unwrap();
                    assert_eq!(near.recv(&mut []).await.unwrap(), 0);
                    assert_eq!(near.try_recv(&mut []).unwrap(), 0);
                    assert_eq!(near.peek(&mut []).await.unwrap(), 0);
                    assert_eq!(near.recv_bytes(0).await.unwrap(), "");
                    assert_eq!(near.recv_with_limit(0, <[u8]>::len).await.unwrap(), 0);
                    assert_eq!(near.recv_vectored(&mut []).await.unwrap(), 0);
                    near.recv_all(&mut []).await.unwrap();
                    assert_eq!(near.recv_all_bytes(0).await.unwrap(), "");
                }
                assert_eq!(near.recv_bytes(9).await.unwrap(), "x");
            }
            End::Blocking(near) => {
                for sent in ["", "x"] {
                    far.send(sent.as_bytes()).await.unwrap();
                    assert_eq!(near.recv(&mut []).unwrap(), 0);
                    assert_eq!(near.try_recv(&mut []).unwrap(), 0);
                    assert_eq!(near.peek(&mut []).unwrap(), 0);
                    assert_eq!(near.recv_bytes(0).unwrap(), "");
                    assert_eq!(near.recv_with_limit(0, <[u8]>::len).unwrap(), 0);
                    assert_eq!(near.recv_vectored(&mut []).unwrap(), 0);
                    near.recv_all(&mut []).unwrap();
                    assert_eq!(near.recv_all_bytes(0).unwrap(), "");
                }
                assert_eq!(near.recv_bytes(9).unwrap(), "x");
            }
        }
    });
}

/// A buffer whose owner panics when it is dropped.
struct Explosive(Vec<u8>);

impl AsRef<[u8]> for Explosive {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Explosive {
    fn drop(&mut self) {
        panic!("in the drop of bytes that have left");
    }
}

#[test]
fn a_panic_of_bytes_that_have_left_holds_up_nothing_behind_them() {
    each(async |kind| {
        let (near, far) = pairs::pair(kind);
        near.options().set_send_buffer_size(1 << 20).unwrap();
        let mut filled = 0;
        while let Ok(count) = near.try_send(&[0; 4096]) {
            filled += count;
        }
        let long = Bytes::from_owner(Explosive(vec![7; 128 << 10]));
        near.try_send_msg(&long).unwrap();
        drop(long);
        // Waits behind the long one, and sends both once there is room.
        let twin = near.clone();
        let sending = spawn(async move { twin.send_msg(b"behind").await });
        for _ in 0..3 {
            yield_now().await;
        }
        far.recv_all_bytes(filled).await.unwrap();
        sending.await.expect("the panic is nobody's but the log's").unwrap();
        near.send_msg(b"after").await.unwrap();
        assert_eq!(far.recv_msg().await.unwrap().unwrap().len(), 128 << 10);
        assert_eq!(far.recv_msg().await.unwrap().unwrap(), "behind");
        assert_eq!(far.recv_msg().await.unwrap().unwrap(), "after");
    });
}
