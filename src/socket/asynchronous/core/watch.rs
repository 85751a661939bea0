//! A socket and its scheduler: registers when a verb first has to wait, takes reports of readiness,
//! and is flushed at the end of a turn.

use std::{
    io, mem,
    rc::{Rc, Weak},
};

use rustix::io::Errno;

use super::{Binding, Core, CoreState, Errands, Halves};
use crate::{
    coro::{
        Waiter, current,
        engine::{Engine, Source},
    },
    driver::{Interest, Ready},
    error,
    socket::{
        link::Link,
        side::{Progress, Side, WriteSide, drop_spent},
    },
    sys::{Call, Direction, Meaning, Sys, meaning},
};

impl Core {
    /// Makes the driver report on this direction from now on, beginning with present readiness.
    ///
    /// A lack of memory in the system ends without an event: then the scheduler calls after a
    /// pause.
    #[inline]
    pub(crate) fn watch(self: &Rc<Self>, engine: &Engine, direction: Direction) -> io::Result<()> {
        let (is_watched, is_paused) = {
            let state = self.state.borrow();
            let bound = state.binding.as_ref();
            let is_watched = bound.is_some_and(|bound| std::ptr::eq(bound.engine.as_ptr(), engine))
                && (direction == Direction::Read || state.halves.read.side.hears_of_room);
            (is_watched, state.halves.read.side.is_paused() || state.halves.write.side.is_paused())
        };
        if !(is_watched && self.is_open()) {
            self.bind(engine, direction)?;
        }
        if is_paused {
            self.retry_later(engine);
        }
        Ok(())
    }

    /// Makes the scheduler call after a pause, as if the driver had reported.
    #[cold]
    fn retry_later(self: &Rc<Self>, engine: &Engine) {
        if !self.errands.begin(Errands::RETRY) {
            let own: Weak<dyn Source> = Rc::<Core>::downgrade(self);
            engine.retry_later(own);
        }
    }

    /// Registers with the driver, or extends the registration.
    #[cold]
    fn bind(self: &Rc<Self>, engine: &Engine, direction: Direction) -> io::Result<()> {
        // Those of poll methods, which no longer hear of readiness: they ask again.
        let stranded = self.bind_to(engine, direction)?;
        stranded.into_iter().flatten().for_each(Waiter::wake);
        Ok(())
    }

    fn bind_to(
        self: &Rc<Self>,
        engine: &Engine,
        direction: Direction,
    ) -> io::Result<[Option<Waiter>; 2]> {
        let state = &mut *self.state.borrow_mut();
        let Some(link) = state.link.as_ref().filter(|_| self.is_open()) else {
            return Err(error::closed());
        };
        if let Some(bound) = &mut state.binding
            && std::ptr::eq(bound.engine.as_ptr(), engine)
        {
            engine.reregister(link.sys().fd(), Interest::Both, bound.token)?;
            state.halves.read.side.hears_of_room = true;
            return Ok([None, None]);
        }
        if state.binding.is_some() && link.sys().is_ahead() {
            // Of a verb that was forgotten: the other scheduler will not find the socket any more.
            state.halves.read.side.hold_ahead(link);
        }
        let elsewhere = state.binding.as_ref().is_some_and(|bound| bound.is_alive());
        let others = match direction {
            Direction::Read => state.halves.write.lock.is_taken(),
            Direction::Write => state.halves.read.lock.is_taken(),
        };
        if elsewhere && others {
            return Err(error::waits_elsewhere());
        }
        if let Some(bound) = state.binding.take() {
            bound.forget(link);
        }
        // Room to send usually exists from the start; its event would be of no use to a reader.
        let interest = match direction {
            Direction::Read => Interest::Read,
            Direction::Write => Interest::Both,
        };
        let own: Weak<dyn Source> = Rc::<Core>::downgrade(self);
        let token = engine.register(link.sys().fd(), interest, own)?;
        state.binding = Some(Binding { engine: engine.weak(), token });
        // An earlier pause may have been requested from another scheduler.
        self.errands.done(Errands::RETRY);
        state.halves.read.side.hears_of_room = interest == Interest::Both;
        if !engine.tells_hangup() {
            state.halves.read.side.suspicious = true;
        }
        Ok([state.halves.read.lock.polled(), state.halves.write.lock.polled()])
    }

