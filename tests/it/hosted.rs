//! A scheduler that somebody else's loop drives: when a turn is needed, and what it does.

use std::{
    cell::Cell,
    future::{pending, poll_fn},
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    pin::pin,
    rc::Rc,
    sync::{Arc, Barrier, mpsc},
    task::Poll,
    thread,
    time::{Duration, Instant},
};

use asyncoro::{
    AsynCoro, AsyncSocket, Coro,
    bytes::Bytes,
    coro::{self, Ended, Hosted, Local, Scheduler, on_end, yield_now},
    spawn,
    sync::mailbox,
    time::{sleep, sleep_until, timeout},
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::{
    fork::{alone, well_in_child},
    within::{Drops, Foreign, panic_of, poll_once, within},
};

const LONG: Duration = Duration::from_secs(1000);

fn hosted() -> Hosted {
    Hosted::new(Scheduler::new().unwrap()).unwrap()
}

/// Waits until the descriptor is readable, for `max` at most.
fn readable_within(hosted: &Hosted, max: Option<Duration>) -> bool {
    let mut ready = [PollFd::new(hosted, PollFlags::IN)];
    let max = max.map(|max| Timespec::try_from(max).unwrap());
    poll(&mut ready, max.as_ref()).unwrap() == 1
}

fn is_readable(hosted: &Hosted) -> bool {
    readable_within(hosted, Some(Duration::ZERO))
}

fn is_due(hosted: &Hosted) -> bool {
    hosted.next_deadline().is_some_and(|at| at <= Instant::now())
}

/// Makes turns until one leaves nothing to do; then the descriptor is empty.
fn turns(hosted: &Hosted) -> usize {
    let mut count = 1;
    while hosted.turn(Duration::ZERO) {
        assert!(is_due(hosted), "a turn that leaves something to do says so in both ways");
        count += 1;
    }
    assert!(!is_readable(hosted));
    // A timer may have become due since.
    assert!(hosted.statistics().timers > 0 || !is_due(hosted));
    count
}

/// Drives as a host's loop does, until `is_over`; returns the turns that it took. It looks every
/// 20 ms, since the end of a thread is no event.
fn drive(hosted: &Hosted, mut is_over: impl FnMut() -> bool) -> usize {
    let mut count = 0;
    loop {
        hosted.turn(Duration::ZERO);
        count += 1;
        if is_over() {
            return count;
        }
        let left = hosted.next_deadline().map(|at| at.saturating_duration_since(Instant::now()));
        readable_within(hosted, Some(left.unwrap_or(LONG).min(Duration::from_millis(20))));
    }
}

fn value<T>(hosted: &Hosted, coro: Coro<T>) -> Result<T, Ended> {
    drive(hosted, || coro.is_finished());
    coro.value()
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

#[test]
fn a_call_within_is_no_coroutine() {
    static LOCAL: Local<u8> = Local::new();
    within(|| {
        let hosted = hosted();
        let text = panic_of(|| hosted.within(|| LOCAL.set(7)));
        assert!(text.starts_with("coro::Local is about the coroutine that runs"), "{text}");
        let text = panic_of(|| _ = hosted.within_told(|| on_end(async {})));
        assert!(text.starts_with("coro::on_end is about the coroutine that runs"), "{text}");
        assert_eq!(hosted.within(|| LOCAL.try_with(|value| *value)), None);
        let text = panic_of(|| _ = hosted.within(coro::current));
        assert!(text.starts_with("coro::current"), "{text}");
        let coroutine = hosted.spawn(async {
            LOCAL.set(7);
            LOCAL.expect()
        });
        turns(&hosted);
        assert_eq!(coroutine.value().unwrap(), 7);
    });
}

#[test]
fn an_idle_host_needs_no_turn_and_a_turn_of_no_time_never_waits() {
    within(|| {
        let hosted = hosted();
        assert!(!is_readable(&hosted));
        assert_eq!(hosted.next_deadline(), None);
        assert!(!hosted.turn(Duration::ZERO));
        drop(hosted.spawn(pending::<()>()));
        turns(&hosted);
        assert_eq!(hosted.next_deadline(), None);
        assert!(!hosted.turn(Duration::ZERO), "it would wait for ever");
        assert_eq!(hosted.statistics().sleeps, 0);
    });
}

#[test]
fn a_turn_waits_as_long_as_it_was_asked_to() {
    within(|| {
        let hosted = hosted();
        drop(hosted.spawn(pending::<()>()));
        turns(&hosted);
        let before = Instant::now();
        assert!(!hosted.turn(Duration::from_millis(20)));
        assert!(before.elapsed() >= Duration::from_millis(20));
        let sleeping = hosted.spawn(sleep(Duration::from_millis(5)));
        hosted.turn(LONG);
        assert!(!sleeping.is_finished(), "who is ready is resumed without a wait");
        // The wheel of the timers may look for it once or twice before it is due.
        let waits = (0..10).take_while(|_| !sleeping.is_finished()).map(|_| hosted.turn(LONG));
        assert!(waits.count() < 10);
        let (start, wait) = mpsc::channel();
        let handle = hosted.handle();
        let poster = thread::spawn(move || {
            wait.recv().unwrap();
            handle.spawn(|| async { 7 }).value().unwrap()
        });
        start.send(()).unwrap();
        // Without a bound: only the post ends it.
        while hosted.statistics().spawned < 3 {
            hosted.turn(Duration::MAX);
        }
        assert_eq!(poster.join().unwrap(), 7);
    });
}

#[test]
fn an_event_makes_the_descriptor_readable_until_a_turn_has_handled_it() {
    within(|| {
        let hosted = hosted();
        let (mut peer, ours) = pair();
        let receiving = hosted.spawn(async move {
            let socket = AsyncSocket::new(ours).unwrap();
            let first = socket.recv_all_bytes(3).await.unwrap();
            (first, socket.recv_all_bytes(3).await.unwrap(), socket)
        });
        turns(&hosted);
        for bytes in [b"abc", b"def"] {
            assert!(!receiving.is_finished());
            peer.write_all(bytes).unwrap();
            assert!(readable_within(&hosted, Some(LONG)));
            assert!(is_readable(&hosted), "for as long as no turn is made");
            assert_eq!(turns(&hosted), 1, "one turn takes it in and resumes who waits");
        }
        let (first, second, socket) = receiving.value().unwrap();
        assert_eq!((&first[..], &second[..]), (&b"abc"[..], &b"def"[..]));
        // Outside of a turn it is dropped with nothing queued, which asks for nothing.
        drop(socket);
        turns(&hosted);
    });
}

#[test]
fn more_events_than_one_call_returns_are_all_told() {
    within(|| {
        const SOCKETS: usize = 300;
        let hosted = hosted();
        let (mut peers, ours): (Vec<_>, Vec<_>) = (0..SOCKETS).map(|_| pair()).unzip();
        let received = Rc::new(Cell::new(0));
        for stream in ours {
            let received = Rc::clone(&received);
            drop(hosted.spawn(async move {
                let socket = AsyncSocket::new(stream).unwrap();
                while !socket.recv_bytes(10).await.unwrap().is_empty() {
                    received.set(received.get() + 1);
                }
            }));
        }
        turns(&hosted);
        for round in 1..=3 {
            peers.iter_mut().for_each(|peer| peer.write_all(b"x").unwrap());
            let mut count = 0;
            // By the descriptor alone, level-triggered.
            while readable_within(&hosted, Some(Duration::ZERO)) || is_due(&hosted) {
                hosted.turn(Duration::ZERO);
                count += 1;
                assert!(count < 10 * SOCKETS, "it is readable for ever");
            }
            assert_eq!(received.get(), round * SOCKETS);
            assert!(count >= SOCKETS / 61, "a turn is bounded");
            // By what a turn returns, edge-triggered.
            peers.iter_mut().for_each(|peer| peer.write_all(b"x").unwrap());
            assert!(turns(&hosted) >= SOCKETS / 61);
            received.set(received.get() - SOCKETS);
            assert_eq!(received.get(), round * SOCKETS);
        }
    });
}

#[test]
fn a_turn_is_bounded_and_says_that_more_is_ready() {
    within(|| {
        let hosted = hosted();
        for _ in 0..1000 {
            drop(hosted.spawn(yield_now()));
        }
        let before = hosted.statistics().resumes;
        assert!(hosted.turn(Duration::ZERO));
        assert!(hosted.statistics().resumes - before <= 61);
        assert!(is_due(&hosted));
        assert!(turns(&hosted) >= 2000 / 61);
        assert_eq!(hosted.statistics().coroutines, 0);
    });
}

#[test]
fn a_call_that_tells_the_host_of_work_makes_nothing_readable() {
    within(|| {
        let hosted = hosted();
        turns(&hosted);
        assert_eq!(hosted.next_deadline(), None);
        assert_eq!(hosted.within_told(|| 1), (1, false));

        let (coroutine, has_work) = hosted.within_told(|| spawn(async { 2 }));
        assert!(has_work && !is_readable(&hosted) && turns(&hosted) == 1);
        assert_eq!(coroutine.value().unwrap(), 2);

        let mut timer = pin!(sleep(LONG));
        let (poll, has_work) = hosted.within_told(|| poll_once(timer.as_mut()));
        assert!(poll.is_pending() && has_work && !is_readable(&hosted), "the deadline is earlier");
        assert_eq!(turns(&hosted), 1);
        assert!(hosted.next_deadline().is_some());
        let mut later = pin!(sleep(2 * LONG));
        let (poll, has_work) = hosted.within_told(|| poll_once(later.as_mut()));
        assert!(poll.is_pending() && !has_work);

        let (mut peer, ours) = pair();
        let socket = AsyncSocket::new(ours).unwrap();
        let (queued, has_work) =
            hosted.within_told(|| poll_once(pin!(socket.send_queued(b"abc")).as_mut()));
        assert!(queued.is_ready() && has_work && !is_readable(&hosted) && turns(&hosted) == 1);
        peer.read_exact(&mut [0; 3]).unwrap();

        // The outer one tells.
        let (inner, has_work) = hosted.within_told(|| hosted.within_told(|| spawn(async {})).1);
        assert!(!inner && has_work && !is_readable(&hosted));
        turns(&hosted);

        // Nobody is told by a call that panics, so the descriptor tells.
        let told =
            panic_of(|| hosted.within_told(|| -> () { panic!("{:?}", spawn(async {}).id()) }));
        assert!(!told.is_empty() && is_readable(&hosted));
        turns(&hosted);

        // Other threads make it readable as ever, also meanwhile.
        let handle = hosted.handle();
        let ((), has_work) = hosted.within_told(|| {
            thread::spawn(move || drop(handle.spawn(|| async {}))).join().unwrap();
        });
        assert!(has_work && is_readable(&hosted));
        turns(&hosted);
    });
}

#[test]
fn whatever_another_thread_posts_wakes_the_host() {
    within(|| {
        let hosted = hosted();
        let (sender, receiver) = mailbox(1);
        let receiving = hosted.spawn(async move { receiver.receive().await });
        let endless = hosted.spawn(pending::<()>());
        turns(&hosted);
        let handle = hosted.handle();
        let (step, steps) = mpsc::channel::<()>();
        let other = thread::spawn(move || {
            steps.recv().unwrap();
            drop(handle.spawn(|| async {}));
            steps.recv().unwrap();
            sender.send_blocking(1).unwrap();
            steps.recv().unwrap();
            endless.terminate();
            steps.recv().unwrap();
            assert_eq!(handle.statistics().coroutines, 0);
            handle.join();
            handle.terminate();
        });
        for _ in 0..3 {
            assert!(!is_readable(&hosted));
            step.send(()).unwrap();
            assert!(readable_within(&hosted, None));
            turns(&hosted);
        }
        step.send(()).unwrap();
        drive(&hosted, || other.is_finished());
        other.join().unwrap();
        assert_eq!(receiving.value().unwrap(), Some(1));
        assert_eq!(hosted.statistics().coroutines, 0);
    });
}

#[test]
fn posts_that_come_while_turns_are_made_are_never_slept_through() {
    within(|| {
        const POSTS: usize = 300;
        let hosted = hosted();
        let handle = hosted.handle();
        let other = thread::spawn(move || {
            for number in 0..POSTS {
                // Each waits for the turn that the one before has caused.
                assert_eq!(handle.spawn(move || async move { number }).value().unwrap(), number);
            }
        });
        loop {
            let more = hosted.turn(Duration::ZERO);
            if hosted.statistics().spawned == POSTS as u64 {
                break;
            }
            if !more {
                readable_within(&hosted, None);
            }
        }
        other.join().unwrap();
    });
}

#[test]
fn what_the_host_itself_does_between_turns_makes_the_descriptor_readable() {
    within(|| {
        let hosted = hosted();
        let (sender, receiver) = mailbox(10);
        let receiving = hosted.spawn(async move { while receiver.receive().await != Some(9) {} });
        let endless = hosted.spawn(pending::<()>());
        let (mut peer, ours) = pair();
        let (give, got) = mpsc::channel();
        drop(hosted.spawn(async move {
            let socket = AsyncSocket::new(ours).unwrap();
            // Makes it one of this scheduler's, and full.
            let _ = timeout(Duration::ZERO, socket.recv(&mut [0])).await;
            give.send(socket).unwrap();
        }));
        turns(&hosted);
        let check = |what: &str| {
            assert!(is_readable(&hosted), "{what}");
            assert!(is_due(&hosted), "{what}");
            turns(&hosted);
        };

        sender.try_send(1).unwrap();
        check("a message in a mailbox");
        drop(hosted.spawn(async {}));
        check("a new coroutine");
        hosted.within(|| drop(spawn(async {})));
        check("a new coroutine, by the free function");
        hosted.within(|| sender.try_send(9).unwrap());
        check("a wake inside of `within`");
        assert!(receiving.is_finished());
        endless.terminate();
        check("a coroutine to end");
        assert!(matches!(endless.value(), Err(Ended::Terminated(_))));

        let socket = got.recv().unwrap();
        hosted.within(|| socket.try_send_msg(&Bytes::from_static(b"queued")).unwrap());
        check("bytes queued");
        let mut bytes = [0; 10];
        peer.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"\0\0\0\x06queued");
        hosted.within(|| socket.try_send_msg(&Bytes::from_static(b"dropped")).unwrap());
        drop(socket);
        check("a dropped socket with bytes queued");
        let mut rest = Vec::new();
        peer.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"\0\0\0\x07dropped");
    });
}

