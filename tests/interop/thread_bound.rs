//! `ThreadBound` forwards the traits of others, at home and nowhere else.
#![allow(clippy::async_yields_async, reason = "bound futures are handed out of a coroutine")]

use std::{
    cell::{Cell, RefCell},
    future::{Ready, ready},
    io::{self, IoSlice, IoSliceMut},
    marker::PhantomPinned,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    rc::Rc,
    sync::mpsc,
    task::{Context, Poll, Waker},
    thread,
};

use asyncoro::{AsynCoro, coro::yield_now, interop::ThreadBound};
use hyper::body::{Body, Bytes, Frame, SizeHint};
use tower_service::Service;

/// Implements what the wrapper forwards, is neither `Send` nor `Unpin`, and notes what was called.
struct Local {
    called: Rc<RefCell<Vec<&'static str>>>,
    _pinned: PhantomPinned,
}

impl Local {
    fn new() -> Local {
        Local { called: Rc::default(), _pinned: PhantomPinned }
    }

    fn note<T>(&self, name: &'static str, value: T) -> T {
        self.called.borrow_mut().push(name);
        value
    }
}

type Cx<'a, 'b> = &'a mut Context<'b>;

impl futures_core::Stream for Local {
    type Item = u8;

    fn poll_next(self: Pin<&mut Self>, _: Cx<'_, '_>) -> Poll<Option<u8>> {
        self.note("Stream::poll_next", Poll::Ready(Some(1)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.note("Stream::size_hint", (2, Some(3)))
    }
}

impl futures_io::AsyncRead for Local {
    fn poll_read(self: Pin<&mut Self>, _: Cx<'_, '_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
        self.note("futures_io::poll_read", Poll::Ready(Ok(4)))
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        _: Cx<'_, '_>,
        _: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        self.note("futures_io::poll_read_vectored", Poll::Ready(Ok(5)))
    }
}

impl futures_io::AsyncBufRead for Local {
    fn poll_fill_buf(self: Pin<&mut Self>, _: Cx<'_, '_>) -> Poll<io::Result<&[u8]>> {
        self.note("futures_io::poll_fill_buf", Poll::Ready(Ok(b"six")))
    }

    fn consume(self: Pin<&mut Self>, _: usize) {
        self.note("futures_io::consume", ());
    }
}

impl futures_io::AsyncWrite for Local {
    fn poll_write(self: Pin<&mut Self>, _: Cx<'_, '_>, _: &[u8]) -> Poll<io::Result<usize>> {
        self.note("futures_io::poll_write", Poll::Ready(Ok(7)))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: Cx<'_, '_>,
        _: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.note("futures_io::poll_write_vectored", Poll::Ready(Ok(8)))
    }

    fn poll_flush(self: Pin<&mut Self>, _: Cx<'_, '_>) -> Poll<io::Result<()>> {
        self.note("futures_io::poll_flush", Poll::Ready(Ok(())))
    }

    fn poll_close(self: Pin<&mut Self>, _: Cx<'_, '_>) -> Poll<io::Result<()>> {
        self.note("futures_io::poll_close", Poll::Ready(Ok(())))
    }
}

impl tokio::io::AsyncRead for Local {
    fn poll_read(
        self: Pin<&mut Self>,
        _: Cx<'_, '_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        buffer.put_slice(b"nine");
        self.note("tokio::poll_read", Poll::Ready(Ok(())))
    }
}

impl tokio::io::AsyncBufRead for Local {
    fn poll_fill_buf(self: Pin<&mut Self>, _: Cx<'_, '_>) -> Poll<io::Result<&[u8]>> {
        self.note("tokio::poll_fill_buf", Poll::Ready(Ok(b"ten")))
    }

    fn consume(self: Pin<&mut Self>, _: usize) {
        self.note("tokio::consume", ());
    }
}

/// The methods of tokio's and hyper's traits for writing are alike.
macro_rules! writes {
    ($trait:path, $prefix:literal) => {
        impl $trait for Local {
            fn poll_write(
                self: Pin<&mut Self>,
                _: Cx<'_, '_>,
                _: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.note(concat!($prefix, "::poll_write"), Poll::Ready(Ok(11)))
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                _: Cx<'_, '_>,
                _: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                self.note(concat!($prefix, "::poll_write_vectored"), Poll::Ready(Ok(12)))
            }

            fn is_write_vectored(&self) -> bool {
                self.note(concat!($prefix, "::is_write_vectored"), true)
            }

            fn poll_flush(self: Pin<&mut Self>, _: Cx<'_, '_>) -> Poll<io::Result<()>> {
                self.note(concat!($prefix, "::poll_flush"), Poll::Ready(Ok(())))
            }

            fn poll_shutdown(self: Pin<&mut Self>, _: Cx<'_, '_>) -> Poll<io::Result<()>> {
                self.note(concat!($prefix, "::poll_shutdown"), Poll::Ready(Ok(())))
            }
        }
    };
}

writes!(tokio::io::AsyncWrite, "tokio");
writes!(hyper::rt::Write, "hyper");

impl hyper::rt::Read for Local {
    fn poll_read(
        self: Pin<&mut Self>,
        _: Cx<'_, '_>,
        mut buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        buffer.put_slice(b"13");
        self.note("hyper::poll_read", Poll::Ready(Ok(())))
    }
}

impl Body for Local {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, _: Cx<'_, '_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let frame = Frame::data(Bytes::from_static(b"14"));
        self.note("Body::poll_frame", Poll::Ready(Some(Ok(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.note("Body::is_end_stream", true)
    }

    fn size_hint(&self) -> SizeHint {
        self.note("Body::size_hint", SizeHint::with_exact(15))
    }
}

impl Future for Local {
    type Output = u8;

    fn poll(self: Pin<&mut Self>, _: Cx<'_, '_>) -> Poll<u8> {
        self.note("Future::poll", Poll::Ready(16))
    }
}

/// One use of the wrapper: the method that it calls, and whether that gave what it was to give.
type Use = (&'static str, fn(Pin<&mut ThreadBound<Local>>, Cx<'_, '_>) -> bool);

fn gives<T>(polled: Poll<io::Result<T>>, expected: T) -> bool
where
    T: PartialEq,
{
    matches!(polled, Poll::Ready(Ok(value)) if value == expected)
}

const USES: &[Use] = &[
    ("Future::poll", |it, cx| it.poll(cx) == Poll::Ready(16)),
    ("Stream::poll_next", |it, cx| futures_core::Stream::poll_next(it, cx) == Poll::Ready(Some(1))),
    ("Stream::size_hint", |it, _| futures_core::Stream::size_hint(&*it) == (2, Some(3))),
    ("futures_io::poll_read", |it, cx| {
        gives(futures_io::AsyncRead::poll_read(it, cx, &mut [0]), 4)
    }),
    ("futures_io::poll_read_vectored", |it, cx| {
        gives(futures_io::AsyncRead::poll_read_vectored(it, cx, &mut []), 5)
    }),
    ("futures_io::poll_fill_buf", |it, cx| {
        gives(futures_io::AsyncBufRead::poll_fill_buf(it, cx), &b"six"[..])
    }),
    ("futures_io::consume", |it, _| {
        futures_io::AsyncBufRead::consume(it, 1);
        true
    }),
    ("futures_io::poll_write", |it, cx| gives(futures_io::AsyncWrite::poll_write(it, cx, b""), 7)),
    ("futures_io::poll_write_vectored", |it, cx| {
        gives(futures_io::AsyncWrite::poll_write_vectored(it, cx, &[]), 8)
    }),
    ("futures_io::poll_flush", |it, cx| gives(futures_io::AsyncWrite::poll_flush(it, cx), ())),
    ("futures_io::poll_close", |it, cx| gives(futures_io::AsyncWrite::poll_close(it, cx), ())),
    ("tokio::poll_read", |it, cx| {
        let mut bytes = [0; 10];
        let mut buffer = tokio::io::ReadBuf::new(&mut bytes);
        let polled = tokio::io::AsyncRead::poll_read(it, cx, &mut buffer);
        gives(polled, ()) && buffer.filled() == b"nine"
    }),
    ("tokio::poll_fill_buf", |it, cx| {
        gives(tokio::io::AsyncBufRead::poll_fill_buf(it, cx), &b"ten"[..])
    }),
    ("tokio::consume", |it, _| {
        tokio::io::AsyncBufRead::consume(it, 1);
        true
    }),
    ("tokio::poll_write", |it, cx| gives(tokio::io::AsyncWrite::poll_write(it, cx, b""), 11)),
    ("tokio::poll_write_vectored", |it, cx| {
        gives(tokio::io::AsyncWrite::poll_write_vectored(it, cx, &[]), 12)
    }),
    ("tokio::is_write_vectored", |it, _| tokio::io::AsyncWrite::is_write_vectored(&*it)),
    ("tokio::poll_flush", |it, cx| gives(tokio::io::AsyncWrite::poll_flush(it, cx), ())),
    ("tokio::poll_shutdown", |it, cx| gives(tokio::io::AsyncWrite::poll_shutdown(it, cx), ())),
    ("hyper::poll_read", |it, cx| {
        let mut bytes = [0; 10];
        let mut buffer = hyper::rt::ReadBuf::new(&mut bytes);
        let polled = hyper::rt::Read::poll_read(it, cx, buffer.unfilled());
        gives(polled, ()) && buffer.filled() == b"13"
    }),
    ("hyper::poll_write", |it, cx| gives(hyper::rt::Write::poll_write(it, cx, b""), 11)),
    ("hyper::poll_write_vectored", |it, cx| {
        gives(hyper::rt::Write::poll_write_vectored(it, cx, &[]), 12)
    }),
    ("hyper::is_write_vectored", |it, _| hyper::rt::Write::is_write_vectored(&*it)),
    ("hyper::poll_flush", |it, cx| gives(hyper::rt::Write::poll_flush(it, cx), ())),
    ("hyper::poll_shutdown", |it, cx| gives(hyper::rt::Write::poll_shutdown(it, cx), ())),
    ("Body::poll_frame", |it, cx| match Body::poll_frame(it, cx) {
        Poll::Ready(Some(Ok(frame))) => frame.into_data().unwrap() == "14",
        _ => false,
    }),
    ("Body::is_end_stream", |it, _| Body::is_end_stream(&*it)),
    ("Body::size_hint", |it, _| Body::size_hint(&*it).exact() == Some(15)),
];

#[test]
fn each_method_of_each_trait_reaches_the_value_at_home_and_panics_elsewhere() {
    asyncoro::run(async {
        for &(name, use_it) in USES {
            let local = Local::new();
            let called = Rc::clone(&local.called);
            let mut bound = ThreadBound::new(local);
            let cx = &mut Context::from_waker(Waker::noop());
            assert!(use_it(Pin::new(&mut bound), cx), "{name}");
            assert_eq!(called.take(), [name]);
            let used = thread::spawn(move || {
                let cx = &mut Context::from_waker(Waker::noop());
                catch_unwind(AssertUnwindSafe(|| use_it(Pin::new(&mut bound), cx)))
                    .unwrap_err()
                    .downcast::<String>()
                    .unwrap()
            });
            assert!(used.join().unwrap().contains("was used on the thread"), "{name}");
            assert!(called.borrow().is_empty(), "{name}");
            // The wrapper was dropped in that thread.
            while Rc::strong_count(&called) > 1 {
                yield_now().await;
            }
        }
    });
}

/// A service, its futures and its responses that are not `Send`.
struct Adds(Rc<Cell<u32>>);

impl Service<u32> for Adds {
    type Response = Rc<u32>;
    type Error = io::Error;
    type Future = Ready<io::Result<Rc<u32>>>;

    fn poll_ready(&mut self, _: Cx<'_, '_>) -> Poll<io::Result<()>> {
        if self.0.get() == 0 { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    fn call(&mut self, request: u32) -> Self::Future {
        ready(Ok(Rc::new(request + self.0.get())))
    }
}

#[test]
fn a_service_and_its_futures_pass_for_send_and_stay_at_home() {
    fn demanding<S>(service: S) -> S
    where
        S: Service<u32, Future: Send + 'static> + Send + Sync + 'static,
    {
        service
    }
    asyncoro::run(async {
        let more = Rc::new(Cell::new(0));
        let mut service = demanding(ThreadBound::new(Adds(Rc::clone(&more))));
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(Service::<u32>::poll_ready(&mut service, cx).is_pending());
        more.set(2);
        assert!(matches!(Service::<u32>::poll_ready(&mut service, cx), Poll::Ready(Ok(()))));
        let future = service.call(40);
        assert_eq!(*future.await.unwrap(), 42);
        let future = service.call(1);
        let elsewhere = thread::spawn(move || {
            let called = catch_unwind(AssertUnwindSafe(|| drop(service.call(1))));
            (called.is_err(), future)
        });
        let (has_panicked, future) = elsewhere.join().unwrap();
        assert!(has_panicked);
        assert_eq!(*future.await.unwrap(), 3, "it is back at home");
    });
}

#[test]
fn tasks_of_tokio_on_this_thread_run_what_is_not_send() {
    asyncoro::run(async {
        let tokio = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let local = Rc::new(Cell::new(1));
        let inner = Rc::clone(&local);
        let (waker, woken) = mpsc::channel::<Waker>();
        let waking = thread::spawn(move || woken.recv().unwrap().wake());
        // `spawn`, not `spawn_local`.
        let task = tokio.spawn(ThreadBound::new(async move {
            let mut waker = Some(waker);
            std::future::poll_fn(|cx| match waker.take() {
                Some(waker) => {
                    waker.send(cx.waker().clone()).unwrap();
                    Poll::Pending
                }
                None => Poll::Ready(()),
            })
            .await;
            inner.set(2);
        }));
        tokio.block_on(task).unwrap();
        waking.join().unwrap();
        assert_eq!(local.get(), 2);
    });
}

#[test]
#[allow(clippy::async_yields_async, reason = "it is polled elsewhere")]
fn a_task_of_another_thread_panics_and_what_it_holds_comes_home() {
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let scheduler = AsynCoro::builder().name("its home").start().unwrap();
    let (tell, told) = mpsc::channel();
    struct Tells(mpsc::Sender<Option<String>>);
    impl Drop for Tells {
        fn drop(&mut self) {
            self.0.send(thread::current().name().map(str::to_owned)).unwrap();
        }
    }
    let bound = scheduler.spawn(move || async move {
        let tells = Tells(tell);
        ThreadBound::new(async move { drop(tells) })
    });
    let task = tokio.spawn(bound.value().unwrap());
    let panicked = tokio.block_on(task).unwrap_err().into_panic();
    let text = panicked.downcast::<String>().unwrap();
    assert!(text.contains("belongs to the thread 'its home'"), "{text}");
    assert_eq!(told.recv().unwrap().as_deref(), Some("its home"));
}
