//! Coroutines and tokio's tasks on one thread.
//!
//! Two tests are ignored, since they measure:
//! `cargo test --release -p asyncoro-interop -- --ignored --nocapture --test-threads 1 guest::`

use std::{
    cell::{Cell, RefCell},
    future::{Future, pending},
    hint::black_box,
    panic,
    rc::Rc,
    sync::mpsc,
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

use asyncoro::{
    AsynCoro, AsyncSocket, Coro,
    coro::{self, Coros, Ended, Hosted, Scheduler, on_end, yield_now},
    sync::mailbox,
    time as ours,
    tokio::{attach, run},
};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::{LocalRuntime, Runtime},
    sync::mpsc::unbounded_channel,
    task::{JoinSet, LocalSet, spawn_blocking, spawn_local},
    time as tokios,
};

use crate::programs::Program;

const LONG: Duration = Duration::from_secs(1000);

/// Runs a test in a thread of its own and fails if it does not end.
fn within<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    let (ended, wait) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        let _ended = ended;
        test()
    });
    let outcome = wait.recv_timeout(Duration::from_secs(60));
    assert_eq!(outcome, Err(mpsc::RecvTimeoutError::Disconnected), "the test hangs");
    thread.join().unwrap_or_else(|payload| panic::resume_unwind(payload))
}

fn run_within<F: Future<Output = ()>>(make: impl FnOnce() -> F + Send + 'static) {
    within(move || run(make()));
}

fn text_of(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap()
}

fn panic_of<T>(f: impl FnOnce() -> T) -> String {
    match panic::catch_unwind(panic::AssertUnwindSafe(f)) {
        Ok(_) => panic!("it did not panic"),
        Err(payload) => text_of(&*payload),
    }
}

fn here() -> ThreadId {
    thread::current().id()
}

/// A socket of ours and one of tokio's, connected.
async fn mixed_pair() -> (AsyncSocket, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ours = AsyncSocket::create_connection(listener.local_addr().unwrap()).await.unwrap();
    (ours, listener.accept().await.unwrap().0)
}

async fn our_pair() -> (AsyncSocket, AsyncSocket) {
    let listener = AsyncSocket::create_server("127.0.0.1:0").await.unwrap();
    let near = AsyncSocket::create_connection(listener.local_addr().unwrap()).await.unwrap();
    (near, listener.accept().await.unwrap().0)
}

/// Answers each four bytes with the same.
async fn echo_with_tokio(mut stream: TcpStream) {
    let mut bytes = [0; 4];
    while stream.read_exact(&mut bytes).await.is_ok() {
        stream.write_all(&bytes).await.unwrap();
    }
}

async fn echo_with_ours(socket: AsyncSocket) {
    while let Ok(bytes) = socket.recv_all_bytes(4).await {
        socket.send_all(&bytes).await.unwrap();
    }
}

/// Counts its drop.
struct Guard(Rc<Cell<usize>>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn a_set_that_a_task_of_tokios_spawns_into_starts_at_once() {
    within(|| {
        run(async {
            let task = spawn_local(async {
                let mut set = Coros::new();
                assert!(set.try_spawn(async { 5 }).is_ok());
                set.next().await
            });
            assert_eq!(task.await.unwrap().unwrap().unwrap(), 5);
        });
    });
}

#[test]
fn from_tokio_goes_both_ways() {
    let example = Program::example("from_tokio", &[]);
    assert!(example.line_with("a task of tokio's answers").contains("a message\""));
    assert!(example.line_with("a coroutine gets of tokio").ends_with("\"A LINE\""));
    example.end();
}

#[test]
fn all_of_it_runs_on_one_thread() {
    run_within(|| async {
        let own = here();
        let seen = Rc::new(RefCell::new(Vec::new()));
        let see = |what: &'static str| {
            let seen = Rc::clone(&seen);
            move || seen.borrow_mut().push((what, here()))
        };
        asyncoro::spawn({
            let see = see("a coroutine");
            async move {
                see();
                tokios::sleep(Duration::from_millis(2)).await;
                see();
                tokio::spawn(async { assert_ne!(here(), spawn_blocking(here).await.unwrap()) })
                    .await
                    .unwrap();
                see();
                let (ours, mut theirs) = mixed_pair().await;
                theirs.write_all(b"abcd").await.unwrap();
                assert_eq!(ours.recv_all_bytes(4).await.unwrap(), "abcd");
                see();
            }
        })
        .await
        .unwrap();
        spawn_local({
            let see = see("a local task");
            async move {
                see();
                ours::sleep(Duration::from_millis(2)).await;
                see();
                assert_eq!(asyncoro::spawn(async { here() }).await.unwrap(), here());
            }
        })
        .await
        .unwrap();
        assert_eq!(tokio::spawn(async { here() }).await.unwrap(), own);
        let seen = seen.borrow();
        assert_eq!(seen.len(), 6);
        assert!(seen.iter().all(|(_, thread)| *thread == own), "{seen:?} {own:?}");
    });
}

