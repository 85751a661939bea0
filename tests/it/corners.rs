//! Corners where two rules meet: a queue and a drop, a close and a close, a timeout and a queue.

use std::{
    cell::RefCell,
    io::{ErrorKind, Read},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixStream,
    time::Duration,
};

use asyncoro::{AsyncSocket, coro::yield_now, run, run_until, spawn, time::sleep};
use bytes::Bytes;

use crate::within::within;

fn unix() -> (AsyncSocket, AsyncSocket) {
    let (near, far) = UnixStream::pair().unwrap();
    (AsyncSocket::new(near).unwrap(), AsyncSocket::new(far).unwrap())
}

/// A socket and its peer, which reads only when it is asked to.
fn beside_raw() -> (AsyncSocket, UnixStream) {
    let (near, far) = UnixStream::pair().unwrap();
    far.set_nonblocking(true).unwrap();
    (AsyncSocket::new(near).unwrap(), far)
}

/// Fills the system's buffers and leaves something queued; the bytes accepted.
async fn fill(near: &AsyncSocket) -> usize {
    let chunk = Bytes::from(vec![7; 60_000]);
    let mut all = 0;
    while near.try_send_msg(&chunk).is_ok() {
        all += chunk.len() + 4;
        yield_now().await;
    }
    all
}

/// What can be read now.
fn read_now(far: &mut impl Read) -> usize {
    let mut buffer = vec![0; 1 << 20];
    let mut all = 0;
    loop {
        match far.read(&mut buffer) {
            Ok(0) => return all,
            Ok(got) => all += got,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return all,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Reads 4 KiB every 20 ms until the end of the stream; how many bytes came.
async fn read_slowly(mut far: UnixStream) -> usize {
    let mut buffer = vec![0; 4096];
    let mut all = 0;
    loop {
        match far.read(&mut buffer) {
            Ok(0) => return all,
            Ok(got) => all += got,
            Err(_) => {}
        }
        sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn a_socket_converted_in_the_turn_of_a_message_goes_on_sending() {
    within(|| {
        run(async {
            let (near, far) = unix();
            near.send_msg(b"one").await.unwrap();
            let near = near.into_blocking().await.unwrap().into_async().unwrap();
            assert_eq!(far.recv_msg().await.unwrap().unwrap(), "one");
            near.send_msg(b"two").await.unwrap();
            assert_eq!(far.recv_msg().await.unwrap().unwrap(), "two");
            near.send_msg(b"three").await.unwrap();
            drop(near.into_blocking().await.unwrap().into_async().unwrap());
            assert_eq!(far.recv_msg().await.unwrap().unwrap(), "three");
        });
    });
}

#[test]
fn a_queue_goes_on_when_the_writer_that_was_woken_for_it_is_dropped() {
    within(|| {
        run(async {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (mut far, _) = listener.accept().unwrap();
            far.set_nonblocking(true).unwrap();
            let near = AsyncSocket::new(near).unwrap();
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
            let mut got = read_now(&mut far);
            nap.await;
            waiting.terminate();
            let _ = waiting.await;
            while got < sent {
                got += read_now(&mut far);
                sleep(Duration::from_millis(5)).await;
            }
            assert_eq!(got, sent);
        });
    });
}

#[test]
fn any_number_of_closes_end_together() {
    within(|| {
        run_until(async {
            let (near, far) = beside_raw();
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
    });
}

#[test]
fn a_timeout_starts_anew_with_each_queued_byte_that_moves() {
    within(|| {
        run_until(async {
            let (near, far) = beside_raw();
            near.options().set_send_buffer_size(8 << 10).unwrap();
            let all = fill(&near).await;
            near.set_timeout(Some(Duration::from_millis(300)));
            let reader = spawn(read_slowly(far));
            near.send_msg(&[1; 60_000]).await.unwrap();
            near.close().await.unwrap();
            assert_eq!(reader.await.unwrap(), all + 60_004);
        });
    });
}

thread_local! {
    static SOCKET: RefCell<Option<AsyncSocket>> = const { RefCell::new(None) };
}

/// Memory whose end has the next message sent.
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
    within(|| {
        run(async {
            let (near, far) = unix();
            SOCKET.set(Some(near.clone()));
            near.try_send_msg(&Bytes::from_owner(Chained(vec![1; 70_000]))).unwrap();
            assert_eq!(far.recv_msg().await.unwrap().unwrap().len(), 70_000);
            assert_eq!(far.recv_msg().await.unwrap().unwrap(), "next");
            SOCKET.set(None);
        });
    });
}

#[test]
fn recv_bytes_of_any_number_reserves_little() {
    within(|| {
        run(async {
            let (near, far) = unix();
            near.send(b"x").await.unwrap();
            assert_eq!(far.recv_bytes(usize::MAX).await.unwrap(), "x");
        });
    });
}
