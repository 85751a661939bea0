//! Models of two or three threads that share a lock or a channel, in every interleaving.
//!
//! Run by `cargo xtask ci loom`. What a lock protects is in a cell of loom's, which reports two
//! accesses at a time and one that is not ordered behind another.

use std::{
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll, Wake, Waker},
};

use loom::{
    cell::Cell,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use super::*;

/// Waits for a future on loom's threads; loom reports a lost wake-up as a deadlock.
struct Parked {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Wake for Parked {
    fn wake(self: std::sync::Arc<Self>) {
        *self.woken.lock().unwrap() = true;
        self.changed.notify_one();
    }
}

pub(crate) fn wait_for<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let parked = std::sync::Arc::new(Parked { woken: Mutex::new(false), changed: Condvar::new() });
    let waker = Waker::from(parked.clone());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        let mut woken = parked.woken.lock().unwrap();
        while !*woken {
            woken = parked.changed.wait(woken).unwrap();
        }
        *woken = false;
    }
}

pub(super) fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Adds one to a number that loom watches.
fn add(number: &Cell<u32>) {
    number.set(number.get() + 1);
}

#[test]
fn loom_a_lock_excludes_and_orders_its_holders() {
    loom::model(|| {
        let lock = Arc::new(Lock::new(Cell::new(0)));
        let thread = thread::spawn({
            let lock = lock.clone();
            move || add(&wait_for(lock.lock()))
        });
        add(&wait_for(lock.lock()));
        thread.join().unwrap();
        assert_eq!(lock.try_lock().unwrap().get(), 2);
    });
}

#[test]
fn loom_a_dropped_wait_for_a_lock_passes_it_on() {
    loom::model(|| {
        let lock = Arc::new(Lock::new(Cell::new(0)));
        let guard = lock.try_lock().unwrap();
        let thread = thread::spawn({
            let lock = lock.clone();
            move || {
                let mut dropped = lock.lock();
                let taken = poll_once(&mut dropped).is_ready();
                drop(dropped);
                add(&wait_for(lock.lock()));
                taken
            }
        });
        drop(guard);
        add(&wait_for(lock.lock()));
        thread.join().unwrap();
        let told = lock.statistics();
        assert!(!told.is_held && told.waiting == 0);
    });
}

#[test]
fn loom_a_read_write_lock_excludes_readers_from_a_writer() {
    loom::model(|| {
        // Relaxed: only the lock orders what a reader sees.
        let lock = Arc::new(RwLock::new([AtomicUsize::new(0), AtomicUsize::new(0)]));
        let writing = thread::spawn({
            let lock = lock.clone();
            move || {
                let pair = wait_for(lock.write());
                pair.iter().for_each(|number| number.store(1, Ordering::Relaxed));
            }
        });
        let read = || {
            let pair = wait_for(lock.read());
            let [first, second] = pair.each_ref().map(|number| number.load(Ordering::Relaxed));
            assert_eq!(first, second);
            first
        };
        assert!(read() <= read());
        writing.join().unwrap();
        assert_eq!(read(), 1);
    });
}

#[test]
fn loom_permits_are_neither_lost_nor_doubled() {
    loom::model(|| {
        let semaphore = Arc::new(Semaphore::new(1));
        let thread = thread::spawn({
            let semaphore = semaphore.clone();
            move || {
                semaphore.add_permits(1);
                wait_for(semaphore.acquire(1)).map(drop).unwrap();
            }
        });
        wait_for(semaphore.acquire(2)).map(drop).unwrap();
        thread.join().unwrap();
        assert_eq!(semaphore.available(), 2);
    });
}

#[test]
fn loom_a_closed_semaphore_tells_those_who_wait() {
    loom::model(|| {
        let semaphore = Arc::new(Semaphore::new(0));
        let thread = thread::spawn({
            let semaphore = semaphore.clone();
            move || wait_for(semaphore.acquire(1)).is_err()
        });
        semaphore.close();
        assert!(thread.join().unwrap());
    });
}