#[test]
fn what_is_tokios_works_in_our_coroutines() {
    run_within(|| async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = asyncoro::spawn(async move {
            for _ in 0..10 {
                let (stream, _) = listener.accept().await.unwrap();
                drop(asyncoro::spawn(echo_with_tokio(stream)));
            }
        });
        let clients: Vec<Coro<()>> = (0..10_u8)
            .map(|number| {
                asyncoro::spawn(async move {
                    let mut stream = TcpStream::connect(address).await.unwrap();
                    for round in 0..20 {
                        let bytes = [number, round, 0, 1];
                        stream.write_all(&bytes).await.unwrap();
                        let mut echo = [0; 4];
                        stream.read_exact(&mut echo).await.unwrap();
                        assert_eq!(echo, bytes);
                    }
                })
            })
            .collect();
        for client in clients {
            client.await.unwrap();
        }
        server.await.unwrap();

        let mut ticks = tokios::interval(Duration::from_millis(1));
        for _ in 0..5 {
            ticks.tick().await;
        }
        assert!(tokios::timeout(Duration::from_millis(1), pending::<()>()).await.is_err());
        let mut tasks = JoinSet::new();
        (0..10).for_each(|number| drop(tasks.spawn_local(async move { number })));
        assert_eq!(tasks.join_all().await.into_iter().sum::<i32>(), 45);
        tokio::select! {
            () = tokios::sleep(LONG) => panic!("it was not the first"),
            () = ours::sleep(Duration::from_millis(1)) => {}
        }
    });
}

#[test]
fn what_is_ours_works_in_tokios_tasks() {
    run_within(|| async {
        let (near, far) = our_pair().await;
        let (sender, receiver) = mailbox(1);
        let task = spawn_local(async move {
            let mut all = Vec::new();
            while let Some(message) = far.recv_msg().await.unwrap() {
                far.send_msg(&message).await.unwrap();
                all.push(message);
            }
            assert_eq!(receiver.receive().await, Some(all.len()));
            let before = Instant::now();
            ours::sleep(Duration::ZERO).await;
            ours::sleep(Duration::from_millis(3)).await;
            assert!(before.elapsed() >= Duration::from_millis(3));
            let waiting = ours::timeout(Duration::from_millis(2), pending::<()>());
            assert!(waiting.await.is_err());
            asyncoro::spawn(async move { all.len() }).await.unwrap()
        });
        for number in 0..50_u8 {
            near.send_msg(&[number]).await.unwrap();
            assert_eq!(near.recv_msg().await.unwrap().unwrap(), &[number][..]);
        }
        near.close().await.unwrap();
        sender.send(50).await.unwrap();
        assert_eq!(task.await.unwrap(), 50);
        // The handle of a coroutine may go anywhere.
        let coro = asyncoro::spawn(async {
            tokios::sleep(Duration::from_millis(1)).await;
            7
        });
        assert_eq!(tokio::spawn(coro).await.unwrap().unwrap(), 7);
        // A coroutine waits for a task that waits for a coroutine, and so on.
        fn chain(depth: u32) -> std::pin::Pin<Box<dyn Future<Output = u32>>> {
            Box::pin(async move {
                if depth == 0 {
                    return 0;
                }
                let task = spawn_local(async move { asyncoro::spawn(chain(depth - 1)).await });
                task.await.unwrap().unwrap() + 1
            })
        }
        assert_eq!(chain(20).await, 20);
    });
}

