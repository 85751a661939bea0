//! Waiting for all of some futures.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use super::stage::Stage;

/// Makes a function that joins futures, with its future.
macro_rules! join {
    (
        $(#[$doc:meta])*
        $function:ident -> $(#[$of:meta])* $join:ident<$($future:ident: $type:ident),+>
    ) => {
        $(#[$doc])*
        pub fn $function<$($type: Future),+>($($future: $type),+) -> $join<$($type),+> {
            $join { $($future: Stage::new($future)),+ }
        }

        pin_project! {
            $(#[$of])*
            #[must_use = "the futures run when this is awaited"]
            pub struct $join<$($type: Future),+> {
                $(#[pin] $future: Stage<$type>,)+
            }
        }

        impl<$($type: Future),+> Future for $join<$($type),+> {
            type Output = ($($type::Output),+);

            fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
                let mut this = self.project();
                let mut all_done = true;
                $(all_done &= this.$future.as_mut().poll(cx);)+
                if !all_done {
                    return Poll::Pending;
                }
                Poll::Ready(($(this.$future.take()),+))
            }
        }

        impl<$($type: Future),+> fmt::Debug for $join<$($type),+> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($join))
            }
        }
    };
}

/// Makes a function that joins futures of results up to the first error, with its future.
macro_rules! try_join {
    (
        $(#[$doc:meta])*
        $function:ident -> $(#[$of:meta])*
        $join:ident<$($future:ident: $type:ident = $value:ident),+>
    ) => {
        $(#[$doc])*
        pub fn $function<$($type, $value),+, E>($($future: $type),+) -> $join<$($type),+>
        where
            $($type: Future<Output = Result<$value, E>>),+
        {
            $join { $($future: Stage::new($future)),+ }
        }

        pin_project! {
            $(#[$of])*
            #[must_use = "the futures run when this is awaited"]
            pub struct $join<$($type: Future),+> {
                $(#[pin] $future: Stage<$type>,)+
            }
        }

        impl<$($type, $value),+, E> Future for $join<$($type),+>
        where
            $($type: Future<Output = Result<$value, E>>),+
        {
            type Output = Result<($($value),+), E>;

            fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
                let mut this = self.project();
                let mut all_done = true;
                $(all_done &= this.$future.as_mut().try_poll(cx)?;)+
                if !all_done {
                    return Poll::Pending;
                }
                Poll::Ready(Ok(($(this.$future.take_ok()),+)))
            }
        }

        impl<$($type: Future),+> fmt::Debug for $join<$($type),+> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($join))
            }
        }
    };
}

join! {
    /// Waits for two futures, both at once, and returns both values.
    ///
    /// A future that is done is dropped at once, and its value kept until the other one is done.
    ///
    /// # Example
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// use asyncoro::{future::join, time::sleep};
    ///
    /// asyncoro::run(async {
    ///     let began = Instant::now();
    ///     let wait = async |millis| {
    ///         sleep(Duration::from_millis(millis)).await;
    ///         millis
    ///     };
    ///     assert_eq!(join(wait(40), wait(50)).await, (40, 50));
    ///     assert!(began.elapsed() < Duration::from_millis(90));
    /// });
    /// ```
    ///
    /// # Panics
    /// When polled after it has returned the values.
    ///
    /// # Cancel
    /// Drops both futures, and the value of the one that is done.
    join -> /** The future of [`join()`]. */ Join<first: A, second: B>
}

join! {
    /// Waits for three futures, all at once, as [`join()`] does for two.
    join3 -> /** The future of [`join3`]. */ Join3<first: A, second: B, third: C>
}

join! {
    /// Waits for four futures, all at once, as [`join()`] does for two.
    join4 -> /** The future of [`join4`]. */ Join4<first: A, second: B, third: C, fourth: D>
}

try_join! {
    /// Waits for two futures, both at once, and returns both values, or the first error.
    ///
    /// # Example
    /// ```
    /// use std::{future::pending, io};
    ///
    /// use asyncoro::future::try_join;
    ///
    /// asyncoro::run(async {
    ///     let refused = async { Err::<(), _>(io::Error::other("no")) };
    ///     let forever = pending::<io::Result<u32>>();
    ///     assert_eq!(try_join(forever, refused).await.unwrap_err().to_string(), "no");
    /// });
    /// ```
    ///
    /// # Errors
    /// The error of the future that failed first. The other one is not polled again, and dropped
    /// with this.
    ///
    /// # Panics
    /// As [`join()`].
    ///
    /// # Cancel
    /// Drops both futures, and the value of the one that is done.
    try_join -> /** The future of [`try_join()`]. */ TryJoin<first: A = T, second: B = U>
}

try_join! {
    /// Waits for three futures, all at once, as [`try_join()`] does for two.
    ///
    /// # Errors
    /// As [`try_join()`].
    try_join3 -> /** The future of [`try_join3`]. */
    TryJoin3<first: A = T, second: B = U, third: C = V>
}