#[test]
fn what_is_dropped_between_turns_is_still_sent_whole() {
    within(|| {
        let scheduler = AsynCoro::builder().linger(LONG).build().unwrap();
        let hosted = Hosted::new(scheduler).unwrap();
        let (mut peer, ours) = pair();
        let socket = hosted.within(|| AsyncSocket::new(ours).unwrap());
        // Makes it one of this scheduler's.
        let bound = socket.clone();
        let bound = hosted.spawn(async move {
            let _ = timeout(Duration::ZERO, bound.recv(&mut [0])).await;
        });
        value(&hosted, bound).unwrap();
        let message = Bytes::from(vec![7; 32 << 20]);
        hosted.within(|| socket.try_send_msg(&message).unwrap());
        drop(socket);
        let reader = thread::spawn(move || {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).unwrap();
            all.len()
        });
        drive(&hosted, || reader.is_finished());
        assert_eq!(reader.join().unwrap(), 4 + message.len());
    });
}

#[test]
fn the_next_deadline_is_that_of_the_next_timer() {
    within(|| {
        let hosted = hosted();
        let far = Instant::now() + LONG;
        drop(hosted.spawn(sleep_until(far)));
        turns(&hosted);
        let told = hosted.next_deadline().unwrap();
        assert!(told > Instant::now() && told <= far + Duration::from_millis(1));

        // An executor of the host's own: what it arms outside of a turn is told, too.
        let waker = Foreign::new();
        let mut own = pin!(sleep(Duration::from_millis(5)));
        let mut poll_own = || {
            hosted.within(|| {
                let cx = &mut std::task::Context::from_waker(std::task::Waker::noop());
                waker.poll(own.as_mut(), cx).is_ready()
            })
        };
        assert!(!poll_own());
        assert!(is_readable(&hosted), "the deadline is earlier than the one that was told");
        turns(&hosted);
        let mut rounds = 0;
        while waker.wakes() == 0 {
            let left = hosted.next_deadline().unwrap() - Instant::now();
            assert!(!readable_within(&hosted, Some(left)), "only the clock tells");
            hosted.turn(Duration::ZERO);
            rounds += 1;
        }
        assert!(rounds < 10, "the host does not spin: {rounds}");
        assert!(poll_own());

        // One that is later than what was told asks for nothing.
        hosted.next_deadline();
        let mut later = pin!(sleep(2 * LONG));
        assert!(hosted.within(|| poll_once(later.as_mut())).is_pending());
        assert!(!is_readable(&hosted));
    });
}