#[test]
fn a_task_of_tokios_is_no_coroutine() {
    static LOCAL: coro::Local<&str> = coro::Local::new();
    run_within(|| async {
        LOCAL.set("run's own");
        spawn_local(async {
            assert_eq!(LOCAL.try_with(|value| *value), None);
            for text in [
                panic_of(|| LOCAL.set("a task's")),
                panic_of(|| coro::on_end(async {})),
                panic_of(|| coro::current().set_name("a task")),
            ] {
                assert!(text.contains("is about the coroutine that runs"), "{text}");
            }
            let spawned = asyncoro::spawn(async {
                LOCAL.set("a coroutine's");
                LOCAL.expect()
            });
            assert_eq!(spawned.await.unwrap(), "a coroutine's");
        })
        .await
        .unwrap();
        assert_eq!(LOCAL.expect(), "run's own");
    });
}

#[test]
fn bytes_that_a_task_queues_leave_without_a_verb_that_waits() {
    run_within(|| async {
        let (ours, mut theirs) = mixed_pair().await;
        let task = spawn_local(async move {
            ours.send_msg(b"queued").await.unwrap();
            // No turn of ours is made for this task until its bytes must leave.
            pending::<()>().await;
            drop(ours);
        });
        let mut bytes = [0; 10];
        theirs.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"\0\0\0\x06queued");
        task.abort();
        let mut rest = Vec::new();
        theirs.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty());
    });
}

#[test]
fn no_budget_is_used_up_by_one_alone() {
    run_within(|| async {
        let done = Rc::new(Cell::new(false));
        // Coroutines, the first in each queue, for which tokio always has something.
        let greedy: Vec<_> = (0..3)
            .map(|_| {
                let done = Rc::clone(&done);
                asyncoro::spawn(async move {
                    let (sender, mut receiver) = unbounded_channel();
                    while !done.get() {
                        sender.send(()).unwrap();
                        receiver.recv().await.unwrap();
                    }
                })
            })
            .collect();
        // A task for which we always have something, and one for which tokio has.
        let our_greedy = spawn_local({
            let done = Rc::clone(&done);
            async move {
                let (sender, receiver) = mailbox(1);
                while !done.get() {
                    sender.try_send(()).unwrap();
                    receiver.receive().await.unwrap();
                }
            }
        });
        let task_greedy = spawn_local({
            let done = Rc::clone(&done);
            async move {
                let (sender, mut receiver) = unbounded_channel();
                while !done.get() {
                    sender.send(()).unwrap();
                    receiver.recv().await.unwrap();
                }
            }
        });
        // These want little, and get it.
        let (sender, mut receiver) = unbounded_channel();
        let counting = asyncoro::spawn(async move {
            for number in 0..300 {
                sender.send(number).unwrap();
                assert_eq!(receiver.recv().await, Some(number));
            }
        });
        let (ours, theirs) = mixed_pair().await;
        let echo = spawn_local(echo_with_tokio(theirs));
        let talking = asyncoro::spawn(async move {
            for number in 0..10_u32 {
                ours.send_all(&number.to_ne_bytes()).await.unwrap();
                assert_eq!(ours.recv_all_bytes(4).await.unwrap(), number.to_ne_bytes()[..]);
            }
        });
        ours::sleep(Duration::from_millis(5)).await;
        tokios::sleep(Duration::from_millis(5)).await;
        spawn_local(async {
            ours::sleep(Duration::from_millis(5)).await;
            tokios::sleep(Duration::from_millis(5)).await;
        })
        .await
        .unwrap();
        counting.await.unwrap();
        talking.await.unwrap();
        echo.await.unwrap();
        done.set(true);
        for coro in greedy {
            coro.await.unwrap();
        }
        our_greedy.await.unwrap();
        task_greedy.await.unwrap();
    });
}

#[test]
fn other_threads_wake_both() {
    run_within(|| async {
        let (to_us, receiver) = mailbox(1);
        let (to_tokio, mut from_thread) = unbounded_channel();
        let handle = AsynCoro::current();
        let (step, steps) = mpsc::channel::<()>();
        let other = thread::spawn(move || {
            for number in 0..200 {
                steps.recv().unwrap();
                to_us.send_blocking(number).unwrap();
                steps.recv().unwrap();
                to_tokio.send(number).unwrap();
                steps.recv().unwrap();
                let back = handle.spawn(move || async move {
                    yield_now().await;
                    number
                });
                assert_eq!(back.value().unwrap(), number);
            }
            here()
        });
        for number in 0..200 {
            step.send(()).unwrap();
            assert_eq!(receiver.receive().await, Some(number));
            step.send(()).unwrap();
            assert_eq!(from_thread.recv().await, Some(number));
            step.send(()).unwrap();
        }
        let blocking = spawn_blocking(|| other.join().unwrap()).await.unwrap();
        assert_ne!(blocking, here());
        assert_eq!(asyncoro::pool::run(|| 5).await, 5);
    });
}

