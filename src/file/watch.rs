//! A descriptor that a scheduler watches, with one waiter for each direction: pipes, terminals,
//! and the descriptors of processes.
//!
//! Rules, as for sockets: an attempt comes first, and only one that would block waits; the
//! descriptor is registered when somebody first waits, and deregistered before it is closed; one
//! whose scheduler has ended, or does not run here, binds to the current one.

use std::{
    cell::RefCell,
    future::poll_fn,
    io, mem,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    rc::{Rc, Weak},
    task::{Context, Poll},
};

use rustix::io::Errno;

use crate::{
    coro::{
        Waiter, current,
        engine::{Engine, Source},
    },
    driver::{Interest, Ready, Token},
    error,
    sys::{Direction, Sys},
};

/// A descriptor and who waits for it.
pub(crate) struct Watched {
    state: RefCell<WatchState>,
    /// `None` once it was taken out.
    fd: Option<OwnedFd>,
}

#[derive(Default)]
struct WatchState {
    binding: Option<Binding>,
    reader: Option<Waiter>,
    writer: Option<Waiter>,
}

/// The registration with a scheduler's driver.
struct Binding {
    engine: Weak<Engine>,
    token: Token,
    interest: Interest,
}

impl Watched {
    pub(crate) fn new(fd: OwnedFd) -> Rc<Watched> {
        Rc::new(Watched { state: RefCell::default(), fd: Some(fd) })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_ref().expect("it is taken out last").as_fd()
    }

    /// Takes the descriptor out, or a duplicate of it where the scheduler is just calling this.
    pub(crate) fn into_fd(mut own: Rc<Watched>) -> io::Result<OwnedFd> {
        own.unbind();
        match Rc::get_mut(&mut own).and_then(|watched| watched.fd.take()) {
            Some(fd) => Ok(fd),
            None => own.fd().try_clone_to_owned(),
        }
    }

    /// Makes attempts until one does not fail with `WouldBlock`, each when the direction is ready.
    pub(crate) async fn attempt<R>(
        self: &Rc<Self>,
        verb: &'static str,
        direction: Direction,
        mut attempt: impl FnMut() -> io::Result<R>,
    ) -> io::Result<R> {
        let _leaves = Leaves(self, direction);
        let mut is_first = true;
        poll_fn(|cx| {
            // What is always ready lets others run, too.
            if mem::take(&mut is_first) && !current::with(|engine| engine.spend()).unwrap_or(true) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            match attempt() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    current::expect(verb, |engine| self.wait(engine, direction, cx))
                }
                result => Poll::Ready(result),
            }
        })
        .await
    }

    /// Makes readiness wake the caller.
    fn wait<R>(
        self: &Rc<Self>,
        engine: &Engine,
        direction: Direction,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<R>> {
        let waiter = Waiter::of(cx.waker());
        // First, since registering finds out whether somebody waits on another scheduler.
        if let Err(error) = self.bind(engine, direction) {
            return Poll::Ready(Err(error));
        }
        let old = {
            let state = &mut *self.state.borrow_mut();
            state.waiter(direction).replace(waiter)
        };
        drop(old);
        if direction == Direction::Write {
            engine.note_sent();
        }
        Poll::Pending
    }

    fn bind(self: &Rc<Self>, engine: &Engine, direction: Direction) -> io::Result<()> {
        let state = &mut *self.state.borrow_mut();
        let interest = match direction {
            Direction::Read => Interest::Read,
            Direction::Write => Interest::Both,
        };
        if let Some(bound) = &mut state.binding
            && std::ptr::eq(bound.engine.as_ptr(), engine)
        {
            if bound.interest != Interest::Both && interest == Interest::Both {
                engine.reregister(self.fd(), interest, bound.token)?;
                bound.interest = interest;
            }
            return Ok(());
        }
        let elsewhere = state.binding.as_ref().is_some_and(|bound| {
            bound.engine.upgrade().is_some_and(|engine| !engine.is_inherited())
        });
        let others = match direction {
            Direction::Read => state.writer.is_some(),
            Direction::Write => state.reader.is_some(),
        };
        if elsewhere && others {
            return Err(error::waits_elsewhere());
        }
        if let Some(bound) = state.binding.take() {
            bound.forget(self.fd());
        }
        let own: Weak<dyn Source> = Rc::<Watched>::downgrade(self);
        let token = engine.register(self.fd(), interest, own)?;
        state.binding = Some(Binding { engine: engine.weak(), token, interest });
        Ok(())
    }

    fn unbind(&self) -> Option<Rc<Engine>> {
        let bound = self.state.borrow_mut().binding.take()?;
        bound.forget(self.fd())
    }

    fn waiters(&self, ready: Ready) -> [Option<Waiter>; 2] {
        let state = &mut *self.state.borrow_mut();
        [(Ready::READ, &mut state.reader), (Ready::WRITE, &mut state.writer)]
            .map(|(direction, place)| if ready.any(direction) { place.take() } else { None })
    }
}

impl WatchState {
    fn waiter(&mut self, direction: Direction) -> &mut Option<Waiter> {
        match direction {
            Direction::Read => &mut self.reader,
            Direction::Write => &mut self.writer,
        }
    }
}

/// Forgets the waiter of attempts that have ended in any way.
struct Leaves<'a>(&'a Watched, Direction);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        let own = self.0.state.borrow_mut().waiter(self.1).take();
        drop(own);
    }
}

impl Binding {
    /// Makes the driver forget the descriptor; returns its engine, if it still exists.
    fn forget(self, fd: BorrowedFd<'_>) -> Option<Rc<Engine>> {
        let engine = self.engine.upgrade()?;
        engine.deregister(fd, self.token);
        Some(engine)
    }
}

impl Source for Watched {
    fn receive_ahead(&self, _receive: &mut dyn FnMut(&Sys, usize)) {}

    fn nothing_ahead(&self, _result: Option<Result<usize, Errno>>) {}

    fn hold_ahead(&self) {}

    fn send_together(&self, _send: &mut dyn FnMut(&Sys, &[u8])) {}

    fn sent_together(&self, _asked: usize, _result: Result<usize, Errno>) {}

    fn ready(self: Rc<Self>, ready: Ready, engine: &Engine) {
        for waiter in self.waiters(ready).into_iter().flatten() {
            waiter.wake_on(engine);
        }
    }

    fn scheduler_ends(&self) {
        let all = self.waiters(Ready::READ.and(Ready::WRITE));
        all.into_iter().flatten().for_each(Waiter::wake);
    }

    fn retry(self: Rc<Self>, engine: &Engine) {
        self.ready(Ready::READ.and(Ready::WRITE), engine);
    }

    fn flush(self: Rc<Self>, _engine: &Engine) {}

    fn has_unsent(&self) -> bool {
        false
    }

    fn settle(&self) -> bool {
        true
    }

    fn abandon(&self) -> String {
        unreachable!("a descriptor without a queue has nothing to abandon")
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if self.fd.is_none() {
            return;
        }
        let engine = self.unbind();
        if let Some(engine) = engine.or_else(|| current::with(Engine::weak)?.upgrade()) {
            engine.descriptor_closed();
        }
    }
}
