//! Foreign code that panics where it is called on behalf of many: the panic is caught there and
//! logged, and the others continue. The table in `docs/design.md` lists the places.
//!
//! Unsafe: a waker whose `clone` panics, which no safe interface makes.
#![allow(unsafe_code)]

use std::{
    cell::Cell,
    env,
    future::{Future, pending},
    io::{self, Write},
    mem,
    net::TcpStream,
    os::unix::net::UnixStream,
    panic::{self, AssertUnwindSafe, panic_any},
    pin::Pin,
    process::Command,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, RawWaker, RawWakerVTable, Wake, Waker},
    thread,
    time::Duration,
};

use asyncoro::{
    AsynCoro, AsyncSocket, BlockingSocket, bytes::Bytes, pool, signal, spawn, sync::mailbox,
    time::sleep,
};
use rustix::process::{Resource, Rlimit};

use crate::{
    pairs::{BIG, KINDS, Kind, blocking, narrow, pair, pattern, server},
    verbs::{
        ACCEPT, CONNECT, Deaf, End, Face, READERS, Verb, WRITERS, datagram_pairs, datagram_readers,
        drained, full, unit,
    },
    within::{logged, run_within, within},
};

const LONG: Duration = Duration::from_secs(3600);

/// A waker that panics when it is woken, or when it is dropped.
struct Bad {
    wakes: bool,
}

impl Bad {
    fn wakers() -> [Waker; 2] {
        [true, false].map(|wakes| Waker::from(Arc::new(Bad { wakes })))
    }
}

impl Wake for Bad {
    fn wake(self: Arc<Self>) {
        assert!(!self.wakes, "the waker's own");
    }
}

impl Drop for Bad {
    fn drop(&mut self) {
        assert!(self.wakes || thread::panicking(), "the waker's drop");
    }
}

struct Good(AtomicUsize);

