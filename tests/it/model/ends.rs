//! An end of either face: the socket, the actors that use it at the same time, and its life from
//! segment to segment until it closes.
//!
//! An end lives in a coroutine. With the blocking face its actors run on threads of the pool, which
//! never await anything of an asynchronous socket.

use std::{
    io::{self, ErrorKind},
    net::Shutdown,
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use asyncoro::{AsyncSocket, BlockingSocket, coro, coro::Ended, error, pool, spawn, time::sleep};

use super::{
    Shared,
    fickle::{How, fickle},
    plan::{Carries, Ending, Face, Last, Rng, Segment},
    receive, send,
};
use crate::{pairs::inner, within::block_on};

/// A socket of either face.
#[derive(Clone)]
pub(super) enum Socket {
    Async(AsyncSocket),
    Blocking(BlockingSocket),
}

/// Calls a verb on either face; `None` if its future was dropped.
macro_rules! on {
    ($socket:expr, $how:expr, $verb:ident($($argument:expr),*)) => {
        match $socket {
            Socket::Async(socket) => fickle($how, socket.$verb($($argument),*)).await,
            Socket::Blocking(socket) => Some(socket.$verb($($argument),*)),
        }
    };
}

/// Calls a function that never waits, on either face.
macro_rules! now {
    ($socket:expr, $call:ident($($argument:expr),*)) => {
        match $socket {
            Socket::Async(socket) => socket.$call($($argument),*),
            Socket::Blocking(socket) => socket.$call($($argument),*),
        }
    };
}

pub(super) use {now, on};

impl Socket {
    pub(super) fn face(&self) -> Face {
        match self {
            Socket::Async(_) => Face::Async,
            Socket::Blocking(_) => Face::Blocking,
        }
    }

    /// Waits for some time, or only yields.
    pub(super) async fn pause(&self, rng: &mut Rng) {
        let time = rng.moment(2);
        match (self, rng.below(8)) {
            (Socket::Async(_), 0) => sleep(time).await,
            (Socket::Async(_), 1..4) => coro::yield_now().await,
            (Socket::Blocking(_), 0) => thread::sleep(time),
            _ => {}
        }
    }
}

/// The task of an actor.
#[derive(Clone, Debug)]
pub(super) enum Role {
    /// Makes a number of steps that send; then, perhaps, ends this direction.
    Send {
        steps: usize,
        half_close: bool,
        alone: bool,
    },
    /// Sends the marker.
    Mark,
    Receive {
        until: Until,
        alone: bool,
    },
    /// Starts TLS.
    StartTls,
    /// Closes the socket while the others use it.
    Close,
}

/// When a receiver stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// When this end's sender is done.
    Stop,
    Marker,
    /// At the end of the stream.
    End,
}

/// A coroutine or thread that uses a socket.
pub(super) struct Actor {
    pub(super) shared: Arc<Shared>,
    pub(super) end: usize,
    pub(super) role: Role,
    pub(super) rng: Rng,
    name: &'static str,
}

impl Actor {
    pub(super) fn say(&self, text: impl AsRef<str>) {
        self.shared.say(self.end, self.name, text.as_ref());
    }

    /// Fails the scenario: something is wrong.
    pub(super) fn blame(&self, text: impl AsRef<str>) {
        self.say(format!("!!! {}", text.as_ref()));
        self.shared.fail(format!("end {} {}: {}", self.end, self.name, text.as_ref()));
    }

    /// Judges an error of a verb; returns whether the actor continues. It expects timeouts, and
    /// other errors only if an end closes early.
    pub(super) fn goes_on_after(&self, verb: &str, error: &io::Error) -> bool {
        if error.kind() == ErrorKind::TimedOut && inner::<error::TimedOut>(error).is_some() {
            return true;
        }
        self.say(format!("{verb}: {error:?}"));
        if self.shared.plan.is_orderly() {
            self.blame(format!("{verb} told {error:?}, and nobody has left"));
        }
        false
    }

