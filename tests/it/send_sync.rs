//! Which types are `Send` and `Sync`, checked by the compiler.

use std::{cell::Cell, panic::UnwindSafe, rc::Rc};

use asyncoro::{
    Address, AsynCoro, AsyncSocket, BlockingSocket, Coro,
    coro::{Builder, Coros, Current, Ended, On, Scheduler, Statistics},
    future::Slot,
    interop::ThreadBound,
    sync::{self, local},
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

// Locks and channels for threads, with what may be in them; those for one thread stay there.
is!(sync::Lock<Cell<u8>>: Send + Sync);
is_not!(sync::Lock<Rc<u8>>: Send);
is_not!(sync::Lock<Rc<u8>>: Sync);
is!(sync::LockGuard<'static, u8>: Send + Sync);
is_not!(sync::LockGuard<'static, Cell<u8>>: Sync);
is!(sync::OwnedLockGuard<u8>: Send + Sync);
is_not!(sync::OwnedLockGuard<Cell<u8>>: Sync);
is!(sync::RwLock<u8>: Send + Sync);
is_not!(sync::RwLock<Cell<u8>>: Sync);
is_not!(sync::RwLockReadGuard<'static, Cell<u8>>: Send);
is_not!(sync::RwLockWriteGuard<'static, Cell<u8>>: Sync);
is!(sync::OnceCell<u8>: Send + Sync);
is_not!(sync::OnceCell<Cell<u8>>: Sync);
is!(sync::Semaphore: Send + Sync);
is!(sync::OwnedSemaphorePermit: Send + Sync);
is!(sync::Event: Send + Sync);
is!(sync::Condition: Send + Sync);
is!(sync::Barrier: Send + Sync);
is!(sync::Channel<u8>: Send + Sync + Clone);
is!(sync::Subscriber<u8>: Send + Sync);
is_not!(sync::Channel<Cell<u8>>: Send);
is!(sync::OneshotSender<Cell<u8>>: Send + Sync);
is!(sync::OneshotReceiver<Cell<u8>>: Send + Sync);
is!(sync::WatchSender<u8>: Send + Sync + Clone);
is!(sync::WatchReceiver<u8>: Send + Sync + Clone);
is_not!(sync::WatchReceiver<Cell<u8>>: Send);
is_not!(local::Lock<u8>: Send);
is_not!(local::Lock<u8>: Sync);
is_not!(local::LockGuard<'static, u8>: Send);
is_not!(local::RwLock<u8>: Send);
is_not!(local::RwLockReadGuard<'static, u8>: Send);
is_not!(local::OnceCell<u8>: Send);
is_not!(local::OnceCell<u8>: Sync);
is_not!(local::Semaphore: Send);
is_not!(local::Event: Send);
is_not!(local::Condition: Send);
is_not!(local::Barrier: Send);
is_not!(local::Channel<u8>: Send);
is_not!(local::Subscriber<u8>: Send);
is_not!(local::OneshotSender<u8>: Send);
is_not!(local::WatchSender<u8>: Send);
is_not!(local::Sender<u8>: Send);
is_not!(local::Receiver<u8>: Send);

/// The waits of what is for threads may go to other executors.
#[test]
fn waits_for_locks_and_channels_for_threads_are_send() {
    fn send<T: Send>(_: T) {}
    let (lock, condition) = (sync::Lock::new(0), sync::Condition::new());
    send(lock.lock());
    send(condition.wait(lock.try_lock().expect("nobody has it")));
    send(sync::RwLock::new(0).write());
    send(sync::Semaphore::new(1).acquire(1));
    send(sync::Event::new().wait());
    send(sync::Barrier::new(1).wait());
    send(sync::OnceCell::new().get_or_init(async || 0));
    let channel = sync::Channel::new(1, sync::Slow::Wait);
    send(channel.send(0));
    send(channel.deliver(0, 1));
    send(channel.subscribe().receive());
    send(sync::watch(0).1.changed());
    send(sync::oneshot::<u8>().0.closed());
}
