//! The guest of a loop: its turns, its deadline, its end.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::poll_fn,
    mem::{self, ManuallyDrop},
    os::fd::{AsRawFd, RawFd},
    rc::{Rc, Weak},
    sync::Arc,
    task::{Poll, Waker},
    time::{Duration, Instant},
};

use asyncoro::{AsynCoro, coro::Hosted};
use pyo3::{
    PyTraverseError, PyVisit,
    exceptions::PyRuntimeError,
    prelude::*,
    types::{PyWeakrefMethods, PyWeakrefReference},
};

use super::wakes::{Ends, Shared, Wait, Waits, Wake, is_done, set_result};
use crate::{
    engine::{self, Home},
    error::raised,
    exiting,
    gil::Gil,
    log,
    once::interned,
    watcher::{self, Watch},
};

/// The scheduler that is the guest of one of asyncio's loops.
#[pyclass(frozen, weakref, module = "asyncoro._engine")]
pub(crate) struct Guest {
    inner: Gil<Inner>,
}

pub(super) struct Inner {
    home: Home,
    /// `None` once it has ended.
    pub(super) hosted: RefCell<Option<Rc<Hosted>>>,
    pub(super) shared: Arc<Shared>,
    waits: Rc<RefCell<Waits>>,
    /// An emptied list of wakers, kept to reuse its memory.
    spare: Cell<Vec<Arc<Wake>>>,
    /// The loop; it is visited, and forgotten at the end.
    running: RefCell<Option<Py<PyAny>>>,
    /// What the loop calls for a turn.
    turn: RefCell<Option<Py<PyAny>>>,
    pub(super) turn_is_due: Cell<bool>,
    /// Whether its loop is one of ours, which makes turns without being asked.
    pub(super) is_driven: Cell<bool>,
    /// When the loop will call for a turn by itself, and the handle of that.
    deadline: RefCell<Option<(Instant, Py<PyAny>)>>,
    /// Coroutines of ours that tasks of the loop run, to be ended with it.
    runs: RefCell<Vec<Option<Py<PyAny>>>>,
    /// The places in that list which are free.
    free_runs: RefCell<Vec<usize>>,
    /// How many calls have ended at once since the last turn.
    pub(super) in_a_row: Cell<u32>,
    /// How many forks had led to the process that it was made in.
    pub(super) generation: u32,
}

/// Counts the forks that have led to this process.
static GENERATION: Gil<Cell<u32>> = Gil::new(Cell::new(0));

/// Weak references to a guest, which Python's collector clears before what is in it has ended, and
/// to its scheduler.
struct Listed {
    guest: Py<PyWeakrefReference>,
    hosted: Weak<Hosted>,
}

/// All guests that have not ended.
static ALL: Gil<RefCell<BTreeMap<Home, Listed>>> = Gil::new(RefCell::new(BTreeMap::new()));

/// The most calls of a loop's tasks that end at once before other tasks run.
const GREEDY: u32 = 256;

thread_local! {
    /// The guest that was used last in this thread. It is not dropped with the thread, which has no
    /// GIL then.
    static LAST: RefCell<ManuallyDrop<Option<Last>>> =
        const { RefCell::new(ManuallyDrop::new(None)) };
}

/// A guest that a thread has used. It keeps neither that nor its loop alive, which another thread
/// may close, or nobody.
struct Last {
    /// The address of its loop, which is no other one's while the guest has not ended.
    address: usize,
    home: Home,
    guest: Py<PyWeakrefReference>,
}

impl Last {
    fn guest<'py>(&self, py: Python<'py>) -> Option<Bound<'py, Guest>> {
        let guest = self.guest.bind(py).upgrade_as::<Guest>().ok().flatten()?;
        let has_ended = guest.get().inner(py).hosted.borrow().is_none();
        (!has_ended).then_some(guest)
    }
}

/// Returns how many forks have led to this process.
pub(crate) fn generation(py: Python<'_>) -> u32 {
    GENERATION.get(py).get()
}

/// Forgets all guests in the child of a fork: they are the parent's.
pub(crate) fn forget(py: Python<'_>) {
    let generation = GENERATION.get(py);
    generation.set(generation.get() + 1);
    LAST.with_borrow_mut(|last| mem::forget(last.take()));
    mem::forget(ALL.get(py).take());
}

impl Guest {
    pub(super) fn inner<'py>(&'py self, py: Python<'py>) -> &'py Inner {
        self.inner.get(py)
    }