#[test]
fn a_panic_stays_where_it_happens() {
    within(|| {
        run(async {
            let coro = asyncoro::spawn(async {
                tokios::sleep(Duration::from_millis(1)).await;
                panic!("a coroutine's");
            });
            let task = spawn_local(async {
                ours::sleep(Duration::from_millis(1)).await;
                panic!("a task's");
            });
            let Err(Ended::Panicked(payload, _)) = coro.await else { panic!("it has ended well") };
            assert_eq!(text_of(&*payload), "a coroutine's");
            let error = task.await.unwrap_err();
            assert_eq!(text_of(&*error.into_panic()), "a task's");
            assert_eq!(asyncoro::spawn(async { 1 }).await.unwrap(), 1);
        });
        let drops = Rc::new(Cell::new(0));
        let text = panic_of(|| {
            run(async {
                let guards = [Guard(Rc::clone(&drops)), Guard(Rc::clone(&drops))];
                let [first, second] = guards.map(|guard| async move {
                    let _guard = guard;
                    pending::<()>().await;
                });
                drop(asyncoro::spawn(first));
                drop(spawn_local(second));
                tokios::sleep(Duration::from_millis(1)).await;
                panic!("run's own");
            })
        });
        assert_eq!(text, "run's own");
        assert_eq!(drops.get(), 2);
        // The thread is as it was.
        assert_eq!(run(async { asyncoro::spawn(async { 2 }).await.unwrap() }), 2);
        assert_eq!(asyncoro::run(async { 3 }), 3);
    });
}

#[test]
fn none_is_run_inside_of_another() {
    within(|| {
        let in_runtime = "a runtime of tokio's is running on this thread already";
        let in_scheduler = "a scheduler is running on this thread already";
        run(async move {
            for text in [
                panic_of(|| run(async {})),
                asyncoro::spawn(async { panic_of(|| run(async {})) }).await.unwrap(),
                spawn_local(async { panic_of(|| run(async {})) }).await.unwrap(),
            ] {
                assert!(text.contains(in_runtime), "{text}");
            }
            for text in [
                panic_of(|| asyncoro::run(async {})),
                asyncoro::spawn(async { panic_of(|| asyncoro::run(async {})) }).await.unwrap(),
                spawn_local(async { panic_of(|| asyncoro::run(async {})) }).await.unwrap(),
            ] {
                assert!(text.contains(in_scheduler), "{text}");
            }
            let Err(Ended::Panicked(inner, _)) = asyncoro::spawn(attach(async {})).await else {
                panic!("it was attached twice")
            };
            assert!(text_of(&*inner).contains(in_scheduler));
            let inner = spawn_local(attach(async {})).await.unwrap_err().into_panic();
            assert!(text_of(&*inner).contains(in_scheduler));
            // On another thread both may run.
            assert_eq!(asyncoro::pool::run(|| run(async { 1 })).await, 1);
            assert_eq!(spawn_blocking(|| asyncoro::run(async { 1 })).await.unwrap(), 1);
        });
        let text = panic_of(|| asyncoro::run(attach(async {})));
        assert!(text.contains("there is no runtime of tokio's"), "{text}");
        let text = panic_of(|| asyncoro::run(async { run(async {}) }));
        assert!(text.contains(in_scheduler), "{text}");
        let hosted = Hosted::new(Scheduler::new().unwrap()).unwrap();
        run(async move {
            // Another scheduler of the thread has its turns between ours.
            let task = spawn_local(async move {
                let coro = hosted.spawn(async { 4 });
                while hosted.turn(Duration::ZERO) {}
                coro.await.unwrap()
            });
            assert_eq!(task.await.unwrap(), 4);
        });
    });
}

