//! `Coros<T>`: a set of coroutines whose owner takes their values as they end.
//!
//! Each coroutine of a set has a place in it, which holds its handle. Its future is wrapped
//! ([`Member`]): when it is dropped, because it has ended, panicked or was terminated, the wrapper
//! puts the place into a queue and wakes who waits for the set. So an end costs the same however
//! large the set is.
//!
//! The wrapper runs just before the result is in the coroutine's cell. Whoever is woken through a
//! scheduler sees the result; a waker that polls the set inside of `wake` may find none yet. Then
//! the place stays at the front of the queue, and the handle wakes that waker once more.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    fmt,
    future::{self, Future},
    mem,
    panic::Location,
    pin::Pin,
    rc::{Rc, Weak},
    task::{Context, Poll, Waker, ready},
};

use pin_project_lite::pin_project;

use super::{cell::LARGE, current, ended::Ended, handle::Coro, waiter::Waiter};

/// A set of coroutines: spawn into it, take the values in the order in which they end, end all that
/// are left.
///
/// The set owns its coroutines: when it is dropped, those that have not ended are terminated. So a
/// coroutine that holds a set never leaves coroutines behind.
///
/// # Example
/// ```
/// use std::time::Duration;
///
/// use asyncoro::{coro::Coros, time::sleep};
///
/// asyncoro::run(async {
///     let mut coros = Coros::new();
///     for wait in [20, 1, 10] {
///         let work = async move {
///             sleep(Duration::from_millis(wait)).await;
///             wait
///         };
///         coros.spawn(work).await;
///     }
///     let mut ended = Vec::new();
///     while let Some(result) = coros.next().await {
///         ended.push(result.unwrap());
///     }
///     assert_eq!(ended, [1, 10, 20]);
/// });
/// ```
///
/// A server that never serves more than 100 clients at once; whoever is the 101st waits in the
/// system, and a client that is gone makes room for it:
/// ```
/// use std::io;
///
/// use asyncoro::{AsyncSocket, coro::Coros};
///
/// async fn serve(server: AsyncSocket) -> io::Result<()> {
///     let mut clients = Coros::with_limit(100);
///     loop {
///         let (client, peer) = server.accept().await?;
///         let ended = clients.spawn(async move { echo(client).await }).await;
///         if let Some(Err(failed)) = ended {
///             eprintln!("a client was served until now, then {failed}");
///         }
/// #       if peer.to_string().is_empty() { break Ok(()) }
///     }
/// }
///
/// async fn echo(client: AsyncSocket) {
///     while let Ok(Some(message)) = client.recv_msg().await {
///         if client.send_msg(&message).await.is_err() {
///             break;
///         }
///     }
/// }
/// # asyncoro::run_until(async {
/// #     let server = AsyncSocket::create_server("127.0.0.1:0").await.unwrap();
/// #     let address = server.local_addr().unwrap();
/// #     drop(asyncoro::spawn(serve(server)));
/// #     let socket = AsyncSocket::create_connection(address).await.unwrap();
/// #     socket.send_msg(b"hello").await.unwrap();
/// #     assert_eq!(socket.recv_msg().await.unwrap().unwrap(), "hello");
/// # });
/// ```
///
/// # Values that nobody takes
/// A value stays in the set until [`next`](Coros::next) or another method takes it. A set without a
/// limit, whose owner only spawns, grows with each coroutine that ends; use
/// [`with_limit`](Coros::with_limit), take what has ended by [`try_next`](Coros::try_next), or
/// detach the coroutine instead ([`crate::spawn`]). If the set is dropped with the result of a
/// coroutine that has panicked, that is [logged](crate::coro#the-log).
///
/// # Cancel
/// The methods that wait may be dropped at any time: no value is lost, and no future is spawned
/// that was not to be.
pub struct Coros<T> {
    places: Vec<Place<T>>,
    /// The first free place, or [`NONE`].
    free: usize,
    /// Number of coroutines whose values were not taken.
    held: usize,
    limit: usize,
    endings: Rc<Endings>,
}

