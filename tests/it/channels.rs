//! The channels of `sync` but for the one to many subscribers, see `broadcast`; each test for both
//! forms: that of one thread and that of all.

use std::{
    cell::RefCell,
    sync::Arc,
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use asyncoro::{
    spawn,
    sync::{OneshotError, Slow, TryReceiveError, WatchEnded},
    time::{sleep, timeout},
};

use crate::{
    forms::{each_form, poll, poll_with, settle},
    within::{Drops, Foreign, block_on, run_within, within},
};

each_form! {
    { Channel, mailbox, oneshot, watch }

    // ---- oneshot

    #[test]
    fn a_oneshot_hands_its_value_over_or_back() {
        run_within(|| async {
            let (sender, mut receiver) = oneshot();
            assert_eq!(receiver.try_receive(), Err(TryReceiveError::Empty));
            assert!(poll(&mut receiver).is_pending());
            assert_eq!(sender.send(1), Ok(()));
            assert_eq!(receiver.try_receive(), Ok(1));
            assert_eq!(receiver.try_receive(), Err(TryReceiveError::Closed));
            assert_eq!(receiver.await, Err(OneshotError));

            let (sender, receiver) = oneshot();
            let waits = spawn(receiver);
            settle().await;
            sender.send("late").unwrap();
            assert_eq!(waits.await.unwrap(), Ok("late"));

            let (sender, receiver) = oneshot();
            drop(receiver);
            assert_eq!(sender.send("back"), Err("back"));
        });
    }

    #[test]
    fn each_end_of_a_oneshot_hears_that_the_other_is_gone() {
        run_within(|| async {
            let (sender, receiver) = oneshot::<u8>();
            let waits = spawn(receiver);
            settle().await;
            drop(sender);
            assert_eq!(waits.await.unwrap(), Err(OneshotError));

            let (mut sender, mut receiver) = oneshot::<u8>();
            {
                let waker = Foreign::new();
                let mut closed = sender.closed();
                assert!(poll_with(&mut closed, &waker).is_pending());
                receiver.close();
                assert_eq!(waker.wakes(), 1);
                assert!(poll(&mut closed).is_ready());
            }
            assert!(sender.is_closed());
            assert_eq!(sender.send(1), Err(1));

            let (mut sender, receiver) = oneshot::<u8>();
            assert!(timeout(Duration::from_millis(1), sender.closed()).await.is_err());
            drop(receiver);
            sender.closed().await;
        });
    }

    #[test]
    fn a_closed_oneshot_still_gives_what_was_sent() {
        let (sender, mut receiver) = oneshot();
        sender.send(1).unwrap();
        receiver.close();
        assert_eq!(poll(&mut receiver), Poll::Ready(Ok(1)));
    }

    #[test]
    fn the_value_of_a_oneshot_is_dropped_once() {
        let drops = Drops::default();
        let (sender, receiver) = oneshot();
        assert!(sender.send(drops.guard()).is_ok());
        drop(receiver);
        assert_eq!(drops.count(), 1);
        let (sender, receiver) = oneshot();
        drop(receiver);
        assert!(sender.send(drops.guard()).is_err());
        assert_eq!(drops.count(), 2);
    }

    #[test]
    fn only_the_last_waker_of_a_oneshot_is_woken() {
        let (sender, mut receiver) = oneshot();
        let (old, new) = (Foreign::new(), Foreign::new());
        assert!(poll_with(&mut receiver, &old).is_pending());
        assert!(poll_with(&mut receiver, &new).is_pending());
        sender.send(1).unwrap();
        assert_eq!((old.wakes(), new.wakes()), (0, 1));
        assert_eq!((Arc::strong_count(&old), Arc::strong_count(&new)), (1, 1));
        assert_eq!(block_on(receiver), Ok(1));
    }

    // ---- watch

    #[test]
    fn each_watcher_sees_the_latest_value() {
        run_within(|| async {
            let (sender, mut one) = watch(0);
            let mut two = one.clone();
            assert!(!one.has_changed() && poll(&mut one.changed()).is_pending());
            sender.send(1);
            sender.send(2);
            assert!(one.has_changed());
            assert_eq!((one.changed().await, *one.borrow()), (Ok(()), 2));
            assert!(!one.has_changed() && two.has_changed());
            sender.send(3);
            assert_eq!(*two.latest(), 3);
            assert!(poll(&mut two.changed()).is_pending());
            assert_eq!(*one.wait_for(|value| *value == 3).await.unwrap(), 3);
            // One that subscribes has seen the present value.
            let mut three = sender.subscribe();
            assert!(!three.has_changed());
            assert_eq!(sender.statistics().receivers, 3);
            drop(sender.clone());
            sender.send(4);
            drop(sender);
            assert_eq!((three.changed().await, *three.borrow()), (Ok(()), 4));
            assert_eq!(three.changed().await, Err(WatchEnded));
            assert!(one.wait_for(|value| *value == 5).await.is_err());
        });
    }

    #[test]
    fn watchers_that_wait_are_woken_once_for_each_value_and_for_the_end() {
        let (sender, mut one) = watch(0);
        let mut two = one.clone();
        let wakers = [Foreign::new(), Foreign::new()];
        {
            let (mut first, mut second) = (one.changed(), two.changed());
            assert!(poll_with(&mut first, &wakers[0]).is_pending());
            assert!(poll_with(&mut second, &wakers[1]).is_pending());
            assert_eq!(sender.statistics().waiting, 2);
            sender.send(1);
            assert_eq!((wakers[0].wakes(), wakers[1].wakes()), (1, 1));
            assert_eq!(poll(&mut first), Poll::Ready(Ok(())));
            // The other is dropped, and has not seen it.
        }
        assert!(two.has_changed());
        let mut last = one.changed();
        assert!(poll_with(&mut last, &wakers[0]).is_pending());
        drop(sender);
        assert_eq!(wakers[0].wakes(), 2);
        assert_eq!(poll(&mut last), Poll::Ready(Err(WatchEnded)));
        assert_eq!(poll(&mut two.changed()), Poll::Ready(Ok(())));
    }

    #[test]
    fn a_value_that_is_looked_at_stays_while_others_are_sent() {
        let drops = Drops::default();
        let (sender, receiver) = watch((1, drops.guard()));
        let seen = receiver.borrow();
        let also = seen.clone();
        assert!(sender.replace((2, drops.guard())).is_none(), "somebody looks at it");
        assert_eq!((seen.0, also.0, receiver.borrow().0, sender.borrow().0), (1, 1, 2, 2));
        drop((seen, also));
        assert_eq!(drops.count(), 1);
        let old = sender.replace((3, drops.guard()));
        assert_eq!((old.map(|old| old.0), drops.count()), (Some(2), 2));
        drop((sender, receiver));
        assert_eq!(drops.count(), 3);
    }

    #[test]
    fn a_sender_hears_that_nobody_watches_any_more() {
        run_within(|| async {
            let (sender, receiver) = watch(0);
            assert!(!sender.is_closed());
            let waker = Foreign::new();
            let mut closed = sender.closed();
            assert!(poll_with(&mut closed, &waker).is_pending());
            drop(receiver);
            assert_eq!(waker.wakes(), 1);
            closed.await;
            sender.send(1);
            assert!(sender.is_closed() && *sender.subscribe().borrow() == 1);
        });
    }

    // ---- mailbox

    #[test]
    fn a_mailbox_serves_in_order_and_its_sender_hears_of_its_end() {
        run_within(|| async {
            let (sender, receiver) = mailbox(1);
            let order = Pointer::new(RefCell::new(Vec::new()));
            for number in 0..5 {
                let sender = sender.clone();
                drop(spawn(async move { sender.send(number).await }));
            }
            settle().await;
            for _ in 0..5 {
                let number = receiver.receive().await.unwrap();
                order.borrow_mut().push(number);
            }
            assert_eq!(*order.borrow(), [0, 1, 2, 3, 4]);
            let waker = Foreign::new();
            let mut closed = sender.closed();
            assert!(poll_with(&mut closed, &waker).is_pending());
            drop(sender.closed());
            receiver.close();
            assert_eq!(waker.wakes(), 1);
            assert!(poll(&mut closed).is_ready() && sender.is_closed());
            let (sender, receiver) = mailbox::<u8>(1);
            drop(spawn(async move {
                sleep(Duration::from_millis(1)).await;
                drop(receiver);
            }));
            sender.closed().await;
        });
    }

    #[test]
    fn polls_by_hand_share_a_place_and_leave_it_with_their_end() {
        let waker = Foreign::new();
        let std_waker = Waker::from(waker.clone());
        let mut context = Context::from_waker(&std_waker);

        let (sender, mut receiver) = mailbox(1);
        assert!(receiver.poll_receive(&mut context).is_pending());
        assert!(receiver.poll_receive(&mut context).is_pending());
        sender.try_send(1).unwrap();
        assert_eq!(receiver.poll_receive(&mut context), Poll::Ready(Some(1)));
        assert!(receiver.poll_receive(&mut context).is_pending());
        drop(sender);
        assert_eq!(receiver.poll_receive(&mut context), Poll::Ready(None));

        let channel = Channel::new(1, Slow::Wait);
        let mut subscriber = channel.subscribe();
        assert!(subscriber.poll_receive(&mut context).is_pending());
        assert!(subscriber.poll_receive(&mut context).is_pending());
        assert_eq!(channel.statistics().receiving, 1);
        channel.try_send(1).unwrap();
        assert_eq!(subscriber.poll_receive(&mut context), Poll::Ready(Ok(1)));
        assert!(subscriber.poll_receive(&mut context).is_pending());
        drop(subscriber);
        assert_eq!(channel.statistics().receiving, 0);

        let (sender, mut watched) = watch(1);
        assert!(watched.poll_changed(&mut context).is_pending());
        assert!(watched.poll_changed(&mut context).is_pending());
        assert_eq!(sender.statistics().waiting, 1);
        sender.send(2);
        let Poll::Ready(Some(value)) = watched.poll_changed(&mut context) else { panic!("sent") };
        assert_eq!(*value, 2);
        assert!(watched.poll_changed(&mut context).is_pending());
        drop(watched);
        assert_eq!(sender.statistics().waiting, 0);
        assert_eq!(waker.wakes(), 4);
        drop(std_waker);
        assert_eq!(Arc::strong_count(&waker), 1);
    }
}

/// Races between threads.
mod between_threads {
    use asyncoro::sync::{oneshot, watch};

    use super::*;

    #[test]
    fn a_oneshot_between_threads_arrives_or_comes_back_1000_times() {
        run_within(|| async {
            for round in 0..1_000 {
                let (sender, mut receiver) = oneshot();
                let sending = thread::spawn(move || sender.send(round));
                if round % 2 == 0 {
                    assert_eq!(receiver.await, Ok(round));
                    assert_eq!(sending.join().unwrap(), Ok(()));
                } else {
                    let polled = poll(&mut receiver);
                    drop(receiver);
                    let sent = sending.join().unwrap();
                    assert!(polled.is_pending() || sent.is_ok());
                }
            }
        });
    }

    #[test]
    fn watchers_on_other_threads_end_with_the_last_value() {
        within(|| {
            for _ in 0..50 {
                let (sender, receiver) = watch(0);
                let watching: Vec<_> = (0..3)
                    .map(|_| {
                        let mut receiver = receiver.clone();
                        thread::spawn(move || {
                            asyncoro::run(async move {
                                let mut last = 0;
                                while receiver.changed().await.is_ok() {
                                    let value = *receiver.borrow();
                                    assert!(value >= last);
                                    last = value;
                                }
                                last
                            })
                        })
                    })
                    .collect();
                for value in 1..=100 {
                    sender.send(value);
                }
                drop(sender);
                for thread in watching {
                    assert_eq!(thread.join().unwrap(), 100);
                }
            }
        });
    }
}
