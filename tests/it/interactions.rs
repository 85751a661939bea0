//! Interactions of two features: a queue and a drop, two closes, a timeout and a queue.

use std::{cell::RefCell, time::Duration};

use asyncoro::{
    AsyncSocket,
    coro::{Scheduler, yield_now},
    spawn,
    time::sleep,
};
use bytes::Bytes;

use crate::pairs::{BIG, KINDS, bounded, each, each_at_once, narrow, pair};

/// Fills the system's buffers and leaves something queued; returns how many bytes were accepted.
async fn fill(near: &AsyncSocket) -> usize {
    let chunk = Bytes::from(vec![7; 60_000]);
    let mut all = 0;
    while near.try_send_msg(&chunk).is_ok() {
        all += chunk.len() + 4;
        yield_now().await;
    }
    all
}

/// Reads what has come; returns how many bytes.
fn read_now(far: &AsyncSocket) -> usize {
    let mut buffer = vec![0; 1 << 20];
    let mut all = 0;
    while let Ok(got @ 1..) = far.try_recv(&mut buffer) {
        all += got;
    }
    all
}

/// Reads 32 KiB every 10 ms until the end of the stream; returns how many bytes came.
async fn read_slowly(far: AsyncSocket) -> usize {
    let mut all = 0;
    loop {
        match far.recv_bytes(32 << 10).await.unwrap().len() {
            0 => return all,
            got => all += got,
        }
        sleep(Duration::from_millis(10)).await;
    }
}

#[test]
fn a_socket_converted_in_the_turn_of_a_message_goes_on_sending() {
    each(async |kind| {
        let (near, far) = pair(kind);
        near.send_msg(b"one").await.unwrap();
        let near = near.into_blocking().await.unwrap().into_async().unwrap();
        assert_eq!(far.recv_msg().await.unwrap().unwrap(), "one");
        near.send_msg(b"two").await.unwrap();
        assert_eq!(far.recv_msg().await.unwrap().unwrap(), "two");
        near.send_msg(b"three").await.unwrap();
        drop(near.into_blocking().await.unwrap().into_async().unwrap());
        assert_eq!(far.recv_msg().await.unwrap().unwrap(), "three");
    });
}

#[test]
fn a_queue_goes_on_when_the_writer_that_was_woken_for_it_is_dropped() {
    each(async |kind| {
        let (near, far) = narrow(kind);
        let sent = fill(&near).await;
        let writer = near.clone();
        let waiting = spawn(async move { writer.send_all(b"more").await });
        sleep(Duration::from_millis(10)).await;
        // Our timer is due and the socket is writable at the end of the same turn: we are
        // resumed first, and the writer is woken behind us.
        let mut nap = Box::pin(sleep(Duration::from_millis(1)));
        std::future::poll_fn(|cx| {
            assert!(nap.as_mut().poll(cx).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        std::thread::sleep(Duration::from_millis(3));
        let mut got = read_now(&far);
        nap.await;
        waiting.terminate();
        let _ = waiting.await;
        while got < sent {
            got += read_now(&far);
            sleep(Duration::from_millis(5)).await;
        }
        // The writer may have come first, where a thread was slow.
        assert!([sent, sent + "more".len()].contains(&got), "{got} of {sent}");
    });
}

#[test]
fn any_number_of_closes_end_together() {
    each_at_once(async |kind| {
        let (near, far) = narrow(kind);
        fill(&near).await;
        let close = |_| {
            let socket = near.clone();
            spawn(async move { socket.close().await })
        };
        let closes: Vec<_> = (0..5).map(close).collect();
        sleep(Duration::from_millis(10)).await;
        drop(spawn(read_slowly(far)));
        for close in closes {
            close.await.unwrap().unwrap();
        }
    });
}

#[test]
fn a_timeout_starts_anew_with_each_queued_byte_that_moves() {
    each_at_once(async |kind| {
        let (near, far) = narrow(kind);
        near.try_send_msg(&vec![7; 2 * BIG].into()).unwrap();
        near.set_timeout(Some(Duration::from_millis(300)));
        let reader = spawn(read_slowly(far));
        // Longer in all than the timeout, but never that long without a byte.
        near.send_msg(&[1; 60_000]).await.unwrap();
        near.close().await.unwrap();
        assert_eq!(reader.await.unwrap(), 2 * BIG + 4 + 60_004);
    });
}

thread_local! {
    static SOCKET: RefCell<Option<AsyncSocket>> = const { RefCell::new(None) };
}

/// A buffer whose drop sends the next message.
struct Chained(Vec<u8>);

impl AsRef<[u8]> for Chained {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Chained {
    fn drop(&mut self) {
        SOCKET.with(|socket| {
            if let Some(socket) = &*socket.borrow() {
                assert!(socket.local_addr().is_ok());
                socket.try_send_msg(&Bytes::from_static(b"next")).unwrap();
            }
        });
    }
}

#[test]
fn memory_that_is_given_back_may_use_the_socket_it_was_sent_on() {
    each(async |kind| {
        let (near, far) = pair(kind);
        SOCKET.set(Some(near.clone()));
        near.try_send_msg(&Bytes::from_owner(Chained(vec![1; 70_000]))).unwrap();
        assert_eq!(far.recv_msg().await.unwrap().unwrap().len(), 70_000);
        assert_eq!(far.recv_msg().await.unwrap().unwrap(), "next");
        SOCKET.set(None);
    });
}

#[test]
fn memory_that_is_given_back_in_the_midst_of_a_queue_lists_its_socket_once() {
    const LONG: usize = 100_000;
    bounded(|| {
        for kind in KINDS.iter().copied() {
            println!("{kind:?}");
            let scheduler = Scheduler::new().unwrap();
            let (near, far) = pair(kind);
            near.set_queue_limit(4 * BIG);
            SOCKET.set(Some(near.clone()));
            // More than several turns may send.
            scheduler.enter(async {
                near.try_send_msg(&Bytes::from_owner(Chained(vec![1; LONG]))).unwrap();
                for _ in 0..14 {
                    near.try_send_msg(&vec![2; LONG].into()).unwrap();
                }
            });
            // The first has been given back in the flush at the end of that turn, which has gone on
            // with the rest: the socket is listed for the next one, and stays so, once.
            let before = scheduler.statistics().flushes;
            scheduler.enter(async { near.try_send_msg(&Bytes::from_static(b"last")).unwrap() });
            assert!(scheduler.statistics().flushes - before <= 1, "{kind:?}: listed twice");
            scheduler.run_until(async {
                for number in 0..15 {
                    let message = far.recv_msg().await.unwrap().unwrap();
                    assert_eq!((message[0], message.len()), (1 + u8::from(number > 0), LONG));
                }
                assert_eq!(far.recv_msg().await.unwrap().unwrap(), "next");
                assert_eq!(far.recv_msg().await.unwrap().unwrap(), "last");
            });
            SOCKET.set(None);
        }
    });
}

#[test]
fn recv_bytes_of_any_number_reserves_little() {
    each(async |kind| {
        let (near, far) = pair(kind);
        near.send(b"x").await.unwrap();
        assert_eq!(far.recv_bytes(usize::MAX).await.unwrap(), "x");
    });
}