    pub(crate) fn home(&self, py: Python<'_>) -> Home {
        self.inner(py).home
    }

    /// Returns the guest that was used last in this thread, if it is the one of this loop.
    pub(super) fn last_here<'py>(
        py: Python<'py>,
        running: &Bound<'py, PyAny>,
    ) -> Option<Bound<'py, Guest>> {
        LAST.with_borrow(|last| match &**last {
            Some(last) if last.address == running.as_ptr().addr() => last.guest(py),
            _ => None,
        })
    }

    /// Makes it the scheduler of this thread, in which its loop runs.
    pub(crate) fn stays(guest: &Bound<'_, Guest>) -> PyResult<()> {
        let (py, inner) = (guest.py(), guest.get().inner(guest.py()));
        inner.refuse_in_child(py)?;
        if inner.hosted.borrow().is_none() {
            return Err(closed());
        }
        refuse_in_scheduler()?;
        engine::stay(inner.home);
        let is_last = LAST.with_borrow(|last| match &**last {
            Some(last) => last.home == inner.home,
            None => false,
        });
        if !is_last {
            exiting::guard();
            let address =
                inner.running.borrow().as_ref().map_or(0, |running| running.as_ptr().addr());
            let guest = PyWeakrefReference::new(guest.as_any())?.unbind();
            let new = Last { address, home: inner.home, guest };
            let last = LAST.with_borrow_mut(|last| last.replace(new));
            drop(last);
        }
        Ok(())
    }

    /// Calls `f` with the scheduler entered, and sees to what that leaves to do.
    pub(crate) fn enter<R>(&self, py: Python<'_>, f: impl FnOnce() -> R) -> PyResult<R> {
        let inner = self.inner(py);
        inner.refuse_in_child(py)?;
        let hosted = inner.hosted.borrow().clone().ok_or_else(closed)?;
        let looking = Looking::begin(&inner.shared);
        let (value, has_work) = engine::entered(|| hosted.within_told(f));
        if looking.end() {
            log::pass_on_left(py);
            inner.look(py);
            if has_work {
                inner.call_soon(py);
            }
        }
        Ok(value)
    }

    /// Calls `f` with the scheduler of this thread entered, if there is one: the verbs of its
    /// sockets are polled in it.
    #[inline]
    pub(crate) fn entered<R>(py: Python<'_>, f: impl FnOnce() -> R) -> R {
        if engine::is_entered() {
            return f();
        }
        let guest = LAST.with_borrow(|last| match &**last {
            Some(last) if last.home.is_here() => last.guest(py),
            _ => None,
        });
        let mut f = Some(f);
        let mut call = || f.take().expect("it is called once")();
        let entered = match guest {
            Some(guest) => guest.get().enter(py, &mut call).ok(),
            None => Guest::entered_as_garbage(py, &mut call),
        };
        entered.unwrap_or_else(call)
    }

    /// Calls `f` with the scheduler of this thread entered, if its guest is being collected: what
    /// else is garbage may end first, and still need it.
    #[cold]
    fn entered_as_garbage<R>(py: Python<'_>, f: impl FnOnce() -> R) -> Option<R> {
        let hosted = ALL.get(py).borrow().get(&engine::here())?.hosted.upgrade()?;
        Some(engine::entered(|| hosted.within(f)))
    }

    /// Returns the guest with that home.
    pub(crate) fn of<'py>(py: Python<'py>, home: Home) -> Option<Bound<'py, Guest>> {
        let all = ALL.get(py).borrow();
        all.get(&home)?.guest.bind(py).upgrade_as::<Guest>().ok().flatten()
    }

    /// Returns whether its loop runs, in whichever thread.
    pub(crate) fn runs(&self, py: Python<'_>) -> PyResult<bool> {
        self.inner(py).running(py)?.call_method0(interned!(py, "is_running"))?.is_truthy()
    }

    /// Calls `f` as in the thread of its loop, which does not run.
    pub(crate) fn visit<R>(&self, py: Python<'_>, f: impl FnOnce() -> R) -> PyResult<R> {
        let outer = engine::here();
        engine::stay(self.home(py));
        let result = self.enter(py, f);
        engine::stay(outer);
        result
    }

    /// Returns whether other tasks must run before a call that may end at once is started.
    pub(crate) fn is_greedy(&self, py: Python<'_>) -> bool {
        let in_a_row = &self.inner(py).in_a_row;
        let count = in_a_row.get() + 1;
        in_a_row.set(if count < GREEDY { count } else { 0 });
        count == GREEDY
    }

    // ---- waits

    /// Begins a wait of a task.
    pub(crate) fn begin(&self, py: Python<'_>) -> Wait {
        let inner = self.inner(py);
        Wait::begin(&inner.waits, &inner.shared)
    }

    /// Makes the future of asyncio's whose task goes on once `wait` was woken; `None` if it was.
    pub(crate) fn suspend(&self, py: Python<'_>, wait: &Wait) -> PyResult<Option<Py<PyAny>>> {
        let running = self.inner(py).running(py)?;
        let future = running.call_method0(interned!(py, "create_future"))?;
        future.setattr(interned!(py, "_asyncio_future_blocking"), true)?;
        let future = future.unbind();
        wait.set(Ends::Future(future.clone_ref(py)));
        if wait.is_woken() {
            // Perhaps by another thread, and it was looked at before.
            wait.set(Ends::Nothing);
            return Ok(None);
        }
        Ok(Some(future))
    }

    /// Lets `_interrupt` of `run` be called once `wait` was woken.
    pub(crate) fn interrupt(wait: &Wait, run: Py<PyAny>) {
        wait.set(Ends::Run(run));
    }

    // ---- coroutines of ours that the loop's tasks run

    /// Adds one, and returns its number.
    pub(crate) fn add_run(&self, py: Python<'_>, run: Py<PyAny>) -> usize {
        let inner = self.inner(py);
        let runs = &mut *inner.runs.borrow_mut();
        match inner.free_runs.borrow_mut().pop() {
            Some(place) => {
                runs[place] = Some(run);
                place
            }
            None => {
                runs.push(Some(run));
                runs.len() - 1
            }
        }
    }

    /// Removes one that has ended.
    pub(crate) fn remove_run(&self, py: Python<'_>, place: usize) {
        let inner = self.inner(py);
        let run = inner.runs.borrow_mut().get_mut(place).and_then(Option::take);
        if run.is_some() {
            inner.free_runs.borrow_mut().push(place);
        }
        drop(run);
    }

    /// Ends it: ends the coroutines of ours that are left, and sends what is queued.
    pub(crate) fn close(&self, py: Python<'_>) {
        let inner = self.inner(py);
        let runs = inner.runs.take();
        inner.free_runs.borrow_mut().clear();
        for run in runs.into_iter().flatten() {
            if let Err(error) = run.call_method0(py, interned!(py, "_cut")) {
                error.write_unraisable(py, None);
            }
        }
        let listed = ALL.get(py).borrow_mut().remove(&inner.home);
        drop(listed);
        let hosted = inner.hosted.take();
        inner.shared.close();
        let waits = inner.waits.borrow_mut().take_all();
        drop(waits);
        if inner.generation == GENERATION.get(py).get() {
            // Before the scheduler waits for what is queued, and has something borrowed.
            watcher::stop(py, inner.home);
            // Others hand over what they drop, for as long as it waits without the GIL.
            engine::entered(|| drop(hosted));
            engine::remove_guest(py, inner.home);
        } else {
            mem::forget(hosted);
        }
        if let Some((_, handle)) = inner.deadline.take() {
            let _ = handle.call_method0(py, interned!(py, "cancel"));
        }
        log::pass_on_left(py);
        drop((inner.running.take(), inner.turn.take()));
        let last = LAST.with_borrow_mut(|last| match &**last {
            Some(kept) if kept.home == inner.home => last.take(),
            _ => None,
        });
        drop(last);
    }

    /// Starts a task of the loop's that runs a coroutine object.
    pub(crate) fn start(&self, py: Python<'_>, run: &Bound<'_, PyAny>) -> PyResult<()> {
        let running = self.inner(py).running(py)?;
        running.call_method1(interned!(py, "create_task"), (run,)).map(drop)
    }
}