impl Wake for Good {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn good() -> (Arc<Good>, Waker) {
    let good = Arc::new(Good(AtomicUsize::new(0)));
    (Arc::clone(&good), Waker::from(good))
}

fn poll_once(future: Pin<&mut (impl Future + ?Sized)>, waker: &Waker) {
    assert!(future.poll(&mut Context::from_waker(waker)).is_pending());
}

/// Polls `wait` with a waker that panics, drops the other references to it, runs `happen`, and
/// checks that another wait continues.
async fn contained<'a, F, H>(mut wait: impl FnMut() -> F, mut happen: impl FnMut() -> H)
where
    F: Future + 'a,
    H: Future<Output = ()>,
{
    for waker in Bad::wakers() {
        let mut waiting = Box::pin(wait());
        poll_once(waiting.as_mut(), &waker);
        let mut behind = Box::pin(wait());
        let (woken, good) = good();
        poll_once(behind.as_mut(), &good);
        // From now on the wait has the only one.
        drop(panic::catch_unwind(AssertUnwindSafe(|| drop(waker))));
        let bystander = spawn(sleep(Duration::from_millis(1)));
        happen().await;
        bystander.await.unwrap();
        let _ = panic::catch_unwind(AssertUnwindSafe(|| drop(waiting)));
        while woken.0.load(Ordering::SeqCst) == 0 {
            happen().await;
            sleep(Duration::from_millis(1)).await;
        }
    }
}

#[test]
fn wakers_that_panic_harm_nobody_behind_them_at_timers() {
    run_within(|| async {
        let nothing = || async {};
        contained(|| sleep(Duration::from_millis(1)), nothing).await;
        contained(|| sleep(Duration::ZERO), nothing).await;
        // One that is disarmed, and one that is replaced.
        for waker in Bad::wakers() {
            let mut timer = Box::pin(sleep(LONG));
            poll_once(timer.as_mut(), &waker);
            drop(panic::catch_unwind(AssertUnwindSafe(|| drop(waker))));
            poll_once(timer.as_mut(), Waker::noop());
            drop(timer);
        }
    });
}

/// Lets two calls of a verb wait, the first with a waker that panics; `come` makes one ready, and
/// the second completes when the first is dropped.
async fn goes_on_behind(
    waker: Waker,
    near: &AsyncSocket,
    verb: Verb,
    bytes: &[u8],
    come: impl AsyncFnOnce(),
) {
    let call = || (verb.call)(near.clone(), bytes.to_vec());
    let (mut first, mut second) = (call(), call());
    let (woken, good) = good();
    poll_once(first.as_mut(), &waker);
    poll_once(second.as_mut(), &good);
    drop(panic::catch_unwind(AssertUnwindSafe(|| drop(waker))));
    let bystander = spawn(sleep(Duration::from_millis(1)));
    // An event wakes the first, and its end passes the turn on to the second.
    come().await;
    bystander.await.unwrap();
    drop(first);
    assert_eq!(woken.0.load(Ordering::SeqCst), 1, "{verb:?}");
    second.await.unwrap();
    // Some only look.
    let _ = near.try_recv(&mut [0; 99]);
}

#[test]
fn wakers_that_panic_harm_nobody_behind_them_at_sockets() {
    run_within(|| async {
        let (near, far) = pair(Kind::Unix);
        for &verb in READERS {
            for waker in Bad::wakers() {
                let come = async || far.send_all(&unit(1)).await.unwrap();
                goes_on_behind(waker, &near, verb, &[], come).await;
            }
        }
        for &verb in WRITERS {
            for waker in Bad::wakers() {
                let (end, far) = full(Kind::Unix, Face::Asynchronous).await;
                let End::Asynchronous(near) = end else { unreachable!() };
                let come = async || drop(spawn(drained(far)));
                goes_on_behind(waker, &near, verb, &unit(1), come).await;
            }
        }
        for (near, far) in datagram_pairs("foreign").await {
            for verb in datagram_readers() {
                for waker in Bad::wakers() {
                    let come = async || assert_eq!(far.send(&unit(1)).await.unwrap(), 6);
                    goes_on_behind(waker, &near, verb, &[], come).await;
                }
            }
        }
        let listener = server(Kind::Tcp4).await;
        let to = listener.local_addr().unwrap().socket_addr().unwrap();
        for waker in Bad::wakers() {
            let come = async || drop(TcpStream::connect(to).unwrap());
            goes_on_behind(waker, &listener, ACCEPT, &[], come).await;
        }
    });
}

#[test]
fn wakers_that_panic_harm_nobody_behind_them_where_a_socket_is_closed() {
    /// Lets three calls wait, the first with a waker that panics, and checks that a close wakes
    /// all.
    async fn close_wakes(near: AsyncSocket, verb: Verb, bytes: &[u8], waker: Waker) {
        let mut waits = [(); 3].map(|()| (verb.call)(near.clone(), bytes.to_vec()));
        let (woken, good) = good();
        for (number, wait) in waits.iter_mut().enumerate() {
            poll_once(wait.as_mut(), if number == 0 { &waker } else { &good });
        }
        drop(panic::catch_unwind(AssertUnwindSafe(|| drop(waker))));
        let mut closing = Box::pin(near.close());
        // What is queued may hold it up.
        let _ = closing.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(woken.0.load(Ordering::SeqCst), 2, "{verb:?}");
        for wait in waits.into_iter().skip(1) {
            wait.await.unwrap_err();
        }
    }

    run_within(|| async {
        for &verb in READERS {
            for waker in Bad::wakers() {
                let (near, _far) = pair(Kind::Unix);
                close_wakes(near, verb, &[], waker).await;
            }
        }
        for &verb in WRITERS {
            for waker in Bad::wakers() {
                let (end, _far) = full(Kind::Unix, Face::Asynchronous).await;
                let End::Asynchronous(near) = end else { unreachable!() };
                close_wakes(near, verb, &unit(1), waker).await;
            }
        }
        for verb in datagram_readers() {
            for waker in Bad::wakers() {
                let near = AsyncSocket::create_datagram("127.0.0.1:0").await.unwrap();
                close_wakes(near, verb, &[], waker).await;
            }
        }
        for waker in Bad::wakers() {
            close_wakes(server(Kind::Tcp4).await, ACCEPT, &[], waker).await;
        }
        for waker in Bad::wakers() {
            let deaf = Deaf::new("127.0.0.1:0");
            let near = AsyncSocket::new(deaf.open()).unwrap();
            close_wakes(near, CONNECT, deaf.address.as_bytes(), waker).await;
        }
    });
}

#[test]
fn wakers_that_panic_harm_nobody_behind_them_at_mailboxes() {
    run_within(|| async {
        for round in 0..3 {
            for waker in Bad::wakers() {
                let (sender, receiver) = mailbox::<u8>(1);
                if round == 2 {
                    sender.try_send(0).unwrap();
                }
                let (woken, good) = good();
                {
                    let mut receives: Vec<_> =
                        (0..3).map(|_| Box::pin(receiver.receive())).collect();
                    let mut sends: Vec<_> = (0..3).map(|n| Box::pin(sender.send(n))).collect();
                    for n in 0..3 {
                        let waker = if n == 0 { &waker } else { &good };
                        if round == 2 {
                            poll_once(sends[n].as_mut(), waker);
                        } else {
                            poll_once(receives[n].as_mut(), waker);
                        }
                    }
                    if round == 0 {
                        (0..3).for_each(|n| {
                            let _ = sender.try_send(n);
                        });
                        assert!(receiver.try_receive().is_ok());
                    }
                    receiver.close();
                    assert!(woken.0.load(Ordering::SeqCst) >= 2);
                }
                drop(panic::catch_unwind(AssertUnwindSafe(|| drop(waker))));
            }
        }
        // The last sender's end wakes all who wait for a message.
        let (sender, receiver) = mailbox::<u8>(1);
        let mut waits: Vec<_> = (0..3).map(|_| Box::pin(receiver.receive())).collect();
        let (woken, good) = good();
        let [bad, _] = Bad::wakers().map(mem::ManuallyDrop::new);
        for (n, wait) in waits.iter_mut().enumerate() {
            poll_once(wait.as_mut(), if n == 0 { &bad } else { &good });
        }
        drop(sender);
        assert_eq!(woken.0.load(Ordering::SeqCst), 2);
    });
}

#[test]
fn wakers_that_panic_harm_nobody_at_handles_and_the_pool() {
    run_within(|| async {
        for waker in Bad::wakers() {
            let (open, gate) = std::sync::mpsc::channel::<()>();
            let mut call = Box::pin(pool::run(move || gate.recv().is_err()));
            poll_once(call.as_mut(), &waker);
            let mut coro = Box::pin(spawn(sleep(Duration::from_millis(1))));
            poll_once(coro.as_mut(), &waker);
            drop(panic::catch_unwind(AssertUnwindSafe(|| drop(waker))));
            drop(open);
            sleep(Duration::from_millis(5)).await;
            pool::run(|| ()).await;
            assert!(call.await);
            coro.await.unwrap();
        }
    });
}

/// Tells whether this process runs only this test; if not, runs the test in such a process.
fn is_alone(name: &'static str) -> bool {
    const ALONE: &str = "ASYNCORO_TEST_FOREIGN";
    if env::var_os(ALONE).is_some() {
        return true;
    }
    let binary = env::current_exe().unwrap();
    let output =
        within(move || Command::new(binary).env(ALONE, "1").args(["--exact", name]).output());
    let output = output.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    false
}

#[test]
fn wakers_that_panic_harm_nobody_behind_them_at_signals() {
    if !is_alone("foreign::wakers_that_panic_harm_nobody_behind_them_at_signals") {
        return;
    }
    run_within(|| async {
        let raise = || async {
            let own = rustix::process::getpid();
            rustix::process::kill_process(own, rustix::process::Signal::TERM).unwrap();
        };
        contained(signal::terminate, raise).await;
    });
}

#[test]
fn wakers_that_panic_harm_nobody_behind_them_where_a_descriptor_is_missing() {
    let name = "foreign::wakers_that_panic_harm_nobody_behind_them_where_a_descriptor_is_missing";
    if !is_alone(name) {
        return;
    }
    run_within(|| async {
        let server = AsyncSocket::create_server("127.0.0.1:0").await.unwrap();
        let to = server.local_addr().unwrap().socket_addr().unwrap();
        let _clients = [(); 8].map(|()| std::net::TcpStream::connect(to).unwrap());
        let all = rustix::process::getrlimit(Resource::Nofile);
        let (kept, other) = UnixStream::pair().unwrap();
        let mut kept = Some(AsyncSocket::new(kept).unwrap());
        // No descriptor is left until `kept` is closed.
        let highest = std::os::fd::AsRawFd::as_raw_fd(&other) as u64 + 1;
        let none = Rlimit { current: Some(highest), maximum: all.maximum };
        rustix::process::setrlimit(Resource::Nofile, none).unwrap();
        let mut filling = Vec::new();
        while let Ok(file) = std::fs::File::open("/dev/null") {
            filling.push(file);
        }
        let [bad, _] = Bad::wakers().map(mem::ManuallyDrop::new);
        let mut first = Box::pin(server.accept());
        poll_once(first.as_mut(), &bad);
        let bystander = spawn(sleep(Duration::from_millis(1)));
        drop(kept.take());
        bystander.await.unwrap();
        drop(first);
        server.accept().await.unwrap();
        rustix::process::setrlimit(Resource::Nofile, all).unwrap();
    });
}

#[cfg(feature = "tls")]
#[test]
fn wakers_that_panic_harm_nobody_behind_them_at_a_listener_with_tls() {
    run_within(|| async {
        let (server, client) = crate::tls::localhost();
        let listener = AsyncSocket::create_server("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port().unwrap();
        let listener = listener.with_tls(&server).unwrap();
        contained(
            || listener.accept(),
            || {
                let client = client.clone();
                // Its handshake is done when `accept` gives the other end; then it has left.
                async move {
                    drop(spawn(async move {
                        let to = ("localhost", port);
                        drop(AsyncSocket::create_tls_connection(to, &client).await);
                    }));
                }
            },
        )
        .await;
    });
}

#[test]
fn a_waker_whose_clone_panics_harms_whoever_polls_and_nobody_else() {
    const VTABLE: RawWakerVTable =
        RawWakerVTable::new(|_| panic!("the waker's clone"), |_| {}, |_| {}, |_| {});
    run_within(|| async {
        // SAFETY: no function of the table looks at the pointer.
        let bad = unsafe { Waker::from_raw(RawWaker::new(std::ptr::null(), &VTABLE)) };
        let (near, far) = UnixStream::pair().unwrap();
        let (near, far) = (AsyncSocket::new(near).unwrap(), AsyncSocket::new(far).unwrap());
        let (sender, receiver) = mailbox::<u8>(1);
        let mut buffer = [0; 1];
        {
            let mut waits: [Pin<Box<dyn Future<Output = ()>>>; 5] = [
                Box::pin(async { assert_eq!(near.recv(&mut buffer).await.unwrap(), 1) }),
                Box::pin(async { assert_eq!(receiver.receive().await.unwrap(), 7) }),
                Box::pin(sleep(Duration::from_millis(1))),
                Box::pin(async { spawn(sleep(Duration::from_millis(1))).await.unwrap() }),
                Box::pin(pool::run(|| thread::sleep(Duration::from_millis(1)))),
            ];
            for wait in &mut waits {
                let poll = || wait.as_mut().poll(&mut Context::from_waker(&bad)).is_pending();
                let polled = panic::catch_unwind(AssertUnwindSafe(poll));
                assert!(polled.is_err());
            }
        }
        // Nothing is borrowed, locked or left in a line behind it.
        let reader = near.clone();
        let reading = spawn(async move { reader.recv(&mut [0; 1]).await });
        far.send_all(b"x").await.unwrap();
        assert_eq!(reading.await.unwrap().unwrap(), 1);
        sender.send(7).await.unwrap();
        assert_eq!(receiver.receive().await.unwrap(), 7);
        sleep(Duration::from_millis(1)).await;
        pool::run(|| ()).await;
    });
}

/// A payload whose drop panics with another payload, and that one's with a text.
struct Charge(u32);

impl Drop for Charge {
    fn drop(&mut self) {
        match self.0 {
            0 => {}
            left => panic_any(Charge(left - 1)),
        }
    }
}

#[test]
fn values_and_payloads_whose_drop_panics_end_no_scheduler() {
    within(|| {
        let scheduler = AsynCoro::start().unwrap();
        let bystander = scheduler.spawn(|| sleep(Duration::from_millis(50)));
        let started = [
            scheduler.spawn(|| async { panic_any(Charge(3)) }),
            scheduler.spawn(|| async {
                let _held = Charge(2);
                pending::<()>().await;
            }),
        ];
        started[1].terminate();
        started.into_iter().for_each(drop);
        // Its handle has gone when it ends: on the other side the value is the handle's owner's.
        scheduler.spawn(|| async { drop(spawn(async { Charge(2) })) }).value().unwrap();
        let held = Charge(2);
        drop(scheduler.spawn(move || async move { drop(held) }));
        scheduler.spawn(|| async { Err::<(), _>(Shown) }).or_log();
        drop(pool::run(|| panic_any(Charge(3))));
        drop(pool::run(|| Charge(3)));
        bystander.value().unwrap();
        scheduler.join();
        scheduler.terminate();
        // One that is too late.
        let held = Charge(2);
        let late = scheduler.spawn(move || async move { drop(held) });
        // The payload is ours now.
        let late = mem::ManuallyDrop::new(late.value());
        assert!(late.is_err());
        assert_eq!(asyncoro::run(pool::run(|| 7)), 7);
    });
}

/// An error whose `Debug` panics.
struct Shown;

impl std::fmt::Display for Shown {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic_any(Charge(2))
    }
}

#[test]
fn messages_whose_drop_panics_are_all_dropped_with_their_mailbox() {
    run_within(|| async {
        struct Counts(Rc<Cell<u32>>);
        impl Drop for Counts {
            fn drop(&mut self) {
                self.0.set(self.0.get() + 1);
                panic!("the message's own");
            }
        }
        let dropped = Rc::new(Cell::new(0));
        let (sender, receiver) = mailbox(8);
        (0..5).for_each(|_| drop(sender.try_send(Counts(Rc::clone(&dropped)))));
        drop(receiver);
        assert_eq!(dropped.get(), 5);
    });
}

#[test]
fn owners_of_sent_bytes_whose_drop_panics_end_no_scheduler() {
    struct Owner(Vec<u8>);
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    impl Drop for Owner {
        fn drop(&mut self) {
            panic!("the owner's own");
        }
    }
    run_within(|| async {
        let (near, far) = UnixStream::pair().unwrap();
        let (near, far) = (AsyncSocket::new(near).unwrap(), AsyncSocket::new(far).unwrap());
        let bystander = spawn(async move {
            for _ in 0..4 {
                assert_eq!(far.recv_msg().await.unwrap().unwrap().len(), 100_000);
            }
        });
        for _ in 0..4 {
            let payload = Bytes::from_owner(Owner(vec![1; 100_000]));
            near.flush().await.unwrap();
            near.try_send_msg(&payload).unwrap();
            drop(payload);
        }
        near.flush().await.unwrap();
        bystander.await.unwrap();
    });
}

#[test]
fn functions_around_waits_that_panic_end_no_scheduler() {
    within(|| {
        let told = ["before a wait panicked: before", "after a wait panicked: after"];
        let mut text = String::new();
        // The log leaves lines out while other tests of the process write many in a second.
        while !told.iter().all(|line| text.contains(line)) {
            let builder = AsynCoro::builder().around_waits(|| panic!("before"), || panic!("after"));
            text += &logged(|| {
                let scheduler = builder.build().unwrap();
                scheduler.run(sleep(Duration::from_millis(2)));
                scheduler.run(sleep(Duration::from_millis(2)));
            });
        }
    });
}

#[test]
fn a_function_of_on_interrupt_that_panics_cuts_no_message() {
    within(|| {
        let (near, far) = UnixStream::pair().unwrap();
        let (near, far) = (BlockingSocket::new(near).unwrap(), BlockingSocket::new(far).unwrap());
        BlockingSocket::on_interrupt(|| panic!("the function's own"));
        let message = vec![1; 16 << 20];
        let reader = thread::spawn(move || {
            let first = far.recv_msg().unwrap().unwrap();
            (first.len(), far.recv_msg().unwrap().unwrap())
        });
        // A share of it is sent, then the function is asked.
        let sent = near.send_msg(&message);
        BlockingSocket::on_interrupt(|| Ok(()));
        if let Err(error) = sent {
            assert_eq!(error.kind(), io::ErrorKind::Other, "{error}");
        }
        near.send_msg(b"behind it").unwrap();
        let (first, second) = reader.join().unwrap();
        assert_eq!((first, &second[..]), (message.len(), &b"behind it"[..]));
    });
}

/// A writer that panics at each line.
struct Panics;

impl Write for Panics {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        panic!("the subscriber's own")
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_subscriber_that_panics_ends_no_scheduler() {
    within(|| {
        let subscriber = tracing_subscriber::fmt().with_writer(|| Panics).finish();
        tracing::subscriber::with_default(subscriber, || {
            asyncoro::run(async {
                drop(spawn(async { panic!("nobody's") }));
                let seen = spawn(async { panic!("whose handle is dropped") });
                spawn(async { Err::<(), _>("shown") }).or_log();
                sleep(Duration::from_millis(1)).await;
                let seen: asyncoro::Coro<()> = seen;
                drop(seen);
                drop(pool::run(|| panic!("the pool's")));
                let (near, _far) = UnixStream::pair().unwrap();
                let near = AsyncSocket::new(near).unwrap();
                while near.try_send(&[0; 1 << 16]).is_ok() {}
                near.try_send_msg(&Bytes::from_static(b"never sent")).unwrap();
            });
        });
    });
}

#[test]
fn sockets_in_thread_locals_are_dropped_with_a_subscriber_installed() {
    type Kept = Cell<Option<(AsyncSocket, AsyncSocket)>>;
    type Twins = Cell<Option<(BlockingSocket, BlockingSocket)>>;
    thread_local! {
        static ONE: Kept = const { Cell::new(None) };
        static TWO: Kept = const { Cell::new(None) };
        static TWIN: Twins = const { Cell::new(None) };
    }
    if !is_alone("foreign::sockets_in_thread_locals_are_dropped_with_a_subscriber_installed") {
        return;
    }
    tracing_subscriber::fmt().with_writer(io::sink).init();
    for kind in KINDS.iter().copied() {
        println!("{kind:?}");
        let unsent = move || {
            let (near, far) = narrow(kind);
            near.try_send_msg(&pattern(BIG).into()).unwrap();
            (near, far)
        };
        let ended = thread::spawn(move || {
            ONE.set(Some(unsent()));
            TWO.set(Some(unsent()));
            let (near, far) = narrow(kind);
            let (near, far) = (blocking(near), blocking(far));
            near.set_timeout(Some(Duration::from_millis(1)));
            near.send_msg(&pattern(BIG)).unwrap_err();
            TWIN.set(Some((near, far)));
        });
        ended.join().unwrap();
    }
}
