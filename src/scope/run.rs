//! `Scope`, and the future that has its children.
//!
//! What must stay true: the children are owned by the scope's future alone, so that they may borrow
//! what that may borrow, and no code polls or drops one after the future was forgotten. The `Scope`
//! of the body and of children has only those that were not taken in yet, and a future that ends
//! empties that list, which might hold a `Scope` itself.

use std::{
    any::Any,
    cell::RefCell,
    convert::Infallible,
    fmt,
    future::{self, Future},
    panic::{self, AssertUnwindSafe, Location},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use super::{
    child::{self, Child, Done},
    nest::Nest,
    phase::{self, Core},
};
use crate::{
    driver::Driver,
    foreign, log,
    time::{Sleep, sleep_until},
};

/// The inside of a [`scope`]: starts children, asks it to stop. Its clones are the same scope.
///
/// `'env` is what children may borrow: all that was there before the scope. `E` is the error of a
/// [`try_scope`].
pub struct Scope<'env, E = Infallible> {
    core: Rc<Core>,
    new: Rc<New<'env, E>>,
}

/// Children that were not taken in yet, with the places where they were spawned.
type New<'env, E> = RefCell<Vec<(Boxed<'env, E>, &'static Location<'static>)>>;
type Boxed<'env, E> = Pin<Box<dyn Future<Output = Done<E>> + 'env>>;

impl<E> Clone for Scope<'_, E> {
    fn clone(&self) -> Self {
        Scope { core: Rc::clone(&self.core), new: Rc::clone(&self.new) }
    }
}

impl<'env, E: 'env> Scope<'env, E> {
    /// Starts a child, behind all that are ready. Its panic ends the scope; its value, whatever it
    /// is, goes to the handle.
    ///
    /// A child starts others by a clone of the scope. In a scope that has ended, the future is
    /// dropped at once; in one that is to stop, it is started.
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> Child<F::Output>
    where
        F: Future + 'env,
        F::Output: 'env,
    {
        self.start(future, Ok)
    }

    /// Starts a child as [`Scope::spawn`] does; its error ends the scope, which returns it.
    #[track_caller]
    pub fn try_spawn<F, T>(&self, future: F) -> Child<T>
    where
        F: Future<Output = Result<T, E>> + 'env,
        T: 'env,
    {
        self.start(future, |value| value)
    }

    #[track_caller]
    fn start<F, T: 'env>(&self, future: F, sort: child::Sort<F::Output, T, E>) -> Child<T>
    where
        F: Future + 'env,
    {
        let place = Location::caller();
        let (member, child) = child::new(future, sort, place);
        if self.core.is_closed() {
            foreign::contain("the drop of a child", || drop(member));
        } else {
            self.new.borrow_mut().push((Box::pin(member), place));
            self.core.wake();
        }
        child
    }

    /// Begins the soft phase, here and in the scopes within: asks all to end. Without a
    /// [grace](super::Limits::grace) nothing else happens.
    pub fn stop(&self) {
        self.core.stop();
    }

    /// Tells whether the soft phase has begun: [`Scope::stop`] was called, a child has failed, or
    /// the deadline is near; here or in a scope around.
    pub fn is_stopping(&self) -> bool {
        self.core.is_stopping()
    }

    /// Waits until the soft phase begins.
    ///
    /// # Cancel
    /// Nothing is lost.
    pub fn stopping(&self) -> impl Future<Output = ()> + use<E> {
        self.core.stopping()
    }

    /// Returns when the scope ends at the latest: the earliest of its own deadline and those of the
    /// scopes around.
    pub fn deadline(&self) -> Option<Instant> {
        self.core.deadline
    }
}

impl<E> fmt::Debug for Scope<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stopping = self.core.is_stopping();
        f.debug_struct("Scope").field("stopping", &stopping).finish_non_exhaustive()
    }
}

