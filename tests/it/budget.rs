//! The budget: a coroutine that never has to wait still lets the others run.

use std::{cell::Cell, io::Write, os::unix::net::UnixStream, rc::Rc, thread, time::Duration};

use asyncoro::{
    AsynCoro, AsyncSocket, coro::current, coro::yield_now, spawn, sync::mailbox, time::sleep,
};

use crate::{
    pairs::{each, pair, wait_for_bytes},
    verbs::{READERS, UNIT, Verb, WRITERS, unit},
    within::run_within,
};

/// Starts a coroutine that is always ready, and counts its runs.
fn other() -> Rc<Cell<usize>> {
    let others = Rc::new(Cell::new(0));
    let inner = Rc::clone(&others);
    drop(spawn(async move {
        current().set_daemon(true);
        loop {
            inner.set(inner.get() + 1);
            yield_now().await;
        }
    }));
    others
}

/// Asserts that no more than 128 calls of a verb complete before others run.
struct Watch {
    others: Rc<Cell<usize>>,
    seen: usize,
    since: usize,
}

impl Watch {
    fn new(others: &Rc<Cell<usize>>) -> Watch {
        Watch { others: Rc::clone(others), seen: others.get(), since: 0 }
    }

    #[track_caller]
    fn called(&mut self, verb: Verb) {
        self.since = if self.seen == self.others.get() { self.since + 1 } else { 1 };
        self.seen = self.others.get();
        // The call that has let them run, by waiting perhaps, and 128 more.
        assert!(self.since <= 129, "{verb:?}");
    }
}

/// More calls than a budget, and no more than the buffers hold.
const CALLS: usize = 200;

#[test]
fn a_reader_that_never_waits_lets_others_go_first_every_128_verbs() {
    each(async |kind| {
        let (near, far) = pair(kind);
        let others = other();
        for &verb in READERS {
            let mut watch = Watch::new(&others);
            for number in 0..CALLS {
                let unit = unit(100 + (number % 100) as u8);
                far.try_send(&unit).unwrap();
                wait_for_bytes(&near);
                let got = (verb.call)(near.clone(), Vec::new()).await.unwrap();
                watch.called(verb);
                // Nothing is lost when the budget runs out.
                match verb.name {
                    "readable" => assert!(got.is_empty()),
                    _ => assert_eq!(got, unit, "{verb:?}"),
                }
                if verb.only_looks() {
                    assert_eq!(near.try_recv(&mut [0; UNIT]).unwrap(), UNIT, "{verb:?}");
                }
            }
        }
    });
}

#[test]
fn a_writer_that_never_waits_lets_others_go_first_too() {
    each(async |kind| {
        let (near, far) = pair(kind);
        let others = other();
        for &verb in WRITERS.iter().filter(|verb| verb.name != "shutdown") {
            let mut watch = Watch::new(&others);
            for number in 0..CALLS {
                let unit = unit(100 + (number % 100) as u8);
                (verb.call)(near.clone(), unit.to_vec()).await.unwrap();
                watch.called(verb);
            }
            if verb.name.starts_with("send") {
                far.recv_all_bytes(CALLS * UNIT).await.unwrap();
            }
        }
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
        let (socket, mut theirs) = UnixStream::pair().unwrap();
        let socket = AsyncSocket::new(socket).unwrap();
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
    each(async |kind| {
        let (socket, peer) = pair(kind);
        let mut byte = [0];
        peer.send_all(&[7; 1000]).await.unwrap();
        socket.readable().await.unwrap();
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