    async fn act(mut self, socket: Socket) {
        match self.role.clone() {
            Role::Send { steps, half_close, alone } => {
                let well = send::steps(&mut self, &socket, steps, alone).await;
                if well && half_close {
                    self.half_close(&socket).await;
                }
                self.shared.sending[self.end].fetch_sub(1, Ordering::SeqCst);
            }
            Role::Mark => send::mark(&mut self, &socket).await,
            Role::Receive { until, alone } => {
                receive::until(&mut self, &socket, until, alone).await;
            }
            Role::StartTls => self.start_tls(&socket).await,
            Role::Close => {
                match &socket {
                    Socket::Async(_) => sleep(self.rng.moment(8)).await,
                    Socket::Blocking(_) => thread::sleep(self.rng.moment(8)),
                }
                let closed = on!(&socket, How::whole(&mut self.rng), close());
                self.say(format!("close under the others: {closed:?}"));
                if let Some(Err(error)) = closed {
                    self.shared.excuse(self.end, format!("close told {error:?}"));
                }
            }
        }
    }

    async fn half_close(&mut self, socket: &Socket) {
        loop {
            let how = if self.rng.one_in(3) {
                How::dropped(&mut self.rng)
            } else {
                How::whole(&mut self.rng)
            };
            self.say(format!("shutdown(Write){}", how.text()));
            let error = match on!(socket, how, shutdown(Shutdown::Write)) {
                Some(Ok(())) => return self.shared.went_on(),
                Some(Err(error)) => error,
                None => continue,
            };
            if !self.goes_on_after("shutdown", &error) {
                return self.shared.excuse(self.end, format!("shutdown told {error:?}"));
            }
        }
    }

    #[cfg(feature = "tls")]
    async fn start_tls(&mut self, socket: &Socket) {
        let (server, client) = super::identities(self.shared.plan.version);
        let how = How::whole(&mut self.rng);
        let begun = match self.end {
            0 => on!(socket, how, start_tls(client)),
            _ => on!(socket, how, start_tls(server)),
        };
        self.say(format!("start_tls: {begun:?}"));
        self.shared.went_on();
        if let Some(Err(error)) = begun {
            // One that is done may leave before the other is.
            if self.shared.plan.is_orderly() {
                self.blame(format!("start_tls told {error:?}"));
            }
            self.shared.excuse(self.end, format!("start_tls told {error:?}"));
            self.shared.stream(1 - self.end).failed = true;
        }
    }

    #[cfg(not(feature = "tls"))]
    async fn start_tls(&mut self, _: &Socket) {}
}

/// An end and its plan.
pub(super) struct End {
    shared: Arc<Shared>,
    end: usize,
    rng: Rng,
    actors: u64,
    socket: Option<Socket>,
}

impl End {
    pub(super) fn new(shared: Arc<Shared>, end: usize, socket: Socket) -> End {
        let rng = Rng::new(shared.seed).fork(100 + end as u64);
        End { shared, end, rng, actors: 0, socket: Some(socket) }
    }

    pub(super) async fn live(mut self) {
        let plan = self.shared.plan.ends[self.end].clone();
        let upgrades = self.shared.upgrades();
        if self.shared.begins_secure() {
            self.together(&[Role::StartTls]).await;
        }
        let count = plan.segments.len();
        for (index, segment) in plan.segments.iter().enumerate() {
            if upgrades && index == plan.plain {
                self.upgrade().await;
            }
            self.turn_to(segment.face).await;
            let ending = (index + 1 == count).then_some(plan.ending);
            self.segment(segment, ending).await;
            if self.shared.has_failed() {
                return;
            }
            if ending.is_none() && segment.through_parts && !self.shared.is_secure(self.end) {
                self.through_parts().await;
            }
        }
        self.go(plan.ending).await;
        self.shared.over[self.end].store(true, Ordering::SeqCst);
    }

    fn say(&self, text: impl AsRef<str>) {
        self.shared.say(self.end, "end", text.as_ref());
    }

    fn socket(&self) -> &Socket {
        self.socket.as_ref().expect("it has not gone")
    }

    fn set_timeout(&self, timeout: Option<Duration>) {
        now!(self.socket(), set_timeout(timeout));
    }