#[test]
fn loom_an_event_is_not_missed() {
    loom::model(|| {
        let event = Arc::new(Event::new());
        let thread = thread::spawn({
            let event = event.clone();
            move || wait_for(event.wait())
        });
        event.set();
        thread.join().unwrap();
    });
}

#[test]
fn loom_a_notification_of_the_next_holder_is_not_missed() {
    loom::model(|| {
        let shared = Arc::new((Lock::new(false), Condition::new()));
        let thread = thread::spawn({
            let shared = shared.clone();
            move || {
                let guard = wait_for(shared.0.lock());
                drop(wait_for(shared.1.wait_while(guard, |is_set| !*is_set)));
            }
        });
        *wait_for(shared.0.lock()) = true;
        shared.1.notify_one();
        thread.join().unwrap();
    });
}

#[test]
fn loom_a_barrier_lets_all_go() {
    loom::model(|| {
        let barrier = Arc::new(Barrier::new(2));
        let thread = thread::spawn({
            let barrier = barrier.clone();
            move || wait_for(barrier.wait()).is_leader()
        });
        let is_leader = wait_for(barrier.wait()).is_leader();
        assert_ne!(thread.join().unwrap(), is_leader);
    });
}

#[test]
fn loom_a_oneshot_arrives_or_is_returned() {
    loom::model(|| {
        let (sender, receiver) = oneshot();
        let thread = thread::spawn(move || sender.send(1));
        assert_eq!(wait_for(receiver), Ok(1));
        thread.join().unwrap().unwrap();
    });
    loom::model(|| {
        let (sender, receiver) = oneshot();
        let thread = thread::spawn(move || sender.send(1));
        drop(receiver);
        let _ = thread.join().unwrap();
    });
}

#[test]
fn loom_both_ends_of_a_oneshot_hear_of_the_others_end() {
    loom::model(|| {
        let (sender, receiver) = oneshot::<u8>();
        let thread = thread::spawn(move || drop(sender));
        assert_eq!(wait_for(receiver), Err(OneshotError));
        thread.join().unwrap();
    });
    loom::model(|| {
        let (mut sender, receiver) = oneshot::<u8>();
        let thread = thread::spawn(move || drop(receiver));
        wait_for(sender.closed());
        thread.join().unwrap();
    });
}

#[test]
fn loom_a_watch_shows_the_last_value_and_the_end() {
    loom::model(|| {
        let (sender, mut receiver) = watch(0);
        let thread = thread::spawn(move || {
            sender.send(1);
            sender.send(2);
        });
        while wait_for(receiver.changed()).is_ok() {}
        assert_eq!(*receiver.borrow(), 2);
        thread.join().unwrap();
    });
}

#[test]
fn loom_a_channel_holds_a_sender_until_its_subscriber_has_room() {
    loom::model(|| {
        let channel = Channel::new(1, Slow::Wait);
        let mut subscriber = channel.subscribe();
        let thread = thread::spawn(move || {
            assert_eq!(wait_for(channel.send(1)), Ok(1));
            wait_for(channel.send(2)).unwrap();
        });
        assert_eq!(wait_for(subscriber.receive()), Ok(1));
        assert_eq!(wait_for(subscriber.receive()), Ok(2));
        assert_eq!(wait_for(subscriber.receive()), Err(ReceiveError::Closed));
        thread.join().unwrap();
    });
}

#[test]
fn loom_a_delivery_ends_with_its_subscriber() {
    loom::model(|| {
        let channel = Channel::new(1, Slow::Wait);
        let mut subscriber = channel.subscribe();
        let thread = thread::spawn(move || {
            let received = subscriber.try_receive();
            drop(subscriber);
            received
        });
        let delivered = wait_for(channel.deliver(1, 0));
        let received = thread.join().unwrap();
        assert_eq!(delivered, usize::from(received == Ok(Some(1))));
    });
}

#[test]
fn loom_a_mailbox_tells_its_sender_of_its_end() {
    loom::model(|| {
        let (sender, receiver) = mailbox::<u8>(1);
        let thread = thread::spawn(move || drop(receiver));
        wait_for(sender.closed());
        thread.join().unwrap();
    });
}