#[test]
fn run_waits_for_coroutines_and_drops_daemons_and_tasks() {
    within(|| {
        let drops = Rc::new(Cell::new(0));
        let order = Rc::new(RefCell::new(Vec::new()));
        let value = run(async {
            let guards = [Guard(Rc::clone(&drops)), Guard(Rc::clone(&drops))];
            let [daemon, task] = guards;
            drop(asyncoro::spawn(async move {
                asyncoro::coro::current().set_daemon(true);
                let _guard = daemon;
                tokios::sleep(LONG).await;
            }));
            drop(spawn_local(async move {
                let _guard = task;
                ours::sleep(LONG).await;
            }));
            let order = Rc::clone(&order);
            drop(asyncoro::spawn(async move {
                tokios::sleep(Duration::from_millis(5)).await;
                order.borrow_mut().push("a coroutine");
            }));
            "main"
        });
        order.borrow_mut().push(value);
        assert_eq!(*order.borrow(), ["a coroutine", "main"]);
        assert_eq!(drops.get(), 2);
    });
}

#[test]
fn tokios_tasks_go_on_while_the_end_sends_what_is_queued() {
    within(|| {
        const BYTES: usize = 2 << 20;
        let read = Rc::new(Cell::new(0));
        run(async {
            let (ours, mut theirs) = mixed_pair().await;
            let small = |socket: socket2::SockRef<'_>| {
                socket.set_recv_buffer_size(16 << 10).unwrap();
                socket.set_send_buffer_size(16 << 10).unwrap();
            };
            small(socket2::SockRef::from(&ours));
            small(socket2::SockRef::from(&theirs));
            ours.try_send_msg(&vec![1; BYTES].into()).unwrap();
            let read = Rc::clone(&read);
            drop(spawn_local(async move {
                let mut bytes = vec![0; 64 << 10];
                loop {
                    match theirs.read(&mut bytes).await.unwrap() {
                        0 => break,
                        count => read.set(read.get() + count),
                    }
                }
            }));
        });
        assert!(read.get() > BYTES / 2, "{}", read.get());
    });
}

#[test]
fn a_runtime_that_ends_first_ends_the_coroutines() {
    within(|| {
        let drops = Rc::new(Cell::new(0));
        let guard = || Guard(Rc::clone(&drops));
        let runtime = LocalRuntime::new().unwrap();
        let (inner, outer) = (guard(), guard());
        let (give, coros) = mpsc::channel();
        let attached = runtime.spawn_local(attach(async move {
            let _outer = outer;
            give.send(asyncoro::spawn(async move {
                let _inner = inner;
                let (_ours, mut theirs) = mixed_pair().await;
                theirs.read_u8().await.unwrap();
            }))
            .unwrap();
            pending::<()>().await;
        }));
        runtime.block_on(async {
            // It has begun, and waits.
            tokios::sleep(Duration::from_millis(5)).await;
            asyncoro::spawn(async {}).await.unwrap();
        });
        assert_eq!(drops.get(), 0);
        drop(runtime);
        assert_eq!(drops.get(), 2);
        let coro = coros.recv().unwrap();
        assert!(matches!(coro.value(), Err(Ended::Terminated(_))));
        drop(attached);
        // Nothing is attached any more.
        assert!(panic_of(|| drop(asyncoro::spawn(async {}))).contains("needs a running scheduler"));
        assert_eq!(asyncoro::run(async { 1 }), 1);
    });
}

#[test]
fn an_attachment_that_is_dropped_ends_the_coroutines_and_another_may_follow() {
    within(|| {
        LocalRuntime::new().unwrap().block_on(async {
            let drops = Rc::new(Cell::new(0));
            for round in 1..=10 {
                let guard = Guard(Rc::clone(&drops));
                let attached = attach(async move {
                    asyncoro::spawn(async move {
                        let _guard = guard;
                        ours::sleep(LONG).await;
                    })
                    .await
                    .unwrap();
                });
                let cancelled = tokios::timeout(Duration::from_millis(2), attached).await;
                assert!(cancelled.is_err());
                assert_eq!(drops.get(), round);
                let value = attach(async {
                    ours::sleep(Duration::from_millis(1)).await;
                    asyncoro::spawn(async move { round }).await.unwrap()
                });
                assert_eq!(value.await, round);
            }
            // One that was never polled has attached nothing.
            drop(attach(async {}));
        });
    });
}

