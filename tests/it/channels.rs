//! The channels of `sync`, each test for both forms: that of one thread and that of all.

use std::{
    cell::{Cell, RefCell},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use asyncoro::{
    coro::Coros,
    spawn,
    sync::{
        OneshotError, ReceiveError, SendError, Slow, TryReceiveError, TrySendError, WatchEnded,
    },
    time::{sleep, timeout},
};

use crate::{
    forms::{poll, poll_with, settle},
    within::{Drops, Foreign, block_on, logged, run_within, within},
};

/// Makes each test twice.
macro_rules! each_form {
    ($($tests:tt)*) => {
        mod one_thread {
            use std::rc::Rc as Pointer;

            use asyncoro::sync::local::{Channel, mailbox, oneshot, watch};

            use super::*;

            $($tests)*
        }

        #[allow(clippy::arc_with_non_send_sync, reason = "the tests are those of one thread")]
        mod threads {
            use std::sync::Arc as Pointer;

            use asyncoro::sync::{Channel, mailbox, oneshot, watch};

            use super::*;

            $($tests)*
        }
    };
}

each_form! {
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

    // ---- Channel

    #[test]
    fn each_subscriber_gets_each_message_from_then_on_in_order() {
        run_within(|| async {
            let channel = Channel::new(4, Slow::Wait);
            assert_eq!(channel.send(0).await, Ok(0), "nobody hears it");
            let mut one = channel.subscribe();
            assert_eq!(channel.send(1).await, Ok(1));
            let mut two = channel.subscribe();
            assert_eq!(channel.clone().send(2).await, Ok(2));
            assert_eq!((one.len(), two.len(), two.is_empty()), (2, 1, false));
            assert_eq!((one.receive().await, one.receive().await), (Ok(1), Ok(2)));
            assert_eq!(one.try_receive(), Ok(None));
            assert_eq!(two.receive().await, Ok(2));
            assert_eq!((channel.subscribers(), channel.statistics().queued), (2, 0));
            drop(one);
            assert_eq!(channel.send(3).await, Ok(1));
            drop(channel);
            assert_eq!(two.receive().await, Ok(3));
            assert_eq!(two.receive().await, Err(ReceiveError::Closed));
        });
    }

    #[test]
    fn a_message_is_cloned_for_all_but_the_last_and_dropped_with_the_last() {
        struct Counted(Pointer<Cell<i32>>);
        impl Clone for Counted {
            fn clone(&self) -> Counted {
                self.0.set(self.0.get() + 1);
                Counted(self.0.clone())
            }
        }
        let clones = Pointer::new(Cell::new(0));
        let channel = Channel::new(4, Slow::Wait);
        let mut subscribers = [channel.subscribe(), channel.subscribe(), channel.subscribe()];
        let ignores = channel.subscribe();
        assert!(channel.try_send(Counted(clones.clone())).is_ok());
        drop(ignores);
        for subscriber in &mut subscribers {
            assert!(subscriber.try_receive().is_ok_and(|message| message.is_some()));
        }
        assert_eq!((clones.get(), Pointer::strong_count(&clones)), (2, 1));
        assert!(channel.try_send(Counted(clones.clone())).is_ok());
        assert_eq!(Pointer::strong_count(&clones), 2);
        drop(subscribers);
        assert_eq!(Pointer::strong_count(&clones), 1);
    }

    #[test]
    fn senders_wait_for_the_slowest_subscriber_in_their_order() {
        run_within(|| async {
            let channel = Channel::new(2, Slow::Wait);
            let (mut quick, mut slow) = (channel.subscribe(), channel.subscribe());
            let mut senders = Coros::new();
            for number in 0..10 {
                let channel = channel.clone();
                senders.spawn(async move { channel.send(number).await.unwrap() }).await;
            }
            settle().await;
            assert_eq!((channel.statistics().queued, channel.statistics().sending), (2, 8));
            assert_eq!((quick.receive().await, quick.receive().await), (Ok(0), Ok(1)));
            settle().await;
            assert_eq!(quick.try_receive(), Ok(None));
            assert_eq!(channel.try_send(10), Err(TrySendError::Full(10)));
            for number in 0..10 {
                assert_eq!(slow.receive().await, Ok(number));
                if number >= 2 {
                    assert_eq!(quick.receive().await, Ok(number));
                }
            }
            while let Some(sent) = senders.next().await {
                assert_eq!(sent.unwrap(), 2);
            }
            assert_eq!(channel.try_send(10), Ok(2));
        });
    }

    #[test]
    fn a_slow_subscriber_that_goes_lets_senders_go_on() {
        run_within(|| async {
            let channel = Channel::new(1, Slow::Wait);
            let (slow, mut quick) = (channel.subscribe(), channel.subscribe());
            channel.send(1).await.unwrap();
            let sending = spawn({
                let channel = channel.clone();
                async move { channel.send(2).await }
            });
            assert_eq!(quick.receive().await, Ok(1));
            settle().await;
            assert!(!sending.is_finished());
            drop(slow);
            assert_eq!(sending.await.unwrap(), Ok(1));
            assert_eq!(quick.receive().await, Ok(2));
        });
    }

    #[test]
    fn a_dropped_sender_sends_nothing_and_passes_its_room_on() {
        run_within(|| async {
            let channel = Channel::new(1, Slow::Wait);
            let mut subscriber = channel.subscribe();
            channel.send(1).await.unwrap();
            let mut waits: Vec<_> = (2..5).map(|number| Box::pin(channel.send(number))).collect();
            for wait in &mut waits {
                assert!(poll(wait).is_pending());
            }
            drop(waits.remove(1)); // waits in the middle
            assert_eq!(subscriber.receive().await, Ok(1));
            drop(waits.remove(0)); // was given the room
            assert_eq!(poll(&mut waits[0]), Poll::Ready(Ok(1)));
            assert_eq!(subscriber.receive().await, Ok(4));
            assert_eq!(channel.try_send(5), Ok(1));
        });
    }

    #[test]
    fn the_oldest_message_is_dropped_and_a_slow_subscriber_told_how_many() {
        run_within(|| async {
            let channel = Channel::new(3, Slow::DropOldest);
            let (mut slow, mut quick) = (channel.subscribe(), channel.subscribe());
            for number in 0..10 {
                assert_eq!(channel.send(number).await, Ok(2));
                assert_eq!(quick.receive().await, Ok(number));
            }
            assert_eq!((channel.statistics().lost, slow.len()), (7, 3));
            assert_eq!(slow.receive().await, Err(ReceiveError::Lost(7)));
            assert_eq!((slow.receive().await, slow.receive().await), (Ok(7), Ok(8)));
            drop(channel);
            assert_eq!(slow.receive().await, Ok(9));
            assert_eq!(slow.receive().await, Err(ReceiveError::Closed));
            assert!(!slow.is_disconnected());
        });
    }

    #[test]
    fn a_slow_subscriber_is_disconnected_and_a_healthy_one_never() {
        run_within(|| async {
            let channel = Channel::new(3, Slow::Disconnect);
            let (mut slow, mut quick) = (channel.subscribe(), channel.subscribe());
            for number in 0..4 {
                assert_eq!(channel.send(number).await, Ok(if number < 3 { 2 } else { 1 }));
                assert_eq!(quick.receive().await, Ok(number));
            }
            assert!(slow.is_disconnected() && !quick.is_disconnected());
            assert_eq!((channel.subscribers(), slow.len()), (1, 0));
            assert_eq!(slow.receive().await, Err(ReceiveError::Disconnected));
            assert_eq!(slow.try_receive(), Err(ReceiveError::Disconnected));
            drop(slow); // takes nothing away from others
            assert_eq!(channel.send(4).await, Ok(1));
            assert_eq!(quick.receive().await, Ok(4));
            let told = channel.statistics();
            assert_eq!((told.subscribers, told.queued, told.disconnected), (1, 0, 1));
        });
    }

    #[test]
    fn when_all_are_slow_all_are_disconnected_and_the_next_message_is_for_nobody() {
        let channel = Channel::new(1, Slow::Disconnect);
        let subscribers = [channel.subscribe(), channel.subscribe()];
        assert_eq!((channel.try_send(1), channel.try_send(2)), (Ok(2), Ok(0)));
        assert!(subscribers.iter().all(|subscriber| subscriber.is_disconnected()));
        assert_eq!((channel.subscribers(), channel.statistics().queued), (0, 0));
        let mut late = channel.subscribe();
        assert_eq!(channel.try_send(3), Ok(1));
        assert_eq!(late.try_receive(), Ok(Some(3)));
    }

    #[test]
    fn a_closed_channel_returns_what_cannot_be_sent() {
        run_within(|| async {
            let channel = Channel::new(1, Slow::Wait);
            let mut subscriber = channel.subscribe();
            channel.send(1).await.unwrap();
            let sending = spawn({
                let channel = channel.clone();
                async move { channel.send(2).await }
            });
            let closed = spawn({
                let channel = channel.clone();
                async move { channel.closed().await }
            });
            settle().await;
            channel.close();
            assert_eq!(sending.await.unwrap(), Err(SendError(2)));
            closed.await.unwrap();
            assert_eq!(channel.try_send(3), Err(TrySendError::Closed(3)));
            assert_eq!(channel.deliver(3, 0).await, 0);
            assert!(channel.is_closed() && !channel.subscribed(2).await);
            assert_eq!(subscriber.receive().await, Ok(1));
            assert_eq!(subscriber.receive().await, Err(ReceiveError::Closed));
        });
    }

    #[test]
    fn a_dropped_receive_takes_no_message() {
        run_within(|| async {
            let channel = Channel::new(2, Slow::Wait);
            let mut subscriber = channel.subscribe();
            let waker = Foreign::new();
            let mut receiving = subscriber.receive();
            assert!(poll_with(&mut receiving, &waker).is_pending());
            channel.send(1).await.unwrap();
            assert_eq!(waker.wakes(), 1);
            drop(receiving);
            assert!(timeout(Duration::from_secs(60), subscriber.receive()).await.is_ok());
            assert!(timeout(Duration::from_millis(1), subscriber.receive()).await.is_err());
            assert_eq!(channel.statistics().receiving, 0);
        });
    }

    #[test]
    fn deliver_waits_for_subscribers_and_counts_those_who_have_received() {
        run_within(|| async {
            let channel = Channel::new(4, Slow::Wait);
            let delivered = spawn({
                let channel = channel.clone();
                async move { channel.deliver("a", 2).await }
            });
            settle().await;
            let mut one = channel.subscribe();
            settle().await;
            assert!(one.is_empty(), "there is one only");
            let (mut two, gone) = (channel.subscribe(), channel.subscribe());
            settle().await;
            assert_eq!((one.receive().await, two.receive().await), (Ok("a"), Ok("a")));
            settle().await;
            assert!(!delivered.is_finished());
            drop(gone);
            assert_eq!(delivered.await.unwrap(), 2);
        });
    }

    #[test]
    fn deliver_within_a_time_is_0_without_enough_subscribers_and_counts_those_in_time() {
        run_within(|| async {
            let channel = Channel::new(1, Slow::Wait);
            let mut one = channel.subscribe();
            let short = Duration::from_millis(2);
            assert_eq!(channel.deliver_within("a", 2, short).await, 0);
            assert_eq!(one.try_receive(), Ok(None), "nothing was sent");
            let mut two = channel.subscribe();
            let receiving = spawn(async move { one.receive().await });
            assert_eq!(channel.deliver_within("b", 2, short).await, 1);
            assert_eq!(receiving.await.unwrap(), Ok("b"));
            // `one` ended with its coroutine; no room, since `two` has not received.
            assert_eq!(channel.deliver_within("c", 1, short).await, 0);
            assert_eq!((two.try_receive(), two.try_receive()), (Ok(Some("b")), Ok(None)));
            let mut delivering = pin!(channel.deliver_within("d", 1, Duration::MAX));
            assert!(poll(&mut delivering).is_pending());
            assert_eq!(two.receive().await, Ok("d"));
            assert_eq!(delivering.await, 1);
        });
    }

    #[test]
    fn a_delivery_that_is_dropped_before_it_was_sent_sends_nothing() {
        let channel = Channel::new(1, Slow::Wait);
        let mut delivering = Box::pin(channel.deliver(1, 1));
        assert!(poll(&mut delivering).is_pending());
        let mut subscriber = channel.subscribe();
        drop(delivering);
        assert_eq!(subscriber.try_receive(), Ok(None));
        // After it was sent it stays sent.
        let mut delivering = Box::pin(channel.deliver(2, 1));
        assert!(poll(&mut delivering).is_pending());
        drop(delivering);
        assert_eq!(subscriber.try_receive(), Ok(Some(2)));
    }

    #[test]
    fn a_delivery_to_slow_subscribers_ends_when_its_message_is_dropped() {
        let oldest = Channel::new(1, Slow::DropOldest);
        let mut subscribers = [oldest.subscribe(), oldest.subscribe()];
        let mut delivering = Box::pin(oldest.deliver(1, 2));
        assert!(poll(&mut delivering).is_pending());
        assert_eq!(subscribers[0].try_receive(), Ok(Some(1)));
        assert_eq!(oldest.try_send(2), Ok(2));
        assert_eq!(poll(&mut delivering), Poll::Ready(1));
        assert_eq!(subscribers[1].try_receive(), Err(ReceiveError::Lost(1)));
    }

    #[test]
    fn messages_whose_drop_panics_are_all_dropped() {
        struct Bomb(Drops);
        impl Drop for Bomb {
            fn drop(&mut self) {
                drop(self.0.guard());
                panic!("in a drop");
            }
        }
        let drops = Drops::default();
        let channel = Channel::new(4, Slow::Wait);
        let subscriber = channel.subscribe();
        for _ in 0..3 {
            assert!(channel.try_send(Arc::new(Bomb(drops.clone()))).is_ok());
        }
        let log = logged(|| drop(subscriber));
        assert_eq!((drops.count(), channel.statistics().queued), (3, 0), "{log}");
        assert!(log.contains("the drop of a message panicked"), "{log}");
    }

    #[test]
    fn a_thousand_subscribers_each_get_all() {
        run_within(|| async {
            let channel = Channel::new(8, Slow::Wait);
            let mut subscribers = Coros::new();
            for _ in 0..1_000 {
                let mut subscriber = channel.subscribe();
                subscribers.spawn(async move {
                    let mut next = 0;
                    while let Ok(number) = subscriber.receive().await {
                        assert_eq!(number, next);
                        next += 1;
                    }
                    next
                }).await;
            }
            for number in 0..100 {
                assert_eq!(channel.send(number).await, Ok(1_000));
            }
            drop(channel);
            while let Some(count) = subscribers.next().await {
                assert_eq!(count.unwrap(), 100);
            }
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
    use asyncoro::sync::{Channel, oneshot, watch};

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

    #[test]
    fn a_channel_between_threads_loses_nothing_and_tells_what_it_drops() {
        for slow in [Slow::Wait, Slow::DropOldest, Slow::Disconnect] {
            within(move || {
                let channel = Channel::new(4, slow);
                let receiving: Vec<_> = (0..3)
                    .map(|_| {
                        let mut subscriber = channel.subscribe();
                        thread::spawn(move || {
                            asyncoro::run(async move {
                                let mut next = 0;
                                loop {
                                    match subscriber.receive().await {
                                        Ok(number) => {
                                            assert_eq!(number, next);
                                            next += 1;
                                        }
                                        Err(ReceiveError::Lost(count)) => next += count,
                                        Err(error) => return (error, next),
                                    }
                                }
                            })
                        })
                    })
                    .collect();
                asyncoro::run(async move {
                    for number in 0..5_000_u64 {
                        channel.send(number).await.unwrap();
                        if number % 500 == 0 {
                            sleep(Duration::from_micros(100)).await;
                        }
                    }
                });
                for thread in receiving {
                    let (error, next) = thread.join().unwrap();
                    match slow {
                        Slow::Disconnect => assert!(
                            error == ReceiveError::Disconnected || next == 5_000,
                            "{error} {next}"
                        ),
                        _ => assert_eq!((error, next), (ReceiveError::Closed, 5_000)),
                    }
                }
            });
        }
    }

    #[test]
    fn deliveries_to_subscribers_that_come_and_go_end_1000_times() {
        within(|| {
            let channel = Channel::new(2, Slow::Wait);
            let coming = channel.clone();
            let subscribing = thread::spawn(move || {
                asyncoro::run(async move {
                    let mut received = 0;
                    for round in 0.. {
                        let mut subscriber = coming.subscribe();
                        if round % 3 == 0 {
                            continue; // goes at once
                        }
                        match subscriber.receive().await {
                            Ok(number) => received += usize::from(number < 1_000),
                            Err(_) => return received,
                        }
                    }
                    unreachable!("the channel is closed in the end")
                })
            });
            let delivered = asyncoro::run(async {
                let mut delivered = 0;
                for number in 0..1_000 {
                    delivered += channel.deliver(number, 1).await;
                }
                channel.close();
                delivered
            });
            drop(channel);
            assert_eq!(subscribing.join().unwrap(), delivered);
        });
    }
}
