//! Socket addresses, in our form and the kernel's.
//!
//! Unsafe: an address is handed to rustix as a pointer, which its own types make and look after;
//! and its bytes are read.
#![allow(unsafe_code)]

use std::mem::offset_of;

use rustix::net::{self, SocketAddrAny, SocketAddrUnix, addr::SocketAddrArg};

use super::Result;
use crate::addr::{Address, UnixAddress};

pub(crate) fn unnamed() -> Address {
    Address::Unix(UnixAddress::unnamed())
}

/// The kernel's form of an address, as ours.
pub(super) fn address(any: &SocketAddrAny) -> Address {
    use rustix::net::{AddressFamily, SocketAddrV4, SocketAddrV6};
    let known = match any.address_family() {
        AddressFamily::INET => SocketAddrV4::try_from(any.clone()).map(Address::Inet).ok(),
        AddressFamily::INET6 => SocketAddrV6::try_from(any.clone()).map(Address::Inet6).ok(),
        // Not by rustix, which panics at a path that fills `sun_path` up to its end.
        AddressFamily::UNIX => Some(Address::Unix(UnixAddress::from_sun_path(sun_path(any)))),
        _ => None,
    };
    known.unwrap_or_else(unnamed)
}

/// What stands in `sun_path`, and what the kernel may have put behind it: a path that fills it gets
/// its NUL there.
fn sun_path(any: &SocketAddrAny) -> &[u8] {
    // SAFETY: as many bytes are initialized, says `SocketAddrAny`, which is borrowed as long.
    let bytes =
        unsafe { std::slice::from_raw_parts(any.as_ptr().cast::<u8>(), any.addr_len() as usize) };
    bytes.get(offset_of!(libc::sockaddr_un, sun_path)..).unwrap_or_default()
}

/// Our address in the kernel's form.
pub(super) fn any(address: &Address) -> Result<SocketAddrAny> {
    with_address(address, |address| address.as_any())
}

/// Calls `f` with the kernel's form of an address.
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
        SocketAddrUnix::new_unnamed()
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

/// One of the three forms, without a copy.
pub(super) enum Argument<'a> {
    Inet(&'a std::net::SocketAddrV4),
    Inet6(&'a std::net::SocketAddrV6),
    Unix(&'a SocketAddrUnix),
}

// SAFETY: each arm hands on to rustix's own implementation.
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