#[test]
fn a_loop_over_poll_serves_clients_and_sleeps_in_between() {
    within(|| {
        let hosted = hosted();
        let server = hosted.spawn(AsyncSocket::create_server("127.0.0.1:0"));
        let server = value(&hosted, server).unwrap().unwrap();
        let address = server.local_addr().unwrap().socket_addr().unwrap();
        drop(hosted.spawn(async move {
            loop {
                let (client, _) = server.accept().await.unwrap();
                drop(spawn(async move {
                    while let Some(message) = client.recv_msg().await.unwrap() {
                        sleep(Duration::from_millis(1)).await;
                        client.send_msg(&message).await.unwrap();
                    }
                }));
            }
        }));
        let clients: Vec<_> = (0..10)
            .map(|_| {
                thread::spawn(move || {
                    let mut stream = TcpStream::connect(address).unwrap();
                    for round in 0..20_u8 {
                        stream.write_all(&[0, 0, 0, 1, round]).unwrap();
                        let mut echo = [0; 5];
                        stream.read_exact(&mut echo).unwrap();
                        assert_eq!(echo, [0, 0, 0, 1, round]);
                    }
                })
            })
            .collect();
        let turns = drive(&hosted, || clients.iter().all(thread::JoinHandle::is_finished));
        clients.into_iter().for_each(|client| client.join().unwrap());
        assert!(turns < 10_000, "a host that spins makes many more: {turns}");
    });
}

