//! Tests of the mailbox.

use std::{
    cell::Cell,
    collections::HashMap,
    future::Future,
    pin::{Pin, pin},
    rc::Rc,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use super::*;

/// A waker that counts its wakes.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Count {
    fn new() -> (Arc<Self>, Waker) {
        let count = Arc::new(Self::default());
        (count.clone(), Waker::from(count))
    }

    fn wakes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

fn poll<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll(future, Waker::noop())
}

#[test]
fn a_stream_that_is_polled_no_more_keeps_no_message_from_others() {
    let (sender, mut receiver) = mailbox(3);
    let (count, waker) = Count::new();
    assert!(receiver.poll_receive(&mut Context::from_waker(&waker)).is_pending());
    // It was given up, by a timeout say.
    let (mut one, mut two) = (receiver.receive(), receiver.receive());
    let ((first, own), (second, other)) = (Count::new(), Count::new());
    assert!(poll(&mut one, &own).is_pending() && poll(&mut two, &other).is_pending());
    sender.try_send(1).unwrap();
    assert_eq!((count.wakes(), first.wakes(), second.wakes()), (1, 1, 0));
    sender.try_send(2).unwrap();
    assert_eq!((first.wakes(), second.wakes()), (1, 1));
    assert_eq!(poll(&mut one, &own), Poll::Ready(Some(1)));
    assert_eq!(poll(&mut two, &other), Poll::Ready(Some(2)));
}

#[test]
fn a_message_that_waited_for_room_wakes_a_receiver_of_its_own() {
    for takes_as_future in [true, false] {
        let (sender, receiver) = mailbox(1);
        let (mut one, mut two) = (receiver.receive(), receiver.receive());
        let ((first, own), (second, other)) = (Count::new(), Count::new());
        assert!(poll(&mut one, &own).is_pending() && poll(&mut two, &other).is_pending());
        sender.try_send(1).unwrap();
        let mut waiting = sender.send(2);
        assert!(poll_once(&mut waiting).is_pending());
        assert_eq!((first.wakes(), second.wakes()), (1, 0));
        if takes_as_future {
            assert_eq!(poll(&mut one, &own), Poll::Ready(Some(1)));
        } else {
            assert_eq!(receiver.try_receive(), Ok(1));
        }
        assert_eq!(poll_once(&mut waiting), Poll::Ready(Ok(())));
        assert_eq!((first.wakes(), second.wakes()), (1, 1), "nobody is woken for the second");
        assert_eq!(poll(&mut two, &other), Poll::Ready(Some(2)));
    }
}

#[test]
fn messages_come_in_the_order_they_were_sent() {
    let (sender, receiver) = mailbox(3);
    for number in 0..3 {
        sender.try_send(number).unwrap();
    }
    assert_eq!(sender.try_send(3), Err(TrySendError::Full(3)));
    assert_eq!((receiver.len(), receiver.capacity(), receiver.is_empty()), (3, 3, false));
    for number in 0..3 {
        assert_eq!(receiver.try_receive(), Ok(number));
    }
    assert_eq!(receiver.try_receive(), Err(TryReceiveError::Empty));
    assert!(receiver.is_empty());
}

#[test]
#[should_panic(expected = "its capacity is 0")]
fn capacity_zero_panics() {
    mailbox::<()>(0);
}

#[test]
fn an_enormous_capacity_takes_no_memory_beforehand() {
    let (sender, receiver) = mailbox(usize::MAX);
    sender.try_send(1).unwrap();
    assert_eq!(receiver.try_receive(), Ok(1));
}

#[test]
fn waiting_senders_are_served_first_come_first_served() {
    let (sender, receiver) = mailbox(1);
    sender.try_send(0).unwrap();
    let mut waiting: Vec<_> = (1..5).map(|number| sender.send(number)).collect();
    for sending in &mut waiting {
        assert!(poll_once(sending).is_pending());
    }
    for number in 0..4 {
        assert_eq!(receiver.try_receive(), Ok(number));
        assert_eq!(sender.try_send(9), Err(TrySendError::Full(9)), "9 jumped the queue");
    }
    for sending in &mut waiting {
        assert_eq!(poll_once(sending), Poll::Ready(Ok(())));
    }
    assert_eq!(receiver.try_receive(), Ok(4));
}

