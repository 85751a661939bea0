//! The heap cell of a coroutine, and why its two owners may share it.
//!
//! One allocation holds the future while the coroutine lives and its result afterwards. The
//! scheduler owns it as a [`Body`], the handle as a [`Joint`]; `state.rs` says who of them is still
//! there.
//!
//! # The proof
//! - **The future** (`stage` while it is `Running`) is made, polled and dropped by the `Body`
//!   alone. There is one `Body`, it is not `Clone`, and it is `!Send`: it stays on the scheduler's
//!   thread. The one exception is [`Unstarted`]: such a cell holds a closure that is
//!   `Send`, and the future is made from it at the first poll.
//! - **The result** is written by the `Body` before [`JoinState::complete`], and read by the
//!   `Joint` after it saw that the coroutine is done. The moves of the state order the two. If
//!   there is no handle any more, the `Body` drops it.
//! - **The waiter** (whoever awaits the handle) is a word in the state itself; the one who takes
//!   it out there owns it.
//! - **The log** is an atomic that the `Joint` writes before it detaches, and that the `Body` reads
//!   after it saw that. It is a function for the type of this cell's result.
//! - **The memory** is freed by the `Joint` if it saw `DONE`, else by the `Body`, which then saw
//!   `DETACHED`: each of them moves to its own word once, by a swap, and the second sees the first.
//! - **The head** is the first field of each cell, whatever its future (`repr(C)`), so a pointer to
//!   a cell is one to its head.
//! - **Threads**: what the `Joint` touches from another thread is the state, the atomics, the log
//!   and the result, which is why `Coro<T>` is `Send` only if `T` is. A waiter is `Send`, as wakers
//!   are. When the `Joint` frees a cell, the future is long gone.
//! - **Panics** of the future's `poll` and `drop` are caught here, and so are those of the drop of
//!   a result that nobody takes, and of an error that is shown to the log. No user code runs in
//!   between a move of the state and the writes it protects.
#![allow(unsafe_code)]

use std::{
    any::Any,
    fmt,
    future::Future,
    io, mem,
    panic::{self, AssertUnwindSafe, Location},
    pin::Pin,
    ptr::{self, NonNull},
    task::{Context, Poll},
};

use super::{
    ended::Ended,
    memory::Owned,
    state::{Completed, JoinState, Word},
    waiter::Waiter,
    who::{Who, log_panic},
};
use crate::{
    error, foreign, log,
    primitives::{AtomicPtr, AtomicUsize, Ordering, UnsafeCell, fence},
};

enum Stage<F: Future> {
    Running(F),
    Ended(Result<F::Output, Ended>),
    Taken,
}

#[repr(C)]
struct Cell<F: Future> {
    head: Head,
    stage: UnsafeCell<Stage<F>>,
}

/// What both owners look at, whatever the future is.
struct Head {
    join: JoinState,
    mark: Mark,
    /// The key that wakes the coroutine; until the scheduler has given it a place, what names only
    /// the scheduler, or zero.
    key: AtomicUsize,
    /// The [`Log`] that an error of a detached coroutine is shown to, or null.
    log: AtomicPtr<()>,
}

/// Where a coroutine was spawned, and whether it is to end, in one word: a location's address is
/// even.
struct Mark(AtomicUsize);

