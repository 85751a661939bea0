//! The calls that move bytes and datagrams, and those that make connections.
//!
//! Each that moves data says `MSG_DONTWAIT | MSG_NOSIGNAL` and is made again when a signal has
//! interrupted it. What it has given goes through `failure.rs`.

use std::{
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::OwnedFd,
};

use rustix::{
    io::Errno,
    net::{self, RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendFlags},
};

use super::{
    address::{address, unnamed, with_address},
    descriptor::Descriptor,
    errno::Result,
    socket::Sys,
};
use crate::addr::Address;

impl Sys {
    // ---- streams

    /// recv(2) into `buffer`.
    #[inline]
    pub(crate) fn recv(&self, buffer: &mut [u8]) -> Result<usize> {
        let got = again(|| {
            net::recv(&self.fd, &mut *buffer, RecvFlags::DONTWAIT).map(|(count, _)| count)
        });
        self.heard(got)
    }

    /// Receives into memory that is not initialised; so many of its first bytes are then.
    pub(crate) fn recv_uninit(&self, buffer: &mut [MaybeUninit<u8>]) -> Result<usize> {
        let got = again(|| {
            net::recv(&self.fd, &mut *buffer, RecvFlags::DONTWAIT).map(|(_, count)| count)
        });
        self.heard(got)
    }

    /// Receives into the free capacity of `buffer`, at most `max` bytes.
    pub(crate) fn recv_spare(&self, buffer: &mut Vec<u8>, max: usize) -> Result<usize> {
        let before = buffer.len();
        if max < buffer.capacity() - before {
            // The kernel must not see more room than this, and a vector cannot lend a part of its
            // spare capacity without unsafe code; filling it costs less than a second copy.
            buffer.resize(before + max, 0);
            let result = self.recv(&mut buffer[before..]);
            buffer.truncate(before + *result.as_ref().unwrap_or(&0));
            return result;
        }
        let got = again(|| {
            let spare = rustix::buffer::spare_capacity(&mut *buffer);
            net::recv(&self.fd, spare, RecvFlags::DONTWAIT).map(|(count, _)| count)
        });
        self.heard(got)
    }

    /// Receives, but leaves the bytes where they are.
    pub(crate) fn peek(&self, buffer: &mut [u8]) -> Result<usize> {
        let flags = RecvFlags::DONTWAIT | RecvFlags::PEEK;
        self.heard(again(|| net::recv(&self.fd, &mut *buffer, flags).map(|(count, _)| count)))
    }

    /// Receives into several buffers.
    pub(crate) fn recv_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> Result<usize> {
        self.heard(again(|| {
            let control = &mut RecvAncillaryBuffer::default();
            net::recvmsg(&self.fd, buffers, control, RecvFlags::DONTWAIT).map(|got| got.bytes)
        }))
    }

    /// send(2).
    #[inline]
    pub(crate) fn send(&self, buffer: &[u8]) -> Result<usize> {
        self.told(again(|| net::send(&self.fd, buffer, SEND)))
    }

    /// Sends from several buffers.
    pub(crate) fn send_vectored(&self, buffers: &[IoSlice<'_>]) -> Result<usize> {
        let control = &mut SendAncillaryBuffer::default();
        self.told(again(|| net::sendmsg(&self.fd, buffers, control, SEND)))
    }

    // ---- datagrams

    /// recvfrom(2), which costs less than recvmsg(2), a good 100 ns.
    pub(crate) fn recv_from(&self, buffer: &mut [u8]) -> Result<(usize, Address)> {
        again(|| {
            let (got, _, from) = net::recvfrom(&self.fd, &mut *buffer, RecvFlags::DONTWAIT)?;
            Ok((got, from.as_ref().map_or_else(unnamed, address)))
        })
    }

    /// recvmsg(2); the last value tells whether the datagram was longer than `buffer`.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn recv_whole(&self, buffer: &mut [u8]) -> Result<(usize, Address, bool)> {
        again(|| {
            let mut parts = [IoSliceMut::new(buffer)];
            let control = &mut RecvAncillaryBuffer::default();
            let got = net::recvmsg(&self.fd, &mut parts, control, RecvFlags::DONTWAIT)?;
            let truncated = got.flags.contains(net::ReturnFlags::TRUNC);
            Ok((got.bytes, got.address.as_ref().map_or_else(unnamed, address), truncated))
        })
    }

    /// sendto(2).
    ///
    /// Always inlined: measured 3,250 ns for a datagram received and sent back, 3,810 with a call
    /// around the system call, in turns on one AMD machine.
    #[inline(always)]
    pub(crate) fn send_to(&self, buffer: &[u8], to: &Address) -> Result<usize> {
        again(|| with_address(to, |to| net::sendto(&self.fd, buffer, SEND, &to))?)
    }

    // ---- connections

    pub(crate) fn bind(&self, to: &Address) -> Result<()> {
        with_address(to, |to| net::bind(&self.fd, &to))?
    }

    pub(crate) fn listen(&self, backlog: i32) -> Result<()> {
        net::listen(&self.fd, backlog)
    }

    /// accept4(2).
    pub(crate) fn accept(&self) -> Result<(Sys, Address)> {
        self.fd.make_nonblocking()?;
        let (fd, from) = again(|| accept_from(&self.fd))?;
        Ok((Sys::of(Descriptor::own(fd), self.kind), from.as_ref().map_or_else(unnamed, address)))
    }
}

#[cfg(not(target_vendor = "apple"))]
const SEND: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

/// Apple's systems have no such flag; [`Sys::of`] sets the option that does the same.
#[cfg(target_vendor = "apple")]
const SEND: SendFlags = SendFlags::DONTWAIT;

/// accept4(2), closed on exec.
#[cfg(not(target_vendor = "apple"))]
fn accept_from(listener: &Descriptor) -> Result<(OwnedFd, Option<net::SocketAddrAny>)> {
    net::acceptfrom_with(listener, net::SocketFlags::CLOEXEC)
}

/// accept(2), then closed on exec, where there is no accept4.
#[cfg(target_vendor = "apple")]
fn accept_from(listener: &Descriptor) -> Result<(OwnedFd, Option<net::SocketAddrAny>)> {
    let (fd, from) = net::acceptfrom(listener)?;
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
    Ok((fd, from))
}

/// Makes a call again when a signal has interrupted it.
#[inline]
pub(super) fn again<T>(mut call: impl FnMut() -> Result<T>) -> Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}