#[test]
fn a_runtime_of_many_threads_lends_one_through_a_local_set() {
    within(|| {
        let runtime = Runtime::new().unwrap();
        let own = here();
        let local = LocalSet::new();
        let value = local.block_on(&runtime, async move {
            let attached = spawn_local(attach(async move {
                assert_eq!(here(), own);
                let (ours, theirs) = mixed_pair().await;
                // On one of the runtime's threads.
                let echo = tokio::spawn(echo_with_tokio(theirs));
                for number in 0..100_u32 {
                    ours.send_all(&number.to_ne_bytes()).await.unwrap();
                    assert_eq!(ours.recv_all_bytes(4).await.unwrap(), number.to_ne_bytes()[..]);
                    assert_eq!(here(), own);
                }
                drop(ours);
                echo.await.unwrap();
                let coro = asyncoro::spawn(async { here() });
                let seen = tokio::spawn(async move { (coro.await.unwrap(), here()) });
                let (coros, tasks) = seen.await.unwrap();
                assert_eq!(coros, own);
                assert_ne!(tasks, own);
                spawn_local(async { asyncoro::spawn(async { 9 }).await.unwrap() }).await.unwrap()
            }));
            attached.await.unwrap()
        });
        assert_eq!(value, 9);
    });
}

#[test]
fn an_idle_guest_sleeps() {
    run_within(|| async {
        let waiting = asyncoro::spawn(ours::sleep(Duration::from_millis(200)));
        let task = spawn_local(ours::sleep(Duration::from_millis(200)));
        let before = AsynCoro::current().statistics().turns;
        waiting.await.unwrap();
        task.await.unwrap();
        let turns = AsynCoro::current().statistics().turns - before;
        assert!(turns < 100, "a guest that spins makes many more: {turns}");
    });
}