#[test]
fn only_who_was_served_is_woken() {
    let (sender, receiver) = mailbox(1);
    let (first, first_waker) = Count::new();
    let (second, second_waker) = Count::new();
    sender.try_send(0).unwrap();
    let (mut one, mut two) = (sender.send(1), sender.send(2));
    assert!(poll(&mut one, &first_waker).is_pending());
    assert!(poll(&mut two, &second_waker).is_pending());
    receiver.try_receive().unwrap();
    assert_eq!((first.wakes(), second.wakes()), (1, 0));
    receiver.try_receive().unwrap();
    assert_eq!((first.wakes(), second.wakes()), (1, 1));
}

#[test]
fn a_message_wakes_one_waiting_receiver() {
    let (sender, receiver) = mailbox(2);
    let (first, first_waker) = Count::new();
    let (second, second_waker) = Count::new();
    let (mut one, mut two) = (receiver.receive(), receiver.receive());
    assert!(poll(&mut one, &first_waker).is_pending());
    assert!(poll(&mut two, &second_waker).is_pending());
    sender.try_send(1).unwrap();
    assert_eq!((first.wakes(), second.wakes()), (1, 0));
    sender.try_send(2).unwrap();
    assert_eq!((first.wakes(), second.wakes()), (1, 1));
    assert_eq!(poll_once(&mut one), Poll::Ready(Some(1)));
    assert_eq!(poll_once(&mut two), Poll::Ready(Some(2)));
}

#[test]
fn the_latest_waker_is_the_one_that_counts() {
    let (sender, receiver) = mailbox(1);
    let (old, old_waker) = Count::new();
    let (new, new_waker) = Count::new();
    let mut receiving = receiver.receive();
    assert!(poll(&mut receiving, &old_waker).is_pending());
    assert!(poll(&mut receiving, &new_waker).is_pending());
    drop(old_waker);
    assert_eq!(Arc::strong_count(&old), 1, "the old waker is kept");
    sender.try_send(1).unwrap();
    assert_eq!((old.wakes(), new.wakes()), (0, 1));

    let (old, old_waker) = Count::new();
    let mut sending = sender.send(2);
    assert!(poll(&mut sending, &old_waker).is_pending());
    assert!(poll(&mut sending, &new_waker).is_pending());
    assert_eq!(poll_once(&mut receiving), Poll::Ready(Some(1)));
    assert_eq!((old.wakes(), new.wakes()), (0, 2));
}

#[test]
fn a_dropped_waiting_send_withdraws_its_value_and_the_next_moves_up() {
    let (sender, receiver) = mailbox(1);
    let withdrawn = Rc::new(());
    sender.try_send((0, None)).unwrap();
    let mut first = sender.send((1, Some(withdrawn.clone())));
    let mut second = sender.send((2, None));
    assert!(poll_once(&mut first).is_pending());
    assert!(poll_once(&mut second).is_pending());
    drop(first);
    assert_eq!(Rc::strong_count(&withdrawn), 1, "the value is still somewhere");
    assert_eq!(receiver.try_receive().unwrap().0, 0);
    assert_eq!(poll_once(&mut second), Poll::Ready(Ok(())));
    assert_eq!(receiver.try_receive().unwrap().0, 2);
}

#[test]
fn a_send_dropped_after_it_was_accepted_is_sent() {
    let (sender, receiver) = mailbox(1);
    sender.try_send(0).unwrap();
    let mut sending = sender.send(1);
    assert!(poll_once(&mut sending).is_pending());
    assert_eq!(receiver.try_receive(), Ok(0));
    drop(sending);
    assert_eq!(receiver.try_receive(), Ok(1));
}

#[test]
fn a_send_never_polled_sends_nothing() {
    let (sender, receiver) = mailbox(1);
    drop(sender.send(1));
    assert_eq!(receiver.try_receive(), Err(TryReceiveError::Empty));
}

#[test]
fn a_forgotten_send_is_received_all_the_same() {
    let (sender, receiver) = mailbox(1);
    sender.try_send(0).unwrap();
    let mut sending = sender.send(1);
    assert!(poll_once(&mut sending).is_pending());
    std::mem::forget(sending);
    drop(sender);
    assert_eq!(receiver.try_receive(), Ok(0));
    assert_eq!(receiver.try_receive(), Ok(1));
    assert_eq!(receiver.try_receive(), Err(TryReceiveError::Closed));
}