    /// Asks for a flush of the queue at the end of this turn.
    pub(crate) fn mark_dirty(self: &Rc<Self>, engine: &Engine) {
        let wants = {
            let CoreState { link, halves: Halves { write, .. }, .. } =
                &mut *self.state.borrow_mut();
            link.as_ref().is_some_and(|link| write.side.wants_flush(link))
        };
        if wants {
            engine.mark_dirty(Rc::<Core>::clone(self));
        }
    }

    /// Asks for a flush outside a poll, where the scheduler is not at hand.
    pub(crate) fn mark_dirty_where_bound(self: &Rc<Self>) {
        if self.has_unsent()
            && let Some(engine) = self.engine()
        {
            self.mark_dirty(&engine);
        }
    }

    /// Returns the scheduler that the socket is bound to, or else the one that runs here.
    pub(super) fn engine(&self) -> Option<Rc<Engine>> {
        let bound = self.state.borrow().binding.as_ref().map(|bound| Weak::clone(&bound.engine));
        bound.or_else(|| current::with(Engine::weak))?.upgrade()
    }

    /// Makes the driver forget the socket; returns the engine, if it still exists.
    pub(super) fn unbind(&self) -> Option<Rc<Engine>> {
        let mut state = self.state.borrow_mut();
        let bound = state.binding.take()?;
        bound.forget(state.link.as_ref()?)
    }

    fn report(&self, ready: Ready) -> (Option<Waiter>, Option<Waiter>, bool) {
        let (mut reader, mut writer, mut flush) = (None, None, false);
        let CoreState { link, halves: Halves { read, write }, .. } = &mut *self.state.borrow_mut();
        if ready.any(Ready::READ) {
            read.side.refill();
            read.side.suspicious |= ready.any(Ready::HANGUP.and(Ready::URGENT));
            reader = read.lock.waiter();
            // Whoever waited has been woken by the report before, for bytes received ahead, and has
            // not come to take them.
            if reader.is_none()
                && let Some(link) = link
                && link.sys().is_ahead()
            {
                link.sys().more_than_ahead();
            }
        }
        if ready.any(Ready::WRITE) {
            write.side.refill();
            writer = write.lock.waiter();
            let has_unsent = link.as_ref().is_some_and(|link| write.side.has_unsent(link));
            // A verb goes on with what is unsent; a poll method may never be called again.
            flush = has_unsent && !(writer.is_some() && write.lock.is_taken());
        }
        (reader, writer, flush)
    }

    /// Stops watching for room to send where each sent datagram would report it.
    fn narrow(&self, engine: &Engine) {
        if self.kind.is_tcp() {
            return;
        }
        let state = &mut *self.state.borrow_mut();
        if let (Some(link), Some(bound)) = (&state.link, &mut state.binding)
            && state.halves.read.side.hears_of_room
            // On failure the registration stays as it was, with some needless events.
            && engine.reregister(link.sys().fd(), Interest::Read, bound.token).is_ok()
        {
            state.halves.read.side.hears_of_room = false;
        }
    }
}

impl Core {
    /// Sends a queue that the driver cannot watch.
    #[cold]
    fn flush_unwatched(self: &Rc<Self>, engine: &Engine, error: &io::Error) {
        let code = Errno::from_io_error(error);
        if code.is_some_and(|code| meaning(Call::Watch, code) == Meaning::Pause) {
            self.retry_later(engine);
        } else {
            // The next verb returns the same error.
            self.half::<WriteSide>().side.fail(error);
            drop_spent();
        }
    }
}

impl Binding {
    /// Tells whether its scheduler still runs in this process.
    fn is_alive(&self) -> bool {
        self.engine.upgrade().is_some_and(|engine| !engine.is_inherited())
    }

    /// Makes the driver forget the socket; returns its engine, if it still exists.
    fn forget(self, link: &Link) -> Option<Rc<Engine>> {
        let engine = self.engine.upgrade()?;
        engine.deregister(link.sys().fd(), self.token);
        Some(engine)
    }
}

