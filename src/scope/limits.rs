//! `Limits`: a scope whose time is bounded.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    panic::Location,
    time::{Duration, Instant},
};

use super::run::{Failure, Scope, run};
use crate::{driver::Driver, error::Elapsed};

/// The limits of a scope: when it ends at the latest, and how long it may take to stop.
///
/// ```
/// use std::{future::pending, time::Duration};
///
/// use asyncoro::scope::Limits;
///
/// asyncoro::run(async {
///     let (timeout, grace) = (Duration::from_millis(20), Duration::from_millis(10));
///     let limits = Limits::new().timeout(timeout).grace(grace);
///     let ended = limits
///         .scope(async |s| {
///             let polite = s.spawn({
///                 let s = s.clone();
///                 async move { s.stopping().await } // after 10 ms
///             });
///             s.spawn(pending::<()>()); // dropped after 20 ms, and logged
///             polite.await.unwrap();
///         })
///         .await;
///     assert!(ended.is_err());
/// });
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    deadline: Option<Instant>,
    grace: Duration,
}

impl Limits {
    /// Makes limits that limit nothing.
    pub fn new() -> Limits {
        Limits::default()
    }

    /// Ends the scope at this instant, unless a scope around it ends earlier.
    #[must_use]
    pub fn deadline(self, deadline: Instant) -> Limits {
        Limits { deadline: self.deadline.into_iter().chain([deadline]).min(), ..self }
    }

    /// Ends the scope after this duration, from now on, unless something else ends it earlier.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Limits {
        match Driver::now().checked_add(timeout) {
            Some(deadline) => self.deadline(deadline),
            None => self,
        }
    }

    /// Sets how long the soft phase takes at most (default zero: there is none before the end by a
    /// failure or the deadline, and one by [`Scope::stop`] has no bound). It begins so long before
    /// the deadline, when a child has failed, or when the scope is told to stop; what has not ended
    /// then is dropped.
    #[must_use]
    pub fn grace(self, grace: Duration) -> Limits {
        Limits { grace, ..self }
    }

    /// Runs `body` with a scope, as [`scope`](super::scope()) does, within these limits.
    ///
    /// # Errors
    /// [`Elapsed`], if the deadline has come before all have ended, or the body did not stop in the
    /// grace of a soft phase. If the body has ended and a child has not stopped, there is no error.
    ///
    /// # Panics
    /// As [`scope`](super::scope()), and when polled outside a running scheduler.
    ///
    /// # Cancel
    /// Drops the body and all children, in that order.
    #[track_caller]
    pub fn scope<'env, R, B>(
        self,
        body: B,
    ) -> impl Future<Output = Result<R, Elapsed>> + use<'env, R, B>
    where
        B: AsyncFnOnce(Scope<'env>) -> R,
    {
        let place = Location::caller();
        async move {
            let body = async move |scope: Scope<'env, Infallible>| Ok(body(scope).await);
            match run(body, self.deadline, self.grace, true, place).await {
                Ok(value) => Ok(value),
                Err(Failure::Failed(never)) => match never {},
                Err(Failure::Elapsed) => Err(Elapsed),
            }
        }
    }

    /// Runs `body` with a scope, as [`try_scope`](super::try_scope) does, within these limits.
    ///
    /// # Errors
    /// The first of the body and the children; [`Elapsed`], converted, as [`Limits::scope`].
    ///
    /// # Panics
    /// As [`Limits::scope`].
    ///
    /// # Cancel
    /// As [`Limits::scope`].
    #[track_caller]
    pub fn try_scope<'env, R, E, B>(
        self,
        body: B,
    ) -> impl Future<Output = Result<R, E>> + use<'env, R, E, B>
    where
        B: AsyncFnOnce(Scope<'env, E>) -> Result<R, E>,
        E: fmt::Debug + From<Elapsed> + 'env,
    {
        let place = Location::caller();
        async move {
            run(body, self.deadline, self.grace, true, place).await.map_err(|failure| match failure
            {
                Failure::Failed(error) => error,
                Failure::Elapsed => E::from(Elapsed),
            })
        }
    }
}