#[test]
fn a_dropped_receive_loses_nothing_and_passes_its_wake_up_on() {
    let (sender, receiver) = mailbox(2);
    let (next, next_waker) = Count::new();
    let (mut first, mut second) = (receiver.receive(), receiver.receive());
    assert!(poll_once(&mut first).is_pending());
    assert!(poll(&mut second, &next_waker).is_pending());
    sender.try_send(1).unwrap();
    assert_eq!(next.wakes(), 0);
    drop(first);
    assert_eq!(next.wakes(), 1);
    assert_eq!(poll(&mut second, &next_waker), Poll::Ready(Some(1)));
}

#[test]
fn a_dropped_receive_that_was_not_called_wakes_nobody() {
    let (sender, receiver) = mailbox(2);
    let (count, waker) = Count::new();
    let (mut first, mut second) = (receiver.receive(), receiver.receive());
    assert!(poll_once(&mut first).is_pending());
    assert!(poll(&mut second, &waker).is_pending());
    drop(first);
    assert_eq!(count.wakes(), 0);
    sender.try_send(1).unwrap();
    assert_eq!(count.wakes(), 1);
}

#[test]
fn a_receiver_whose_message_was_taken_by_another_waits_again() {
    let (sender, receiver) = mailbox(2);
    let (count, waker) = Count::new();
    let mut receiving = receiver.receive();
    assert!(poll(&mut receiving, &waker).is_pending());
    sender.try_send(1).unwrap();
    assert_eq!(receiver.try_receive(), Ok(1));
    assert!(poll(&mut receiving, &waker).is_pending());
    sender.try_send(2).unwrap();
    assert_eq!(count.wakes(), 2);
    assert_eq!(poll(&mut receiving, &waker), Poll::Ready(Some(2)));
}

#[test]
fn a_message_taken_out_of_turn_leaves_no_place_behind() {
    let (sender, receiver) = mailbox(2);
    let (count, waker) = Count::new();
    let (mut first, mut second) = (receiver.receive(), receiver.receive());
    assert!(poll_once(&mut first).is_pending());
    assert!(poll(&mut second, &waker).is_pending());
    sender.try_send(1).unwrap(); // wakes the first, but the second is polled before it
    assert_eq!(poll(&mut second, &waker), Poll::Ready(Some(1)));
    sender.try_send(2).unwrap();
    assert_eq!(count.wakes(), 0, "who is done was woken");
    assert_eq!(poll_once(&mut first), Poll::Ready(Some(2)));
}

#[test]
fn a_sender_hears_that_the_receiver_has_gone() {
    let (sender, receiver) = mailbox::<u8>(1);
    let other = sender.clone();
    sender.try_send(1).unwrap();
    assert!(!sender.is_closed(), "a full mailbox is not a closed one");
    drop(receiver);
    assert!(sender.is_closed() && other.is_closed());
}

#[test]
fn close_wakes_both_sides_and_leaves_what_is_queued() {
    let (sender, receiver) = mailbox(1);
    let (count, waker) = Count::new();
    sender.try_send(0).unwrap();
    let mut sending = sender.send(1);
    assert!(poll(&mut sending, &waker).is_pending());
    assert!(!sender.is_closed());
    receiver.close();
    assert!(sender.is_closed() && sender.clone().is_closed());
    assert_eq!(count.wakes(), 1);
    assert_eq!(receiver.try_receive(), Ok(0));
    assert_eq!(poll(&mut sending, &waker), Poll::Ready(Err(SendError(1))));
    assert_eq!(poll_once(&mut sender.send(2)), Poll::Ready(Err(SendError(2))));
    assert_eq!(sender.try_send(3), Err(TrySendError::Closed(3)));
    assert_eq!(sender.send_blocking(4), Err(SendError(4)));
    assert_eq!(poll_once(&mut receiver.receive()), Poll::Ready(None));
    assert_eq!(receiver.try_receive(), Err(TryReceiveError::Closed));
    assert_eq!(receiver.receive_blocking(), None);

    let (_sender, receiver) = mailbox::<()>(1);
    let mut receiving = receiver.receive();
    assert!(poll(&mut receiving, &waker).is_pending());
    receiver.close();
    assert_eq!(count.wakes(), 2);
    assert_eq!(poll(&mut receiving, &waker), Poll::Ready(None));
}

#[test]
fn a_dropped_receiver_gives_waiting_messages_back_and_drops_queued_ones() {
    let (sender, receiver) = mailbox(1);
    let (count, waker) = Count::new();
    let queued = Rc::new(());
    sender.try_send(queued.clone()).unwrap();
    let mut sending = sender.send(Rc::new(()));
    assert!(poll(&mut sending, &waker).is_pending());
    drop(receiver);
    assert_eq!(Rc::strong_count(&queued), 1);
    assert_eq!(count.wakes(), 1);
    assert!(matches!(poll(&mut sending, &waker), Poll::Ready(Err(SendError(_)))));
}

