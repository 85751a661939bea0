//! An operation: a small resumable value that makes one attempt at a time and never waits.
//!
//! The caller decides how to wait: the asynchronous face suspends a coroutine, the blocking one
//! calls poll(2). So both faces do the same.

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

/// The kind of socket that a verb works on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    Any,
    Stream,
    Datagram,
    Unix,
    /// A socket that connects: a stream, or a Unix socket of sequenced packets.
    Connections,
}

/// One operation on a socket.
pub(crate) trait Op {
    /// The side it works on.
    type Side: Side;
    type Output;
    /// The verb's name, for errors.
    const VERB: &'static str;
    /// Whether it may run while the socket is being closed.
    const CLOSES: bool = false;

    /// What kind of socket it works on.
    const NEEDS: Needs;

    /// Refuses a socket of the wrong kind, naming both.
    fn check(kind: Kind) -> io::Result<()> {
        let fits = match Self::NEEDS {
            Needs::Any => true,
            Needs::Stream => kind.is_stream(),
            Needs::Datagram => !kind.is_stream(),
            Needs::Unix => kind.is_unix(),
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

    /// Makes an attempt through `lend`. An operation that runs the caller's code does so here,
    /// between steps, when nothing is borrowed or locked.
    #[inline]
    fn attempt(&mut self, lend: &mut impl Lend<Self::Side>) -> Option<Progress<Self::Output>>
    where
        Self: Sized,
    {
        lend.step(self)
    }

    /// Returns the bytes moved so far. An increase restarts the timeout.
    fn moved(&self) -> usize {
        0
    }

    /// Returns the bytes that the finished operation has moved, which count towards the limit of a
    /// scheduler's turn.
    fn weight(&self, _output: &Self::Output) -> usize {
        0
    }

    /// Tells whether an error may replace the output if the socket was closed meanwhile: the output
    /// is readiness, or an end of stream that another thread's close may have caused.
    fn is_nothing(&self, _output: &Self::Output) -> bool {
        false
    }

    /// Called when the operation is abandoned before it is done; returns `true` if the rest of it
    /// was queued and will still be sent.
    fn give_up(&mut self, _side: &mut Self::Side) -> bool {
        false
    }
}

/// Runs steps of operations, and lends them the socket's state for the time of a step.
pub(crate) trait Lend<S> {
    /// Runs a step; `None` if another verb has got the lock.
    fn step<O: Op<Side = S>>(&mut self, op: &mut O) -> Option<Progress<O::Output>>;
    /// Tells whether the socket was closed, for example by the caller's code that has just run.
    fn is_closed(&self) -> bool;
}
