//! Many datagrams in one system call.
//!
//! Unsafe: recvmmsg(2) and sendmmsg(2), whose headers point into buffers of the caller.
#![allow(unsafe_code)]

use std::{io, os::fd::AsRawFd};

use rustix::{io::Errno, net::SocketAddrAny};

use super::{
    Result, Sys,
    address::{address, any, unnamed},
    again,
};
use crate::addr::Address;

/// Room for one datagram of a batch, and what came.
pub(crate) struct Slot<'a> {
    pub(crate) buffer: &'a mut [u8],
    pub(crate) len: usize,
    pub(crate) from: Address,
    pub(crate) truncated: bool,
}

/// Datagrams in one system call.
pub(crate) const MANY: usize = 64;

impl Sys {
    /// recvmmsg(2): up to `slots.len()` datagrams in one call.
    #[cfg(target_os = "linux")]
    pub(crate) fn recv_many(&self, slots: &mut [Slot<'_>]) -> Result<usize> {
        let count = slots.len().min(MANY);
        let mut parts: [libc::iovec; MANY] = [EMPTY_PART; MANY];
        let mut names: [libc::sockaddr_storage; MANY] = [empty_name(); MANY];
        let mut headers: [libc::mmsghdr; MANY] = [empty_header(); MANY];
        for (index, slot) in slots.iter_mut().take(count).enumerate() {
            parts[index].iov_base = slot.buffer.as_mut_ptr().cast();
            parts[index].iov_len = slot.buffer.len();
            let header = &mut headers[index].msg_hdr;
            header.msg_name = (&raw mut names[index]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_iov = &raw mut parts[index];
            header.msg_iovlen = 1;
        }
        let got = again(|| {
            let flags = libc::MSG_DONTWAIT;
            // SAFETY: the first `count` headers point to one part and one name each, which live
            // until the end of this function, and each part to a slot's buffer, borrowed mutably
            // for as long; the kernel writes within the lengths given.
            let got = unsafe {
                libc::recvmmsg(
                    self.fd.as_raw_fd(),
                    headers.as_mut_ptr(),
                    count as libc::c_uint,
                    flags as _,
                    std::ptr::null_mut(),
                )
            };
            usize::try_from(got).map_err(|_| last_errno())
        })?;
        for (index, slot) in slots.iter_mut().take(got).enumerate() {
            let header = &headers[index];
            slot.len = (header.msg_len as usize).min(slot.buffer.len());
            slot.truncated = header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
            slot.from = match header.msg_hdr.msg_namelen {
                0 => unnamed(),
                len => {
                    // SAFETY: msg_namelen is what the kernel wrote; no address is longer than
                    // sockaddr_storage, and bytes it did not write are zero.
                    let from =
                        unsafe { SocketAddrAny::read((&raw const names[index]).cast(), len) };
                    address(&from)
                }
            };
        }
        Ok(got)
    }

    /// sendmmsg(2): how many datagrams have left, at least one.
    #[cfg(target_os = "linux")]
    pub(crate) fn send_many<B: AsRef<[u8]>>(&self, datagrams: &[(B, Address)]) -> Result<usize> {
        let count = datagrams.len().min(MANY);
        let mut parts: [libc::iovec; MANY] = [EMPTY_PART; MANY];
        let mut headers: [libc::mmsghdr; MANY] = [empty_header(); MANY];
        let names = datagrams[..count].iter().map(|(_, to)| any(to)).collect::<Result<Vec<_>>>()?;
        for (index, (bytes, _)) in datagrams[..count].iter().enumerate() {
            // One call: a second one may show other bytes.
            let bytes: &[u8] = bytes.as_ref();
            parts[index].iov_base = bytes.as_ptr().cast_mut().cast();
            parts[index].iov_len = bytes.len();
            let header = &mut headers[index].msg_hdr;
            header.msg_name = names[index].as_ptr().cast_mut().cast();
            header.msg_namelen = names[index].addr_len();
            header.msg_iov = &raw mut parts[index];
            header.msg_iovlen = 1;
        }
        again(|| {
            let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
            // SAFETY: each part is the slice of one call of `as_ref`, borrowed from `datagrams`,
            // which outlives the call; each name is an entry of `names`, which is not touched
            // before the call returns. The kernel only reads through these pointers, and writes
            // the lengths into `headers`.
            let sent = unsafe {
                libc::sendmmsg(
                    self.fd.as_raw_fd(),
                    headers.as_mut_ptr(),
                    count as libc::c_uint,
                    flags as _,
                )
            };
            usize::try_from(sent).map_err(|_| last_errno())
        })
    }

    /// Where there is no recvmmsg: one datagram.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn recv_many(&self, slots: &mut [Slot<'_>]) -> Result<usize> {
        let Some(slot) = slots.first_mut() else { return Ok(0) };
        (slot.len, slot.from, slot.truncated) = self.recv_from(slot.buffer)?;
        Ok(1)
    }

    /// Where there is no sendmmsg: one datagram.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn send_many<B: AsRef<[u8]>>(&self, datagrams: &[(B, Address)]) -> Result<usize> {
        let Some((bytes, to)) = datagrams.first() else { return Ok(0) };
        self.send_to(bytes.as_ref(), to).map(|_| 1)
    }
}

#[cfg(target_os = "linux")]
const EMPTY_PART: libc::iovec = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };

#[cfg(target_os = "linux")]
fn empty_name() -> libc::sockaddr_storage {
    // SAFETY: a plain C structure of numbers, for which zero is a value.
    unsafe { std::mem::zeroed() }
}

#[cfg(target_os = "linux")]
fn empty_header() -> libc::mmsghdr {
    // SAFETY: a plain C structure of numbers and pointers, for which zero is a value.
    unsafe { std::mem::zeroed() }
}

#[cfg(target_os = "linux")]
fn last_errno() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}