#[test]
fn a_host_that_makes_no_turns_loses_nothing() {
    within(|| {
        let hosted = hosted();
        let (mut peer, ours) = pair();
        let receiving = hosted.spawn(async move {
            let socket = AsyncSocket::new(ours).unwrap();
            sleep(Duration::from_millis(1)).await;
            socket.recv_all_bytes(4).await.unwrap()
        });
        turns(&hosted);
        peer.write_all(b"late").unwrap();
        let handle = hosted.handle();
        let posted = thread::spawn(move || handle.spawn(|| async { 5 })).join().unwrap();
        let due = hosted.next_deadline().unwrap();
        thread::sleep(due.saturating_duration_since(Instant::now()));
        assert!(is_due(&hosted) && is_readable(&hosted));
        assert_eq!(value(&hosted, receiving).unwrap(), "late");
        assert_eq!(value(&hosted, posted).unwrap(), 5);
    });
}

#[test]
fn a_scheduler_with_work_left_needs_a_turn_from_the_start() {
    within(|| {
        let scheduler = Scheduler::new().unwrap();
        let left = scheduler.enter(async { spawn(yield_now()) });
        let handle = scheduler.handle();
        let posted = thread::spawn(move || handle.spawn(|| async {})).join().unwrap();
        let hosted = Hosted::new(scheduler).unwrap();
        assert!(is_readable(&hosted) && is_due(&hosted));
        turns(&hosted);
        assert!(left.is_finished() && posted.is_finished());
    });
}