#[test]
fn the_last_sender_ends_the_mailbox_after_what_is_queued() {
    let (sender, receiver) = mailbox(2);
    let (count, waker) = Count::new();
    let other = sender.clone();
    let (mut first, mut second) = (receiver.receive(), receiver.receive());
    assert!(poll(&mut first, &waker).is_pending());
    assert!(poll(&mut second, &waker).is_pending());
    drop(sender);
    assert_eq!(count.wakes(), 0);
    other.try_send(1).unwrap();
    drop(other);
    assert_eq!(count.wakes(), 2);
    assert_eq!(poll(&mut first, &waker), Poll::Ready(Some(1)));
    assert_eq!(poll(&mut second, &waker), Poll::Ready(None));
}

#[test]
fn no_waker_and_no_value_is_touched_while_the_lock_is_held() {
    /// Uses the mailbox again whenever it is woken or dropped.
    struct Intruder(Weak<(Sender<Nosy>, Receiver<Nosy>)>);
    impl Intruder {
        fn intrude(&self) {
            if let Some(ends) = self.0.upgrade() {
                ends.1.len();
            }
        }
    }
    impl Wake for Intruder {
        fn wake(self: Arc<Self>) {
            self.intrude();
        }
    }
    impl Drop for Intruder {
        fn drop(&mut self) {
            self.intrude();
        }
    }
    struct Nosy {
        _intruder: Arc<Intruder>,
    }
    let ends = Arc::new(mailbox::<Nosy>(1));
    let intruder = || Arc::new(Intruder(Arc::downgrade(&ends)));
    let waker = || Waker::from(intruder());
    let nosy = || Nosy { _intruder: intruder() };
    let (sender, receiver) = &*ends;

    let mut receiving = receiver.receive();
    assert!(poll(&mut receiving, &waker()).is_pending());
    assert!(poll(&mut receiving, &waker()).is_pending()); // drops the first waker
    let mut other = receiver.receive();
    assert!(poll(&mut other, &waker()).is_pending());
    assert!(sender.try_send(nosy()).is_ok()); // wakes
    drop(receiving); // passes the wake-up on
    assert!(poll(&mut other, &waker()).is_ready());
    assert!(sender.try_send(nosy()).is_ok());
    assert!(matches!(sender.try_send(nosy()), Err(TrySendError::Full(_))));
    let mut sending = sender.send(nosy());
    assert!(poll(&mut sending, &waker()).is_pending());
    assert!(poll(&mut sending, &waker()).is_pending());
    drop(sending); // drops waker and value
    let mut sending = sender.send(nosy());
    assert!(poll(&mut sending, &waker()).is_pending());
    assert!(receiver.try_receive().is_ok()); // wakes the sender
    assert!(poll(&mut sending, &waker()).is_ready());
    let mut sending = sender.send(nosy());
    assert!(poll(&mut sending, &waker()).is_pending());
    let mut receiving = receiver.receive();
    assert!(poll(&mut receiving, &waker()).is_ready());
    assert!(poll(&mut sending, &waker()).is_ready());
    receiver.close();
    assert!(matches!(poll(&mut sender.send(nosy()), &waker()), Poll::Ready(Err(_))));
}

