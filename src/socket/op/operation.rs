//! An operation: a small resumable value that makes one attempt at a time and never waits.
//!
//! Who drives it decides what waiting means: the asynchronous face parks a coroutine, the blocking
//! one calls poll(2). So the faces cannot differ in what they do.

use std::io;

use crate::{
    error,
    socket::{
        link::Link,
        settings::Settings,
        side::{Progress, Side},
    },
    sys::Kind,
};

/// What kind of socket a verb works on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    Any,
    Stream,
    Datagram,
    /// A socket of connections: streams, and Unix sockets that carry records on one.
    Connections,
}

/// One operation on a socket.
pub(crate) trait Op {
    /// The side it works on.
    type Side: Side;
    type Output;
    /// Its name, for errors.
    const VERB: &'static str;
    /// Whether it may go on while the socket is being closed.
    const CLOSES: bool = false;

    /// What kind of socket it works on.
    const NEEDS: Needs;

    /// Refuses a socket of the wrong kind, naming both.
    fn check(kind: Kind) -> io::Result<()> {
        let fits = match Self::NEEDS {
            Needs::Any => true,
            Needs::Stream => kind.is_stream(),
            Needs::Datagram => !kind.is_stream(),
            Needs::Connections => kind.is_connected(),
        };
        if fits { Ok(()) } else { Err(error::wrong_kind(Self::VERB, kind.name())) }
    }

    /// Makes an attempt.
    fn step(
        &mut self,
        link: &Link,
        settings: Settings,
        side: &mut Self::Side,
    ) -> Progress<Self::Output>;

    /// Makes an attempt where `lend` steps it. An operation that calls code of the caller's does so
    /// in here, between steps: nothing is borrowed or locked meanwhile.
    #[inline]
    fn attempt(&mut self, lend: &mut impl Lend<Self::Side>) -> Option<Progress<Self::Output>>
    where
        Self: Sized,
    {
        lend.step(self)
    }

    /// Gives the bytes moved so far. More of them restart the timeout.
    fn moved(&self) -> usize {
        0
    }

    /// Gives the bytes that it has moved all in all, now that it is done, for who may be many: the
    /// turn of the scheduler has a bound.
    fn weight(&self, _output: &Self::Output) -> usize {
        0
    }

    /// Tells whether nobody misses the output: the end of the stream, which may be our own doing
    /// where another thread closes the socket, or readiness of what is no more.
    fn is_nothing(&self, _output: &Self::Output) -> bool {
        false
    }

    /// Called when it will not be stepped again though it is not done; `true` if what is left of it
    /// was queued and will still be sent.
    fn give_up(&mut self, _side: &mut Self::Side) -> bool {
        false
    }
}

/// Steps operations, lending them the socket's state for as long as a step takes.
pub(crate) trait Lend<S> {
    /// Steps an operation; `None` if another verb has come to have the lock.
    fn step<O: Op<Side = S>>(&mut self, op: &mut O) -> Option<Progress<O::Output>>;
    /// Tells whether the socket was closed, by the code of the caller's that was called meanwhile.
    fn is_closed(&self) -> bool;
}