const TERMINATE: usize = 1;
const _: () = assert!(align_of::<Location<'_>>() > TERMINATE, "there is a bit for TERMINATE");

impl Mark {
    fn new(spawned: &'static Location<'static>) -> Mark {
        Mark(AtomicUsize::new(ptr::from_ref(spawned).expose_provenance()))
    }

    #[inline]
    fn spawned(&self) -> &'static Location<'static> {
        let address = self.0.load(Ordering::Relaxed) & !TERMINATE;
        // SAFETY: `new` has exposed the address of a location that lives for ever.
        unsafe { &*ptr::with_exposed_provenance(address) }
    }

    fn terminate(&self) {
        self.0.fetch_or(TERMINATE, Ordering::Relaxed);
    }

    #[inline]
    fn is_to_end(&self) -> bool {
        self.0.load(Ordering::Relaxed) & TERMINATE != 0
    }
}

/// The scheduler's view of a cell.
trait Run {
    /// Polls the future; `true` when it has ended and its result is in place.
    ///
    /// # Safety
    /// Only through the one `Body`.
    unsafe fn resume(&self, cx: &mut Context<'_>) -> bool;
    /// Drops the future and leaves `Ended::Terminated` in its place.
    ///
    /// # Safety
    /// Only through the one `Body`.
    unsafe fn end(&self);
    /// If the coroutine has panicked, puts its name beside the panic's payload.
    ///
    /// # Safety
    /// Only through the one `Body`, before its `finish`.
    unsafe fn name_panic(&self, name: &str);
    /// Takes the panic out of a result that nobody will look at; `log` is shown the result before.
    ///
    /// # Safety
    /// Only for the owner whom the state says the result belongs to; `log` was made for this cell's
    /// type of result.
    unsafe fn unobserved(&self, log: Option<Log>, whose: Who<'_>) -> Option<Box<dyn Any + Send>>;
}

/// The handle's view of a cell.
trait Join<T> {
    /// Moves the result out.
    ///
    /// # Safety
    /// Only through the one `Joint`, after the state said `Done`.
    unsafe fn take(&self) -> Option<Result<T, Ended>>;
}

impl<F: Future> Run for Cell<F> {
    unsafe fn resume(&self, cx: &mut Context<'_>) -> bool {
        self.stage.with_mut(|stage| {
            // SAFETY: the caller is the one Body, so nobody else looks at the stage while it runs.
            let stage = unsafe { &mut *stage };
            let Stage::Running(future) = stage else { return true };
            // SAFETY: the cell is on the heap and the future is dropped in place, never moved.
            let future = unsafe { Pin::new_unchecked(future) };
            let result = match panic::catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
                Ok(Poll::Pending) => return false,
                Ok(Poll::Ready(output)) => Ok(output),
                Err(payload) => Err(Ended::Panicked(payload)),
            };
            replace(stage, result);
            true
        })
    }

    unsafe fn end(&self) {
        self.stage.with_mut(|stage| {
            // SAFETY: as in `resume`.
            let stage = unsafe { &mut *stage };
            if matches!(stage, Stage::Running(_)) {
                replace(stage, Err(Ended::Terminated));
            }
        });
    }

    unsafe fn name_panic(&self, name: &str) {
        self.stage.with_mut(|stage| {
            // SAFETY: as in `resume`.
            let stage = unsafe { &mut *stage };
            if let Stage::Ended(Err(Ended::Panicked(payload))) = stage {
                let thrown = mem::replace(payload, Box::new(()));
                *payload = Box::new(Named { name: name.to_owned(), thrown });
            }
        });
    }

    unsafe fn unobserved(&self, log: Option<Log>, whose: Who<'_>) -> Option<Box<dyn Any + Send>> {
        self.stage.with_mut(|stage| {
            // SAFETY: the caller owns the result, says the trait.
            let stage = unsafe { &mut *stage };
            if let Stage::Ended(result) = stage {
                unname(result);
            }
            if let (Some(log), Stage::Ended(result)) = (log, &*stage) {
                caught("showing its error", whose, || log(ptr::from_ref(result).cast(), whose));
                drop_caught(mem::replace(stage, Stage::Taken));
                return None;
            }
            match mem::replace(stage, Stage::Taken) {
                Stage::Ended(Err(Ended::Panicked(payload))) => Some(payload),
                other => {
                    drop_caught(other);
                    None
                }
            }
        })
    }
}

/// The payload of a panic and the name of its coroutine, for a handle that is dropped unseen. It
/// never leaves the cell.
struct Named {
    name: String,
    thrown: Box<dyn Any + Send>,
}

/// Puts the payload of a panic back as it was thrown, and gives the name that stood beside it.
#[inline]
fn unname<T>(result: &mut Result<T, Ended>) -> Option<String> {
    match result {
        Err(Ended::Panicked(payload)) => unname_payload(payload),
        _ => None,
    }
}

#[cold]
fn unname_payload(payload: &mut Box<dyn Any + Send>) -> Option<String> {
    let named = payload.downcast_mut::<Named>()?;
    let name = mem::take(&mut named.name);
    let thrown = mem::replace(&mut named.thrown, Box::new(()));
    *payload = thrown;
    Some(name)
}

/// Drops the future in place, keeping a panic of its drop in bounds, and puts its result there.
fn replace<F: Future>(stage: &mut Stage<F>, result: Result<F::Output, Ended>) {
    if !mem::needs_drop::<F>() {
        *stage = Stage::Ended(result);
        return;
    }
    // Assignment drops the old value first and stores the new one even if that drop unwinds.
    let ended = match panic::catch_unwind(AssertUnwindSafe(|| *stage = Stage::Taken)) {
        Ok(()) => result,
        Err(payload) => panicked_in_drop(payload, result),
    };
    // SAFETY: there is `Taken` now, which has nothing to be dropped.
    unsafe { ptr::write(stage, Stage::Ended(ended)) };
}

#[cold]
fn panicked_in_drop<T>(payload: Box<dyn Any + Send>, result: Result<T, Ended>) -> Result<T, Ended> {
    match result {
        Err(Ended::Panicked(_)) => {
            foreign::discard(payload);
            result
        }
        Ok(_) | Err(Ended::Terminated) => {
            drop_caught(result);
            Err(Ended::Panicked(payload))
        }
    }
}

/// Drops a value whose drop may panic; there is nobody but the log to tell.
fn drop_caught<V>(value: V) {
    if mem::needs_drop::<V>() {
        foreign::contain("the drop of a coroutine's value", || drop(value));
    }
}

/// Drops a waiter, which may be foreign.
#[cold]
#[inline(never)]
fn drop_waiter(waiter: Waiter) {
    drop_caught(waiter);
}

/// Calls what is not ours; its panic goes to the log, since nobody else can be told.
fn caught(what: &str, whose: Who<'_>, call: impl FnOnce()) {
    if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(call)) {
        let text = foreign::panic_text(&*payload);
        log::error(format_args!("{whose} has ended, and {what} panicked: {text}"));
        foreign::discard(payload);
    }
}

impl<F: Future> Join<F::Output> for Cell<F> {
    unsafe fn take(&self) -> Option<Result<F::Output, Ended>> {
        self.stage.with_mut(|stage| {
            // SAFETY: the state said `Done`, so the scheduler has let go of the cell.
            match mem::replace(unsafe { &mut *stage }, Stage::Taken) {
                Stage::Ended(result) => Some(result),
                _ => None,
            }
        })
    }
}

/// Futures of more bytes go into a box before all else: on their way to the heap they are moved,
/// and where nothing is optimized each move costs so much of the stack.
pub(super) const LARGE: usize = 4 << 10;

/// Makes the cell of a coroutine and gives each owner its end. `spawned`: where, for the log.
pub(super) fn new<F: Future + 'static>(
    future: F,
    spawned: &'static Location<'static>,
) -> (Body, Joint<F::Output>) {
    let cell = Owned::new(Cell {
        head: Head {
            join: JoinState::new(),
            mark: Mark::new(spawned),
            key: AtomicUsize::new(0),
            log: AtomicPtr::new(ptr::null_mut()),
        },
        stage: UnsafeCell::new(Stage::Running(future)),
    });
    let cell = cell.into_raw();
    (Body(cell), Joint(cell))
}

