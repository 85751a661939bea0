//! `future`: joins, races, and loops that wait for several things.

use std::{
    cell::{Cell, RefCell},
    future::{pending, ready},
    pin::pin,
    rc::Rc,
    task::Poll,
    time::Duration,
};

use asyncoro::{
    coro::yield_now,
    future::{
        Slot, Winner, join, join_all, join3, join4, race, race3, race4, try_join, try_join_all,
        try_join3,
    },
    spawn,
    time::sleep,
};

use crate::{
    pairs::{each, pair},
    within::{Drops, block_on, panic_of, poll_once, run_within},
};

/// Yields so often, then has a value.
async fn after(yields: u32) -> u32 {
    for _ in 0..yields {
        yield_now().await;
    }
    yields
}

#[test]
fn joins_wait_for_all_at_once_and_keep_the_order_of_the_arguments() {
    run_within(|| async {
        let turns = Rc::new(RefCell::new(Vec::new()));
        let step = async |name: char, yields: u32| {
            for _ in 0..yields {
                turns.borrow_mut().push(name);
                yield_now().await;
            }
            (name, yields)
        };
        assert_eq!(join(step('a', 3), step('b', 1)).await, (('a', 3), ('b', 1)));
        assert_eq!(turns.take(), ['a', 'b', 'a', 'a']);
        assert_eq!(join3(after(2), after(0), after(1)).await, (2, 0, 1));
        assert_eq!(join4(after(0), ready("b"), after(3), after(1)).await, (0, "b", 3, 1));
        assert_eq!(join_all((0..50).rev().map(after)).await, (0..50).rev().collect::<Vec<_>>());
        assert!(join_all(Vec::<std::future::Ready<()>>::new()).await.is_empty());
    });
}

#[test]
fn a_future_that_is_done_is_dropped_at_once_and_its_value_with_the_join() {
    run_within(|| async {
        let (futures, values) = (Drops::default(), Drops::default());
        let done = async {
            let _held = futures.guard();
            yield_now().await;
            values.guard()
        };
        {
            let mut joined = pin!(join(done, pending::<()>()));
            assert!(poll_once(joined.as_mut()).is_pending());
            assert_eq!((futures.count(), values.count()), (0, 0));
            assert!(poll_once(joined.as_mut()).is_pending());
            assert_eq!((futures.count(), values.count()), (1, 0));
            assert!(poll_once(joined.as_mut()).is_pending());
        }
        assert_eq!((futures.count(), values.count()), (1, 1));
    });
}

