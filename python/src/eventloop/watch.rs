//! Who waits for which descriptor: readers and writers of the program's, and calls of `sock_recv`
//! and the like.
//!
//! The kernel is told of a reader at once, so that a descriptor may be closed after `remove_reader`
//! and its number used anew. What was watched for a call stays watched after it, since the next one
//! mostly follows: until it is reported to nobody. The descriptor may be closed meanwhile, and
//! another socket have its number, so a call says for which socket it waits.

use std::{
    cell::{Cell, RefCell},
    io, mem,
    os::fd::RawFd,
    task::Waker,
};

use pyo3::{
    prelude::*,
    types::{PyWeakrefMethods, PyWeakrefReference},
};

use super::epoll::{Epoll, READ, WRITE};
use crate::guest;

/// What one waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Read,
    Write,
}

impl Direction {
    fn bit(self) -> u32 {
        match self {
            Direction::Read => READ,
            Direction::Write => WRITE,
        }
    }
}

/// Who waits for a direction of a descriptor.
#[derive(Default)]
struct Half {
    /// The handle of a reader or writer.
    handle: Option<Py<PyAny>>,
    /// Calls, by their numbers.
    calls: Vec<(u64, Waker)>,
}

impl Half {
    fn is_empty(&self) -> bool {
        self.handle.is_none() && self.calls.is_empty()
    }
}

/// A descriptor.
#[derive(Default)]
struct Slot {
    read: Half,
    write: Half,
    /// For what the kernel watches it, as far as is known.
    watched: u32,
    /// The socket for which a call has last waited.
    socket: Option<Py<PyWeakrefReference>>,
}

impl Slot {
    fn half(&mut self, direction: Direction) -> &mut Half {
        match direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        }
    }

    fn wanted(&self) -> u32 {
        let read = if self.read.is_empty() { 0 } else { READ };
        let write = if self.write.is_empty() { 0 } else { WRITE };
        read | write
    }
}

/// All descriptors that are waited for.
pub(super) struct Watches {
    epoll: RefCell<Epoll>,
    /// By their numbers.
    slots: RefCell<Vec<Slot>>,
    /// How many of them the kernel watches.
    count: Cell<usize>,
    /// The number of the last call that has waited.
    last_call: Cell<u64>,
    /// How many forks had led to the process whose instance it is.
    generation: u32,
}

impl Watches {
    pub(super) fn new(py: Python<'_>, epoll: Epoll) -> Watches {
        Watches {
            generation: guest::generation(py),
            epoll: RefCell::new(epoll),
            slots: RefCell::default(),
            count: Default::default(),
            last_call: Default::default(),
        }
    }

    pub(super) fn epoll(&self) -> &RefCell<Epoll> {
        &self.epoll
    }

    /// Returns whether the kernel watches any descriptor.
    pub(super) fn is_any(&self) -> bool {
        self.count.get() > 0
    }

    /// Tells the kernel for what a descriptor is watched.
    fn tell(&self, py: Python<'_>, fd: RawFd, slot: &mut Slot, wanted: u32) -> io::Result<()> {
        if self.generation != guest::generation(py) {
            // The parent's instance still watches it.
            return Ok(());
        }
        let before = slot.watched;
        let result = self.epoll.borrow().set(fd, before, wanted);
        slot.watched = if result.is_ok() { wanted } else { 0 };
        let count = self.count.get();
        self.count.set(count - usize::from(before != 0) + usize::from(slot.watched != 0));
        result
    }

    /// Sets the reader or writer of a descriptor; returns the one before.
    pub(super) fn set(
        &self,
        py: Python<'_>,
        fd: RawFd,
        direction: Direction,
        handle: Py<PyAny>,
    ) -> io::Result<Option<Py<PyAny>>> {
        let place = place(fd)?;
        let slots = &mut *self.slots.borrow_mut();
        if slots.len() <= place {
            slots.resize_with(place + 1, Slot::default);
        }
        let slot = &mut slots[place];
        let wanted = slot.wanted() | direction.bit();
        if let Err(error) = self.tell(py, fd, slot, wanted) {
            slot.half(direction).handle = None;
            return Err(error);
        }
        Ok(slot.half(direction).handle.replace(handle))
    }

    /// Removes the reader or writer of a descriptor, and returns it.
    pub(super) fn unset(
        &self,
        py: Python<'_>,
        fd: RawFd,
        direction: Direction,
    ) -> Option<Py<PyAny>> {
        let slots = &mut *self.slots.borrow_mut();
        let slot = slots.get_mut(place(fd).ok()?)?;
        let handle = slot.half(direction).handle.take()?;
        let wanted = slot.wanted();
        // Whoever else waits for it is not told that it is closed, as ever.
        let _ = self.tell(py, fd, slot, wanted);
        Some(handle)
    }

    /// Returns the reader and the writer of a descriptor.
    pub(super) fn handles(
        &self,
        py: Python<'_>,
        fd: RawFd,
    ) -> (Option<Py<PyAny>>, Option<Py<PyAny>>) {
        let slots = self.slots.borrow();
        let Some(slot) = place(fd).ok().and_then(|place| slots.get(place)) else {
            return (None, None);
        };
        let copy = |half: &Half| half.handle.as_ref().map(|handle| handle.clone_ref(py));
        (copy(&slot.read), copy(&slot.write))
    }

    /// Returns the numbers of all descriptors that have a reader or writer.
    pub(super) fn all(&self) -> Vec<RawFd> {
        let slots = self.slots.borrow();
        let has = |slot: &Slot| slot.read.handle.is_some() || slot.write.handle.is_some();
        let all = slots.iter().enumerate().filter(|(_, slot)| has(slot));
        all.map(|(fd, _)| fd as RawFd).collect()
    }

