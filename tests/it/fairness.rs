//! Coroutines do not delay others: with timers that are due, with much data, with large futures.

use std::{
    cell::Cell,
    env,
    future::Future,
    io::{Read, Write},
    os::unix::net::UnixStream,
    process::Command,
    rc::Rc,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use socket2::Socket;

use asyncoro::{
    AsyncSocket, BlockingSocket, spawn,
    sync::{TrySendError, mailbox},
    time::{deadline, sleep, sleep_until, timeout},
};

use crate::{
    pairs::{
        BIG, KINDS, Kind, blocking, each, half, narrow, pair, pattern, settle, statistics,
        wait_for_bytes,
    },
    verbs::{DATAGRAMS, READERS, Verb, WRITERS, datagram_pairs, datagram_readers, each_kind, unit},
    within::{run_within, within},
};

/// Runs `again` in a loop until another coroutine has run.
async fn lets_others_run<F: Future<Output = ()>>(mut again: impl FnMut() -> F) {
    let ran = Rc::new(Cell::new(false));
    let mark = Rc::clone(&ran);
    drop(spawn(async move { mark.set(true) }));
    while !ran.get() {
        again().await;
    }
}

#[test]
fn times_that_are_over_let_others_run() {
    run_within(|| async {
        let past = Instant::now();
        lets_others_run(|| sleep(Duration::ZERO)).await;
        lets_others_run(|| sleep_until(past)).await;
        let never = std::future::pending::<()>;
        let none = Duration::ZERO;
        lets_others_run(|| async move { assert!(timeout(none, never()).await.is_err()) }).await;
        lets_others_run(|| async move { assert!(deadline(past, never()).await.is_err()) }).await;
    });
}

#[test]
fn times_that_are_over_have_the_kernel_asked() {
    each(async |kind| {
        let (near, far) = pair(kind);
        let come = || {
            assert_eq!(far.try_send(b"x").unwrap(), 1);
            wait_for_bytes(&near);
        };
        let mut buffer = [0; 1];
        let past = Instant::now();
        // Nothing is there: the socket is known to be drained.
        for _ in 0..3 {
            timeout(Duration::ZERO, near.recv(&mut buffer)).await.unwrap_err();
        }
        for _ in 0..100 {
            // What has come before is seen by the first that asks.
            come();
            assert_eq!(timeout(Duration::ZERO, near.recv(&mut buffer)).await.unwrap().unwrap(), 1);
            come();
            assert_eq!(deadline(past, near.recv(&mut buffer)).await.unwrap().unwrap(), 1);
        }
        // A loop of sleeps has it asked, too.
        let received = Rc::new(Cell::new(false));
        let mark = Rc::clone(&received);
        let reading = near.clone();
        let reader = spawn(async move {
            reading.recv(&mut [0; 1]).await.unwrap();
            mark.set(true);
        });
        sleep(Duration::ZERO).await;
        come();
        while !received.get() {
            sleep(Duration::ZERO).await;
        }
        reader.await.unwrap();
    });
}

#[test]
fn no_time_is_enough_for_what_is_ready() {
    run_within(|| async {
        let turns = || asyncoro::AsynCoro::current().statistics().turns;
        let before = turns();
        for _ in 0..10 {
            assert_eq!(timeout(Duration::ZERO, async { 7 }).await, Ok(7));
        }
        assert_eq!(turns(), before);
    });
}

/// Makes more bytes than a verb moves in one turn.
fn much(kind: Kind) -> Vec<u8> {
    let count = if kind == Kind::Unix { 8 << 20 } else { 4 << 20 };
    (0..count).map(|n| ((n * 31) >> 7) as u8).collect()
}

/// Counts how often a sleep of zero ends while `moving` runs.
async fn turns_beside<F: Future<Output = ()> + 'static>(moving: F) -> usize {
    let count = Rc::new(Cell::new(0));
    let counter = Rc::clone(&count);
    let ticking = spawn(async move {
        loop {
            sleep(Duration::ZERO).await;
            counter.set(counter.get() + 1);
        }
    });
    moving.await;
    ticking.terminate();
    count.get()
}