/// The scheduler's end of a cell. It must be ended with [`Body::finish`].
pub(super) struct Body(NonNull<dyn Run>);

impl Body {
    fn cell(&self) -> &dyn Run {
        // SAFETY: the Body holds the cell until `finish`, which consumes it.
        unsafe { self.0.as_ref() }
    }

    fn head(&self) -> &Head {
        // SAFETY: as in `cell`; the head is the first field of each cell, which is `repr(C)`.
        unsafe { self.0.cast::<Head>().as_ref() }
    }

    /// Polls the coroutine, or ends it if that was asked for; `true` when it has ended.
    pub(super) fn resume(&mut self, cx: &mut Context<'_>) -> bool {
        if self.head().mark.is_to_end() {
            self.end();
            return true;
        }
        // SAFETY: this is the one Body, borrowed mutably.
        unsafe { self.cell().resume(cx) }
    }

    /// Drops the future; the result is [`Ended::Terminated`].
    pub(super) fn end(&mut self) {
        // SAFETY: this is the one Body, borrowed mutably.
        unsafe { self.cell().end() };
    }

    /// Has a panic that the coroutine ended with logged under `name`, whoever it is who drops it.
    pub(super) fn name_panic(&mut self, name: &str) {
        // SAFETY: this is the one Body, borrowed mutably.
        unsafe { self.cell().name_panic(name) };
    }

