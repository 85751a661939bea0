//! Addresses of sockets: IPv4, IPv6 and Unix in one type; how they are written and read.
//!
//! [`Address`] is what `accept`, `recv_from`, `local_addr` and `peer_addr` give. [`ToAddress`]
//! (`target.rs`) is what the verbs take, [`UnixAddress`] (`unix.rs`) what Unix sockets have.
//! Nothing here asks the system: a host name stays a name until `resolve` looks it up.
//!
//! What must stay true: what is shown is read back as the same address (except an unnamed one,
//! paths that are no text, and IPv6 flow labels, which text does not carry), and text that is no
//! address is refused here, with what was expected, not later by the system. Next:
//! `crate::resolve`.

mod target;
mod unix;

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6},
    path::Path,
    str::FromStr,
};

pub(crate) use self::target::host;
pub use self::{
    target::{Target, ToAddress},
    unix::UnixAddress,
};

/// The address of a socket of any family.
///
/// Its text form, which [`fmt::Display`] writes and [`FromStr`] reads, is `127.0.0.1:80`,
/// `[::1]:80`, `/run/app.sock` (or `unix:` and any path) or, on Linux, `@name` for an abstract
/// name.
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
    /// The address as the standard library has it, or `None` for a Unix socket.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match self {
            Address::Inet(inet) => Some(SocketAddr::V4(*inet)),
            Address::Inet6(inet6) => Some(SocketAddr::V6(*inet6)),
            Address::Unix(_) => None,
        }
    }

    /// The IP address, or `None` for a Unix socket.
    pub fn ip(&self) -> Option<IpAddr> {
        self.socket_addr().map(|address| address.ip())
    }

    /// The port, or `None` for a Unix socket.
    pub fn port(&self) -> Option<u16> {
        self.socket_addr().map(|address| address.port())
    }

    /// The path of a Unix socket that has one.
    pub fn as_path(&self) -> Option<&Path> {
        match self {
            Address::Unix(unix) => unix.as_path(),
            Address::Inet(_) | Address::Inet6(_) => None,
        }
    }

    /// Whether this is the address of a Unix socket.
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

impl FromStr for Address {
    type Err = io::Error;

    /// Reads an address in the form that `Display` writes.
    ///
    /// # Errors
    /// `InvalidInput`, quoting the text, when it is none; so too for the name of a host.
    fn from_str(text: &str) -> io::Result<Self> {
        match text.parse()? {
            Target::Address(address) => Ok(address),
            Target::Name { .. } => Err(invalid(text, "an IP address and a port, not a name")),
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

/// An `InvalidInput` that quotes what was given and says what was expected.
fn invalid(given: impl fmt::Debug, expected: &str) -> io::Error {
    crate::error::invalid_input(format!("invalid address {given:?}: expected {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_read_back_as_the_same_address() {
        let texts = [
            "127.0.0.1:0",
            "255.255.255.255:65535",
            "[::1]:80",
            "[::ffff:1.2.3.4]:80",
            "[fe80::1%7]:443",
            "/run/a b:80.sock",
            "./x",
            "../x",
            "unix:x",
            "unix:unix:x",
            "unix:@x",
            "unix:127.0.0.1:80",
        ];
        for text in texts {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
            assert_eq!(address.to_string().parse::<Address>().unwrap(), address);
        }
        let prefixed: Address = "unix:/x".parse().unwrap();
        assert_eq!(prefixed.to_string(), "/x");
    }

    #[test]
    fn each_family_answers_for_its_parts_alone() {
        let inet: Address = "1.2.3.4:5".parse().unwrap();
        assert_eq!((inet.ip(), inet.port()), (Some([1, 2, 3, 4].into()), Some(5)));
        assert_eq!(inet.socket_addr(), Some("1.2.3.4:5".parse().unwrap()));
        assert!(!inet.is_unix() && inet.as_path().is_none());

        let scoped: Address = "[fe80::1%7]:443".parse().unwrap();
        assert!(matches!(&scoped, Address::Inet6(inet6) if inet6.scope_id() == 7));
        assert_eq!(Address::from(scoped.socket_addr().unwrap()), scoped);

        let unix: Address = "/run/x".parse().unwrap();
        assert_eq!(unix.as_path(), Some(Path::new("/run/x")));
        assert!(unix.is_unix() && unix.ip().is_none() && unix.port().is_none());
    }

    #[test]
    fn a_name_is_no_address_and_the_error_quotes_it() {
        let error = "localhost:80".parse::<Address>().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let text = error.to_string();
        assert!(text.contains("\"localhost:80\"") && text.contains("expected"), "{text}");
    }
}