    async fn segment(&mut self, segment: &Segment, ending: Option<Ending>) {
        let stays = matches!(ending, Some(Ending::HalfClose(_) | Ending::AfterPeer(_)));
        let face = self.socket().face();
        let mut timeout = segment.timeout;
        if face == Face::Blocking && !stays {
            // A call cannot be dropped, and this receiver must not wait for what never comes.
            timeout = timeout.or(Some(Duration::from_millis(10)));
        }
        self.set_timeout(timeout);
        let peer_sends = self.shared.plan.ends[1 - self.end].sends;
        let (mut writers, mut readers) = (segment.writers, segment.readers);
        if face == Face::Blocking {
            (writers, readers) = (1, 1);
        }
        let in_message = self.shared.stream(1 - self.end).missing() > 0;
        if peer_sends == Carries::Messages && in_message {
            readers = 1;
        }
        if self.shared.plan.ends[self.end].deaf {
            readers = 0;
        }
        let half_close = matches!(ending, Some(Ending::HalfClose(_)));
        if half_close {
            writers = 1;
        }
        self.say(format!("{face:?} {segment:?} {ending:?}"));
        let until = if stays { Until::End } else { Until::Stop };
        let mut roles = Vec::new();
        self.shared.sending[self.end].store(writers, Ordering::SeqCst);
        for _ in 0..writers {
            roles.push(Role::Send { steps: segment.steps, half_close, alone: writers == 1 });
        }
        for _ in 0..readers {
            roles.push(Role::Receive { until, alone: readers == 1 });
        }
        match ending {
            Some(Ending::Midway(Last::Drop)) if face == Face::Async => {
                self.terminated(&roles).await;
            }
            Some(Ending::Midway(_)) => {
                roles.push(Role::Close);
                self.together(&roles).await;
            }
            _ => self.together(&roles).await,
        }
    }

    fn actor(&mut self, role: &Role) -> Actor {
        self.actors += 1;
        let name = match role {
            Role::Send { .. } | Role::Mark => "send",
            Role::Receive { .. } => "receive",
            Role::StartTls => "tls",
            Role::Close => "close",
        };
        let rng = self.rng.fork(self.actors);
        Actor { shared: Arc::clone(&self.shared), end: self.end, role: role.clone(), rng, name }
    }

    fn started(&mut self, role: &Role) -> coro::Coro<()> {
        let actor = self.actor(role);
        match self.socket() {
            Socket::Async(_) => spawn(actor.act(self.socket().clone())),
            Socket::Blocking(socket) => {
                let socket = socket.clone();
                let call = pool::run(move || block_on(actor.act(Socket::Blocking(socket))));
                spawn(call)
            }
        }
    }

    /// Runs actors at the same time, each with a clone, until all are done.
    async fn together(&mut self, roles: &[Role]) {
        let all: Vec<_> = roles.iter().map(|role| self.started(role)).collect();
        for one in all {
            if let Err(ended) = one.await {
                self.shared.fail(format!("end {}: an actor: {ended}", self.end));
            }
        }
    }

    /// Runs actors and ends them in the middle of their work.
    async fn terminated(&mut self, roles: &[Role]) {
        let all: Vec<_> = roles.iter().map(|role| self.started(role)).collect();
        sleep(self.rng.moment(8)).await;
        self.say("terminates all");
        all.iter().for_each(coro::Coro::terminate);
        for one in all {
            if let Err(ended @ Ended::Panicked(_, _)) = one.await {
                self.shared.fail(format!("end {}: an actor: {ended}", self.end));
            }
        }
    }

    /// Starts TLS: the client announces that it is ready, then the server does, then both begin.
    async fn upgrade(&mut self) {
        self.set_timeout(None);
        let read = Role::Receive { until: Until::Marker, alone: true };
        if self.end == 0 {
            self.together(&[Role::Mark, read]).await;
        } else {
            self.together(&[read]).await;
            self.together(&[Role::Mark]).await;
        }
        if self.shared.has_failed() {
            return;
        }
        self.together(&[Role::StartTls]).await;
        self.shared.secure[self.end].store(true, Ordering::SeqCst);
    }

    /// Converts to the other face, unless that would wait for a peer that also waits.
    async fn turn_to(&mut self, face: Face) {
        if self.socket().face() == face {
            return;
        }
        self.set_timeout(Some(Duration::from_millis(30)));
        self.say(format!("becomes {face:?}"));
        let socket = self.socket.take().expect("it has not gone");
        let (socket, refused) = match socket {
            Socket::Async(socket) => match socket.into_blocking().await {
                Ok(socket) => (Socket::Blocking(socket), None),
                Err(refused) => (Socket::Async(refused.socket), Some(refused.error)),
            },
            Socket::Blocking(socket) => {
                let converted = pool::run(move || {
                    // The asynchronous socket stays on the thread where it is made.
                    match socket.flush() {
                        Ok(()) => Ok(socket),
                        Err(error) => Err((socket, error)),
                    }
                });
                match converted.await {
                    Ok(socket) => match socket.into_async() {
                        Ok(socket) => (Socket::Async(socket), None),
                        Err(refused) => (Socket::Blocking(refused.socket), Some(refused.error)),
                    },
                    Err((socket, error)) => (Socket::Blocking(socket), Some(error)),
                }
            }
        };
        self.socket = Some(socket);
        self.judge_refusal(refused);
    }