    /// Who the log says it is: its name, or where it was spawned.
    #[inline]
    pub(super) fn who<'a>(&self, name: Option<&'a str>) -> Who<'a> {
        name.map_or_else(|| Who::SpawnedAt(self.head().mark.spawned()), Who::Named)
    }

    /// Says where the coroutine is to be woken.
    pub(super) fn place(&self, key: usize) {
        self.head().key.store(key, Ordering::Release);
    }

    /// Hands the result to the handle and wakes whoever waits for it. Without a handle the cell is
    /// freed, and a panic that nobody saw is given back.
    #[inline]
    pub(super) fn finish(self, name: Option<&str>) -> Option<(Who<'_>, Box<dyn Any + Send>)> {
        // After the move to DONE the handle may free the cell while `complete` is still returning;
        // nothing behind &self is touched from there on, and everything it refers to is inside
        // UnsafeCells (atomics are).
        match self.head().join.complete() {
            Completed::Held(None) => None,
            Completed::Held(Some(word)) => {
                waiter(word).wake();
                None
            }
            Completed::Detached => self.finish_unseen(name),
        }
    }

    /// After the state said that there is no handle.
    #[inline(never)]
    fn finish_unseen(self, name: Option<&str>) -> Option<(Who<'_>, Box<dyn Any + Send>)> {
        let (whose, log) = (self.who(name), self.head().log());
        // SAFETY: the handle has let go, so the result is the Body's, and the log was left by this
        // cell's own handle; the cell was made by `new` and is freed once, since this consumes the
        // Body.
        let unseen = unsafe { self.cell().unobserved(log, whose) };
        // SAFETY: as above.
        drop(unsafe { Owned::from_raw(self.0) });
        unseen.map(|payload| (whose, payload))
    }
}

/// The waiter of a word that was taken out of a state.
fn waiter(word: Word) -> Waiter {
    // SAFETY: only waiters' words are put into a state, and each is taken out once, by a move that
    // leaves another word.
    unsafe { Waiter::from_word(word) }
}

