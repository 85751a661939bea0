//! What the verbs take as an address, and how its text is parsed. Nothing here waits.
//!
//! Invariants: a numeric host becomes an address at once and never costs a look-up; a
//! [`Target::Name`] has a host that could be a name.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    path::{Path, PathBuf},
    str::FromStr,
};

use super::{address::Address, unix::UnixAddress};
use crate::error::invalid_address;

/// Anything that names the address that a socket binds, connects or sends to.
///
/// A string is parsed by the first row that fits:
///
/// | text | meaning |
/// | --- | --- |
/// | `unix:path` | a Unix socket, any path; for a host named `unix` use `("unix", 80)` |
/// | `@name` | a Unix socket with an abstract name (Linux) |
/// | `/path`, `./path`, `../path` | a Unix socket |
/// | `[::1]:80`, `[fe80::1%2]:80`, `[fe80::1%eth0]:80` | IPv6, in brackets, with scope or without |
/// | `127.0.0.1:80` | IPv4 |
/// | `:80`, `*:80` | the IPv4 wildcard, 0.0.0.0 |
/// | `host:80` | a name, which is looked up when it is used |
///
/// In a pair of host and port the host has no brackets: `("::1", 80)`, `("localhost", 80)`, and
/// `("", 80)` for the IPv4 wildcard, as in BSD and Python.
///
/// ```
/// use asyncoro::addr::{Target, ToAddress};
/// use std::path::Path;
///
/// assert!(matches!(("127.0.0.1", 80).to_target()?, Target::Address(_)));
/// assert!(matches!("example.org:80".to_target()?, Target::Name { port: 80, .. }));
/// assert_eq!(Path::new("/run/app.sock").to_target()?, "/run/app.sock".to_target()?);
///
/// let error = "::1:80".to_target().unwrap_err();
/// assert!(error.to_string().contains("[::1]:80"));
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait ToAddress {
    /// Returns the address, or the name to look up, without asking the system.
    ///
    /// # Errors
    /// `InvalidInput`, quoting the text and naming what was expected, when it is no address.
    fn to_target(&self) -> io::Result<Target>;
}

/// An address, or a name that must be looked up first; made by [`ToAddress::to_target`].
///
/// Its text is that of the address, or `host:port`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// An address, ready for use.
    Address(Address),
    /// A host name and a port.
    Name {
        /// The name; never empty, never an IP address.
        host: String,
        /// The port.
        port: u16,
    },
}

/// Makes the target of a host and a port.
///
/// # Errors
/// `InvalidInput` when `host` is neither an address nor a possible name.
pub(crate) fn host(host: &str, port: u16) -> io::Result<Target> {
    if let Some(address) = numeric(host, port) {
        return Ok(Target::Address(address.into()));
    }
    if !could_be_name(host) {
        return Err(invalid_address(
            host,
            "a host name, an IPv4 address or an IPv6 address (no port)",
        ));
    }
    Ok(Target::Name { host: host.to_owned(), port })
}

fn numeric(host: &str, port: u16) -> Option<SocketAddr> {
    if matches!(host, "" | "*") {
        return Some((Ipv4Addr::UNSPECIFIED, port).into());
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Some((ip, port).into());
    }
    // The standard library parses a scope (`fe80::1%2`) only where a port follows.
    let (_, scope) = host.split_once('%')?;
    let whole = scope.bytes().all(|byte| byte.is_ascii_digit());
    whole.then(|| format!("[{host}]:{port}").parse().ok()).flatten()
}

/// Rejects what is certainly a mistake; the resolver judges the rest.
fn could_be_name(host: &str) -> bool {
    if host.contains(|c: char| c.is_control() || c.is_whitespace() || "/[]@".contains(c)) {
        return false;
    }
    match host.split_once('%') {
        Some((ip, interface)) => ip.parse::<Ipv6Addr>().is_ok() && !interface.is_empty(),
        None => !host.contains(':'),
    }
}

