//! Socket addresses, in this crate's form and the kernel's.
//!
//! Unsafe: an address is passed to rustix as a pointer, which rustix's own types provide and keep
//! valid; and its bytes are read.
#![allow(unsafe_code)]

use std::{
    mem::offset_of,
    net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6},
};

use rustix::net::{self, SocketAddrAny, SocketAddrUnix, addr::SocketAddrArg};

use super::errno::Result;
use crate::addr::{Address, UnixAddress};

pub(super) fn unnamed() -> Address {
    Address::Unix(UnixAddress::unnamed())
}

/// Converts an address from the kernel's form.
pub(super) fn address(any: &SocketAddrAny) -> Address {
    // SAFETY: `SocketAddrAny` promises that so many bytes are initialized, and is borrowed as long.
    unsafe { read_address(any.as_ptr().cast(), any.addr_len()) }
}

/// Reads an address that the kernel has written.
///
/// # Safety
/// `name` points to `len` initialized bytes.
pub(super) unsafe fn read_address(
    name: *const libc::sockaddr_storage,
    len: libc::socklen_t,
) -> Address {
    // SAFETY: the caller promises it; the borrow does not leave this function.
    let bytes = unsafe { std::slice::from_raw_parts(name.cast::<u8>(), len as usize) };
    let Some(family) = bytes.get(offset_of!(libc::sockaddr, sa_family)..) else { return unnamed() };
    if family.len() < size_of::<libc::sa_family_t>() {
        return unnamed();
    }
    // SAFETY: each is read only if all of it is there, and any bytes are a valid value of it.
    unsafe {
        match i32::from(family.as_ptr().cast::<libc::sa_family_t>().read_unaligned()) {
            libc::AF_INET if bytes.len() >= size_of::<libc::sockaddr_in>() => {
                inet(&name.cast::<libc::sockaddr_in>().read_unaligned())
            }
            libc::AF_INET6 if bytes.len() >= size_of::<libc::sockaddr_in6>() => {
                inet6(&name.cast::<libc::sockaddr_in6>().read_unaligned())
            }
            // Not read by rustix, which panics at a path that fills `sun_path`: the kernel may have
            // put a NUL behind it.
            libc::AF_UNIX => {
                let path = bytes.get(offset_of!(libc::sockaddr_un, sun_path)..).unwrap_or_default();
                Address::Unix(UnixAddress::from_sun_path(path))
            }
            _ => unnamed(),
        }
    }
}

fn inet(name: &libc::sockaddr_in) -> Address {
    let ip = Ipv4Addr::from(name.sin_addr.s_addr.to_ne_bytes());
    Address::Inet(SocketAddrV4::new(ip, u16::from_be(name.sin_port)))
}

fn inet6(name: &libc::sockaddr_in6) -> Address {
    let ip = Ipv6Addr::from(name.sin6_addr.s6_addr);
    let (flow, scope) = (u32::from_be(name.sin6_flowinfo), name.sin6_scope_id);
    Address::Inet6(SocketAddrV6::new(ip, u16::from_be(name.sin6_port), flow, scope))
}

/// Calls `f` with an address in the kernel's form.
pub(super) fn with_address<R>(address: &Address, f: impl FnOnce(Argument<'_>) -> R) -> Result<R> {
    let unix = match address {
        Address::Inet(inet) => return Ok(f(Argument::Inet(inet))),
        Address::Inet6(inet6) => return Ok(f(Argument::Inet6(inet6))),
        Address::Unix(unix) => unix,
    };
    let unix = if let Some(path) = unix.as_path() {
        SocketAddrUnix::new(path)?
    } else if let Some(name) = unix.as_abstract_name() {
        abstract_name(name)?
    } else {
        no_name()?
    };
    Ok(f(Argument::Unix(&unix)))
}

#[cfg(target_os = "linux")]
fn abstract_name(name: &[u8]) -> Result<SocketAddrUnix> {
    SocketAddrUnix::new_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn abstract_name(_: &[u8]) -> Result<SocketAddrUnix> {
    Err(rustix::io::Errno::ADDRNOTAVAIL)
}

#[cfg(target_os = "linux")]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it fails")]
fn no_name() -> Result<SocketAddrUnix> {
    Ok(SocketAddrUnix::new_unnamed())
}

/// Fails: only Linux accepts an address without a name in bind(2), and chooses one.
#[cfg(not(target_os = "linux"))]
fn no_name() -> Result<SocketAddrUnix> {
    Err(rustix::io::Errno::ADDRNOTAVAIL)
}

/// An address in one of the three forms, without a copy.
pub(super) enum Argument<'a> {
    Inet(&'a std::net::SocketAddrV4),
    Inet6(&'a std::net::SocketAddrV6),
    Unix(&'a SocketAddrUnix),
}

// SAFETY: each arm delegates to rustix's own implementation.
unsafe impl SocketAddrArg for Argument<'_> {
    unsafe fn with_sockaddr<R>(
        &self,
        f: impl FnOnce(*const net::addr::SocketAddrOpaque, net::addr::SocketAddrLen) -> R,
    ) -> R {
        // SAFETY: the caller's promise about `f` is passed on unchanged.
        unsafe {
            match self {
                Argument::Inet(address) => address.with_sockaddr(f),
                Argument::Inet6(address) => address.with_sockaddr(f),
                Argument::Unix(address) => address.with_sockaddr(f),
            }
        }
    }
}