impl Inner {
    pub(super) fn refuse_in_child(&self, py: Python<'_>) -> PyResult<()> {
        if self.generation == GENERATION.get(py).get() {
            return Ok(());
        }
        Err(PyRuntimeError::new_err(
            "this event loop is of the parent of a fork: run a new one in the child, by \
             asyncio.run()",
        ))
    }

    fn running<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let running = self.running.borrow();
        running.as_ref().map(|running| running.bind(py).clone()).ok_or_else(closed)
    }

    /// Ends what was woken.
    pub(super) fn look(&self, py: Python<'_>) {
        let mut woken = self.spare.take();
        while self.shared.take(&mut woken) {
            for wake in woken.drain(..) {
                if !wake.is_woken() {
                    // Its task has gone on since, and waits anew.
                    continue;
                }
                let ends = self.waits.borrow_mut().replace(wake.place(), Ends::Nothing);
                let ended = match &ends {
                    Ends::Nothing => continue,
                    Ends::Future(future) => set_result(py, future),
                    Ends::Run(run) => run.call_method0(py, interned!(py, "_interrupt")).map(drop),
                };
                if let Err(error) = ended {
                    let is_cancelled = matches!(&ends, Ends::Future(future) if is_done(py, future));
                    if !is_cancelled {
                        error.write_unraisable(py, None);
                    }
                }
            }
        }
        self.spare.set(woken);
    }

    /// Asks the loop for a turn.
    fn call_soon(&self, py: Python<'_>) {
        if self.turn_is_due.replace(true) || self.is_driven.get() {
            return;
        }
        let turn = self.turn.borrow().as_ref().map(|turn| turn.clone_ref(py));
        let asked = match (turn, self.running(py)) {
            (Some(turn), Ok(running)) => {
                running.call_method1(interned!(py, "call_soon"), (turn,)).map(drop)
            }
            _ => Ok(()),
        };
        if let Err(error) = asked {
            self.turn_is_due.set(false);
            error.write_unraisable(py, None);
        }
    }

    /// Lets the loop call for a turn when `deadline` has come.
    fn call_at(&self, py: Python<'_>, ring: &Bound<'_, PyAny>, deadline: Instant) -> PyResult<()> {
        if self.deadline.borrow().as_ref().is_some_and(|(at, _)| *at <= deadline) {
            return Ok(());
        }
        let left = deadline.saturating_duration_since(Instant::now()).as_secs_f64();
        let running = self.running(py)?;
        let handle = running.call_method1(interned!(py, "call_later"), (left, ring))?;
        let old = self.deadline.replace(Some((deadline, handle.unbind())));
        if let Some((_, old)) = old {
            old.call_method0(py, interned!(py, "cancel"))?;
        }
        Ok(())
    }
}