#[test]
fn turns_do_not_nest() {
    within(|| {
        let hosted = Rc::new(hosted());
        let inner = Rc::clone(&hosted);
        let checked = hosted.spawn(async move {
            let text = panic_of(|| inner.turn(Duration::ZERO));
            assert!(text.contains("made by the host's loop"), "{text}");
            let text = panic_of(|| asyncoro::run(async {}));
            assert!(text.contains("running on this thread already"), "{text}");
            // These may be called anywhere.
            assert_eq!(inner.within(|| 3), 3);
            assert!(!is_readable(&inner), "the turn that runs sees to it");
            inner.spawn(async { 4 }).await.unwrap()
        });
        turns(&hosted);
        assert_eq!(checked.value().unwrap(), 4);
        let text = hosted.within(|| panic_of(|| hosted.turn(Duration::ZERO)));
        assert!(text.contains("`Hosted::within`"), "{text}");
        let text = asyncoro::run(async { panic_of(|| hosted.turn(Duration::ZERO)) });
        assert!(text.contains("running on this thread already"), "{text}");
        turns(&hosted);
    });
}

#[test]
fn two_hosted_schedulers_of_one_thread_talk_to_each_other() {
    within(|| {
        let (one, two) = (hosted(), hosted());
        let (to_two, in_two) = mailbox(1);
        let (to_one, in_one) = mailbox(1);
        let first = one.spawn(async move {
            for number in 0..100 {
                to_two.send(number).await.unwrap();
                assert_eq!(in_one.receive().await, Some(number));
            }
        });
        drop(two.spawn(async move {
            while let Some(number) = in_two.receive().await {
                to_one.send(number).await.unwrap();
            }
        }));
        loop {
            one.turn(Duration::ZERO);
            two.turn(Duration::ZERO);
            if first.is_finished() {
                break;
            }
            let at = [&one, &two].into_iter().filter_map(Hosted::next_deadline).min();
            let left = at.map(|at| at.saturating_duration_since(Instant::now()));
            let left = left.map(|left| Timespec::try_from(left).unwrap());
            let mut both = [PollFd::new(&one, PollFlags::IN), PollFd::new(&two, PollFlags::IN)];
            poll(&mut both, left.as_ref()).unwrap();
        }
        first.value().unwrap();
    });
}

