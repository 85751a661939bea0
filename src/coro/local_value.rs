//! `Local`: a value of each coroutine.

use std::{
    any::Any,
    fmt,
    marker::PhantomData,
    rc::Rc,
    sync::atomic::{AtomicUsize, Ordering},
};

use super::current;

/// A value of each coroutine, like `thread_local!` for threads: a request's number for the log, for
/// example, that functions far below need not be handed.
///
/// It is found by all that a coroutine polls: futures within futures, joins, the children of a
/// [`scope`](crate::scope). It is dropped when the coroutine ends, before its handle has its value.
/// A coroutine that is spawned does not inherit it: each spawn would cost for that, and a value
/// would live for as long as the last descendant. Hand it over where that is wanted.
///
/// `run`'s own future has values of its own, too; they end with it.
///
/// ```
/// use asyncoro::{coro::Local, spawn};
///
/// static REQUEST: Local<u32> = Local::new();
///
/// async fn describe() -> String {
///     format!("request {}", REQUEST.expect())
/// }
///
/// asyncoro::run(async {
///     let serving = [1, 2].map(|number| {
///         spawn(async move {
///             REQUEST.set(number);
///             describe().await
///         })
///     });
///     for (served, number) in serving.into_iter().zip([1, 2]) {
///         assert_eq!(served.await.unwrap(), format!("request {number}"));
///     }
///     assert!(REQUEST.try_with(|_| ()).is_none());
/// });
/// ```
pub struct Local<T> {
    /// Zero until the first use.
    number: AtomicUsize,
    of: PhantomData<fn(T) -> T>,
}

impl<T: 'static> Local<T> {
    /// Makes one, without a value; usually a `static`.
    #[allow(clippy::new_without_default, reason = "it is a static")]
    pub const fn new() -> Local<T> {
        Local { number: AtomicUsize::new(0), of: PhantomData }
    }

    /// Sets the value of the running coroutine. One that was set before is dropped.
    ///
    /// # Panics
    /// Outside a running scheduler, and where none of its coroutines runs: in a task of tokio's,
    /// whose guest it is, and in [`Hosted::within`](super::Hosted::within).
    #[track_caller]
    pub fn set(&self, value: T) {
        drop(self.replace(Some(Rc::new(value))));
    }

    /// Calls `f` with the value of the running coroutine; `None` if it has none, also where no
    /// coroutine runs.
    pub fn try_with<R>(&self, f: impl FnOnce(&T) -> R) -> Option<R> {
        let value = current::with_coroutine(|engine| engine.run.local_value(self.number()))??;
        value.downcast_ref().map(f)
    }

    /// Returns a clone of the value of the running coroutine.
    ///
    /// # Panics
    /// If it has none.
    #[track_caller]
    pub fn expect(&self) -> T
    where
        T: Clone,
    {
        let value = self.try_with(T::clone);
        let Some(value) = value else { panic!("this coroutine has not set the local value") };
        value
    }

    /// Drops the value of the running coroutine; tells whether there was one.
    ///
    /// # Panics
    /// Outside a running scheduler, and where none of its coroutines runs: in a task of tokio's,
    /// whose guest it is, and in [`Hosted::within`](super::Hosted::within).
    #[track_caller]
    pub fn clear(&self) -> bool {
        self.replace(None).is_some()
    }

    #[track_caller]
    fn replace(&self, value: Option<Rc<dyn Any>>) -> Option<Rc<dyn Any>> {
        let number = self.number();
        current::expect_coroutine("coro::Local", |engine| engine.run.set_local_value(number, value))
    }

    /// Returns the number of this local in the process: a `static` of no size has no address of its
    /// own.
    fn number(&self) -> usize {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let number = self.number.load(Ordering::Relaxed);
        if number != 0 {
            return number;
        }
        let new = NEXT.fetch_add(1, Ordering::Relaxed);
        match self.number.compare_exchange(0, new, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => new,
            Err(number) => number,
        }
    }
}

impl<T> fmt::Debug for Local<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Local")
    }
}