impl Source for Core {
    fn receive_ahead(&self, receive: &mut dyn FnMut(&Sys, usize)) {
        let state = self.state.borrow();
        let read = &state.halves.read;
        let awaits = read.side.awaits();
        if let Some(link) = &state.link
            && awaits > 0
            && read.lock.has_waiter()
            // A poll method that was given up still has its waker here. Descriptors would be lost.
            && (read.lock.is_taken() || self.kind.is_tcp())
            && self.kind.is_stream()
            && !self.is_closing()
        {
            // TLS asks for whole records, however few bytes its reader wants.
            receive(link.sys(), if link.is_secure() { usize::MAX } else { awaits });
        }
    }

    fn nothing_ahead(&self, result: Option<Result<usize, Errno>>) {
        if let Some(link) = &self.state.borrow().link {
            link.sys().nothing_ahead(result);
        }
    }

    fn hold_ahead(&self) {
        let CoreState { link, halves: Halves { read, .. }, .. } = &mut *self.state.borrow_mut();
        if let Some(link) = link
            && link.sys().is_ahead()
        {
            read.side.hold_ahead(link);
        }
    }

    fn send_together(&self, send: &mut dyn FnMut(&Sys, &[u8])) {
        let state = self.state.borrow();
        if let Some(link) = &state.link
            && self.is_open()
            && !link.is_secure()
            && let Some(bytes) = state.halves.write.side.as_one_call()
        {
            send(link.sys(), bytes);
        }
    }

    fn sent_together(&self, asked: usize, result: Result<usize, Errno>) {
        let CoreState { link, halves: Halves { write, .. }, .. } = &mut *self.state.borrow_mut();
        if let Some(link) = link {
            write.side.sent_together(link, asked, result);
        }
    }

    fn ready(self: Rc<Self>, ready: Ready, engine: &Engine) {
        let (reader, writer, flush) = self.report(ready);
        if flush {
            self.mark_dirty(engine);
        } else if ready.any(Ready::WRITE) && writer.is_none() {
            self.narrow(engine);
        }
        if let Some(reader) = reader {
            reader.wake_on(engine);
        }
        if let Some(writer) = writer {
            writer.wake_on(engine);
        }
    }

    fn scheduler_ends(&self) {
        let (reader, writer) = {
            let Halves { read, write } = &mut self.state.borrow_mut().halves;
            (read.lock.waiter(), write.lock.waiter())
        };
        reader.into_iter().chain(writer).for_each(Waiter::wake);
    }

    fn retry(self: Rc<Self>, engine: &Engine) {
        self.errands.done(Errands::RETRY);
        self.ready(Ready::READ.and(Ready::WRITE), engine);
    }

    fn flush(self: Rc<Self>, engine: &Engine) {
        let mut progress = {
            let state = &mut *self.state.borrow_mut();
            state.halves.write.side.marked = false;
            match &state.link {
                Some(link) if self.is_open() => state.halves.write.side.flush(link),
                _ => return,
            }
        };
        drop_spent();
        if self.handles.get() == 0 && matches!(progress, Progress::Done(Ok(()))) {
            progress = self.close_notify();
        }
        if matches!(progress, Progress::Again) {
            // What was sent has just been dropped, and that may have queued more here.
            let is_listed = mem::replace(&mut self.half::<WriteSide>().side.marked, true);
            if self.handles.get() == 0 {
                self.linger_on(engine);
            }
            if !is_listed {
                engine.flush_next_turn(self);
            }
            return;
        }
        if !matches!(progress, Progress::Done(_)) {
            // The scheduler to which the socket is bound sends the queue, if not this one.
            let bound = self.engine();
            let engine = bound.as_deref().unwrap_or(engine);
            if let Err(error) = self.watch(engine, Direction::Write) {
                self.flush_unwatched(engine, &error);
            }
            if self.handles.get() == 0 {
                self.linger_on(engine);
            }
            return;
        }
        if self.handles.get() == 0 {
            self.settle_alone();
        }
        let writer = self.half::<WriteSide>().lock.waiter();
        writer.into_iter().for_each(Waiter::wake);
    }

