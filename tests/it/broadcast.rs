//! The channel that gives each message to each subscriber, for both forms: that of one thread and
//! that of all.

use std::{
    cell::Cell,
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    thread,
    time::Duration,
};

use asyncoro::{
    coro::{Coros, yield_now},
    spawn,
    sync::{ReceiveError, SendError, Slow, TrySendError},
    time::{sleep, timeout},
};

use crate::{
    forms::{each_form, poll, poll_with, settle},
    model::Rng,
    within::{Drops, Foreign, logged, run_within, within},
};

each_form! {
    { Channel }

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

    #[test]
    fn whatever_subscribers_do_each_gets_what_its_own_queue_would_have() {
        const CAPACITY: usize = 5;
        for slow in [Slow::Wait, Slow::DropOldest, Slow::Disconnect] {
            let mut random = Rng::new(0x5EED ^ slow as u64);
            let channel = Channel::new(CAPACITY, slow);
            // Each with the messages that it has not taken, and how many it has lost.
            let mut subscribers = Vec::new();
            for number in 0..20_000_u32 {
                match random.below(8) {
                    0 if subscribers.len() < 6 => {
                        subscribers.push((channel.subscribe(), VecDeque::new(), 0));
                    }
                    1 if subscribers.len() > random.below(4) => {
                        subscribers.remove(random.below(subscribers.len()));
                    }
                    2..=4 => {
                        let is_full = |queue: &VecDeque<_>| queue.len() == CAPACITY;
                        let any_full = subscribers.iter().any(|(_, queue, _)| is_full(queue));
                        let mut to = subscribers.len();
                        if any_full && slow == Slow::Disconnect {
                            for (_, queue, lost) in &mut subscribers {
                                if *lost == u64::MAX || is_full(queue) {
                                    queue.clear();
                                    *lost = u64::MAX;
                                }
                            }
                        }
                        to -= subscribers.iter().filter(|(_, _, lost)| *lost == u64::MAX).count();
                        if any_full && slow == Slow::Wait {
                            assert_eq!(channel.try_send(number), Err(TrySendError::Full(number)));
                            continue;
                        }
                        assert_eq!(channel.try_send(number), Ok(to));
                        for (_, queue, lost) in &mut subscribers {
                            if *lost == u64::MAX {
                                continue;
                            }
                            if is_full(queue) {
                                queue.pop_front();
                                *lost += 1;
                            }
                            queue.push_back(number);
                        }
                    }
                    _ if !subscribers.is_empty() => {
                        let index = random.below(subscribers.len());
                        let (subscriber, queue, lost) = &mut subscribers[index];
                        assert_eq!(subscriber.len(), queue.len());
                        match *lost {
                            0 => assert_eq!(subscriber.try_receive(), Ok(queue.pop_front())),
                            u64::MAX => {
                                let gone = subscriber.try_receive();
                                assert_eq!(gone, Err(ReceiveError::Disconnected));
                            }
                            count => {
                                let told = subscriber.try_receive();
                                assert_eq!(told, Err(ReceiveError::Lost(count)));
                                *lost = 0;
                            }
                        }
                    }
                    _ => {}
                }
                let queued = subscribers.iter().map(|(_, queue, _)| queue.len()).max();
                assert_eq!(channel.statistics().queued, queued.unwrap_or(0));
            }
        }
    }

    #[test]
    fn of_many_deliveries_only_the_one_that_is_over_is_woken() {
        run_within(|| async {
            const COUNT: usize = 100;
            let channel = Channel::new(COUNT, Slow::Wait);
            let mut subscriber = channel.subscribe();
            let polls = Pointer::new(Cell::new(0));
            let mut delivered = Coros::new();
            for number in 0..COUNT {
                let (channel, polls) = (channel.clone(), polls.clone());
                delivered.spawn(async move {
                    let mut delivering = pin!(channel.deliver(number, 1));
                    poll_fn(|context| {
                        polls.set(polls.get() + 1);
                        delivering.as_mut().poll(context)
                    }).await
                }).await;
            }
            settle().await;
            let before = polls.get();
            for number in 0..COUNT {
                assert_eq!(subscriber.receive().await, Ok(number));
                settle().await;
            }
            assert_eq!(polls.get() - before, COUNT);
            drop(channel);
            while let Some(count) = delivered.next().await {
                assert_eq!(count.unwrap(), 1);
            }
        });
    }

    #[test]
    fn a_delivery_for_nobody_is_not_taken_for_the_next_one() {
        run_within(|| async {
            let channel = Channel::new(4, Slow::Wait);
            // The budget ends in the middle of one.
            let nobody = loop {
                let mut delivering = Box::pin(channel.deliver("for nobody", 0));
                match poll(&mut delivering) {
                    Poll::Ready(count) => assert_eq!(count, 0),
                    Poll::Pending => break delivering,
                }
            };
            yield_now().await;
            let mut subscriber = channel.subscribe();
            let mut one = pin!(channel.deliver("for one", 1));
            assert!(poll(&mut one).is_pending());
            assert_eq!(subscriber.len(), 1);
            drop(nobody);
            assert_eq!(subscriber.receive().await, Ok("for one"));
            assert_eq!(one.await, 1);
        });
    }

    #[test]
    fn a_delivery_that_disconnects_the_slow_waits_for_enough_others() {
        let channel = Channel::new(1, Slow::Disconnect);
        let (slow, mut quick) = (channel.subscribe(), channel.subscribe());
        assert_eq!(channel.try_send(1), Ok(2));
        assert_eq!(quick.try_receive(), Ok(Some(1)));
        let mut delivering = Box::pin(channel.deliver(2, 2));
        assert!(poll(&mut delivering).is_pending());
        assert!(slow.is_disconnected());
        assert_eq!(quick.try_receive(), Ok(None), "it is for two");
        let mut other = channel.subscribe();
        assert!(poll(&mut delivering).is_pending());
        assert_eq!((quick.try_receive(), other.try_receive()), (Ok(Some(2)), Ok(Some(2))));
        assert_eq!(poll(&mut delivering), Poll::Ready(2));
    }
}

/// Races between threads.
mod between_threads {
    use asyncoro::sync::Channel;

    use super::*;

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