/// Runs timers and connections of both kinds side by side; returns how late each round was.
async fn side_by_side(
    timers: usize,
    connections: usize,
    time: Duration,
) -> [(&'static str, Vec<Duration>); 4] {
    let until = Instant::now() + time;
    let late: [Rc<RefCell<Vec<Duration>>>; 4] = Default::default();
    let note = |which: usize| {
        let late = Rc::clone(&late[which]);
        move |took: Duration| late.borrow_mut().push(took)
    };
    let mut coros = Vec::new();
    let mut tasks = JoinSet::new();
    for number in 0..timers {
        let pause = Duration::from_millis(10 + (number % 90) as u64);
        let note = note(0);
        tasks.spawn_local(async move {
            let mut rounds = 0;
            while rounds == 0 || Instant::now() < until {
                let due = Instant::now() + pause;
                tokios::sleep(pause).await;
                note(Instant::now() - due);
                rounds += 1;
            }
        });
    }
    for number in 0..timers / 10 {
        let pause = Duration::from_millis(10 + (number % 90) as u64);
        let note = note(1);
        coros.push(asyncoro::spawn(async move {
            let mut rounds = 0;
            while rounds == 0 || Instant::now() < until {
                let due = Instant::now() + pause;
                ours::sleep(pause).await;
                note(Instant::now() - due);
                rounds += 1;
            }
        }));
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = AsyncSocket::create_server("127.0.0.1:0").await.unwrap();
    let addresses =
        (listener.local_addr().unwrap(), server.local_addr().unwrap().socket_addr().unwrap());
    for _ in 0..connections {
        let (near, far) = tokio::join!(TcpStream::connect(addresses.0), listener.accept());
        let (mut near, note) = (near.unwrap(), note(2));
        near.set_nodelay(true).unwrap();
        tasks.spawn_local(echo_with_tokio(far.unwrap().0));
        tasks.spawn_local(async move {
            let mut rounds = 0_u32;
            while rounds < 3 || Instant::now() < until {
                let before = Instant::now();
                near.write_all(&rounds.to_ne_bytes()).await.unwrap();
                let mut echo = [0; 4];
                near.read_exact(&mut echo).await.unwrap();
                assert_eq!(echo, rounds.to_ne_bytes());
                note(before.elapsed());
                rounds += 1;
            }
        });
    }
    for _ in 0..connections {
        let near = AsyncSocket::create_connection(addresses.1);
        let (near, far) = tokio::join!(near, server.accept());
        let (near, note) = (near.unwrap(), note(3));
        coros.push(asyncoro::spawn(echo_with_ours(far.unwrap().0)));
        coros.push(asyncoro::spawn(async move {
            let mut rounds = 0_u32;
            while rounds < 3 || Instant::now() < until {
                let before = Instant::now();
                near.send_all(&rounds.to_ne_bytes()).await.unwrap();
                assert_eq!(near.recv_all_bytes(4).await.unwrap(), rounds.to_ne_bytes()[..]);
                note(before.elapsed());
                rounds += 1;
            }
        }));
    }
    for coro in coros {
        coro.await.unwrap();
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    let names = ["tokio's timers", "our timers", "tokio's connections", "our connections"];
    std::array::from_fn(|which| (names[which], late[which].take()))
}

#[test]
fn nobody_starves_beside_hundreds_of_the_other_kind() {
    within(|| {
        run(async {
            for (what, late) in side_by_side(300, 100, Duration::from_millis(300)).await {
                assert!(!late.is_empty(), "{what}");
            }
        });
    });
}

#[test]
#[ignore = "takes ten seconds and 4,000 descriptors"]
fn thousands_of_each_kind_for_ten_seconds() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    run(async {
        for (what, mut late) in side_by_side(10_000, 1_000, Duration::from_secs(10)).await {
            late.sort_unstable();
            let at = |part: f64| late[((late.len() - 1) as f64 * part) as usize];
            println!(
                "{what:>20}: {:>8} rounds, median {:>9.1?}, 90 % {:>9.1?}, 99 % {:>9.1?}, \
                 worst {:>9.1?}",
                late.len(),
                at(0.5),
                at(0.9),
                at(0.99),
                at(1.0),
            );
            assert!(at(1.0) < Duration::from_secs(5), "{what}: somebody has starved");
        }
    });
}

#[test]
#[ignore = "measures"]
fn what_a_turn_costs() {
    const ROUNDS: u32 = 200_000;
    async fn ping_pong() -> u64 {
        let (near, far) = our_pair().await;
        let echo = asyncoro::spawn(echo_with_ours(far));
        let before = AsynCoro::current().statistics().turns;
        for number in 0..ROUNDS {
            near.send_all(&number.to_ne_bytes()).await.unwrap();
            black_box(near.recv_all_bytes(4).await.unwrap());
        }
        let turns = AsynCoro::current().statistics().turns - before;
        drop(near);
        echo.await.unwrap();
        turns
    }
    let hosted = Hosted::new(Scheduler::new().unwrap()).unwrap();
    let begin = Instant::now();
    (0..ROUNDS).for_each(|_| assert!(!black_box(hosted.turn(Duration::ZERO))));
    println!("an idle turn of a host: {:.0?}", begin.elapsed() / ROUNDS);
    for _ in 0..3 {
        let begin = Instant::now();
        let turns = asyncoro::run(ping_pong());
        let alone = begin.elapsed() / ROUNDS;
        println!("alone: {alone:.0?} a round trip, {turns} turns for {ROUNDS}");
        let begin = Instant::now();
        let turns = run(ping_pong());
        let guest = begin.elapsed() / ROUNDS;
        println!("guest: {guest:.0?} a round trip, {turns} turns for {ROUNDS}");
    }
}

#[test]
fn a_clean_up_waits_in_a_guest_too() {
    within(|| {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let (ends, own, last) = (Rc::clone(&seen), Rc::clone(&seen), Rc::clone(&seen));
        run(async move {
            let stays = asyncoro::spawn(async move {
                on_end(async move {
                    ours::sleep(Duration::from_millis(1)).await;
                    ends.borrow_mut().push("terminated");
                });
                pending::<()>().await;
            });
            yield_now().await;
            stays.terminate();
            stays.await.unwrap_err();
            // Of a daemon, which ends with the scheduler.
            drop(asyncoro::spawn(async move {
                asyncoro::coro::current().set_daemon(true);
                on_end(async move {
                    ours::sleep(Duration::from_millis(1)).await;
                    own.borrow_mut().push("ended with the scheduler");
                });
                pending::<()>().await;
            }));
            yield_now().await;
            assert_eq!(*last.borrow(), ["terminated"]);
            on_end(async move {
                ours::sleep(Duration::from_millis(1)).await;
                last.borrow_mut().push("run's own");
            });
        });
        assert_eq!(*seen.borrow(), ["terminated", "run's own", "ended with the scheduler"]);
    });
}
