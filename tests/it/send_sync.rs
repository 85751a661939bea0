//! Which types are `Send` and `Sync`, checked by the compiler.

use std::{panic::UnwindSafe, rc::Rc};

use asyncoro::{
    Address, AsynCoro, AsyncSocket, BlockingSocket, Coro,
    coro::{Builder, Coros, Current, Ended, On, Scheduler, Statistics},
    future::Slot,
    interop::ThreadBound,
    time::{Sleep, Timeout},
};

/// Compiles only if the type has the traits.
macro_rules! is {
    ($type:ty: $($bounds:tt)+) => {
        const _: fn() = || {
            fn check<T: $($bounds)+>() {}
            check::<$type>();
        };
    };
}

/// Compiles only if the type lacks the trait: otherwise two traits have `marker`, which is
/// ambiguous.
macro_rules! is_not {
    ($type:ty: $bound:path) => {
        const _: fn() = || {
            trait Ambiguous<A> {
                fn marker() {}
            }
            struct HasIt;
            impl<T: ?Sized> Ambiguous<()> for T {}
            impl<T: ?Sized + $bound> Ambiguous<HasIt> for T {}
            <$type as Ambiguous<_>>::marker();
        };
    };
}

is!(BlockingSocket: Send + Sync + Clone);
is!(AsyncSocket: Clone);
is_not!(AsyncSocket: Send);
is_not!(AsyncSocket: Sync);
is!(Address: Send + Sync + Clone);

is!(AsynCoro: Send + Sync + Clone);
is!(Builder: Send + Sync + Clone);
is!(Statistics: Send + Sync + Copy);
is_not!(Scheduler: Send);
is_not!(Scheduler: Sync);

is!(Coro<u32>: Send + Sync + Unpin);
is!(Coro<std::cell::Cell<u32>>: Send + Sync);
is!(Coro<Rc<u32>>: Unpin);
is_not!(Coro<Rc<u32>>: Send);
is_not!(Coro<Rc<u32>>: Sync);
is!(On<u32>: Send + Sync + Unpin);
is_not!(On<Rc<u32>>: Send);
is!(Coros<Rc<u32>>: Unpin);
is_not!(Coros<u32>: Send);
is!(ThreadBound<AsyncSocket>: Send + Sync + Unpin);
is!(ThreadBound<std::future::Pending<Rc<u32>>>: Send + Sync + Unpin);
is!(Slot<Sleep>: Unpin + std::future::Future);
is!(Current: Copy);
is!(Ended: Send + std::error::Error);

is_not!(Sleep: Send);
is_not!(Timeout<std::future::Ready<()>>: Send);
is!(asyncoro::error::Elapsed: Send + Sync + UnwindSafe + Copy);

#[test]
fn the_compiler_decides_what_may_cross_threads() {
    // That this file compiles is the test.
}
