//! Waiting for the first of some futures.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

/// The value of the first future that was done, of those that a [`race`](race()) was between.
///
/// A race of two has no third, which the compiler knows: its `match` needs two arms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Winner<A, B, C = Infallible, D = Infallible> {
    /// The first argument's.
    First(A),
    /// The second argument's.
    Second(B),
    /// The third argument's.
    Third(C),
    /// The fourth argument's.
    Fourth(D),
}

/// Makes a function that races futures, with its future.
macro_rules! race {
    (
        $(#[$doc:meta])*
        $function:ident -> $(#[$of:meta])*
        $race:ident<$($future:ident: $type:ident as $place:ident),+>
    ) => {
        $(#[$doc])*
        pub fn $function<$($type: Future),+>($($future: $type),+) -> $race<$($type),+> {
            $race { $($future),+ }
        }

        pin_project! {
            $(#[$of])*
            #[must_use = "a race begins when it is awaited"]
            #[derive(Debug)]
            pub struct $race<$($type),+> {
                $(#[pin] $future: $type,)+
            }
        }

        impl<$($type: Future),+> Future for $race<$($type),+> {
            type Output = Winner<$($type::Output),+>;

            fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
                let this = self.project();
                $(
                    if let Poll::Ready(value) = this.$future.poll(cx) {
                        return Poll::Ready(Winner::$place(value));
                    }
                )+
                Poll::Pending
            }
        }
    };
}

race! {
    /// Waits for the first of two futures that is done, and drops the other, unless it was passed
    /// as a `&mut`.
    ///
    /// They are polled in the order of the arguments: if both are done, the first one wins. So what
    /// is rare and urgent, such as the end of a program, comes first. If the first is always done,
    /// as receiving from a quick peer may be, the second is polled each time that the first has let
    /// others go first, which the crate's own verbs do after 128 completions.
    ///
    /// The [module's page](super) has a loop.
    ///
    /// # Example
    /// ```
    /// use std::{future::pending, time::Duration};
    ///
    /// use asyncoro::{
    ///     future::{Winner, race},
    ///     time::sleep,
    /// };
    ///
    /// asyncoro::run(async {
    ///     match race(pending::<u32>(), sleep(Duration::from_millis(1))).await {
    ///         Winner::First(never) => println!("{never}"),
    ///         Winner::Second(()) => println!("nothing for a millisecond"),
    ///     }
    /// });
    /// ```
    ///
    /// # Cancel
    /// Drops both futures. What a race has dropped has lost what its own documentation says.
    race -> /** The future of [`race()`]. */ Race<first: A as First, second: B as Second>
}

race! {
    /// Waits for the first of three futures that is done, as [`race()`] does for two.
    race3 -> /** The future of [`race3`]. */
    Race3<first: A as First, second: B as Second, third: C as Third>
}

race! {
    /// Waits for the first of four futures that is done, as [`race()`] does for two.
    race4 -> /** The future of [`race4`]. */
    Race4<first: A as First, second: B as Second, third: C as Third, fourth: D as Fourth>
}