#[cold]
pub(super) fn closed() -> PyErr {
    PyRuntimeError::new_err("this event loop is closed")
}

/// Refuses a loop in a coroutine of the process's scheduler.
fn refuse_in_scheduler() -> PyResult<()> {
    if engine::in_scheduler() {
        return Err(PyRuntimeError::new_err(
            "this event loop runs in a coroutine of asyncoro, whose scheduler it blocks: call \
             asyncio.run() outside, where our coroutines and asyncio's tasks work together",
        ));
    }
    Ok(())
}

/// The time in which this thread looks at what was woken when it is over.
pub(super) struct Looking<'a> {
    shared: &'a Shared,
    is_outermost: bool,
}

impl Looking<'_> {
    pub(super) fn begin(shared: &Shared) -> Looking<'_> {
        let is_outermost = !shared.set_looks(true);
        Looking { shared, is_outermost }
    }

    /// Ends it; returns whether it is time to look.
    fn end(self) -> bool {
        self.is_outermost
    }
}

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        if self.is_outermost {
            self.shared.set_looks(false);
        }
    }
}

/// Makes the scheduler, and what wakes it.
fn hosted(py: Python<'_>, watch: &Arc<Watch>) -> PyResult<(Hosted, Waker)> {
    let (queued, sent) = (Arc::clone(watch), Arc::clone(watch));
    let make = || {
        let builder = AsynCoro::builder()
            .around_waits(engine::let_go_of_gil, engine::take_gil_back)
            .around_queueing(move || queued.queued(), move || sent.sent());
        Hosted::new(builder.build()?)
    };
    let hosted = make().map_err(|error| raised(py, &error))?;
    let bell = Rc::new(Cell::new(None));
    let kept = Rc::clone(&bell);
    let ringing = hosted.spawn(async move {
        asyncoro::coro::current().set_daemon(true);
        poll_fn(|cx| {
            kept.set(Some(cx.waker().clone()));
            Poll::<()>::Pending
        })
        .await
    });
    drop(ringing);
    hosted.turn(Duration::ZERO);
    let bell = bell.take().expect("the first turn resumes it");
    Ok((hosted, bell))
}

