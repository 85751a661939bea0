//! The operations that pass descriptors to other processes, over Unix sockets.
//!
//! Nothing is received ahead of `recv_fds`: a call without room for descriptors loses them.

use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
};

use super::operation::{Needs, Op};
use crate::{
    error,
    socket::{
        link::Link,
        settings::Settings,
        side::{Progress, ReadSide, Share, WriteSide},
    },
    sys::{MOST_FDS, Passed},
};

/// `send_fds`: writes the caller's bytes once, with descriptors, when the queue has left.
pub(crate) struct SendFds<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) fds: &'a [BorrowedFd<'a>],
}

impl SendFds<'_> {
    fn check_call(&self, link: &Link) -> io::Result<()> {
        check_call(link, Self::VERB, self.fds.len())?;
        if self.bytes.is_empty() && !self.fds.is_empty() && link.kind().is_stream() {
            let reason = "descriptors go along with a byte, and there is none to send";
            return Err(error::invalid_input(reason));
        }
        Ok(())
    }
}

impl Op for SendFds<'_> {
    type Side = WriteSide;
    type Output = usize;
    const VERB: &'static str = "send_fds";
    const NEEDS: Needs = Needs::Unix;

    fn step(&mut self, link: &Link, _: Settings, side: &mut WriteSide) -> Progress<usize> {
        if let Err(error) = self.check_call(link) {
            return Progress::Done(Err(error));
        }
        let is_stream = link.kind().is_stream();
        match side.flush(link) {
            Progress::Done(Ok(())) if self.bytes.is_empty() && is_stream => {
                return Progress::Done(Ok(0));
            }
            Progress::Done(Ok(())) => {}
            progress => return progress.map(|()| 0),
        }
        let some = match self.bytes.split_at_checked(Share::BYTES) {
            Some((part, _)) if is_stream => part,
            _ => self.bytes,
        };
        side.write_alone(link, some.len(), |link| link.sys().send_fds(some, self.fds))
    }

    fn weight(&self, sent: &usize) -> usize {
        *sent
    }
}

/// `recv_fds`: reads once into the caller's buffer, and takes the descriptors that come along.
pub(crate) struct RecvFds<'a> {
    pub(crate) buffer: &'a mut [u8],
    pub(crate) max: usize,
}

impl Op for RecvFds<'_> {
    type Side = ReadSide;
    type Output = (usize, Vec<OwnedFd>);
    const VERB: &'static str = "recv_fds";
    const NEEDS: Needs = Needs::Unix;

    fn step(
        &mut self,
        link: &Link,
        _: Settings,
        side: &mut ReadSide,
    ) -> Progress<(usize, Vec<OwnedFd>)> {
        if let Err(error) = check_call(link, Self::VERB, self.max) {
            return Progress::Done(Err(error));
        }
        if link.sys().is_ahead() {
            // Of a verb that was forgotten: the call would ask the kernel for more, without room.
            side.hold_ahead(link);
        }
        let held = side.copy_front(self.buffer);
        if held > 0 || (self.buffer.is_empty() && link.kind().is_stream()) {
            return Progress::Done(Ok((held, Vec::new())));
        }
        let mut passed = Passed::default();
        // Of 0 bytes, so that nothing is received ahead.
        match side.read(link, 0, |link| link.sys().recv_fds(self.buffer, self.max, &mut passed)) {
            Progress::Done(Ok(got)) if passed.is_cut || passed.fds.len() > self.max => {
                Progress::Done(Err(error::descriptors_lost(got)))
            }
            progress => progress.map(|got| (got, passed.fds)),
        }
    }

    fn weight(&self, (got, _): &(usize, Vec<OwnedFd>)) -> usize {
        *got
    }

    fn is_nothing(&self, (got, fds): &(usize, Vec<OwnedFd>)) -> bool {
        *got == 0 && fds.is_empty() && !self.buffer.is_empty()
    }
}

/// Refuses a connection with TLS, which has no place for descriptors, and too many of them.
fn check_call(link: &Link, verb: &'static str, fds: usize) -> io::Result<()> {
    if link.is_secure() {
        return Err(error::wrong_kind(verb, "socket with TLS"));
    }
    if fds > MOST_FDS {
        let reason = format!("{verb} passes at most {MOST_FDS} descriptors in a call, not {fds}");
        return Err(error::invalid_input(reason));
    }
    Ok(())
}