#[test]
fn who_moves_much_lets_others_have_their_turn() {
    each_kind(async |kind| {
        let payload = much(kind);
        let len = payload.len();
        let (near, far) = half(kind);
        let mut writer = far.try_clone().unwrap();
        let sent = payload.clone();
        let peer = thread::spawn(move || {
            let header = (sent.len() as u32).to_be_bytes();
            writer.write_all(&sent).unwrap();
            writer.write_all(&sent).unwrap();
            for _ in 0..2 {
                writer.write_all(&header).unwrap();
                writer.write_all(&sent).unwrap();
            }
        });
        let (same, reader) = (payload.clone(), near.clone());
        let turns = turns_beside(async move {
            let mut buffer = vec![0; len];
            reader.recv_all(&mut buffer).await.unwrap();
            assert!(buffer == same, "recv_all");
            assert!(reader.recv_all_bytes(len).await.unwrap() == same, "recv_all_bytes");
            assert!(reader.recv_msg().await.unwrap().unwrap() == same, "recv_msg");
            buffer.clear();
            reader.recv_msg_into(&mut buffer).await.unwrap();
            assert!(buffer == same, "recv_msg_into");
        });
        // However fast the peer is, each step ends after 256 KiB and each turn after 2 MiB.
        assert!(turns.await >= 4 * (len >> 21) - 1);
        peer.join().unwrap();
        let (same, writer, mut reader) = (payload.clone(), near.clone(), far);
        let peer = thread::spawn(move || {
            let mut read = vec![0; len];
            reader.read_exact(&mut read).unwrap();
            assert!(read == same, "send_all");
            reader.read_exact(&mut read[..4]).unwrap();
            reader.read_exact(&mut read).unwrap();
            assert!(read == same, "send_msg");
        });
        let turns = turns_beside(async move {
            writer.send_all(&payload).await.unwrap();
            writer.send_msg(&payload).await.unwrap();
            writer.flush().await.unwrap();
        });
        assert!(turns.await >= 2 * (len >> 21) - 1);
        near.close().await.unwrap();
        peer.join().unwrap();
    });
}

#[test]
fn a_long_queue_leaves_in_the_turns_of_others() {
    let reads = |mut far: Socket, same: Bytes| {
        thread::spawn(move || {
            let mut read = vec![0; same.len()];
            far.read_exact(&mut read[..4]).unwrap();
            far.read_exact(&mut read).unwrap();
            assert!(read == same);
        })
    };
    for kind in KINDS.iter().copied() {
        println!("{kind:?}");
        let payload = Bytes::from(much(kind));
        let same = payload.clone();
        run_within(move || async move {
            let (near, far) = half(kind);
            let peer = reads(far, same.clone());
            let (writer, len) = (near.clone(), same.len());
            let turns = turns_beside(async move {
                writer.try_send_msg(&same).unwrap();
                writer.flush().await.unwrap();
            });
            // However fast the peer reads, a flush ends after 256 KiB and what it has begun with.
            assert!(turns.await >= (len >> 21) - 1);
            near.close().await.unwrap();
            peer.join().unwrap();
        });
        // The end of a scheduler sends it, too, and so does a socket that nobody holds any more.
        for drops in [false, true] {
            let same = payload.clone();
            let peer = within(move || {
                // As long as it takes on a slow machine.
                let time = Duration::from_secs(30);
                let builder = asyncoro::AsynCoro::builder().drain(time).linger(time);
                builder.build().unwrap().run(async move {
                    let (near, far) = half(kind);
                    let peer = reads(far, same.clone());
                    near.try_send_msg(&same).unwrap();
                    if drops {
                        drop(near);
                        sleep(Duration::from_millis(1)).await;
                    }
                    peer
                })
            });
            peer.join().unwrap();
        }
        // Where no scheduler runs, and on the other face, nobody would go on.
        within(move || {
            let (near, far) = half(kind);
            let peer = reads(far, payload.clone());
            let near = blocking(near);
            near.try_send_msg(&payload).unwrap();
            near.close().unwrap();
            peer.join().unwrap();
        });
    }
}

