//! Descriptors that go along with bytes (`SCM_RIGHTS`, unix(7)).
//!
//! They belong to the first byte of the call that sends them, or to its datagram. The call that
//! receives this byte gets them; if it has no room for them, the kernel closes them, and all other
//! calls in this folder have none. Behind the bytes of one sending call with descriptors a
//! receiving call ends, so it never gets those of two.

use std::{
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{BorrowedFd, OwnedFd},
};

use rustix::net::{
    self, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage,
};

use super::{
    calls::{SEND, again},
    errno::Result,
    socket::Sys,
};

/// Most descriptors of one call: `SCM_MAX_FD` of Linux.
pub(crate) const MOST_FDS: usize = 253;

/// Bytes of control messages that a call may need.
const ROOM: usize = room_for(MOST_FDS);

/// Bytes of the sender's credentials, which come first if the socket's owner has asked for them
/// (`SO_PASSCRED`). Without room for them, the descriptors would be cut.
#[cfg(target_os = "linux")]
const CREDENTIALS: usize = rustix::cmsg_space!(ScmCredentials(1));
#[cfg(not(target_os = "linux"))]
const CREDENTIALS: usize = 0;

/// The descriptors that came with a call.
#[derive(Default)]
pub(crate) struct Passed {
    pub(crate) fds: Vec<OwnedFd>,
    /// There were more: they did not fit, or the process may open no more files.
    pub(crate) is_cut: bool,
}

impl Sys {
    /// Sends `bytes` with descriptors, at most [`MOST_FDS`].
    pub(crate) fn send_fds(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<usize> {
        let mut room = [MaybeUninit::uninit(); ROOM];
        let mut control = SendAncillaryBuffer::new(&mut room);
        if !fds.is_empty() {
            let fits = control.push(SendAncillaryMessage::ScmRights(fds));
            assert!(fits, "the caller has counted them");
        }
        self.told(again(|| net::sendmsg(&self.fd, &[IoSlice::new(bytes)], &mut control, SEND)))
    }

    /// Receives into `buffer`, with room for `max` descriptors, at most [`MOST_FDS`]. More may
    /// come, as the room is rounded up.
    pub(crate) fn recv_fds(
        &self,
        buffer: &mut [u8],
        max: usize,
        passed: &mut Passed,
    ) -> Result<usize> {
        let mut room = [MaybeUninit::uninit(); ROOM];
        self.heard(again(|| {
            let mut control = RecvAncillaryBuffer::new(&mut room[..room_for(max)]);
            let parts = &mut [IoSliceMut::new(buffer)];
            let got = net::recvmsg(&self.fd, parts, &mut control, RECEIVE)?;
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(fds) = message {
                    passed.fds.extend(fds);
                }
            }
            passed.fds.iter().try_for_each(close_on_exec)?;
            passed.is_cut = got.flags.contains(ReturnFlags::CTRUNC);
            Ok(got.bytes)
        }))
    }
}

const fn room_for(fds: usize) -> usize {
    rustix::cmsg_space!(ScmRights(fds)) + CREDENTIALS
}

#[cfg(not(target_vendor = "apple"))]
const RECEIVE: RecvFlags = RecvFlags::DONTWAIT.union(RecvFlags::CMSG_CLOEXEC);

/// Apple's systems lack the flag that closes them on exec.
#[cfg(target_vendor = "apple")]
const RECEIVE: RecvFlags = RecvFlags::DONTWAIT;

/// Does nothing: the system has done it.
#[cfg(not(target_vendor = "apple"))]
fn close_on_exec(_: &OwnedFd) -> Result<()> {
    Ok(())
}

#[cfg(target_vendor = "apple")]
fn close_on_exec(fd: &OwnedFd) -> Result<()> {
    rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::CLOEXEC)
}