#[test]
fn a_join_ends_at_the_first_error_and_polls_nobody_again() {
    run_within(|| async {
        let drops = Drops::default();
        let waits = async || {
            let _guard = drops.guard();
            pending::<Result<u32, &str>>().await
        };
        let fails = async |yields| {
            after(yields).await;
            Err::<u32, _>("it fails")
        };
        assert_eq!(try_join(waits(), fails(2)).await, Err("it fails"));
        assert_eq!(try_join3(ready(Ok(1)), waits(), fails(1)).await, Err("it fails"));
        assert_eq!(drops.count(), 2);
        type Local<'a> = std::pin::Pin<Box<dyn Future<Output = Result<u32, &'static str>> + 'a>>;
        let list: [Local<'_>; 3] = [Box::pin(ready(Ok(1))), Box::pin(waits()), Box::pin(fails(3))];
        assert_eq!(try_join_all(list).await, Err("it fails"));
        assert_eq!(drops.count(), 3);
        let well = async |yields| Ok::<_, &str>(after(yields).await);
        assert_eq!(try_join(well(2), well(1)).await, Ok((2, 1)));
        assert_eq!(try_join3(well(2), well(1), well(0)).await, Ok((2, 1, 0)));
        assert_eq!(try_join_all((0..9).map(well)).await, Ok((0..9).collect()));
    });
}

#[test]
fn a_join_that_has_finished_says_so_when_it_is_polled_again() {
    let text = "was polled after it had finished";
    let again = |poll: &mut dyn FnMut() -> bool| {
        assert!(poll());
        assert!(panic_of(poll).contains(text));
    };
    let (mut two, mut all) = (pin!(join(ready(1), ready(2))), join_all([ready(1)]));
    again(&mut || poll_once(two.as_mut()).is_ready());
    again(&mut || poll_once(pin!(&mut all)).is_ready());
    let (mut two, mut all) = (
        pin!(try_join(ready(Ok::<_, ()>(1)), ready(Ok(2)))),
        try_join_all([ready(Ok::<_, ()>(1))]),
    );
    again(&mut || poll_once(two.as_mut()).is_ready());
    again(&mut || poll_once(pin!(&mut all)).is_ready());
}

#[test]
fn a_race_is_won_by_the_first_that_is_done_and_by_the_first_argument_of_two() {
    run_within(|| async {
        assert_eq!(race(after(2), after(1)).await, Winner::Second(1));
        assert_eq!(race(after(0), after(0)).await, Winner::First(0));
        assert_eq!(race3(after(3), after(2), ready("c")).await, Winner::Third("c"));
        assert_eq!(race4(after(3), after(2), after(2), ready(())).await, Winner::Fourth(()));
        assert_eq!(race4(after(3), after(1), after(1), pending::<()>()).await, Winner::Second(1));
        // Two arms are enough for two.
        match race(after(1), pending::<Rc<()>>()).await {
            Winner::First(one) => assert_eq!(one, 1),
            Winner::Second(_) => unreachable!("it is pending"),
        }
    });
}

#[test]
fn a_race_drops_who_has_lost_unless_it_was_lent() {
    run_within(|| async {
        let drops = Drops::default();
        let holds = async |yields| {
            let _guard = drops.guard();
            after(yields).await
        };
        assert_eq!(race(holds(5), after(1)).await, Winner::Second(1));
        assert_eq!(drops.count(), 1);
        let mut lent = pin!(holds(3));
        let mut rounds = 0;
        while let Winner::First(()) = race(yield_now(), lent.as_mut()).await {
            rounds += 1;
        }
        assert_eq!((rounds, drops.count()), (3, 2));
    });
}

#[test]
fn a_slot_is_empty_once_its_future_is_done_and_an_empty_one_waits_for_ever() {
    let drops = Drops::default();
    let mut slot = Slot::new(Box::pin(async {
        let _guard = drops.guard();
        1
    }));
    assert!(!slot.is_empty());
    assert_eq!(poll_once(pin!(&mut slot)), Poll::Ready(1));
    assert_eq!((drops.count(), slot.is_empty()), (1, true));
    for _ in 0..3 {
        assert_eq!(poll_once(pin!(&mut slot)), Poll::Pending);
    }
    let mut slot = Slot::empty();
    assert!(poll_once(pin!(&mut slot)).is_pending());
    assert!(slot.fill(ready(2)).is_none() && slot.fill(ready(3)).is_some());
    assert_eq!(block_on(&mut slot), 3);
    slot.fill(ready(4));
    let mut pinned = pin!(Slot::new(async { 5 }));
    assert_eq!(poll_once(pinned.as_mut()), Poll::Ready(5));
    assert!(poll_once(pinned.as_mut()).is_pending() && pinned.is_empty());
    pinned.set(Slot::empty());
    assert_eq!(slot.take().map(block_on), Some(4));
    assert!(slot.is_empty());
}

#[test]
fn a_loop_races_fresh_verbs_against_a_long_future_that_ends_and_loses_no_message() {
    each(|kind| async move {
        let (near, far) = pair(kind);
        const ALL: u32 = 300;
        let sending = spawn(async move {
            for number in 0..ALL {
                far.send_msg(&number.to_be_bytes()).await.unwrap();
                if number % 10 == 0 {
                    yield_now().await;
                }
            }
            far
        });
        let ended = Cell::new(0);
        let mut work = pin!(Slot::new(async {
            after(20).await;
            ended.set(ended.get() + 1);
            "done"
        }));
        let mut tick = Slot::new(sleep(Duration::ZERO));
        let (mut next, mut results) = (0, Vec::new());
        while next < ALL {
            // The last one wins each round that nobody else does, and so drops the receive.
            match race4(work.as_mut(), &mut tick, near.recv_msg(), yield_now()).await {
                Winner::First(result) => results.push(result),
                Winner::Second(()) => {
                    tick.fill(sleep(Duration::from_micros(100)));
                }
                Winner::Third(message) => {
                    assert_eq!(message.unwrap().unwrap(), next.to_be_bytes().as_slice());
                    next += 1;
                }
                Winner::Fourth(()) => {}
            }
        }
        drop(sending.await.unwrap());
        while results.is_empty() {
            results.push(work.as_mut().await);
        }
        assert_eq!((results, ended.get(), work.is_empty()), (vec!["done"], 1, true));
        assert_eq!(near.recv_msg().await.unwrap(), None);
    });
}