/// Shows a result, which is a `Result<Result<T, E>, Ended>`, to the log.
type Log = fn(*const (), Who<'_>);

impl Head {
    fn log(&self) -> Option<Log> {
        let log = self.log.load(Ordering::Relaxed);
        // SAFETY: null, which is none, or put there by `Joint::log_errors`.
        unsafe { mem::transmute::<*mut (), Option<Log>>(log) }
    }
}

fn show_error<T, E: fmt::Display>(result: *const (), whose: Who<'_>) {
    // SAFETY: `log_errors` has left this function in a cell with this type of result, whose owner
    // calls it while the result is in place.
    show(unsafe { &*result.cast::<Result<Result<T, E>, Ended>>() }, whose, |_| Fault::Own);
}

/// [`show_error`] for an error that says whose fault it is.
fn show_io_error<T>(result: *const (), whose: Who<'_>) {
    // SAFETY: as in `show_error`.
    show(unsafe { &*result.cast::<Result<io::Result<T>, Ended>>() }, whose, Fault::of);
}

fn show<T, E: fmt::Display>(
    result: &Result<Result<T, E>, Ended>,
    whose: Who<'_>,
    fault: impl FnOnce(&E) -> Fault,
) {
    // The text is made here, since what makes it may panic.
    match result {
        Ok(Ok(_)) | Err(Ended::Terminated) => {}
        Ok(Err(error)) => {
            let (text, fault) = (error.to_string(), fault(error));
            fault.log(format_args!("{whose} ended: {text}"));
        }
        Err(panicked) => log::error(format_args!("{whose}: {panicked}")),
    }
}

/// Whose fault an error is, which decides how loud the log says it.
enum Fault {
    Own,
    /// The peer has cut off what it had begun.
    Peers,
    /// The peer has gone, as peers do.
    Nobodys,
}

impl Fault {
    fn of(error: &io::Error) -> Fault {
        match error.kind() {
            _ if error::peer_has_gone(error) => Fault::Nobodys,
            io::ErrorKind::UnexpectedEof => Fault::Peers,
            _ => Fault::Own,
        }
    }

    fn log(self, line: fmt::Arguments<'_>) {
        match self {
            Fault::Own => log::error(line),
            Fault::Peers => log::info(line),
            Fault::Nobodys => log::debug(line),
        }
    }
}

impl<T> Joint<io::Result<T>> {
    /// As [`Joint::log_errors`], by the kind of the error.
    pub(super) fn log_io_errors(&self) {
        self.set_log(show_io_error::<T>);
    }
}

impl<T, E: fmt::Display> Joint<Result<T, E>> {
    /// From now on an error that the coroutine ends with is shown to the log, if nobody awaits it.
    pub(super) fn log_errors(&self) {
        self.set_log(show_error::<T, E>);
    }
}

/// Call it after placing bodies whose handles other threads have already, before their first
/// resume: a handle that still finds no place, and so wakes nobody, has then set its mark early
/// enough for that resume to see it.
pub(super) fn publish_places() {
    fence(Ordering::SeqCst);
}

/// A body on its way to the thread of its scheduler.
pub(super) struct Unstarted(Body);

// SAFETY: made only by `new_unstarted`, whose future holds nothing but a `Send` closure until it is
// polled, which only happens after `into_body` on the scheduler's thread. If the scheduler has
// ended the closure is dropped in the thread that sends it, which `Send` allows.
unsafe impl Send for Unstarted {}

impl Unstarted {
    pub(super) fn into_body(self) -> Body {
        self.0
    }

    /// Ends it, since there is no scheduler any more, so that whoever waits for it hears of it.
    pub(super) fn refuse(self) {
        let mut body = self.0;
        body.end();
        if let Some((_, payload)) = body.finish(None) {
            foreign::discard(payload);
        }
    }
}

/// Makes the cell of a coroutine whose future is made by `make` on the scheduler's thread; `key` is
/// its key until it has a place there.
pub(super) fn new_unstarted<M, F>(
    make: M,
    key: usize,
    spawned: &'static Location<'static>,
) -> (Unstarted, Joint<F::Output>)
where
    M: FnOnce() -> F + Send + 'static,
    F: Future + 'static,
{
    let (body, joint) = if size_of::<F>() > LARGE {
        new(async move { Box::pin(make()).await }, spawned)
    } else {
        new(async move { make().await }, spawned)
    };
    body.place(key);
    (Unstarted(body), joint)
}

/// The handle's end of a cell.
pub(super) struct Joint<T>(NonNull<dyn Join<T>>);

// SAFETY: see the proof on the module's page; from another thread a Joint touches the state,
// atomics, the waiter and the result, which is a `T`, a panic's payload (`Send`), or nothing.
unsafe impl<T: Send> Send for Joint<T> {}
// SAFETY: through `&Joint` only the state and the atomics are read.
unsafe impl<T: Send> Sync for Joint<T> {}

impl<T> Joint<T> {
    fn cell(&self) -> &dyn Join<T> {
        // SAFETY: the Joint holds the cell until its drop.
        unsafe { self.0.as_ref() }
    }

    fn head(&self) -> &Head {
        // SAFETY: as in `cell`; the head is the first field of each cell, which is `repr(C)`.
        unsafe { self.0.cast::<Head>().as_ref() }
    }

    /// `log` is one for this type of result. What detaches makes it known to the Body.
    fn set_log(&self, log: Log) {
        self.head().log.store(log as *mut (), Ordering::Relaxed);
    }

    /// The key that wakes the coroutine, see [`Head`].
    pub(super) fn key(&self) -> usize {
        self.head().key.load(Ordering::Acquire)
    }

    /// Whether the result is there.
    pub(super) fn is_done(&self) -> bool {
        self.head().join.is_done()
    }

    /// Asks for the end of the coroutine; the caller then wakes it, if its key has a place.
    pub(super) fn ask_to_end(&self) {
        self.head().mark.terminate();
        // Between the mark and the look at the key; see `publish_places`.
        fence(Ordering::SeqCst);
    }

    /// The result, once; until it is there, `cx`'s waker is kept and woken by the end.
    ///
    /// # Panics
    /// If the result was taken before.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, Ended>> {
        let join = &self.head().join;
        if join.is_done() {
            return Poll::Ready(self.take());
        }
        let new = Waiter::of(cx.waker());
        if new.is_key() && join.holds(new.word()) {
            return Poll::Pending;
        }
        let new = new.into_word();
        match join.wait(new) {
            Some(old) => {
                drop(old.map(waiter));
                Poll::Pending
            }
            None => {
                drop(waiter(new));
                Poll::Ready(self.take())
            }
        }
    }

    fn take(&mut self) -> Result<T, Ended> {
        // SAFETY: the state said `DONE`.
        let result = unsafe { self.cell().take() };
        let mut result = result.expect("a coroutine's value can be taken once");
        unname(&mut result);
        result
    }

    /// Lets go; whether the coroutine had ended before, and the waiter, to be dropped.
    fn detach(&self) -> (bool, Option<Waiter>) {
        let (done, word) = self.head().join.detach();
        (done, word.map(waiter))
    }
}