#[pymethods]
impl Guest {
    #[new]
    pub(super) fn new(py: Python<'_>, running: Py<PyAny>) -> PyResult<Guest> {
        refuse_in_scheduler()?;
        let watch = Arc::new(Watch::new());
        let (hosted, bell) = hosted(py, &watch)?;
        let hosted = Rc::new(hosted);
        let home = engine::add_guest(py, hosted.handle());
        watcher::start(py, home, Rc::clone(&hosted) as _, watch, false)?;
        let inner = Inner {
            home,
            hosted: RefCell::new(Some(hosted)),
            shared: Arc::new(Shared::new(bell)),
            waits: Rc::default(),
            spare: Cell::default(),
            running: RefCell::new(Some(running)),
            turn: RefCell::new(None),
            turn_is_due: Cell::new(false),
            is_driven: Cell::new(false),
            deadline: RefCell::new(None),
            runs: RefCell::default(),
            free_runs: RefCell::default(),
            in_a_row: Cell::new(0),
            generation: GENERATION.get(py).get(),
        };
        Ok(Guest { inner: Gil::new(inner) })
    }

    /// The descriptor that is readable when a turn is needed.
    pub(super) fn fileno(&self, py: Python<'_>) -> PyResult<RawFd> {
        let hosted = self.inner(py).hosted.borrow();
        hosted.as_ref().map(|hosted| hosted.as_raw_fd()).ok_or_else(closed)
    }

    /// Begins to ask the loop for turns.
    pub(super) fn _start(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (py, inner) = (slf.py(), slf.get().inner(slf.py()));
        let turn = slf.getattr("_turn")?.unbind();
        inner.turn.replace(Some(turn));
        let guest = PyWeakrefReference::new(slf.as_any())?.unbind();
        let hosted = inner.hosted.borrow().as_ref().map_or_else(Weak::new, Rc::downgrade);
        ALL.get(py).borrow_mut().insert(inner.home, Listed { guest, hosted });
        Ok(())
    }

    /// Makes a turn, for the loop.
    fn _turn(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (py, inner) = (slf.py(), slf.get().inner(slf.py()));
        inner.turn_is_due.set(false);
        let Some(hosted) = inner.hosted.borrow().clone() else { return Ok(()) };
        if inner.generation != GENERATION.get(py).get() {
            return Ok(());
        }
        let looking = Looking::begin(&inner.shared);
        if !looking.is_outermost {
            // A loop runs inside of a step of the outer one's; that will make it.
            return Ok(());
        }
        Guest::stays(slf)?;
        let has_more = engine::entered(|| hosted.turn(Duration::ZERO));
        looking.end();
        inner.in_a_row.set(0);
        log::pass_on_left(py);
        inner.look(py);
        if has_more {
            inner.call_soon(py);
        } else if let Some(deadline) = hosted.next_deadline() {
            inner.call_at(py, &slf.getattr(interned!(py, "_ring"))?, deadline)?;
        }
        Ok(())
    }

    /// Makes a turn, since the deadline has come.
    fn _ring(slf: &Bound<'_, Self>) -> PyResult<()> {
        drop(slf.get().inner(slf.py()).deadline.take());
        Guest::_turn(slf)
    }

    /// Ends it with its loop.
    fn _close(&self, py: Python<'_>) {
        self.close(py);
    }

    /// Returns the coroutines of ours that its tasks run.
    fn _runs(&self, py: Python<'_>) -> Vec<Py<PyAny>> {
        let runs = self.inner(py).runs.borrow();
        runs.iter().flatten().map(|run| run.clone_ref(py)).collect()
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let inner = self.inner.visited(&visit);
        if let Ok(running) = inner.running.try_borrow() {
            visit.call(&*running)?;
        }
        if let Ok(turn) = inner.turn.try_borrow() {
            visit.call(&*turn)?;
        }
        if let Ok(deadline) = inner.deadline.try_borrow()
            && let Some((_, handle)) = &*deadline
        {
            visit.call(handle)?;
        }
        if let Ok(waits) = inner.waits.try_borrow() {
            waits.all().try_for_each(|object| visit.call(object))?;
        }
        if let Ok(runs) = inner.runs.try_borrow() {
            runs.iter().flatten().try_for_each(|run| visit.call(run))?;
        }
        Ok(())
    }

    fn __clear__(&self, py: Python<'_>) {
        self.close(py);
    }
}
