//! Helpers: a time limit for a test, the log as text, and foreign wakers.

use std::{
    future::Future,
    io, panic,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use tracing_subscriber::filter::LevelFilter;

/// How long a test may take before it counts as hanging.
const BOUND: Duration = Duration::from_secs(60);

/// Runs a test in a thread of its own and fails if it does not end.
#[track_caller]
pub(crate) fn within<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    let (ended, wait) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        let _ended = ended;
        test()
    });
    let outcome = wait.recv_timeout(BOUND);
    assert_eq!(outcome, Err(mpsc::RecvTimeoutError::Disconnected), "the test hangs");
    match thread.join() {
        Ok(value) => value,
        Err(payload) => panic::resume_unwind(payload),
    }
}

/// Runs a future as [`asyncoro::run`] does, with the time limit.
#[track_caller]
pub(crate) fn run_within<F: Future<Output = ()>>(make: impl FnOnce() -> F + Send + 'static) {
    within(move || asyncoro::run(make()));
}

/// Calls `f`, which must panic, and returns the text of the panic.
#[track_caller]
pub(crate) fn panic_of<T>(f: impl FnOnce() -> T) -> String {
    match panic::catch_unwind(panic::AssertUnwindSafe(f)) {
        Ok(_) => panic!("it did not panic"),
        Err(payload) => match payload.downcast::<String>() {
            Ok(text) => *text,
            Err(payload) => payload.downcast_ref::<&str>().expect("a text").to_string(),
        },
    }
}

/// Checks what is told of the end of a coroutine without a name, which a test has spawned.
#[track_caller]
pub(crate) fn assert_told(told: &str, how: &str) {
    assert!(told.starts_with("the coroutine spawned at tests/it/"), "{told}");
    assert!(told.ends_with(how), "{told}");
}

/// Returns what `f` writes to the log in this thread.
pub(crate) fn logged(f: impl FnOnce()) -> String {
    logged_from(LevelFilter::INFO, f)
}

/// Returns what `f` writes to the log in this thread, from a level on.
pub(crate) fn logged_from(level: LevelFilter, f: impl FnOnce()) -> String {
    let text = Log::default();
    let writer = text.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(level)
        .without_time()
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, f);
    let bytes = text.0.lock().unwrap();
    String::from_utf8(bytes.clone()).unwrap()
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A foreign waker, which counts its wakes and passes them on.
pub(crate) struct Foreign {
    wakes: AtomicUsize,
    next: Mutex<Option<Waker>>,
}

impl Foreign {
    pub(crate) fn new() -> Arc<Foreign> {
        Arc::new(Foreign { wakes: AtomicUsize::new(0), next: Mutex::new(None) })
    }

    /// Returns how often it was woken.
    pub(crate) fn wakes(&self) -> usize {
        self.wakes.load(Ordering::SeqCst)
    }

    /// Polls `future` with this waker, which then wakes `cx`'s.
    pub(crate) fn poll<F: Future + ?Sized>(
        self: &Arc<Self>,
        future: Pin<&mut F>,
        cx: &Context<'_>,
    ) -> Poll<F::Output> {
        self.pass_on_to(cx);
        future.poll(&mut Context::from_waker(&Waker::from(Arc::clone(self))))
    }

    /// Passes the next wake on to `cx`'s waker.
    pub(crate) fn pass_on_to(&self, cx: &Context<'_>) {
        *self.next.lock().unwrap() = Some(cx.waker().clone());
    }
}

impl Wake for Foreign {
    fn wake(self: Arc<Self>) {
        self.wakes.fetch_add(1, Ordering::SeqCst);
        let next = self.next.lock().unwrap().take();
        if let Some(next) = next {
            next.wake();
        }
    }
}

/// Runs a future outside of asyncoro.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

/// Polls `future` once, with a waker that does nothing.
pub(crate) fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Counts the drops of its guards.
#[derive(Clone, Default)]
pub(crate) struct Drops(Arc<AtomicUsize>);

impl Drops {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    /// Makes a guard whose drop is counted.
    pub(crate) fn guard(&self) -> Guard {
        Guard(self.clone())
    }
}

/// A value whose drop is counted; made by [`Drops::guard`].
pub(crate) struct Guard(Drops);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::SeqCst);
    }
}