#[test]
fn a_value_may_hold_the_sender_of_its_own_mailbox() {
    struct Letter(#[allow(dead_code)] Sender<Letter>);
    let (sender, receiver) = mailbox(2);
    sender.try_send(Letter(sender.clone())).unwrap();
    drop(receiver); // drops the letter, and with it a sender, which locks
    assert!(sender.try_send(Letter(sender.clone())).is_err());
}

#[test]
fn threads_send_and_receive_without_a_scheduler() {
    let (sender, receiver) = mailbox(1);
    let thread = thread::spawn(move || {
        for number in 0..1000 {
            sender.send_blocking(number).unwrap();
        }
    });
    for number in 0..1000 {
        assert_eq!(receiver.receive_blocking(), Some(number));
    }
    assert_eq!(receiver.receive_blocking(), None);
    thread.join().unwrap();
}

#[test]
fn close_frees_a_blocked_thread_on_either_side() {
    let (sender, receiver) = mailbox(1);
    sender.try_send(0).unwrap();
    let thread = thread::spawn(move || sender.send_blocking(1));
    thread::sleep(Duration::from_millis(5));
    receiver.close();
    assert_eq!(thread.join().unwrap(), Err(SendError(1)));

    let (sender, receiver) = mailbox::<()>(1);
    let thread = thread::spawn(move || receiver.receive_blocking());
    thread::sleep(Duration::from_millis(5));
    drop(sender);
    assert_eq!(thread.join().unwrap(), None);
}

#[test]
fn many_threads_lose_nothing_double_nothing_and_keep_each_senders_order() {
    const SENDERS: usize = 4;
    const MESSAGES: usize = 5_000;
    for capacity in [1, 2, 64] {
        let (sender, receiver) = mailbox(capacity);
        let receiver = Arc::new(receiver);
        let received = Arc::new(Mutex::new(HashMap::<(usize, usize), usize>::new()));
        let receivers: Vec<_> = (0..2)
            .map(|_| {
                let (receiver, received) = (receiver.clone(), received.clone());
                thread::spawn(move || {
                    let mut last = HashMap::<usize, usize>::new();
                    while let Some((from, number)) = receive_or_give_up(&receiver) {
                        let before = last.insert(from, number);
                        assert!(before.is_none_or(|before| before < number), "out of order");
                        *received.lock().unwrap().entry((from, number)).or_default() += 1;
                    }
                })
            })
            .collect();
        let senders: Vec<_> = (0..SENDERS)
            .map(|from| {
                let sender = sender.clone();
                thread::spawn(move || {
                    for number in 0..MESSAGES {
                        sender.send_blocking((from, number)).unwrap();
                    }
                })
            })
            .collect();
        drop(sender);
        for thread in senders.into_iter().chain(receivers) {
            thread.join().unwrap();
        }
        let received = received.lock().unwrap();
        assert_eq!(received.len(), SENDERS * MESSAGES);
        assert!(received.values().all(|&times| times == 1));
    }
}

/// Receives, but first polls and drops a `receive`, as a `select` would.
fn receive_or_give_up<T>(receiver: &Receiver<T>) -> Option<T> {
    let mut dropped = receiver.receive();
    if let Poll::Ready(message) = poll_once(&mut dropped) {
        return message;
    }
    drop(dropped);
    receiver.receive_blocking()
}

#[test]
fn sends_that_give_up_across_threads_are_sent_once_or_not_at_all() {
    let (sender, receiver) = mailbox(1);
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let sender = sender.clone();
            thread::spawn(move || {
                let mut kept = 0;
                for _ in 0..5_000 {
                    let guard = Arc::new(());
                    let mut sending = sender.send(guard.clone());
                    let done = poll_once(&mut sending).is_ready() || {
                        thread::yield_now();
                        poll_once(&mut sending).is_ready()
                    };
                    kept += usize::from(done);
                }
                kept
            })
        })
        .collect();
    drop(sender);
    let mut received = 0;
    while receiver.receive_blocking().is_some() {
        received += 1;
    }
    let finished: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert!(received >= finished, "{finished} sends ended well, {received} messages came");
}

#[test]
fn ends_and_futures_cross_threads_when_the_message_may() {
    fn crosses<T: Send + Sync>() {}
    fn moves<T: Send>() {}
    crosses::<Sender<Cell<u8>>>();
    crosses::<Receiver<Cell<u8>>>();
    moves::<Sending<'_, Cell<u8>>>();
    moves::<Receiving<'_, Cell<u8>>>();
}

#[test]
fn values_that_must_not_move_when_pinned_can_be_sent() {
    let (sender, receiver) = mailbox(1);
    let sending = pin!(sender.send(std::marker::PhantomPinned));
    assert!(sending.poll(&mut Context::from_waker(Waker::noop())).is_ready());
    assert!(receiver.try_receive().is_ok());
}

#[test]
fn errors_tell_why_and_give_the_message_back() {
    assert_eq!(SendError(7).to_string(), "the mailbox is closed");
    assert_eq!(TrySendError::Full(7).to_string(), "the mailbox is full");
    assert_eq!(TryReceiveError::Empty.to_string(), "the mailbox is empty");
    assert_eq!(TrySendError::Full(7).into_inner(), 7);
    let (sender, _receiver) = mailbox::<()>(1);
    assert_eq!(format!("{sender:?}"), "Sender { capacity: 1, .. }");
}
