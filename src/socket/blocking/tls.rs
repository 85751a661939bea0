//! TLS of the blocking face: the handshake, in the first verb or where the user begins TLS.

use std::{io, sync::Weak};

use super::{BlockingSocket, create, face::at_once, interrupt, twin::Twin};
#[cfg(doc)]
use crate::socket::AsyncSocket;
use crate::{
    addr::ToAddress,
    error,
    primitives::lock,
    socket::{
        facts::facts,
        op::{Op, ShakeRecv, ShakeSend, shake},
        records::{Listener, Records, took_too_long},
        side::{Progress, Side},
        start::{Connecting, may_begin, may_intend, refuse_leftover},
    },
    tls::{ClientTls, Tls},
};

impl BlockingSocket {
    /// Configures TLS, see [`AsyncSocket::with_tls`]. A connection from `accept` performs the
    /// handshake in its first verb, within the configuration's time.
    ///
    /// # Errors
    /// As [`AsyncSocket::with_tls`].
    pub fn with_tls(self, tls: impl Into<Tls>) -> io::Result<BlockingSocket> {
        let tls = tls.into();
        self.with_link(may_intend)?;
        self.tls(|secure| secure.intend(tls));
        Ok(self)
    }

    /// Connects and begins TLS, see [`AsyncSocket::create_tls_connection`].
    ///
    /// # Errors
    /// As [`AsyncSocket::create_tls_connection`].
    pub fn create_tls_connection(
        address: impl ToAddress,
        tls: &ClientTls,
    ) -> io::Result<BlockingSocket> {
        let target = address.to_target()?;
        let (shown, connecting) = (target.to_string(), Connecting::new(tls.into(), &target));
        let made = connecting.and_then(|connecting| {
            let socket = create::connection(target)?;
            socket.secure(&connecting)?;
            Ok(socket)
        });
        made.map_err(|error| error::context("create_tls_connection", shown, error))
    }

    /// Begins TLS in the middle of a conversation, see [`AsyncSocket::start_tls`].
    ///
    /// # Errors
    /// As [`AsyncSocket::start_tls`].
    pub fn start_tls(&self, tls: impl Into<Tls>) -> io::Result<()> {
        let tls = tls.into();
        self.flush()?;
        self.with_link(may_begin)?;
        refuse_leftover(self.has_received())?;
        self.shake_hands(&tls, None)
    }
}

facts!(BlockingSocket);

impl Twin {
    /// Performs the handshake if it is due. One thread does so; the others wait for it.
    pub(super) fn shake_first(&self) -> io::Result<()> {
        if !self.is_shaking() {
            return Ok(());
        }
        // Reached when a signal has interrupted this thread's own handshake.
        interrupt::refuse_below(&self.read)?;
        interrupt::refuse_below(&self.write)?;
        let _one = lock(&self.shaking);
        if !self.is_shaking() {
            return Ok(());
        }
        let Some(tls) = self.link.tls() else { return Ok(()) };
        let deadline = tls.deadline();
        let shaken = at_once(shake(self, deadline));
        self.settle(tls, shaken)
    }

    /// Ends the handshake if the result of its verb is a failure, and adds the reason.
    fn settle(&self, tls: &Records, shaken: io::Result<()>) -> io::Result<()> {
        let Err(mut error) = shaken else { return Ok(()) };
        if tls.is_overdue() {
            error = took_too_long();
        } else if error.kind() == io::ErrorKind::TimedOut {
            // The next verb continues where this one's timeout has ended it.
            return Err(error);
        }
        tls.fail(&error, self.link.sys().peer_addr().ok().as_ref());
        Err(error)
    }

    /// Continues a handshake that is due, without waiting.
    pub(super) fn try_shake_first(&self) -> io::Result<()> {
        if !self.is_shaking() {
            return Ok(());
        }
        let would_block = || Err(io::ErrorKind::WouldBlock.into());
        let Ok(_one) = self.shaking.try_lock() else { return would_block() };
        let Some(tls) = self.link.tls() else { return Ok(()) };
        while self.is_shaking() {
            if tls.is_overdue() {
                return self.settle(tls, Err(took_too_long()));
            }
            let sent = self.step_alone(ShakeSend);
            match sent.and_then(|sent| Ok(sent.is_some() && self.step_alone(ShakeRecv)?.is_some()))
            {
                Ok(true) => {}
                Ok(false) => return would_block(),
                Err(error) => return self.settle(tls, Err(error)),
            }
        }
        Ok(())
    }

    fn step_alone<O: Op>(&self, mut op: O) -> io::Result<Option<O::Output>> {
        let Some(mut side) = O::Side::pick(self).try_take() else { return Ok(None) };
        side.refill();
        match op.step(&self.link, self.stepping(), &mut side) {
            Progress::Done(result) => result.map(Some),
            Progress::Wait | Progress::Again => Ok(None),
        }
    }

    fn is_shaking(&self) -> bool {
        self.link.tls().is_some_and(Records::is_shaking)
    }
}

impl BlockingSocket {
    /// Performs the handshake on a newly connected socket, for the host that was asked for.
    pub(super) fn secure(&self, connecting: &Connecting) -> io::Result<()> {
        self.shake_hands(&connecting.tls, connecting.host.as_deref())
    }

    /// Performs the handshake on a connected socket.
    fn shake_hands(&self, tls: &Tls, host: Option<&str>) -> io::Result<()> {
        self.begin_tls(tls, host, Weak::new())?;
        self.twin.shake_first()
    }

    /// Makes the next verb perform the handshake; the listener, if there is one, counts a failure.
    pub(super) fn begin_tls(
        &self,
        tls: &Tls,
        host: Option<&str>,
        listener: Weak<Listener>,
    ) -> io::Result<()> {
        let session = tls.session(host)?;
        self.tls(|secure| secure.begin(session, tls.handshake_timeout(), listener));
        Ok(())
    }

    pub(super) fn tls<R>(&self, f: impl FnOnce(&Records) -> R) -> Option<R> {
        self.twin.link.tls().map(f)
    }
}
