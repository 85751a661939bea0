//! Nobody holds up the others: with times that are over, with much to move, with large futures.

use std::{
    cell::{Cell, RefCell},
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

use asyncoro::{
    AsyncSocket, BlockingSocket, spawn,
    sync::{TrySendError, mailbox},
    time::{deadline, sleep, sleep_until, timeout},
};

use crate::{
    verbs::{DATAGRAMS, READERS, Verb, WRITERS, datagram_pairs, datagram_readers, unit},
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
    run_within(|| async {
        let (near, mut far) = UnixStream::pair().unwrap();
        let near = AsyncSocket::new(near).unwrap();
        let mut buffer = [0; 1];
        let past = Instant::now();
        // Nothing is there: the socket is known to be drained.
        for _ in 0..3 {
            timeout(Duration::ZERO, near.recv(&mut buffer)).await.unwrap_err();
        }
        for _ in 0..100 {
            // What has come before is seen by the first that asks.
            far.write_all(b"x").unwrap();
            assert_eq!(timeout(Duration::ZERO, near.recv(&mut buffer)).await.unwrap().unwrap(), 1);
            far.write_all(b"x").unwrap();
            assert_eq!(deadline(past, near.recv(&mut buffer)).await.unwrap().unwrap(), 1);
        }
        near.set_timeout(Some(Duration::ZERO));
        for _ in 0..100 {
            far.write_all(b"x").unwrap();
            assert_eq!(near.recv(&mut buffer).await.unwrap(), 1);
        }
        // A loop of sleeps has it asked, too.
        let received = Rc::new(Cell::new(false));
        let mark = Rc::clone(&received);
        near.set_timeout(None);
        let reader = spawn(async move {
            near.recv(&mut [0; 1]).await.unwrap();
            mark.set(true);
        });
        sleep(Duration::ZERO).await;
        far.write_all(b"x").unwrap();
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

/// Bytes that take many shares and many turns.
const MUCH: usize = 32 << 20;

/// Counts the turns that a timer of no time gets while `moving` runs.
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
    run_within(|| async {
        let payload: Vec<u8> = (0..MUCH).map(|n| ((n * 31) >> 7) as u8).collect();
        let (near, far) = UnixStream::pair().unwrap();
        let near = AsyncSocket::new(near).unwrap();
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
            let mut buffer = vec![0; MUCH];
            reader.recv_all(&mut buffer).await.unwrap();
            assert!(buffer == same, "recv_all");
            assert!(reader.recv_all_bytes(MUCH).await.unwrap() == same, "recv_all_bytes");
            assert!(reader.recv_msg().await.unwrap().unwrap() == same, "recv_msg");
            buffer.clear();
            reader.recv_msg_into(&mut buffer).await.unwrap();
            assert!(buffer == same, "recv_msg_into");
        });
        // However fast the peer is, each step ends after 256 KiB and each turn after 2 MiB.
        assert!(turns.await >= 4 * (MUCH >> 21) - 1);
        peer.join().unwrap();
        let (same, writer, mut reader) = (payload.clone(), near.clone(), far);
        let peer = thread::spawn(move || {
            let mut read = vec![0; MUCH];
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
        assert!(turns.await >= 2 * (MUCH >> 21) - 1);
        near.close().await.unwrap();
        peer.join().unwrap();
    });
}

#[test]
fn a_long_queue_leaves_in_the_turns_of_others() {
    let reads = |mut far: UnixStream, same: Bytes| {
        thread::spawn(move || {
            let mut read = vec![0; MUCH];
            far.read_exact(&mut read[..4]).unwrap();
            far.read_exact(&mut read).unwrap();
            assert!(read == same);
        })
    };
    let payload: Bytes = (0..MUCH).map(|n| ((n * 31) >> 7) as u8).collect();
    let (near, far) = UnixStream::pair().unwrap();
    let (same, peer) = (payload.clone(), reads(far, payload.clone()));
    run_within(|| async move {
        let near = AsyncSocket::new(near).unwrap();
        let writer = near.clone();
        let turns = turns_beside(async move {
            writer.try_send_msg(&same).unwrap();
            writer.flush().await.unwrap();
        });
        // However fast the peer reads, a flush ends after 256 KiB and what it has begun with.
        assert!(turns.await >= (MUCH >> 21) - 1);
        near.close().await.unwrap();
    });
    peer.join().unwrap();
    // The end of a scheduler sends it, too, and so does a socket that nobody holds any more.
    for drops in [false, true] {
        let (near, far) = UnixStream::pair().unwrap();
        let (same, peer) = (payload.clone(), reads(far, payload.clone()));
        run_within(move || async move {
            let near = AsyncSocket::new(near).unwrap();
            near.try_send_msg(&same).unwrap();
            if drops {
                drop(near);
                sleep(Duration::from_millis(1)).await;
            }
        });
        peer.join().unwrap();
    }
    // Where no scheduler runs, and on the other face, nobody would go on.
    let (near, far) = UnixStream::pair().unwrap();
    let peer = reads(far, payload.clone());
    let near = BlockingSocket::new(near).unwrap();
    near.try_send_msg(&payload).unwrap();
    near.close().unwrap();
    peer.join().unwrap();
}

#[test]
fn a_blocking_verb_that_moves_much_heeds_who_asks() {
    within(|| {
        let (near, mut far) = UnixStream::pair().unwrap();
        let near = BlockingSocket::new(near).unwrap();
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

#[test]
fn an_executor_inside_of_a_coroutine_does_not_spin_on_verbs() {
    /// More verbs than a budget has.
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

/// An executor that blocks its thread, as `futures::executor::block_on`.
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

/// Of so many bytes while it waits.
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

/// A dropped socket with something unsent, and its peer.
fn lingering() -> UnixStream {
    let (near, far) = UnixStream::pair().unwrap();
    let near = AsyncSocket::new(near).unwrap();
    while near.try_send(&[0; 1 << 16]).is_ok() {}
    near.try_send_msg(&b"the last".as_slice().into()).unwrap();
    far
}

#[test]
fn lingering_sockets_end_as_each_has_sent_its_last() {
    run_within(|| async {
        let peers: Vec<_> = (0..20).map(|_| lingering()).collect();
        sleep(Duration::from_millis(1)).await;
        let sockets = || asyncoro::AsynCoro::current().statistics().sockets;
        assert_eq!(sockets(), 20);
        let left = RefCell::new(20);
        for peer in peers.into_iter().rev() {
            let peer = AsyncSocket::new(peer).unwrap();
            let mut all = Vec::new();
            loop {
                let got = peer.recv_bytes(1 << 20).await.unwrap();
                if got.is_empty() {
                    break;
                }
                all.extend_from_slice(&got);
            }
            assert!(all.ends_with(b"the last"));
            peer.close().await.unwrap();
            *left.borrow_mut() -= 1;
            assert_eq!(sockets(), *left.borrow());
        }
    });
}

#[test]
fn lingering_sockets_whose_time_is_up_are_closed() {
    within(|| {
        let builder = asyncoro::AsynCoro::builder().linger(Duration::from_millis(20));
        builder.build().unwrap().run(async {
            let peers: Vec<_> = (0..20).map(|_| lingering()).collect();
            sleep(Duration::from_millis(1)).await;
            for mut peer in peers {
                while asyncoro::AsynCoro::current().statistics().sockets > 0 {
                    sleep(Duration::from_millis(1)).await;
                }
                let mut all = Vec::new();
                peer.read_to_end(&mut all).unwrap();
                assert!(!all.ends_with(b"the last"));
            }
        });
    });
}