#[test]
fn a_blocking_verb_that_moves_much_heeds_who_asks() {
    for kind in KINDS.iter().copied() {
        println!("{kind:?}");
        within(move || {
            let (near, mut far) = half(kind);
            let near = blocking(near);
            let peer = thread::spawn(move || {
                let piece = vec![7; 1 << 20];
                while far.write_all(&piece).is_ok() {}
            });
            let asked = Rc::new(Cell::new(0));
            let count = Rc::clone(&asked);
            BlockingSocket::on_interrupt(move || {
                count.set(count.get() + 1);
                if count.get() < 3 { Ok(()) } else { Err(std::io::ErrorKind::Interrupted.into()) }
            });
            let error = near.recv_all(&mut vec![0; 1 << 30]).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::Interrupted, "{error}");
            drop(near);
            peer.join().unwrap();
            BlockingSocket::on_interrupt(|| Ok(()));
        });
    }
}

#[test]
fn an_executor_inside_of_a_coroutine_does_not_spin_on_verbs() {
    /// More verbs than a budget allows.
    const MANY: usize = 200;

    run_within(|| async {
        let (near, mut far) = UnixStream::pair().unwrap();
        far.write_all(&[1; MANY]).unwrap();
        let near = AsyncSocket::new(near).unwrap();
        for _ in 0..MANY {
            let got = pollster_like(near.recv(&mut [0; 1]));
            assert_eq!(got.unwrap(), 1);
        }
        // Outside of it the budget holds as before.
        far.write_all(&[1; 10_000]).unwrap();
        let mut got = 0;
        lets_others_run(|| {
            got += 1;
            let near = near.clone();
            async move { assert_eq!(near.recv(&mut [0; 1]).await.unwrap(), 1) }
        })
        .await;
        assert!(got <= 129, "{got}");
    });
    // Each verb, when nothing is left of the budget.
    run_within(|| async {
        let finds_no_budget = |near: &AsyncSocket, verb: Verb, bytes: &[u8]| {
            for _ in 0..MANY {
                pollster_like(near.writable()).unwrap();
            }
            pollster_like((verb.call)(near.clone(), bytes.to_vec())).unwrap();
        };
        for &verb in READERS.iter().chain(WRITERS) {
            let (near, mut far) = UnixStream::pair().unwrap();
            far.write_all(&unit(1)).unwrap();
            finds_no_budget(&AsyncSocket::new(near).unwrap(), verb, &unit(1));
        }
        for verb in datagram_readers().chain(DATAGRAMS[2..].iter().copied()) {
            for (near, far) in datagram_pairs(&format!("executor-{verb:?}")).await {
                far.send(&unit(1)).await.unwrap();
                let own = near.local_addr().unwrap().to_string();
                finds_no_budget(&near, verb, own.as_bytes());
            }
        }
    });
}