    /// Returns whether a call has waited for this socket last, of those with its descriptor.
    pub(super) fn is_known(&self, py: Python<'_>, fd: RawFd, socket: &Bound<'_, PyAny>) -> bool {
        let slots = self.slots.borrow();
        let known = place(fd).ok().and_then(|place| slots.get(place)?.socket.as_ref());
        known.is_some_and(|known| known.bind(py).upgrade().is_some_and(|it| it.is(socket)))
    }

    /// Returns whether a descriptor has a reader or writer, which a transport's has as a rule.
    pub(super) fn has_handle(&self, fd: RawFd) -> bool {
        let slots = self.slots.borrow();
        let slot = place(fd).ok().and_then(|place| slots.get(place));
        slot.is_some_and(|slot| slot.read.handle.is_some() || slot.write.handle.is_some())
    }

    /// Lets a call wait; returns its number.
    pub(super) fn begin(
        &self,
        fd: RawFd,
        direction: Direction,
        waker: &Waker,
        socket: &Bound<'_, PyAny>,
    ) -> PyResult<u64> {
        let py = socket.py();
        let is_known = self.is_known(py, fd, socket);
        let reference = match is_known {
            true => None,
            false => PyWeakrefReference::new(socket).ok().map(Bound::unbind),
        };
        let place = place(fd)?;
        let number = self.last_call.get() + 1;
        self.last_call.set(number);
        let waker = waker.clone();
        let slots = &mut *self.slots.borrow_mut();
        if slots.len() <= place {
            slots.resize_with(place + 1, Slot::default);
        }
        let slot = &mut slots[place];
        let wanted = slot.wanted() | direction.bit();
        if !is_known || wanted & !slot.watched != 0 {
            self.tell(py, fd, slot, wanted)?;
        }
        let old = match is_known {
            true => None,
            false => mem::replace(&mut slot.socket, reference),
        };
        slot.half(direction).calls.push((number, waker));
        drop(old);
        Ok(number)
    }

    /// Lets a call wake another waker; `false` if it was woken.
    pub(super) fn again(
        &self,
        fd: RawFd,
        direction: Direction,
        number: u64,
        waker: &Waker,
    ) -> bool {
        let slots = &mut *self.slots.borrow_mut();
        let Some(slot) = place(fd).ok().and_then(|place| slots.get_mut(place)) else {
            return false;
        };
        let mut calls = slot.half(direction).calls.iter_mut();
        let Some((_, kept)) = calls.find(|(other, _)| *other == number) else { return false };
        kept.clone_from(waker);
        true
    }

    /// Ends the wait of a call that was not woken.
    pub(super) fn end(&self, fd: RawFd, direction: Direction, number: u64) {
        let gone = {
            let slots = &mut *self.slots.borrow_mut();
            let Some(slot) = place(fd).ok().and_then(|place| slots.get_mut(place)) else { return };
            let calls = &mut slot.half(direction).calls;
            let at = calls.iter().position(|(other, _)| *other == number);
            at.map(|at| calls.swap_remove(at))
        };
        drop(gone);
    }

    /// Takes in what the last wait has brought: wakes calls, and passes the handles of readers and
    /// writers on. Returns whether the scheduler's descriptor is ready.
    pub(super) fn take_in(
        &self,
        py: Python<'_>,
        own: RawFd,
        mut ready: impl FnMut(Py<PyAny>),
        woken: &mut Vec<Waker>,
    ) -> bool {
        let mut is_own = false;
        let mut idle = Vec::new();
        {
            let epoll = self.epoll.borrow();
            let slots = &mut *self.slots.borrow_mut();
            for event in epoll.events() {
                if event.fd == own {
                    is_own = true;
                    continue;
                }
                let Some(slot) = slots.get_mut(event.fd as usize) else { continue };
                // Errors and the end are for both.
                let mut is_told = false;
                let mut is_needless = false;
                for (half, own, bits) in [
                    (&mut slot.read, READ, event.bits & !WRITE),
                    (&mut slot.write, WRITE, event.bits & !READ),
                ] {
                    if bits == 0 {
                        continue;
                    }
                    is_told |= !half.is_empty();
                    is_needless |= half.is_empty() && bits & own != 0;
                    if let Some(handle) = &half.handle {
                        ready(handle.clone_ref(py));
                    }
                    woken.extend(half.calls.drain(..).map(|(_, waker)| waker));
                }
                if is_needless || !is_told {
                    idle.push(event.fd);
                }
            }
        }
        for fd in idle {
            // It need not be watched for that.
            let slot = &mut self.slots.borrow_mut()[fd as usize];
            let wanted = slot.wanted();
            let _ = self.tell(py, fd, slot, wanted);
        }
        is_own
    }

    /// Forgets all of them.
    pub(super) fn clear(&self) -> Vec<Py<PyAny>> {
        let slots = mem::take(&mut *self.slots.borrow_mut());
        self.count.set(0);
        let handles = slots.into_iter().flat_map(|slot| [slot.read.handle, slot.write.handle]);
        handles.flatten().collect()
    }

    pub(super) fn with_handles(&self, mut f: impl FnMut(&Py<PyAny>) -> bool) {
        let Ok(slots) = self.slots.try_borrow() else { return };
        let handles = slots.iter().flat_map(|slot| [&slot.read.handle, &slot.write.handle]);
        handles.flatten().all(&mut f);
    }
}

/// Returns the place of a descriptor.
fn place(fd: RawFd) -> io::Result<usize> {
    usize::try_from(fd).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))
}
