//! Handshakes of a blocking socket: in its first verb, or where the user begins TLS.

use std::io;

use super::{
    BlockingSocket, lock,
    twin::{Kept, Twin},
};
use crate::{
    error,
    socket::{
        core::Side,
        secure::{Secure, ShakeRecv, ShakeSend},
        step::{Op, Progress},
    },
    tls::Tls,
};

impl Twin {
    /// Shakes hands if that is due. One thread does, the others wait for it.
    pub(super) fn shake_first(&self) -> io::Result<()> {
        if !self.is_shaking() {
            return Ok(());
        }
        let _one = lock(&self.shaking);
        if !self.is_shaking() {
            return Ok(());
        }
        let Some(tls) = self.sys.tls() else { return Ok(()) };
        let deadline = tls.deadline();
        let shaken = loop {
            if let Err(error) = self.drive_in_turn(ShakeSend, deadline) {
                break Err(error);
            }
            match self.drive_in_turn(ShakeRecv, deadline) {
                Ok(true) => {}
                Ok(false) => break self.drive_in_turn(ShakeSend, deadline),
                Err(error) => break Err(error),
            }
        };
        match shaken {
            Err(_) if tls.is_overdue() => {
                tls.give_up();
                Err(error::handshake_timed_out())
            }
            // The next verb goes on where this one's timeout has ended it.
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(error),
            Err(error) => {
                tls.give_up();
                Err(error)
            }
            Ok(()) => Ok(()),
        }
    }

    /// Goes on with a handshake that is due, without waiting.
    pub(super) fn try_shake_first(&self) -> io::Result<()> {
        if !self.is_shaking() {
            return Ok(());
        }
        let would_block = || Err(io::ErrorKind::WouldBlock.into());
        let Ok(_one) = self.shaking.try_lock() else { return would_block() };
        let Some(tls) = self.sys.tls() else { return Ok(()) };
        tls.deadline();
        while self.is_shaking() {
            if tls.is_overdue() {
                tls.give_up();
                return Err(error::handshake_timed_out());
            }
            match (self.step_alone(ShakeSend)?, self.step_alone(ShakeRecv)?) {
                (Some(()), Some(_)) => {}
                _ => return would_block(),
            }
        }
        Ok(())
    }

    fn step_alone<O: Op<Side: Kept>>(&self, mut op: O) -> io::Result<Option<O::Output>> {
        let Some(mut side) = O::Side::of(self).try_take() else { return Ok(None) };
        side.refill();
        match op.step(&self.sys, self.stepping(), &mut side) {
            Progress::Done(result) => result.map(Some),
            Progress::Wait => Ok(None),
        }
    }

    fn is_shaking(&self) -> bool {
        self.sys.tls().is_some_and(Secure::is_shaking)
    }
}

impl BlockingSocket {
    /// Shakes hands on a socket that is connected.
    pub(in crate::socket) fn secure(&self, tls: &Tls, host: Option<&str>) -> io::Result<()> {
        self.begin_tls(tls, host)?;
        self.twin.shake_first()
    }

    /// Has the next verb shake hands.
    pub(super) fn begin_tls(&self, tls: &Tls, host: Option<&str>) -> io::Result<()> {
        let session = tls.session(host)?;
        if let Some(secure) = self.twin.sys.tls() {
            secure.begin(session, tls.handshake_timeout());
        }
        Ok(())
    }

    pub(in crate::socket) fn holds_received(&self) -> bool {
        // While another thread receives nobody can say that nothing is there.
        self.twin.read.try_take().is_none_or(|side| !side.held().is_empty())
    }
}