    /// Takes the socket apart and makes it anew.
    async fn through_parts(&mut self) {
        self.set_timeout(Some(Duration::from_millis(30)));
        let socket = self.socket.take().expect("it has not gone");
        let (parts, refused) = match socket {
            Socket::Async(socket) => match socket.into_parts().await {
                Ok(parts) => (Ok(parts), None),
                Err(refused) => (Err(Socket::Async(refused.socket)), Some(refused.error)),
            },
            Socket::Blocking(socket) => match pool::run(move || socket.into_parts()).await {
                Ok(parts) => (Ok(parts), None),
                Err(refused) => (Err(Socket::Blocking(refused.socket)), Some(refused.error)),
            },
        };
        self.socket = Some(match parts {
            Ok((socket, received)) => {
                self.say(format!("came apart with {} bytes", received.len()));
                self.shared.stream(1 - self.end).got(&received);
                if self.shared.stream(self.end).excuse.is_some() {
                    // The system tells a failure once, and a regular socket keeps none.
                    let text = "the peer came apart after a failure".to_owned();
                    self.shared.excuse(1 - self.end, text);
                }
                Socket::Async(AsyncSocket::new(socket).expect("it is a socket"))
            }
            Err(socket) => socket,
        });
        self.judge_refusal(refused);
    }

    /// Judges a refused conversion: what is queued could not be sent, or not in time.
    fn judge_refusal(&self, refused: Option<io::Error>) {
        let Some(error) = refused else { return self.shared.went_on() };
        self.say(format!("refused: {error:?}"));
        if error.kind() != ErrorKind::TimedOut && self.shared.plan.is_orderly() {
            self.shared.fail(format!("end {}: a conversion was refused: {error:?}", self.end));
        }
    }

    /// Ends the socket.
    async fn go(&mut self, ending: Ending) {
        let (Ending::HalfClose(last)
        | Ending::AfterPeer(last)
        | Ending::Early(last)
        | Ending::Midway(last)) = ending;
        self.set_timeout(None);
        self.say(format!("goes: {last:?}"));
        let socket = self.socket.take().expect("it has not gone");
        let gone = match socket {
            Socket::Async(socket) => go(last, socket, &self.shared, self.end).await,
            Socket::Blocking(socket) => {
                let (shared, end) = (Arc::clone(&self.shared), self.end);
                pool::run(move || go_blocking(last, socket, &shared, end)).await
            }
        };
        match gone {
            Ok(()) => {}
            Err(error) => {
                self.say(format!("{last:?}: {error:?}"));
                self.shared.excuse(self.end, format!("{last:?} told {error:?}"));
                if self.shared.plan.is_orderly() {
                    self.shared.fail(format!("end {}: {last:?} told {error:?}", self.end));
                }
            }
        }
        self.shared.went_on();
    }
}

async fn go(last: Last, socket: AsyncSocket, shared: &Shared, end: usize) -> io::Result<()> {
    match last {
        Last::Close => socket.close().await,
        Last::Drop => Ok(()),
        Last::Parts => {
            let (regular, received) = socket.into_parts().await?;
            shared.stream(1 - end).got(&received);
            if shared.is_secure(end) {
                while !shared.is_over_for(1 - end) {
                    sleep(Duration::from_millis(2)).await;
                }
            }
            drop(regular);
            Ok(())
        }
    }
}

fn go_blocking(last: Last, socket: BlockingSocket, shared: &Shared, end: usize) -> io::Result<()> {
    match last {
        Last::Close => socket.close(),
        // It waits for nothing: neither for what a call that gave up has left, nor for the peer.
        Last::Drop => {
            if shared.is_secure(end) {
                shared.excuse(end, "a blocking socket was dropped".to_owned());
            }
            socket.flush()
        }
        Last::Parts => {
            let (regular, received) = socket.into_parts()?;
            shared.stream(1 - end).got(&received);
            drop(regular);
            Ok(())
        }
    }
}
