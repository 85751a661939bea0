//! The budget: who never has to wait still lets the others go on.

use std::{cell::Cell, io::Write, os::unix::net::UnixStream, rc::Rc, thread, time::Duration};

use asyncoro::{
    AsynCoro, AsyncSocket, coro::current, coro::yield_now, spawn, sync::mailbox, time::sleep,
};

use crate::within::run_within;

/// A socket with this many bytes to read, and its peer.
fn filled(count: usize) -> (AsyncSocket, UnixStream) {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let bytes: Vec<u8> = (0..count).map(|number| number as u8).collect();
    theirs.write_all(&bytes).unwrap();
    (AsyncSocket::new(ours).unwrap(), theirs)
}

#[test]
fn a_reader_that_never_waits_lets_others_go_first_every_128_verbs() {
    run_within(|| async {
        let (socket, _theirs) = filled(10_000);
        let others = Rc::new(Cell::new(0));
        let inner = Rc::clone(&others);
        drop(spawn(async move {
            current().set_daemon(true);
            loop {
                inner.set(inner.get() + 1);
                yield_now().await;
            }
        }));
        let mut byte = [0];
        let mut since_other = (0, 0);
        for number in 0..10_000 {
            assert_eq!(socket.recv(&mut byte).await.unwrap(), 1);
            assert_eq!(byte[0], number as u8, "nothing is lost when the budget runs out");
            since_other = match since_other {
                (count, seen) if seen == others.get() => (count + 1, seen),
                _ => (1, others.get()),
            };
            assert!(since_other.0 <= 128);
        }
        assert!(others.get() >= 10_000 / 128);
    });
}

#[test]
fn a_writer_that_never_waits_lets_others_go_first_too() {
    run_within(|| async {
        let (socket, theirs) = filled(0);
        let drain = std::thread::spawn(move || {
            let mut theirs = theirs;
            std::io::copy(&mut theirs, &mut std::io::sink()).unwrap()
        });
        let before = AsynCoro::current().statistics().resumes;
        for _ in 0..1000 {
            socket.send(b"x").await.unwrap();
        }
        let after = AsynCoro::current().statistics().resumes;
        assert!(after - before >= 1000 / 128);
        socket.close().await.unwrap();
        assert_eq!(drain.join().unwrap(), 1000);
    });
}

#[test]
fn who_yields_for_ever_and_alone_holds_up_no_timer_no_thread_and_no_socket() {
    run_within(|| async {
        drop(spawn(async {
            current().set_daemon(true);
            loop {
                yield_now().await;
            }
        }));
        let soon = Duration::from_millis(5);
        sleep(soon).await;
        let (sender, receiver) = mailbox(1);
        let sends = thread::spawn(move || {
            thread::sleep(soon);
            sender.try_send(7).unwrap();
        });
        assert_eq!(receiver.receive().await, Some(7));
        sends.join().unwrap();
        let (socket, mut theirs) = filled(0);
        let writes = thread::spawn(move || {
            thread::sleep(soon);
            theirs.write_all(b"x").unwrap();
        });
        assert_eq!(socket.recv(&mut [0]).await.unwrap(), 1);
        writes.join().unwrap();
    });
}

#[test]
fn a_budget_is_fresh_at_each_resume() {
    run_within(|| async {
        let (socket, _theirs) = filled(1000);
        let mut byte = [0];
        for _ in 0..10 {
            yield_now().await;
            let before = AsynCoro::current().statistics().resumes;
            for _ in 0..100 {
                socket.recv(&mut byte).await.unwrap();
            }
            assert_eq!(AsynCoro::current().statistics().resumes, before);
        }
    });
}