enum Place<T> {
    Held(Coro<T>),
    /// Free; the next free place, or [`NONE`].
    Free(usize),
}

const NONE: usize = usize::MAX;

/// What the wrapped futures of a set tell it.
#[derive(Default)]
struct Endings {
    /// The places of those that have ended, in that order.
    queue: RefCell<VecDeque<usize>>,
    /// Who waits for the next one.
    waiter: Cell<Option<Waiter>>,
}

impl<T> Coros<T> {
    /// Makes an empty set without a limit.
    pub fn new() -> Coros<T> {
        Coros::with_limit(usize::MAX)
    }

    /// Makes an empty set for at most `limit` coroutines, those included that have ended and whose
    /// values were not taken. Full, it makes [`Coros::spawn`] wait.
    ///
    /// # Panics
    /// If `limit` is 0.
    #[track_caller]
    pub fn with_limit(limit: usize) -> Coros<T> {
        assert!(limit > 0, "a set of coroutines needs room for one at least: its limit is 0");
        Coros { places: Vec::new(), free: NONE, held: 0, limit, endings: Rc::default() }
    }

    /// Starts a coroutine on this thread's scheduler, as [`crate::spawn`] does, as a member of the
    /// set.
    ///
    /// If the set is full, this first waits until a coroutine of it ends, and returns the result of
    /// that one, which [`Coros::next`] would have returned. Otherwise it does not wait, and returns
    /// `None`.
    ///
    /// # Example
    /// ```
    /// use asyncoro::coro::Coros;
    ///
    /// asyncoro::run(async {
    ///     let mut coros = Coros::with_limit(2);
    ///     assert!(coros.spawn(async { 1 }).await.is_none());
    ///     assert!(coros.spawn(async { 2 }).await.is_none());
    ///     let made_room = coros.spawn(async { 3 }).await;
    ///     assert_eq!(made_room.unwrap().unwrap(), 1);
    ///     assert_eq!(coros.len(), 2);
    /// });
    /// ```
    ///
    /// # Panics
    /// When polled outside a running scheduler.
    ///
    /// # Cancel
    /// Dropped before it is done, it has started nothing and taken nothing from the set.
    #[track_caller]
    pub fn spawn<F>(&mut self, future: F) -> impl Future<Output = Option<Result<T, Ended>>>
    where
        F: Future<Output = T> + 'static,
    {
        let spawned = Location::caller();
        async move {
            let mut made_room = None;
            if self.is_full() {
                made_room = self.next().await;
            }
            self.start(future, spawned);
            made_room
        }
    }

    /// Starts a coroutine as a member of the set, if the set is not full.
    ///
    /// # Example
    /// ```
    /// use asyncoro::coro::Coros;
    ///
    /// asyncoro::run(async {
    ///     let mut coros = Coros::with_limit(1);
    ///     assert!(coros.try_spawn(async { 1 }).is_ok());
    ///     assert!(coros.try_spawn(async { 2 }).is_err());
    /// });
    /// ```
    ///
    /// # Errors
    /// The future, if the set is full.
    ///
    /// # Panics
    /// Outside a running scheduler.
    #[track_caller]
    pub fn try_spawn<F>(&mut self, future: F) -> Result<(), F>
    where
        F: Future<Output = T> + 'static,
    {
        if self.is_full() {
            return Err(future);
        }
        self.start(future, Location::caller());
        Ok(())
    }

    /// Waits until a coroutine of the set ends, and takes its value out of the set; `None` if the
    /// set is empty.
    ///
    /// # Errors
    /// [`Ended`] inside, if the coroutine was terminated or has panicked.
    ///
    /// # Cancel
    /// No value was taken.
    pub async fn next(&mut self) -> Option<Result<T, Ended>> {
        future::poll_fn(|cx| self.poll_member(cx)).await
    }

