//! A server from its beginning to its end.
//!
//! It accepts until it is told to stop. Then it takes the connections that are queued, closes the
//! listeners, waits for the handlers, and terminates those that are left when the time is over.
//! Each connection is a coroutine; the set of them belongs to the server's future, so that a server
//! which is dropped ends them.

use std::{
    cell::RefCell,
    collections::VecDeque,
    convert::Infallible,
    future::{self, Future},
    io,
    panic::Location,
    pin::{Pin, pin},
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use super::{
    connection::{Connections, Outcome},
    control::{Control, Served},
};
use crate::{
    addr::Address,
    coro::{self, Coros, Ended},
    driver::Driver,
    foreign,
    future::{Winner, join_all, race3, race4, try_join_all},
    log,
    scope::Group,
    signal::Signal,
    socket::{AsyncSocket, Queue},
    sync::local::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, sleep_until, timeout},
};

/// What a [`Server`](super::Server) was told.
pub(super) struct Plan {
    pub(super) listeners: Vec<AsyncSocket>,
    pub(super) limit: Option<usize>,
    pub(super) idle: Option<Duration>,
    pub(super) quiet: Option<Duration>,
    pub(super) grace: Duration,
    pub(super) signals: Option<Signal>,
    pub(super) until: Option<Pin<Box<dyn Future<Output = ()>>>>,
    pub(super) control: Arc<Control>,
    pub(super) place: &'static Location<'static>,
}

/// Connections that are taken from the queue of a listener that is about to be closed, at most.
const MOST_QUEUED: usize = 1 << 16;

/// How many of those are taken before others come first.
const SHARE: usize = 64;

/// Pause before another try to take a queued connection, where there is no descriptor.
const DESCRIPTOR_PAUSE: Duration = Duration::from_millis(20);

/// Pauses between two looks at what was dropped and is still being sent.
const SENT_PAUSES: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(20)];

/// How often connections are looked at in the time that they may be silent.
const LOOKS: u32 = 8;

/// How many of the connections that were ended by force are named in the log.
const MOST_NAMED: usize = 20;

/// Serves until the end.
pub(super) async fn run<H, F>(plan: Plan, handler: H) -> io::Result<Served>
where
    H: Fn(AsyncSocket, Address) -> F + 'static,
    F: Future + 'static,
    F::Output: Outcome,
{
    let Plan { listeners, signals, until, .. } = plan;
    let serving = Serving {
        handler: Rc::new(handler),
        connections: Connections::new(&plan.control, plan.place),
        coros: RefCell::new(Coros::new()),
        slots: plan.limit.map(|limit| Rc::new(Semaphore::new(limit))),
        group: Group::new(),
        idle: plan.idle,
        quiet: plan.quiet,
        grace: plan.grace,
        waiting: RefCell::default(),
        cut_off: RefCell::new(None),
        control: plan.control,
        place: plan.place,
    };
    let mut work = pin!(serving.work(listeners, signals, until));
    future::poll_fn(|cx| {
        loop {
            serving.take_ended(cx);
            if let Poll::Ready(result) = work.as_mut().poll(cx) {
                return Poll::Ready(result);
            }
            // For those that have been started, too, and were not waited for before.
            if !serving.take_ended(cx) {
                return Poll::Pending;
            }
        }
    })
    .await?;
    Ok(serving.control.served())
}

struct Serving<H> {
    handler: Rc<H>,
    connections: Rc<Connections>,
    coros: RefCell<Coros<()>>,
    slots: Option<Rc<Semaphore>>,
    group: Group,
    idle: Option<Duration>,
    quiet: Option<Duration>,
    grace: Duration,
    /// Connections that were accepted and wait for a slot: as many as there are listeners, and
    /// those that were queued when the server was told to stop.
    waiting: RefCell<VecDeque<(AsyncSocket, Address)>>,
    /// The names of those that were terminated, once they are.
    cut_off: RefCell<Option<Vec<String>>>,
    control: Arc<Control>,
    place: &'static Location<'static>,
}

