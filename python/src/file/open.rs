//! An open file, and who waits for it.

use std::{
    cell::{Cell, RefCell},
    fs::File,
    future::Future,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::FileTypeExt,
    },
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use asyncoro::{
    AsyncSocket,
    file::AsyncFile,
    sync::local::{Lock, LockGuard},
};
use pyo3::{exceptions::PyOSError, prelude::*};

use crate::call::Outcome;

/// An open file. Its verbs share it with the object, and end when that is closed.
pub(super) struct Open {
    pub(super) file: AsyncFile,
    /// Whether it is a regular file or the like, whose verbs wait for the disk alone.
    pub(super) is_regular: bool,
    /// Whose turn it is: a verb here may be several of the crate's.
    reading: Lock<()>,
    writing: Lock<()>,
    is_closed: Cell<bool>,
    /// By the number of their wait, those who wait in a verb.
    waiting: RefCell<Vec<(u64, Waker)>>,
    last_wait: Cell<u64>,
}

impl Open {
    pub(super) fn over(fd: OwnedFd) -> io::Result<Rc<Open>> {
        Open::of(AsyncFile::new(fd)?)
    }

    pub(super) fn of(file: AsyncFile) -> io::Result<Rc<Open>> {
        let kind = File::from(file.as_fd().try_clone_to_owned()?).metadata()?.file_type();
        let is_regular = kind.is_file() || kind.is_block_device() || kind.is_dir();
        Ok(Open::with(file, is_regular))
    }

    pub(super) fn over_socket(socket: AsyncSocket) -> Rc<Open> {
        Open::with(AsyncFile::from(socket), false)
    }

    fn with(file: AsyncFile, is_regular: bool) -> Rc<Open> {
        Rc::new(Open {
            file,
            is_regular,
            reading: Lock::new(()),
            writing: Lock::new(()),
            is_closed: Cell::new(false),
            waiting: RefCell::default(),
            last_wait: Cell::new(0),
        })
    }

    /// Waits for its turn to read.
    pub(super) fn reading(&self) -> impl Future<Output = LockGuard<'_, ()>> {
        self.reading.lock()
    }

    /// Waits for its turn to write; a file with a position has one line for both.
    pub(super) fn writing(&self) -> impl Future<Output = LockGuard<'_, ()>> {
        if self.is_regular { self.reading.lock() } else { self.writing.lock() }
    }

    /// Ends the verbs that wait.
    pub(super) fn close(&self) {
        self.is_closed.set(true);
        let waiting = self.waiting.take();
        waiting.into_iter().for_each(|(_, waker)| waker.wake());
    }

    fn note(&self, wait: &mut u64, waker: &Waker) {
        if *wait == 0 {
            self.last_wait.set(self.last_wait.get() + 1);
            *wait = self.last_wait.get();
        }
        let waker = waker.clone();
        let old = {
            let waiting = &mut *self.waiting.borrow_mut();
            match waiting.iter_mut().find(|(number, _)| number == wait) {
                Some((_, old)) => Some(std::mem::replace(old, waker)),
                None => {
                    waiting.push((*wait, waker));
                    None
                }
            }
        };
        drop(old);
    }

    fn leave(&self, wait: u64) {
        let waker = {
            let waiting = &mut *self.waiting.borrow_mut();
            let place = waiting.iter().position(|(number, _)| *number == wait);
            place.map(|place| waiting.swap_remove(place))
        };
        drop(waker);
    }
}

/// Returns the error of any verb of a file that is closed.
pub(super) fn closed() -> PyErr {
    PyOSError::new_err((BADF, "Bad file descriptor: the file is closed"))
}

/// EBADF, as Linux has it.
const BADF: i32 = 9;

/// A verb that ends when its file is closed.
pub(super) struct WhileOpen<F> {
    open: Rc<Open>,
    /// `None` once it has ended, so that it gives up its turn.
    verb: Option<Pin<Box<F>>>,
    /// The number of its wait; 0 before that.
    wait: u64,
}

impl<F> WhileOpen<F> {
    pub(super) fn new(open: Rc<Open>, verb: F) -> WhileOpen<F> {
        WhileOpen { open, verb: Some(Box::pin(verb)), wait: 0 }
    }
}

impl<F: Future<Output = Outcome>> Future for WhileOpen<F> {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let own = self.get_mut();
        if own.open.is_closed.get() {
            own.verb = None;
            return Poll::Ready(Err(closed()));
        }
        let verb = own.verb.as_mut().expect("it is polled until it is ready");
        let polled = verb.as_mut().poll(cx);
        match &polled {
            Poll::Pending => own.open.note(&mut own.wait, cx.waker()),
            Poll::Ready(_) => own.verb = None,
        }
        polled
    }
}

impl<F> Drop for WhileOpen<F> {
    fn drop(&mut self) {
        self.verb = None;
        if self.wait != 0 {
            self.open.leave(self.wait);
        }
    }
}