impl<T> Drop for Joint<T> {
    fn drop(&mut self) {
        // A handle that has seen the end needs no move any more.
        if !self.is_done() {
            let (done, waiter) = self.detach();
            if let Some(waiter) = waiter {
                drop_waiter(waiter);
            }
            if !done {
                return;
            }
        }
        // SAFETY: the scheduler has let go, so the cell is the handle's alone; it was made by
        // `new` and is freed once.
        let cell = unsafe { Owned::from_raw(self.0) };
        // SAFETY: as above.
        if let Some(result) = unsafe { cell.take() } {
            self.show_unseen(result);
        }
    }
}

impl<T> Joint<T> {
    /// Shows the log, if it is to see it, what the coroutine ended with before the handle was
    /// dropped.
    #[cold]
    #[inline(never)]
    fn show_unseen(&self, mut result: Result<T, Ended>) {
        let name = unname(&mut result);
        let spawned = || Who::SpawnedAt(self.head().mark.spawned());
        let whose = name.as_deref().map_or_else(spawned, Who::Named);
        match (self.head().log(), result) {
            (Some(log), result) => {
                let shown = ptr::from_ref(&result).cast();
                caught("showing its error", whose, || log(shown, whose));
                drop_caught(result);
            }
            (None, Err(Ended::Panicked(payload))) => {
                log_panic(whose, &*payload);
                foreign::discard(payload);
            }
            (None, value) => drop_caught(value),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests;

#[cfg(all(test, loom))]
mod loom_tests;
