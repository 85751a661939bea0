//! A socket's descriptor, from its creation or borrowing until it is given away, and queries about
//! it.
//!
//! Unsafe: calls `descriptor.rs` for sockets whose descriptor has another owner; makes an ioctl(2)
//! that writes a local int.
#![allow(unsafe_code)]

use std::{
    io,
    net::Shutdown,
    os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd},
    sync::atomic::{AtomicBool, AtomicU8, AtomicU16, Ordering},
};

use rustix::net;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

#[cfg(target_os = "linux")]
use super::segments::Longest;
use super::{
    address::{address, unnamed},
    ahead::Ahead,
    descriptor::Descriptor,
    errno::Result,
    kind::Kind,
};
use crate::addr::Address;

/// A socket's descriptor and the facts known about it.
pub(crate) struct Sys {
    pub(super) fd: Descriptor,
    pub(super) kind: Kind,
    /// The error that has ended its connection, which the kernel reports once; 0 if there is none.
    pub(super) failed: AtomicU16,
    /// Where bytes lie that were received before their reader asked.
    pub(super) ahead: Ahead,
    /// How many of the next calls are not to be made ahead, since long pieces come.
    pub(super) long: AtomicU8,
    /// Whether a call has moved bytes since somebody asked ([`MOVED`]), and whether the last one
    /// has received them ([`RECEIVED`]).
    pub(super) moved: AtomicU8,
    /// Whether an attempt to connect was ended for another one.
    pub(super) dissolved: Dissolved,
    /// The longest segment that the kernel splits off.
    #[cfg(target_os = "linux")]
    pub(super) longest: Longest,
}

/// Bits of `Sys::moved`.
pub(super) const MOVED: u8 = 1;
pub(super) const RECEIVED: u8 = 2;

impl Sys {
    /// Takes a descriptor that must be a socket.
    pub(crate) fn new(socket: impl Into<Socket>) -> io::Result<Sys> {
        let socket = socket.into();
        let kind = Kind::of(&socket)?;
        Ok(Sys::of(Descriptor::own(socket.into()), kind))
    }

    /// Borrows a descriptor that must be a socket.
    ///
    /// # Safety
    /// It stays open until this is retired, given away or dropped, and until nothing lent by
    /// [`Sys::fd`] or [`Sys::options`] is used any more.
    pub(crate) unsafe fn borrow(fd: RawFd) -> io::Result<Sys> {
        // SAFETY: the caller upholds the same contract.
        let fd = unsafe { Descriptor::borrow(fd) };
        let kind = Kind::of(&SockRef::from(&fd))?;
        Ok(Sys::of(fd, kind))
    }

    /// Makes a socket, closed on exec.
    pub(crate) fn open(domain: Domain, kind: Type) -> io::Result<Sys> {
        Sys::new(Socket::new(domain, kind, None::<Protocol>)?)
    }

    pub(super) fn of(fd: Descriptor, kind: Kind) -> Sys {
        // This fails if the connection has ended already, when nothing can be sent.
        #[cfg(target_vendor = "apple")]
        let _ = SockRef::from(&fd).set_nosigpipe(true);
        Sys {
            fd,
            kind,
            failed: AtomicU16::new(0),
            ahead: Ahead::default(),
            long: AtomicU8::new(0),
            moved: AtomicU8::new(0),
            dissolved: Dissolved::default(),
            #[cfg(target_os = "linux")]
            longest: Longest::default(),
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(crate) fn options(&self) -> SockRef<'_> {
        SockRef::from(&self.fd)
    }

    /// Passes the ownership to the caller and continues to borrow; `None` if it was borrowed.
    ///
    /// # Safety
    /// The new owner keeps it open as [`Sys::borrow`] demands.
    pub(crate) unsafe fn disown(&self) -> Option<OwnedFd> {
        // SAFETY: the caller promises the same.
        unsafe { self.fd.disown() }
    }

    /// Tells whether the descriptor is borrowed.
    pub(crate) fn is_borrowed(&self) -> bool {
        !self.fd.is_owned()
    }

    /// Makes it non-blocking for good, for all that share the descriptor.
    pub(crate) fn leave_nonblocking(&self) -> Result<()> {
        self.fd.leave_nonblocking()
    }

    /// Tells whether a call has received or sent bytes since this was last asked. There is one who
    /// asks.
    pub(crate) fn take_moved(&self) -> bool {
        self.moved.load(Ordering::Relaxed) & MOVED != 0
            && self.moved.fetch_and(!MOVED, Ordering::Relaxed) & MOVED != 0
    }

    /// Tells whether the last bytes that were moved were received.
    pub(crate) fn has_received_last(&self) -> bool {
        self.moved.load(Ordering::Relaxed) & RECEIVED != 0
    }

    /// Returns the descriptor in its original mode; it must not be a borrowed one.
    pub(crate) fn into_socket(self) -> Socket {
        self.fd.into_owned().expect("a borrowed socket is not taken apart").into()
    }

    /// Releases the socket but keeps the number: an inert descriptor takes its place until this is
    /// dropped. An owned descriptor is thereby closed.
    ///
    /// So a borrowed number never refers to another file.
    pub(crate) fn retire(&self) {
        if !self.fd.retire() {
            // No descriptor was left: at least the connection ends.
            let _ = self.shutdown(Shutdown::Both);
        }
    }

    pub(crate) fn local_addr(&self) -> Result<Address> {
        Ok(address(&net::getsockname(&self.fd)?))
    }

    pub(crate) fn peer_addr(&self) -> Result<Address> {
        Ok(net::getpeername(&self.fd)?.as_ref().map_or_else(unnamed, address))
    }

    /// Returns how many bytes were sent and not acknowledged by the peer's system, including the
    /// end of the stream; `None` where the system does not tell.
    #[cfg(feature = "tls")]
    pub(crate) fn unacknowledged(&self) -> Option<u32> {
        #[cfg(target_os = "linux")]
        {
            let mut count: libc::c_int = 0;
            let number = std::os::fd::AsRawFd::as_raw_fd(&self.fd);
            // SAFETY: the call writes an int (tcp(7), SIOCOUTQ, which is the same number).
            let answer = unsafe { libc::ioctl(number, libc::TIOCOUTQ, &raw mut count) };
            (answer == 0).then_some(count.unsigned_abs())
        }
        #[cfg(not(target_os = "linux"))]
        None
    }

    /// Makes this own its descriptor; a borrowed one is duplicated.
    #[cfg(feature = "tls")]
    pub(crate) fn into_own(mut self) -> io::Result<Sys> {
        if self.is_borrowed() {
            self.fd = Descriptor::own(self.fd().try_clone_to_owned()?);
        }
        Ok(self)
    }

    /// Calls shutdown(2).
    pub(crate) fn shutdown(&self, how: Shutdown) -> Result<()> {
        net::shutdown(
            &self.fd,
            match how {
                Shutdown::Read => net::Shutdown::Read,
                Shutdown::Write => net::Shutdown::Write,
                Shutdown::Both => net::Shutdown::Both,
            },
        )
    }
}

/// Tells other threads of attempts that were ended: their calls may come between two attempts.
#[derive(Default)]
pub(super) struct Dissolved {
    /// The last attempt was ended, and the next one has not begun.
    pub(super) is_now: AtomicBool,
    pub(super) once: AtomicBool,
}