impl<H, F> Serving<H>
where
    H: Fn(AsyncSocket, Address) -> F + 'static,
    F: Future + 'static,
    F::Output: Outcome,
{
    async fn work(
        &self,
        listeners: Vec<AsyncSocket>,
        mut signals: Option<Signal>,
        until: Option<Pin<Box<dyn Future<Output = ()>>>>,
    ) -> io::Result<()> {
        let accepting = try_join_all(listeners.iter().map(|listener| self.accept_from(listener)));
        let told = self.told(&mut signals, until);
        let (served, by_signal) = match race3(told, accepting, self.watch(None, None)).await {
            Winner::First(Ok(by_signal)) => (Ok(()), by_signal),
            Winner::First(Err(error)) => (Err(error), false),
            Winner::Second(failed) => (failed.map(drop), false),
            Winner::Third(never) => match never {},
        };
        self.group.stop();
        self.connections.look_anew();
        let at_once = async {
            // The first one asks for what has begun already.
            for _ in usize::from(by_signal)..2 {
                if next(&mut signals).await.is_err() {
                    future::pending::<()>().await;
                }
            }
        };
        let end = Driver::now().checked_add(self.grace);
        let at_once = race3(self.control.end.wait(), at_once, self.watch(self.quiet, end));
        let ends = match end {
            Some(ends) => sleep_until(ends),
            None => sleep(Duration::MAX),
        };
        match race3(at_once, self.finish(listeners), ends).await {
            Winner::First(_) => self.force("before it was told to end at once").await,
            Winner::Second(()) => {}
            Winner::Third(()) => self.force(&format!("within {:?}", self.grace)).await,
        }
        served
    }

    /// Waits until the server is to stop; tells whether a signal has said so.
    async fn told(
        &self,
        signals: &mut Option<Signal>,
        until: Option<Pin<Box<dyn Future<Output = ()>>>>,
    ) -> io::Result<bool> {
        let until = async {
            match until {
                Some(until) => until.await,
                None => future::pending().await,
            }
        };
        let around = self.group.stopping();
        match race4(next(signals), self.control.stop.wait(), until, around).await {
            Winner::First(signal) => signal.map(|()| true),
            _ => Ok(false),
        }
    }

    async fn accept_from(&self, listener: &AsyncSocket) -> io::Result<Infallible> {
        loop {
            // It has none while it waits for a client: another listener may need it.
            drop(self.slot().await);
            let accepted = listener.accept().await?;
            self.waiting.borrow_mut().push_back(accepted);
            self.start_waiting().await;
        }
    }

    /// Starts those that wait for a slot, as there is one for them.
    async fn start_waiting(&self) {
        while !self.waiting.borrow().is_empty() {
            let slot = self.slot().await;
            self.start_next(slot);
        }
    }

    /// Starts those for which there is a slot now.
    fn start_ready(&self) {
        while !self.waiting.borrow().is_empty() {
            let slot = match &self.slots {
                Some(slots) => match Semaphore::try_acquire_owned(slots, 1) {
                    Ok(slot) => Some(slot),
                    Err(_) => break,
                },
                None => None,
            };
            self.start_next(slot);
        }
    }

    fn start_next(&self, slot: Option<OwnedSemaphorePermit>) {
        let next = self.waiting.borrow_mut().pop_front();
        if let Some((client, peer)) = next {
            self.start(client, peer, slot);
        }
    }

    /// Waits until there may be one more connection.
    async fn slot(&self) -> Option<OwnedSemaphorePermit> {
        let slot = Semaphore::acquire_owned(self.slots.as_ref()?, 1).await;
        Some(slot.expect("nobody closes it"))
    }

    fn start(&self, client: AsyncSocket, peer: Address, slot: Option<OwnedSemaphorePermit>) {
        let member = self.connections.add(&client, slot);
        let handler = Rc::clone(&self.handler);
        let serving = async move {
            // Dropped after the handler's future.
            let member = member;
            coro::current().set_name(&format!("connection of {peer}"));
            if let Some(failure) = handler(client, peer).await.failure() {
                member.failed(&failure);
            }
        };
        let serving = self.group.around(serving);
        self.coros.borrow_mut().start(serving, self.place);
    }

    /// Looks after silent connections, for ever. A server that was told to stop ends those that are
    /// silent for `quiet`, and itself at `end`.
    async fn watch(&self, quiet: Option<Duration>, end: Option<Instant>) -> Infallible {
        let Some(shortest) = self.idle.into_iter().chain(quiet).min() else {
            return future::pending().await;
        };
        loop {
            sleep((shortest / LOOKS).max(Duration::from_millis(1))).await;
            // Those on which a request may be under way have their last chance to end in order.
            let is_late = quiet.is_some_and(|quiet| {
                end.is_some_and(|end| end.saturating_duration_since(Driver::now()) <= quiet)
            });
            self.connections.look(self.idle, quiet, is_late);
        }
    }

    /// Serves what is queued, and waits for the handlers and for what they have sent.
    async fn finish(&self, listeners: Vec<AsyncSocket>) {
        join_all(listeners.into_iter().map(|listener| self.finish_queue(listener))).await;
        self.all_ended().await;
        let [mut pause, longest] = SENT_PAUSES;
        loop {
            // Handshakes that were ended leave their sockets meanwhile, too.
            sleep(pause).await;
            if !self.connections.are_sending() {
                break;
            }
            pause = (2 * pause).min(longest);
        }
    }

    /// Takes the connections that wait for a listener, unless others do, and closes it. Those whose
    /// handshake has begun are served in any case.
    async fn finish_queue(&self, listener: AsyncSocket) {
        if !self.control.keeps_queue.load(Ordering::Acquire) {
            // All at once, whatever the limit: those that come later are not this server's.
            for number in 1..=MOST_QUEUED {
                match listener.accept_now() {
                    Ok(Queue::Taken(client, peer)) => {
                        self.waiting.borrow_mut().push_back((client, peer));
                    }
                    Ok(Queue::Empty) | Err(_) => break,
                    Ok(Queue::Blocked) => sleep(DESCRIPTOR_PAUSE).await,
                    #[cfg(feature = "tls")]
                    Ok(Queue::Begun) => {}
                }
                self.start_ready();
                if number % SHARE == 0 {
                    coro::yield_now().await;
                }
            }
            // Closed already, if this fails.
            let _ = listener.close().await;
        }
        self.start_waiting().await;
        loop {
            let begun = listener.accept_begun();
            let begun = match self.quiet {
                Some(quiet) => timeout(quiet, begun).await.unwrap_or(None),
                None => begun.await,
            };
            let Some(begun) = begun else { break };
            self.waiting.borrow_mut().push_back(begun);
            self.start_waiting().await;
        }
        listener.end_begun();
    }

    async fn all_ended(&self) {
        // Polled again whenever one has ended.
        future::poll_fn(|_| match self.coros.borrow().is_empty() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }

    /// Terminates the handlers that are left, and closes what waits for a slot.
    async fn force(&self, when: &str) {
        let waiting = self.waiting.take();
        if !waiting.is_empty() {
            log::warn(format_args!(
                "the server at {} has closed {} connections that nobody had served {when}: the \
                 limit was reached",
                self.place,
                waiting.len(),
            ));
        }
        drop(waiting);
        self.cut_off.replace(Some(Vec::new()));
        self.coros.borrow_mut().terminate_all();
        self.all_ended().await;
        let names = self.cut_off.take().unwrap_or_default();
        if names.is_empty() {
            return;
        }
        Control::add(&self.control.forced, names.len() as u64);
        log::warn(format_args!(
            "the server at {} has ended {} connections that did not end {when}: {}{}",
            self.place,
            names.len(),
            names[..names.len().min(MOST_NAMED)].join(", "),
            if names.len() > MOST_NAMED { ", ..." } else { "" },
        ));
    }

    /// Takes the results of handlers that have ended; tells whether there was one.
    fn take_ended(&self, cx: &mut Context<'_>) -> bool {
        let mut any = false;
        loop {
            let polled = self.coros.borrow_mut().poll_member(cx);
            match polled {
                Poll::Ready(Some(result)) => {
                    any = true;
                    self.note(result);
                }
                Poll::Ready(None) | Poll::Pending => return any,
            }
        }
    }

    fn note(&self, result: Result<(), Ended>) {
        match result {
            Ok(()) => {}
            Err(Ended::Terminated(origin)) => {
                if let Some(cut_off) = &mut *self.cut_off.borrow_mut() {
                    cut_off.push(origin.name().unwrap_or("a connection").to_owned());
                }
            }
            Err(ended @ Ended::Panicked(..)) => {
                Control::add(&self.control.failed, 1);
                log::error(format_args!("{ended}"));
                if let Ended::Panicked(payload, _) = ended {
                    foreign::discard(payload);
                }
            }
        }
    }
}

/// Waits for the next signal; for ever, if none are waited for.
async fn next(signals: &mut Option<Signal>) -> io::Result<()> {
    match signals {
        Some(signals) => signals.await,
        None => future::pending().await,
    }
}