#[test]
fn a_panic_stays_in_its_coroutine() {
    within(|| {
        let hosted = hosted();
        let bad = hosted.spawn(async { panic!("on purpose") });
        let good = hosted.spawn(async { 1 });
        turns(&hosted);
        assert!(matches!(bad.value(), Err(Ended::Panicked(_, _))));
        assert_eq!(good.value().unwrap(), 1);
        let text = panic_of(|| hosted.within(|| panic!("the host's own")));
        assert_eq!(text, "the host's own");
        assert_eq!(value(&hosted, hosted.spawn(async { 2 })).unwrap(), 2);
    });
}

#[test]
fn the_drop_ends_all_coroutines_and_sends_what_is_queued() {
    within(|| {
        let drops = Drops::default();
        let hosted = hosted();
        let (mut peer, ours) = pair();
        let begun = hosted.spawn({
            let guard = drops.guard();
            async move {
                let _guard = guard;
                let socket = AsyncSocket::new(ours).unwrap();
                socket.send_msg(b"goodbye").await.unwrap();
                pending::<()>().await
            }
        });
        turns(&hosted);
        let fresh = hosted.spawn({
            let guard = drops.guard();
            async move { drop(guard) }
        });
        let handle = hosted.handle();
        let posted = thread::spawn(move || handle.spawn(|| async {})).join().unwrap();
        drop(hosted);
        assert_eq!(drops.count(), 2);
        for coro in [begun, fresh, posted] {
            assert!(matches!(coro.value(), Err(Ended::Terminated(_))));
        }
        let mut all = Vec::new();
        peer.read_to_end(&mut all).unwrap();
        assert_eq!(all, b"\0\0\0\x07goodbye");
    });
}

