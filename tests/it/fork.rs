//! After fork(2) the child discards the scheduler, and the parent's continues.
//!
//! The test binary has too many threads to fork safely. So a test starts the binary again with one
//! test only, and that process forks.
//!
//! Unsafe: the calls fork(2), waitpid(2) and _exit(2). The child continues in the only thread that
//! a fork keeps; glibc's allocator is usable there.
#![allow(unsafe_code)]

use std::{
    env,
    future::pending,
    io::Write,
    panic,
    process::{self, Command},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use asyncoro::{
    AsynCoro, AsyncSocket,
    coro::{Ended, Scheduler, yield_now},
    pool, resolve, signal, spawn,
    sync::mailbox,
    time::sleep,
};

use crate::within::{panic_of, run_within, within};

/// The environment variable that is set in the process that may fork.
const ALONE: &str = "ASYNCORO_TEST_FORKS";

/// Runs `test` in a new process that has no other test.
pub(crate) fn alone(name: &'static str, test: impl FnOnce() + Send + 'static) {
    if env::var_os(ALONE).is_some() {
        return within(test);
    }
    let binary = env::current_exe().unwrap();
    let output = within(move || {
        Command::new(binary).env(ALONE, "1").args(["--exact", name]).output().unwrap()
    });
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// Tells whether `child` completes in a forked process.
pub(crate) fn well_in_child(child: impl FnOnce()) -> bool {
    // SAFETY: as the module doc argues.
    match unsafe { libc::fork() } {
        -1 => panic!("fork fails"),
        0 => {
            let outcome = panic::catch_unwind(panic::AssertUnwindSafe(child));
            // SAFETY: ends the child at once, without the test harness's way out.
            unsafe { libc::_exit(i32::from(outcome.is_err())) }
        }
        child => {
            let mut status = 0;
            // SAFETY: `status` is there to be written.
            let waited = unsafe { libc::waitpid(child, &mut status, 0) };
            assert_eq!(waited, child);
            status == 0
        }
    }
}

#[test]
fn the_child_of_a_fork_discards_the_scheduler_and_can_make_its_own() {
    alone("fork::the_child_of_a_fork_discards_the_scheduler_and_can_make_its_own", || {
        let scheduler = Scheduler::new().unwrap();
        let server = scheduler.enter(async {
            drop(spawn(pending::<()>()));
            let server = AsyncSocket::create_server("127.0.0.1:0").await.unwrap();
            let accepting = server.clone();
            drop(spawn(async move { drop(accepting.accept().await) }));
            yield_now().await;
            server
        });
        let well = well_in_child(|| {
            let text = panic_of(|| scheduler.run(async {}));
            assert!(text.contains("belongs to the parent of a fork"), "{text}");
            drop(scheduler);
            drop(server);
            asyncoro::run(async {
                sleep(Duration::from_millis(1)).await;
                assert_eq!(spawn(async { 1 }).await.unwrap(), 1);
            });
        });
        assert!(well);
    });
}

#[test]
fn a_fork_inside_of_run_leaves_the_parents_scheduler_as_it_was() {
    alone("fork::a_fork_inside_of_run_leaves_the_parents_scheduler_as_it_was", || {
        asyncoro::run(async {
            let server = AsyncSocket::create_server("127.0.0.1:0").await.unwrap();
            let address = server.local_addr().unwrap();
            let accepting = spawn(async move { server.accept().await.unwrap().0 });
            yield_now().await;
            let well = well_in_child(|| {
                assert!(panic_of(AsynCoro::current).contains("needs a running scheduler"));
                assert!(panic_of(|| spawn(async {})).contains("needs a running scheduler"));
                // Its own, inside of what was the parent's.
                assert_eq!(asyncoro::run(async { spawn(async { 2 }).await.unwrap() }), 2);
            });
            assert!(well);
            let client = AsyncSocket::create_connection(&address).await.unwrap();
            let accepted = accepting.await.unwrap();
            client.send_msg(b"still here").await.unwrap();
            assert_eq!(accepted.recv_msg().await.unwrap().unwrap(), "still here");
        });
    });
}

#[test]
fn a_coroutine_that_forks_cannot_go_on_in_the_child() {
    alone("fork::a_coroutine_that_forks_cannot_go_on_in_the_child", || {
        let parent = process::id();
        let outcome = panic::catch_unwind(|| {
            asyncoro::run(async {
                let forking = spawn(async {
                    // SAFETY: as the module doc argues.
                    let child = unsafe { libc::fork() };
                    yield_now().await;
                    child
                });
                let child = forking.await.unwrap();
                assert!(child > 0, "the child goes on with its parent's scheduler");
                let mut status = 0;
                // SAFETY: `status` is there to be written.
                let waited = unsafe { libc::waitpid(child, &mut status, 0) };
                assert_eq!((waited, status), (child, 0));
                sleep(Duration::from_millis(1)).await;
            });
        });
        if process::id() != parent {
            let text = panic_of(|| outcome.unwrap_or_else(|payload| panic::resume_unwind(payload)));
            let clear = text.contains("a coroutine has forked");
            // SAFETY: as in `well_in_child`.
            unsafe { libc::_exit(i32::from(!clear)) }
        }
        assert!(outcome.is_ok());
    });
}

#[test]
fn starting_a_program_inside_of_run_leaves_the_scheduler_as_it_was() {
    run_within(|| async {
        let output = Command::new("true").status().unwrap();
        assert!(output.success());
        sleep(Duration::from_millis(1)).await;
        assert_eq!(spawn(async { 1 }).await.unwrap(), 1);
    });
}

/// Threads that repeat an action until they are stopped.
struct Busy {
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Busy {
    fn new() -> Busy {
        Busy { stop: Arc::default(), threads: Vec::new() }
    }

    fn with(mut self, mut what: impl FnMut() + Send + 'static) -> Busy {
        let stop = Arc::clone(&self.stop);
        self.threads.push(thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                what();
            }
        }));
        self
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

/// Uses everything that a child may use: a scheduler of its own and what belongs to it.
fn uses_everything() {
    asyncoro::run(async {
        assert_eq!(pool::run(|| 7).await, 7);
        assert!(!resolve::resolve("localhost", 1).await.unwrap().is_empty());
        let (sender, receiver) = mailbox(1);
        let handle = AsynCoro::current();
        let thread = thread::spawn(move || {
            sender.send_blocking(1).unwrap();
            handle.spawn(|| async { 2 }).value().unwrap()
        });
        assert_eq!(receiver.receive().await, Some(1));
        let value = pool::run(move || thread.join().unwrap()).await;
        assert_eq!(value, 2);
    });
}

#[test]
fn a_child_needs_no_lock_that_another_thread_held_at_1000_forks() {
    // In four processes, each with the whole of the bound.
    let processes = if env::var_os(ALONE).is_some() { 1 } else { 4 };
    (0..processes).for_each(|_| a_quarter_of_1000_forks());
}

fn a_quarter_of_1000_forks() {
    alone("fork::a_child_needs_no_lock_that_another_thread_held_at_1000_forks", || {
        let other = AsynCoro::start().unwrap();
        let (sender, receiver) = mailbox(2);
        asyncoro::run_until(async {
            let (own, twin) = (AsynCoro::current(), other.clone());
            let inner = sender.clone();
            // The registry of inboxes, two inboxes, the pool, a mailbox.
            let busy = Busy::new()
                .with(|| drop(Scheduler::new().unwrap()))
                .with(move || drop(own.spawn(|| async {}).value()))
                .with(move || twin.spawn(|| pool::run(|| ())).value().unwrap())
                .with(move || {
                    let _ = inner.try_send(());
                    let _ = receiver.try_receive();
                });
            // A fork takes long under AddressSanitizer, and grows with the process.
            let forks = if cfg!(asan) { 50 } else { 250 };
            for round in 0..forks {
                pool::run(|| ()).await;
                let (mut inherited, sender) = (signal::terminate(), sender.clone());
                let call = pool::run(|| ());
                let well = well_in_child(|| {
                    // SAFETY: has the system end a child that hangs.
                    unsafe { libc::alarm(30) };
                    // What belongs to the parent ends, or says so, and waits for nobody.
                    let gone = other.spawn(|| async {}).value();
                    assert!(matches!(gone, Err(Ended::Terminated(_))));
                    other.terminate();
                    drop((sender, call));
                    if round % 10 == 0 {
                        asyncoro::run(async {
                            let (mut near, far) = std::os::unix::net::UnixStream::pair().unwrap();
                            let far = AsyncSocket::new(far).unwrap();
                            near.write_all(b"x").unwrap();
                            far.recv_all(&mut [0]).await.unwrap();
                            let raised = signal::terminate();
                            let first = std::future::poll_fn(|cx| {
                                std::task::Poll::Ready(
                                    std::pin::Pin::new(&mut inherited).poll(cx).is_pending(),
                                )
                            });
                            assert!(first.await);
                            rustix::process::kill_process(
                                rustix::process::getpid(),
                                rustix::process::Signal::TERM,
                            )
                            .unwrap();
                            raised.await.unwrap();
                            inherited.await.unwrap();
                        });
                    } else {
                        drop(inherited);
                    }
                    uses_everything();
                });
                assert!(well, "the child of fork {round}");
            }
            // One of the threads waits for this scheduler.
            pool::run(|| busy.stop()).await;
        });
    });
}