    /// Waits until a coroutine of the set ends, and takes its value out of the set, like
    /// [`Coros::next`]. While the set is empty it waits, too, for ever unless it is dropped.
    ///
    /// This suits a loop that waits for something else as well, with
    /// [`race`](crate::future::race): as long as the set is empty, the other future decides.
    ///
    /// # Example
    /// ```
    /// use asyncoro::{
    ///     coro::{Coros, yield_now},
    ///     future::{Winner, race},
    /// };
    ///
    /// asyncoro::run(async {
    ///     let mut coros = Coros::new();
    ///     let mut left = 3;
    ///     while left > 0 {
    ///         match race(coros.ended(), yield_now()).await {
    ///             Winner::First(ended) => left -= ended.unwrap(),
    ///             Winner::Second(()) => drop(coros.spawn(async { 1 }).await),
    ///         }
    ///     }
    /// });
    /// ```
    ///
    /// # Errors
    /// [`Ended`], if the coroutine was terminated or has panicked.
    ///
    /// # Cancel
    /// No value was taken.
    pub async fn ended(&mut self) -> Result<T, Ended> {
        match self.next().await {
            Some(result) => result,
            None => future::pending().await,
        }
    }

    /// Takes the value of a coroutine of the set that has ended; `None` if none has.
    pub fn try_next(&mut self) -> Option<Result<T, Ended>> {
        let place = self.next_place()?;
        Some(self.take(place))
    }

    /// Returns the number of coroutines whose values were not taken, running or ended.
    pub fn len(&self) -> usize {
        self.held
    }

    /// Tells whether [`Coros::len`] is 0.
    pub fn is_empty(&self) -> bool {
        self.held == 0
    }

    fn is_full(&self) -> bool {
        self.held >= self.limit
    }

    /// Terminates the coroutines of the set that have not ended, as [`Coro::terminate`] does. They
    /// stay members: [`Coros::next`] returns [`Ended::Terminated`] for each, or its value if it was
    /// quicker.
    pub fn terminate_all(&mut self) {
        for place in &self.places {
            if let Place::Held(coro) = place
                && !coro.is_finished()
            {
                coro.terminate();
            }
        }
    }

    /// Terminates the coroutines of the set and waits until all have ended. The set is empty then,
    /// and can be used again. What they hold was dropped; values that nobody has taken are dropped,
    /// and panics that nobody has seen are [logged](crate::coro#the-log).
    ///
    /// # Example
    /// ```
    /// use std::future::pending;
    ///
    /// use asyncoro::coro::Coros;
    ///
    /// asyncoro::run(async {
    ///     let mut coros = Coros::new();
    ///     coros.spawn(pending::<()>()).await;
    ///     coros.end_all().await;
    ///     assert!(coros.is_empty());
    /// });
    /// ```
    ///
    /// # Cancel
    /// All were terminated; those that have not ended yet are still in the set.
    pub async fn end_all(&mut self) {
        self.terminate_all();
        future::poll_fn(|cx| {
            while self.held > 0 {
                let place = ready!(self.poll_place(cx));
                // The drop of a handle logs a panic that nobody has seen.
                drop(self.remove(place));
            }
            Poll::Ready(())
        })
        .await;
    }

    /// Lets the coroutines of the set go on alone, as if their handles had been dropped. The set is
    /// empty then, and can be used again.
    pub fn detach_all(&mut self) {
        (self.free, self.held) = (NONE, 0);
        // Those that go on tell nobody: they know the old one, which is gone.
        self.endings = Rc::default();
        drop(mem::take(&mut self.places));
    }