/// Runs a future as `futures::executor::block_on` does.
fn pollster_like<F: Future>(future: F) -> F::Output {
    struct Unpark(thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Unpark(thread::current())).into();
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut std::task::Context::from_waker(&waker)) {
            std::task::Poll::Ready(value) => return value,
            std::task::Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn a_mailbox_that_was_full_is_looked_at_before_the_next_verb() {
    run_within(|| async {
        let (sender, receiver) = mailbox(8);
        let consumer = spawn(async move {
            let mut got = 0;
            while receiver.receive().await.is_some() {
                got += 1;
            }
            got
        });
        let (near, mut far) = UnixStream::pair().unwrap();
        far.write_all(&[1; 1000]).unwrap();
        let near = AsyncSocket::new(near).unwrap();
        let mut lost = 0;
        for _ in 0..100 {
            near.recv(&mut [0; 1]).await.unwrap();
            match sender.try_send(()) {
                Ok(()) => {}
                Err(TrySendError::Full(())) => lost += 1,
                Err(TrySendError::Closed(())) => unreachable!("the receiver lives"),
            }
        }
        drop(sender);
        // Eight are taken, one is refused, and the consumer has its turn.
        assert_eq!(consumer.await.unwrap() + lost, 100);
        assert!(lost <= 100 / 8, "{lost}");
    });
}

/// A future of `SIZE` bytes.
async fn large<const SIZE: usize>() -> usize {
    let bytes = [1_u8; SIZE];
    sleep(Duration::ZERO).await;
    bytes.iter().map(|byte| usize::from(*byte)).sum()
}

#[test]
fn a_large_future_fits_a_stack_of_2_mib() {
    const ALONE: &str = "ASYNCORO_TEST_LARGE";
    const NAME: &str = "fairness::a_large_future_fits_a_stack_of_2_mib";
    const SIZE: usize = 400 << 10;
    if env::var_os(ALONE).is_none() {
        let binary = env::current_exe().unwrap();
        let mut command = Command::new(binary);
        let output =
            within(move || command.env(ALONE, "1").args(["--exact", NAME]).output().unwrap());
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    let on_2_mib = |what: fn()| {
        let thread = thread::Builder::new().stack_size(2 << 20);
        thread.spawn(what).unwrap().join().unwrap();
    };
    on_2_mib(|| asyncoro::run(async { assert_eq!(spawn(large::<SIZE>()).await.unwrap(), SIZE) }));
    on_2_mib(|| assert_eq!(asyncoro::run(large::<SIZE>()), SIZE));
    on_2_mib(|| assert_eq!(asyncoro::run_until(large::<SIZE>()), SIZE));
    let scheduler = asyncoro::AsynCoro::start().unwrap();
    assert_eq!(scheduler.spawn(large::<SIZE>).value().unwrap(), SIZE);
}

/// Drops a socket with something unsent; returns its peer.
fn lingering(kind: Kind) -> AsyncSocket {
    let (near, far) = narrow(kind);
    near.set_queue_limit(2 * BIG);
    near.try_send_msg(&pattern(BIG).into()).unwrap();
    near.try_send_msg(&b"the last".as_slice().into()).unwrap();
    far
}

const LINGERING: usize = 3;

async fn sockets() -> usize {
    settle().await;
    statistics().sockets
}

#[test]
fn lingering_sockets_end_as_each_has_sent_its_last() {
    each(async |kind| {
        let peers: Vec<_> = (0..LINGERING).map(|_| lingering(kind)).collect();
        assert_eq!(sockets().await, LINGERING);
        for (left, peer) in peers.into_iter().enumerate().rev() {
            assert_eq!(peer.recv_msg().await.unwrap().unwrap(), pattern(BIG));
            assert_eq!(peer.recv_msg().await.unwrap().unwrap(), "the last");
            assert_eq!(peer.recv_msg().await.unwrap(), None);
            peer.close().await.unwrap();
            // TLS waits for a moment until what it has sent has arrived.
            while sockets().await > left {
                sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(sockets().await, left, "the others linger");
        }
    });
}

#[test]
fn lingering_sockets_whose_time_is_up_are_closed() {
    for kind in KINDS.iter().copied() {
        println!("{kind:?}");
        within(move || {
            let builder = asyncoro::AsynCoro::builder().linger(Duration::from_millis(20));
            builder.build().unwrap().run(async {
                let peers: Vec<_> = (0..LINGERING).map(|_| lingering(kind)).collect();
                while sockets().await > 0 {
                    sleep(Duration::from_millis(1)).await;
                }
                for peer in peers {
                    // Cut within the first.
                    peer.recv_msg().await.unwrap_err();
                }
            });
        });
    }
}
