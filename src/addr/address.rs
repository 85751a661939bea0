//! [`Address`] and its conversions.

use std::{
    fmt,
    net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6},
    path::Path,
};

use super::unix::UnixAddress;

/// The address of a socket of any family.
///
/// Its text form, which [`fmt::Display`] writes and [`FromStr`](std::str::FromStr) reads, is
/// `127.0.0.1:80`, `[::1]:80`, `/run/app.sock` (or `unix:` and any path) or, on Linux, `@name` for
/// an abstract name.
///
/// ```
/// use asyncoro::addr::Address;
///
/// let local: Address = "[::1]:8080".parse()?;
/// assert_eq!(local.port(), Some(8080));
/// assert_eq!(local.to_string(), "[::1]:8080");
///
/// let socket: Address = "/run/app.sock".parse()?;
/// assert!(socket.is_unix() && socket.ip().is_none());
///
/// // A name is no address yet.
/// assert!("localhost:80".parse::<Address>().is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// IPv4 address and port.
    Inet(SocketAddrV4),
    /// IPv6 address, port, flow label and scope.
    Inet6(SocketAddrV6),
    /// The address of a Unix socket.
    Unix(UnixAddress),
}

impl Address {
    /// Converts it to the standard library's type; `None` for a Unix socket.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match self {
            Address::Inet(inet) => Some(SocketAddr::V4(*inet)),
            Address::Inet6(inet6) => Some(SocketAddr::V6(*inet6)),
            Address::Unix(_) => None,
        }
    }

    /// Returns the IP address, or `None` for a Unix socket.
    pub fn ip(&self) -> Option<IpAddr> {
        self.socket_addr().map(|address| address.ip())
    }

    /// Returns the port, or `None` for a Unix socket.
    pub fn port(&self) -> Option<u16> {
        self.socket_addr().map(|address| address.port())
    }

    /// Returns the path of a Unix socket that has one.
    pub fn as_path(&self) -> Option<&Path> {
        match self {
            Address::Unix(unix) => unix.as_path(),
            Address::Inet(_) | Address::Inet6(_) => None,
        }
    }

    /// Tells whether this is the address of a Unix socket.
    pub fn is_unix(&self) -> bool {
        matches!(self, Address::Unix(_))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Inet(inet) => inet.fmt(f),
            Address::Inet6(inet6) => inet6.fmt(f),
            Address::Unix(unix) => unix.fmt(f),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(inet) => Address::Inet(inet),
            SocketAddr::V6(inet6) => Address::Inet6(inet6),
        }
    }
}

impl From<SocketAddrV4> for Address {
    fn from(inet: SocketAddrV4) -> Self {
        Address::Inet(inet)
    }
}

impl From<SocketAddrV6> for Address {
    fn from(inet6: SocketAddrV6) -> Self {
        Address::Inet6(inet6)
    }
}

impl From<UnixAddress> for Address {
    fn from(unix: UnixAddress) -> Self {
        Address::Unix(unix)
    }
}

impl From<std::os::unix::net::SocketAddr> for Address {
    fn from(address: std::os::unix::net::SocketAddr) -> Self {
        Address::Unix(address.into())
    }
}