/// Runs `body` with a scope, and returns its value when all children have ended, too.
///
/// The scope waits for children, and never drops them as long as none panics and it is not dropped
/// itself; what is still to come out of a child is asked by its [`Child`].
///
/// # Panics
/// With the panic of the body or the first child that has panicked, after all others were dropped.
/// Panics of others are [logged](crate::coro#the-log).
///
/// # Cancel
/// Drops the body and all children, in that order.
#[track_caller]
pub fn scope<'env, R, B>(body: B) -> impl Future<Output = R> + use<'env, R, B>
where
    B: AsyncFnOnce(Scope<'env>) -> R,
{
    let place = Location::caller();
    async move {
        let body = async move |scope: Scope<'env, Infallible>| Ok(body(scope).await);
        match run(body, None, Duration::ZERO, false, place).await {
            Ok(value) => value,
            Err(Failure::Failed(never)) => match never {},
            Err(Failure::Elapsed) => unreachable!("it has no limits"),
        }
    }
}

/// Runs `body` with a scope, and returns its value when all children have ended, too, or the first
/// error of either.
///
/// At the first error the others are dropped, after a soft phase if there is a
/// [grace](super::Limits::grace); errors that come then are logged.
///
/// # Example
/// ```
/// use std::{future::pending, io};
///
/// use asyncoro::scope::try_scope;
///
/// asyncoro::run(async {
///     let failed = try_scope(async |s| {
///         s.try_spawn(async { Err::<(), _>(io::Error::other("no")) });
///         s.spawn(pending::<()>());
///         Ok(())
///     })
///     .await;
///     assert_eq!(failed.unwrap_err().to_string(), "no");
/// });
/// ```
///
/// # Errors
/// The first of the body and the children that [`Scope::try_spawn`] has started.
///
/// # Panics
/// As [`scope`].
///
/// # Cancel
/// As [`scope`].
#[track_caller]
pub fn try_scope<'env, R, E, B>(body: B) -> impl Future<Output = Result<R, E>> + use<'env, R, E, B>
where
    B: AsyncFnOnce(Scope<'env, E>) -> Result<R, E>,
    E: fmt::Debug + 'env,
{
    let place = Location::caller();
    async move {
        run(body, None, Duration::ZERO, false, place).await.map_err(|failure| match failure {
            Failure::Failed(error) => error,
            Failure::Elapsed => unreachable!("it has no limits"),
        })
    }
}

/// Why a scope has no value; a panic is resumed.
pub(super) enum Failure<E> {
    Failed(E),
    Elapsed,
}

/// Runs a scope. With `limited`, its time may be over.
pub(super) async fn run<'env, R, E, B>(
    body: B,
    deadline: Option<Instant>,
    grace: Duration,
    limited: bool,
    place: &'static Location<'static>,
) -> Result<R, Failure<E>>
where
    B: AsyncFnOnce(Scope<'env, E>) -> Result<R, E>,
    E: fmt::Debug + 'env,
{
    let nest = Nest::new();
    let core = Core::new(deadline, nest.yard());
    let scope = Scope { core, new: Rc::default() };
    let own = scope.clone();
    let body = async move { body(own).await };
    let mut run = Run {
        body: Nest::new(),
        children: nest,
        places: Vec::new(),
        value: None,
        failure: None,
        clock: Clock::Open { until: None },
        grace,
        limited,
        place,
        scope,
    };
    run.body.push(Box::pin(body));
    future::poll_fn(|cx| run.poll(cx)).await;
    let (value, failure) = (run.value.take(), run.failure.take());
    drop(run);
    match (failure, value) {
        (Some(Cause::Panicked(payload)), value) => {
            // Its drop may panic, too, and one panic at a time comes out.
            foreign::contain("the drop of a scope's value", || drop(value));
            panic::resume_unwind(payload)
        }
        (Some(Cause::Failed(error)), _) => Err(Failure::Failed(error)),
        (None, Some(value)) => Ok(value),
        (Some(Cause::Elapsed) | None, _) => Err(Failure::Elapsed),
    }
}

/// Why a scope ends early.
enum Cause<E> {
    Failed(E),
    Panicked(Box<dyn Any + Send>),
    Elapsed,
}

enum Clock {
    /// Until the soft phase begins by the clock.
    Open { until: Option<Sleep> },
    /// Until the hard one.
    Soft { until: Option<Sleep> },
}

/// The body and the children of a scope. Its drop drops them.
struct Run<'env, R, E, B> {
    /// One at most; a nest, for its waker.
    body: Nest<B>,
    children: Nest<dyn Future<Output = Done<E>> + 'env>,
    /// Where the children were spawned, by place.
    places: Vec<&'static Location<'static>>,
    value: Option<R>,
    failure: Option<Cause<E>>,
    clock: Clock,
    grace: Duration,
    limited: bool,
    place: &'static Location<'static>,
    scope: Scope<'env, E>,
}

impl<R, E: fmt::Debug, B: Future<Output = Result<R, E>>> Run<'_, R, E, B> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let core = Rc::clone(&self.scope.core);
        {
            let _entered = phase::enter(&core);
            self.poll_all(cx);
        }
        if self.body.len() == 0 && self.children.len() == 0 && self.scope.new.borrow().is_empty() {
            return Poll::Ready(());
        }
        if self.failure.is_some() && self.grace.is_zero() || self.is_over(&core, cx) {
            self.end();
            return Poll::Ready(());
        }
        if self.children.has_rung() || self.body.has_rung() || !self.scope.new.borrow().is_empty() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Polls the body and the children that were woken, once each.
    fn poll_all(&mut self, cx: &Context<'_>) {
        self.body.begin_round(cx);
        let body = &mut self.body;
        match panic::catch_unwind(AssertUnwindSafe(|| body.poll_next())) {
            Ok(None) => {}
            Ok(Some((_, Ok(value)))) => self.value = Some(value),
            Ok(Some((_, Err(error)))) => self.fail(Cause::Failed(error), self.place),
            Err(payload) => {
                self.body.clear();
                self.fail(Cause::Panicked(payload), self.place);
            }
        }
        self.take_in();
        self.children.begin_round(cx);
        loop {
            let children = &mut self.children;
            // What a child drops as it ends may panic.
            let ended = panic::catch_unwind(AssertUnwindSafe(|| children.poll_next()));
            match ended {
                Ok(None) => break,
                Ok(Some((_, Done::Well))) => {}
                Ok(Some((child, Done::Failed(error)))) => {
                    self.fail(Cause::Failed(error), self.places[child]);
                }
                Ok(Some((child, Done::Panicked(payload)))) => {
                    self.fail(Cause::Panicked(payload), self.places[child]);
                }
                Err(payload) => self.fail(Cause::Panicked(payload), self.place),
            }
            if self.failure.is_some() && self.grace.is_zero() {
                break;
            }
        }
        self.take_in();
    }

    fn take_in(&mut self) {
        let new = self.scope.new.take();
        for (future, place) in new {
            let index = self.children.push(future);
            if index == self.places.len() {
                self.places.push(place);
            } else {
                self.places[index] = place;
            }
        }
    }

    /// Notes why the scope ends; what comes after the first is logged.
    fn fail(&mut self, cause: Cause<E>, place: &'static Location<'static>) {
        if self.failure.is_none() {
            self.failure = Some(cause);
            self.scope.core.stop();
            return;
        }
        let scope = self.place;
        match cause {
            Cause::Failed(error) => {
                let text = foreign::contain("showing an error", || format!("{error:?}"));
                let text = text.unwrap_or_default();
                log::error(format_args!(
                    "the child spawned at {place} failed after another one of the scope at \
                     {scope}: {text}"
                ));
                foreign::contain("the drop of an error", || drop(error));
            }
            Cause::Panicked(payload) => {
                let text = foreign::panic_text(&*payload);
                log::error(format_args!(
                    "the child spawned at {place} panicked after another one of the scope at \
                     {scope} had failed: {text}"
                ));
                foreign::discard(payload);
            }
            Cause::Elapsed => {}
        }
    }

    /// Goes from phase to phase by the clock; tells whether the hard one has come.
    fn is_over(&mut self, core: &Core, cx: &mut Context<'_>) -> bool {
        let deadline = core.deadline.filter(|_| self.limited);
        if let Clock::Open { until } = &mut self.clock {
            if until.is_none()
                && let Some(deadline) = deadline
            {
                let soft = deadline.checked_sub(self.grace).unwrap_or_else(Driver::now);
                *until = Some(sleep_until(soft));
            }
            if until.as_mut().is_some_and(|until| Pin::new(until).poll(cx).is_ready()) {
                core.stop();
            }
            if core.is_stopping() {
                let grace_ends = Driver::now().checked_add(self.grace);
                let ends = grace_ends.filter(|_| !self.grace.is_zero());
                let ends = ends.into_iter().chain(deadline).min();
                self.clock = Clock::Soft { until: ends.map(sleep_until) };
            }
        }
        if let Clock::Soft { until: Some(until) } = &mut self.clock
            && Pin::new(until).poll(cx).is_ready()
        {
            if self.failure.is_none() && deadline.is_some_and(|at| Driver::now() >= at) {
                self.failure = Some(Cause::Elapsed);
            }
            self.tell_cut_off();
            return true;
        }
        false
    }

    /// Logs who has not ended in the soft phase.
    fn tell_cut_off(&self) {
        let left = self.children.places();
        if self.grace.is_zero() || left.is_empty() {
            return;
        }
        let shown: Vec<String> =
            left.iter().take(20).map(|&index| self.places[index].to_string()).collect();
        log::warn(format_args!(
            "the scope at {} has ended {} children that did not stop within {:?}, spawned at: {}",
            self.place,
            left.len(),
            self.grace,
            shown.join(", ")
        ));
    }
}

impl<R, E, B> Run<'_, R, E, B> {
    /// Drops the body, then the children.
    fn end(&mut self) {
        self.scope.core.close();
        self.body.clear();
        self.children.clear();
        // Such a one may hold the scope itself.
        let new = self.scope.new.take();
        for (future, _) in new {
            foreign::contain("the drop of a child", || drop(future));
        }
    }
}

impl<R, E, B> Drop for Run<'_, R, E, B> {
    fn drop(&mut self) {
        self.end();
    }
}