/// Splits `host:port` and strips the brackets of an IPv6 address.
fn split(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    // `u16::from_str` would take `+80` too.
    let port = port.bytes().all(|byte| byte.is_ascii_digit()).then(|| port.parse().ok())??;
    match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').filter(|ip| ip.contains(':')).map(|ip| (ip, port)),
        None => (!host.contains(':')).then_some((host, port)),
    }
}

impl FromStr for Target {
    type Err = io::Error;

    fn from_str(text: &str) -> io::Result<Self> {
        if let Some(unix) = UnixAddress::from_text(text) {
            return unix.map(|unix| Target::Address(unix.into()));
        }
        split(text).and_then(|(name, port)| host(name, port).ok()).ok_or_else(|| {
            invalid_address(
                text,
                "host:port with a port of 0 to 65535, [::1]:80 for IPv6, /path or @name",
            )
        })
    }
}

impl FromStr for Address {
    type Err = io::Error;

    /// Parses an address in the form that `Display` writes.
    ///
    /// # Errors
    /// `InvalidInput`, quoting the text, when it is no address; a host name is none.
    fn from_str(text: &str) -> io::Result<Self> {
        match text.parse()? {
            Target::Address(address) => Ok(address),
            Target::Name { .. } => {
                Err(invalid_address(text, "an IP address and a port, not a name"))
            }
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Address(address) => address.fmt(f),
            Target::Name { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Target::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

impl ToAddress for Target {
    fn to_target(&self) -> io::Result<Target> {
        Ok(self.clone())
    }
}

impl ToAddress for Address {
    fn to_target(&self) -> io::Result<Target> {
        Ok(Target::Address(self.clone()))
    }
}

impl ToAddress for UnixAddress {
    fn to_target(&self) -> io::Result<Target> {
        Address::from(self.clone()).to_target()
    }
}

impl ToAddress for std::os::unix::net::SocketAddr {
    fn to_target(&self) -> io::Result<Target> {
        Address::from(self.clone()).to_target()
    }
}

impl ToAddress for SocketAddr {
    fn to_target(&self) -> io::Result<Target> {
        Address::from(*self).to_target()
    }
}

impl ToAddress for SocketAddrV4 {
    fn to_target(&self) -> io::Result<Target> {
        Address::from(*self).to_target()
    }
}

impl ToAddress for SocketAddrV6 {
    fn to_target(&self) -> io::Result<Target> {
        Address::from(*self).to_target()
    }
}

impl ToAddress for (IpAddr, u16) {
    fn to_target(&self) -> io::Result<Target> {
        SocketAddr::from(*self).to_target()
    }
}

impl ToAddress for (Ipv4Addr, u16) {
    fn to_target(&self) -> io::Result<Target> {
        SocketAddr::from(*self).to_target()
    }
}

impl ToAddress for (Ipv6Addr, u16) {
    fn to_target(&self) -> io::Result<Target> {
        SocketAddr::from(*self).to_target()
    }
}

impl ToAddress for (&str, u16) {
    fn to_target(&self) -> io::Result<Target> {
        host(self.0, self.1)
    }
}

impl ToAddress for (String, u16) {
    fn to_target(&self) -> io::Result<Target> {
        host(&self.0, self.1)
    }
}

impl ToAddress for str {
    fn to_target(&self) -> io::Result<Target> {
        self.parse()
    }
}

impl ToAddress for String {
    fn to_target(&self) -> io::Result<Target> {
        self.parse()
    }
}

impl ToAddress for Path {
    fn to_target(&self) -> io::Result<Target> {
        UnixAddress::from_path(self)?.to_target()
    }
}

impl ToAddress for PathBuf {
    fn to_target(&self) -> io::Result<Target> {
        self.as_path().to_target()
    }
}

impl<T: ToAddress + ?Sized> ToAddress for &T {
    fn to_target(&self) -> io::Result<Target> {
        (**self).to_target()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Target {
        Target::Address(text.parse().unwrap())
    }

    fn name(host: &str, port: u16) -> Target {
        Target::Name { host: host.to_owned(), port }
    }

    #[test]
    fn every_kind_of_value_points_where_its_text_does() {
        let four: SocketAddrV4 = "1.2.3.4:5".parse().unwrap();
        let six: SocketAddrV6 = "[::1]:5".parse().unwrap();
        let to = |value: &dyn ToAddress| value.to_target().unwrap();
        for value in [&four as &dyn ToAddress, &SocketAddr::V4(four), &(*four.ip(), 5)] {
            assert_eq!(to(value), address("1.2.3.4:5"));
        }
        assert_eq!(to(&(IpAddr::from(*four.ip()), 5)), address("1.2.3.4:5"));
        for value in
            [&six as &dyn ToAddress, &SocketAddr::V6(six), &(*six.ip(), 5), &("::1", 5_u16)]
        {
            assert_eq!(to(value), address("[::1]:5"));
        }
        assert_eq!(to(&(String::from("h"), 5)), name("h", 5));
        assert_eq!(to(&String::from("h:5")), name("h", 5));
        assert_eq!(to(&&&"h:5"), name("h", 5));
        assert_eq!(to(&to(&"h:5")), name("h", 5));
        for value in [&Path::new("/x") as &dyn ToAddress, &PathBuf::from("/x"), &"unix:/x"] {
            assert_eq!(to(value), address("/x"));
        }
        let unix = UnixAddress::from_path("/x").unwrap();
        let std_unix = std::os::unix::net::SocketAddr::from_pathname("/x").unwrap();
        for value in [&unix as &dyn ToAddress, &std_unix, &Address::from(unix.clone())] {
            assert_eq!(to(value), address("/x"));
        }
    }

    #[test]
    fn an_empty_host_and_a_star_are_the_wildcard_of_ipv4() {
        for value in [&("", 7_u16) as &dyn ToAddress, &("*", 7_u16), &":7", &"*:7"] {
            assert_eq!(value.to_target().unwrap(), address("0.0.0.0:7"));
        }
    }

    #[test]
    fn a_numeric_scope_is_an_address_and_a_named_one_a_name() {
        assert_eq!(("fe80::1%2", 80).to_target().unwrap(), address("[fe80::1%2]:80"));
        let named = "[fe80::1%eth0]:80".to_target().unwrap();
        assert_eq!(named, name("fe80::1%eth0", 80));
        assert_eq!(named.to_string(), "[fe80::1%eth0]:80");
        assert_eq!(named.to_string().parse::<Target>().unwrap(), named);
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_text_and_what_was_expected() {
        let texts = [
            "",
            "localhost",
            "80",
            "::1",
            "::1:80",
            "[::1]",
            "[::1]80",
            "[::1:80",
            "[h]:80",
            "[]:80",
            "h:",
            "h:+80",
            "h:-1",
            "h:65536",
            "h:http",
            "h:80 ",
            "a b:80",
            "http://h:80",
            "h:80/x",
            "a\0b:80",
            "user@h:80",
            "[fe80::1%]:80",
            "x%y:80",
            "unix:",
            "127.0.0.1",
            "h:1:80",
            "1::2::3:80",
        ];
        for text in texts {
            let error = text.to_target().expect_err(text);
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            let shown = error.to_string();
            assert!(shown.contains("expected"), "{shown}");
            assert!(text.starts_with("unix:") || shown.contains(&format!("{text:?}")), "{shown}");
        }
        for host in ["[::1]", "h:80", "a\0b", "/x", "fe80::1%", "fe80::1%2]", "%2"] {
            let error = (host, 80).to_target().expect_err(host);
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(error.to_string().contains(&format!("{host:?}")), "{error}");
        }
    }

    #[test]
    fn targets_are_shown_as_they_are_written() {
        for text in ["example.org:80", "127.0.0.1:80", "[::1]:80", "/run/x", "unix:x", "@x"] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
    }
}