    fn has_unsent(&self) -> bool {
        let state = self.state.borrow();
        let unsent =
            state.link.as_ref().is_some_and(|link| state.halves.write.side.has_unsent(link));
        self.is_open() && unsent
    }

    fn settle(&self) -> bool {
        self.settle().unwrap_or_else(|error| {
            self.tell_of_loss(&error);
            true
        })
    }

    fn abandon(&self) -> String {
        let unsent = self.has_unsent();
        let bytes = self.half::<WriteSide>().side.abandon();
        let peer = self.with_sys(|sys| Ok(sys.peer_addr()?));
        let peer = peer.map_or_else(|_| "its peer".to_owned(), |peer| peer.to_string());
        self.close();
        if !unsent {
            return format!("a socket was closed before {peer} had acknowledged all of it");
        }
        if bytes == 0 {
            return format!("a socket was closed with TLS records for {peer} unsent");
        }
        format!("a socket was closed with {bytes} bytes for {peer} unsent")
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::{
        future::Future,
        io::Write,
        os::unix::net::UnixStream,
        pin::pin,
        task::{Context, Waker},
    };

    use super::*;
    use crate::{
        coro::{AsynCoro, Batching, Scheduler, yield_now},
        socket::{AsyncSocket, side::ReadSide},
    };

    fn scheduler(how: Batching) -> Scheduler {
        AsynCoro::builder().batching(how).batch_from(2).build().unwrap()
    }

    /// Calls `test` with a socket of whose bytes some came ahead of a verb that is not polled any
    /// more, and with its scheduler.
    fn with_bytes_ahead(how: Batching, test: impl FnOnce(&AsyncSocket, Scheduler)) {
        let scheduler = scheduler(how);
        let [(near, mut far), (other, mut other_far)] = [(); 2].map(|()| {
            let (near, far) = UnixStream::pair().unwrap();
            (AsyncSocket::new(near).unwrap(), far)
        });
        let (mut buffer, mut other_buffer) = ([0; 9], [0; 9]);
        let mut verb = pin!(near.recv(&mut buffer));
        let mut other_verb = Box::pin(other.recv(&mut other_buffer));
        let cx = &mut Context::from_waker(Waker::noop());
        scheduler.enter(async {
            assert!(
                verb.as_mut().poll(cx).is_pending() && other_verb.as_mut().poll(cx).is_pending()
            );
            far.write_all(b"abc").unwrap();
            other_far.write_all(b"other").unwrap();
            while AsynCoro::current().statistics().batches == 0 {
                yield_now().await;
            }
        });
        assert!(is_ahead(&near) && is_ahead(&other));
        test(&near, scheduler);
        // Neither the memory nor the bytes of the other one have changed.
        assert!(is_ahead(&other));
        let received = AsynCoro::builder().build().unwrap().enter(other_verb);
        assert_eq!((received.unwrap(), &other_buffer[..5]), (5, &b"other"[..]));
    }

    /// Tells whether the socket uses the memory of a batch.
    fn is_ahead(socket: &AsyncSocket) -> bool {
        socket.core.look(|link| link.sys().is_ahead()).expect("nobody uses it")
    }

    #[test]
    fn a_socket_that_is_closed_or_bound_anew_keeps_no_memory_of_a_batch() {
        for how in [Batching::Direct, Batching::Ring] {
            with_bytes_ahead(how, |near, _scheduler| {
                near.core.close();
                assert!(!is_ahead(near));
            });
            for lives_on in [true, false] {
                with_bytes_ahead(how, |near, first| {
                    let first = lives_on.then_some(first);
                    scheduler(how).enter(async {
                        let engine = current::with(Engine::weak)
                            .and_then(|engine| engine.upgrade())
                            .unwrap();
                        let bound = near.core.bind(&engine, Direction::Write);
                        assert_eq!(bound.is_err(), lives_on, "a verb waits in the first");
                    });
                    assert!(!is_ahead(near));
                    assert_eq!(near.core.half::<ReadSide>().side.held(), b"abc");
                    drop(first);
                });
            }
        }
    }
}