    /// Polls for what [`Coros::next`] returns.
    pub(crate) fn poll_member(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, Ended>>> {
        if self.held == 0 {
            return Poll::Ready(None);
        }
        let place = ready!(self.poll_place(cx));
        Poll::Ready(Some(self.take(place)))
    }

    /// Polls for the place of the next coroutine that has ended, and takes it out of the queue.
    fn poll_place(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        if let Some(place) = self.next_place() {
            return Poll::Ready(place);
        }
        let early: Vec<usize> = self.endings.queue.borrow().iter().copied().collect();
        for place in early {
            // Polled from within its end, or during its clean-up: the handle tells when that is
            // over.
            if let Place::Held(coro) = &mut self.places[place] {
                let polled = Pin::new(coro).poll(cx);
                debug_assert!(polled.is_pending(), "a coroutine ends on this thread");
            }
        }
        self.endings.wait(cx);
        Poll::Pending
    }

    /// Takes the place of the next coroutine that has ended out of the queue.
    fn next_place(&mut self) -> Option<usize> {
        let mut queue = self.endings.queue.borrow_mut();
        // Nearly always the first one.
        let has_ended = |&place: &usize| match &self.places[place] {
            Place::Held(coro) => coro.is_finished(),
            Place::Free(_) => false,
        };
        let ended = queue.iter().position(has_ended)?;
        queue.remove(ended)
    }

    /// Takes the result of a coroutine that has ended, and frees its place.
    fn take(&mut self, place: usize) -> Result<T, Ended> {
        let mut coro = self.remove(place);
        match Pin::new(&mut coro).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => result,
            Poll::Pending => unreachable!("it has ended"),
        }
    }

    fn remove(&mut self, place: usize) -> Coro<T> {
        match mem::replace(&mut self.places[place], Place::Free(self.free)) {
            Place::Held(coro) => {
                self.free = place;
                self.held -= 1;
                coro
            }
            Place::Free(_) => unreachable!("a place is in the queue once, while it is held"),
        }
    }

    /// Starts a coroutine as a member of the set, as one that was spawned at `spawned`.
    pub(crate) fn start<F>(&mut self, future: F, spawned: &'static Location<'static>)
    where
        F: Future<Output = T> + 'static,
    {
        let place = if self.free == NONE { self.places.len() } else { self.free };
        let coro = current::expect("Coros::spawn", |engine| {
            let notice = Notice { place, endings: Rc::downgrade(&self.endings) };
            let joint = if size_of::<F>() > LARGE {
                engine.run.spawn(Member { future: Box::pin(future), notice }, spawned)
            } else {
                engine.run.spawn(Member { future, notice }, spawned)
            };
            engine.note_work();
            Coro::new(joint)
        });
        match self.places.get_mut(place) {
            Some(held) => match mem::replace(held, Place::Held(coro)) {
                Place::Free(next) => self.free = next,
                Place::Held(_) => unreachable!("the list of free places has only free ones"),
            },
            None => self.places.push(Place::Held(coro)),
        }
        self.held += 1;
    }
}

impl<T> Default for Coros<T> {
    fn default() -> Coros<T> {
        Coros::new()
    }
}

impl<T> Drop for Coros<T> {
    fn drop(&mut self) {
        self.terminate_all();
    }
}

impl<T> fmt::Debug for Coros<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ended = self.endings.queue.borrow().len();
        let mut shown = f.debug_struct("Coros");
        shown.field("running", &(self.held - ended)).field("ended", &ended);
        if self.limit < usize::MAX {
            shown.field("limit", &self.limit);
        }
        shown.finish()
    }
}

impl Endings {
    /// Has the next end wake `cx`'s waker.
    fn wait(&self, cx: &Context<'_>) {
        let before = self.waiter.take();
        let kept = before.filter(|waiter| waiter.will_wake(cx.waker()));
        self.waiter.set(Some(kept.unwrap_or_else(|| Waiter::of(cx.waker()))));
    }
}

pin_project! {
    /// The future of a coroutine of a set.
    struct Member<F> {
        #[pin]
        future: F,
        // Dropped after the future, also if that panics.
        notice: Notice,
    }
}

impl<F: Future> Future for Member<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.project().future.poll(cx)
    }
}

/// Tells the set, when it is dropped, that the coroutine at a place has ended.
struct Notice {
    place: usize,
    endings: Weak<Endings>,
}

impl Drop for Notice {
    fn drop(&mut self) {
        if let Some(endings) = self.endings.upgrade() {
            endings.queue.borrow_mut().push_back(self.place);
            if let Some(waiter) = endings.waiter.take() {
                waiter.wake();
            }
        }
    }
}