#[test]
fn the_drop_waits_for_a_slow_peer_and_is_woken() {
    within(|| {
        let scheduler = AsynCoro::builder().drain(LONG).build().unwrap();
        let hosted = Hosted::new(scheduler).unwrap();
        let (mut peer, ours) = pair();
        let sent = hosted.spawn(async move {
            let socket = AsyncSocket::new(ours).unwrap();
            socket.try_send_msg(&Bytes::from(vec![1; 16 << 20])).unwrap();
        });
        value(&hosted, sent).unwrap();
        let start = Arc::new(Barrier::new(2));
        let reader = thread::spawn({
            let start = Arc::clone(&start);
            move || {
                start.wait();
                let mut all = Vec::new();
                peer.read_to_end(&mut all).unwrap();
                all.len()
            }
        });
        start.wait();
        drop(hosted);
        assert_eq!(reader.join().unwrap(), 4 + (16 << 20));
    });
}

#[test]
fn verbs_of_the_hosts_own_executor_share_a_budget_and_go_on() {
    within(|| {
        let hosted = hosted();
        let (sender, receiver) = mailbox(1000);
        (0..1000).for_each(|number| sender.try_send(number).unwrap());
        let mut all = pin!(async {
            for number in 0..1000 {
                assert_eq!(receiver.receive().await, Some(number));
            }
        });
        let mut polls = 0;
        while hosted.within(|| poll_once(all.as_mut())).is_pending() {
            polls += 1;
        }
        // One step back for each 128, and no turn was made.
        assert!((7..20).contains(&polls), "{polls}");
        let yields = hosted.within(|| {
            let mut first = true;
            poll_once(pin!(poll_fn(|_| {
                if std::mem::take(&mut first) { Poll::Ready(()) } else { Poll::Pending }
            })))
        });
        assert!(yields.is_ready());
    });
}

#[test]
fn the_child_of_a_fork_leaves_a_hosted_scheduler_to_its_parent() {
    alone("hosted::the_child_of_a_fork_leaves_a_hosted_scheduler_to_its_parent", || {
        let hosted = hosted();
        let sleeping = hosted.spawn(sleep(Duration::from_millis(1)));
        hosted.turn(Duration::ZERO);
        let sender = {
            let (sender, receiver) = mailbox(1);
            drop(hosted.spawn(async move { receiver.receive().await }));
            turns(&hosted);
            sender
        };
        let (give_back, hosted) = (&sleeping, Rc::new(hosted));
        let well = well_in_child(|| {
            for text in [
                panic_of(|| hosted.turn(Duration::ZERO)),
                panic_of(|| drop(hosted.spawn(async {}))),
                panic_of(|| hosted.within(|| ())),
            ] {
                assert!(text.contains("belongs to the parent of a fork"), "{text}");
            }
            assert_eq!(hosted.next_deadline(), None);
            sender.try_send(1).unwrap();
            give_back.terminate();
            drop(hosted.clone());
            // One of its own.
            let own = Hosted::new(AsynCoro::builder().build().unwrap()).unwrap();
            assert_eq!(value(&own, own.spawn(async { 2 })).unwrap(), 2);
        });
        assert!(well);
        value(&hosted, sleeping).unwrap();
    });
}

#[test]
fn a_coroutine_that_forks_in_a_turn_cannot_go_on_in_the_child() {
    alone("hosted::a_coroutine_that_forks_in_a_turn_cannot_go_on_in_the_child", || {
        let hosted = hosted();
        let forked = hosted.spawn(async {
            well_in_child(|| {
                let text = panic_of(|| drop(spawn(async {})));
                assert!(text.contains("needs a running scheduler"), "{text}");
            })
        });
        assert!(value(&hosted, forked).unwrap());
    });
}
