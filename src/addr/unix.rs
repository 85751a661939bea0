//! Addresses of Unix sockets: unnamed, a path, or a Linux abstract name (unix(7)).
//!
//! Invariants: an address that a program makes fits into `sun_path`; one that the kernel returns is
//! kept unchanged.

use std::{
    ffi::OsStr,
    fmt, io,
    mem::{offset_of, size_of},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use crate::error::invalid_address;

/// The address of a Unix socket: a path, a Linux abstract name, or none.
///
/// Its text is the path (after `unix:` when it does not begin with `/`, `./` or `../`), `@name`, or
/// `unnamed`. An abstract name that is not printable, or has a backslash in it, is written with
/// escapes (`\\`, `\x00`, those of [`u8::escape_ascii`]), which are read back.
///
/// ```
/// use asyncoro::addr::UnixAddress;
///
/// let address = UnixAddress::from_path("/run/app.sock")?;
/// assert_eq!(address.to_string(), "/run/app.sock");
///
/// // sun_path has room for 108 bytes on Linux, and a path needs one of them for its end.
/// let long = "x".repeat(108);
/// assert_eq!(UnixAddress::from_path(&long).unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UnixAddress(Name);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Name {
    Unnamed,
    Path(PathBuf),
    Abstract(Box<[u8]>),
}

/// Bytes that `sun_path` holds: 108 on Linux, 104 on the BSDs and macOS.
const SUN_PATH: usize = size_of::<libc::sockaddr_un>() - offset_of!(libc::sockaddr_un, sun_path);

/// A text that begins so is a path, without `unix:` before it.
const PATH_STARTS: [&str; 3] = ["/", "./", "../"];

impl UnixAddress {
    /// Makes the address of the socket at `path`.
    ///
    /// # Errors
    /// `InvalidInput` when the path is empty, holds a NUL byte, or is longer than 107 bytes (on
    /// Linux; `sun_path` less the NUL at its end).
    pub fn from_path(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let bytes = path.as_os_str().as_bytes();
        if bytes.is_empty() || bytes.contains(&0) {
            return Err(invalid_address(path, "a path that is not empty and holds no NUL byte"));
        }
        if bytes.len() >= SUN_PATH {
            return Err(invalid_address(
                path,
                &format!("a path of at most {} bytes", SUN_PATH - 1),
            ));
        }
        Ok(UnixAddress(Name::Path(path.to_owned())))
    }

    /// Makes the address with an abstract name, which exists in no file system and disappears with
    /// its socket.
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// use asyncoro::addr::{Address, UnixAddress};
    ///
    /// let address = UnixAddress::from_abstract_name("my-service")?;
    /// assert_eq!(Address::from(address), "@my-service".parse()?);
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` when the name is longer than 107 bytes, and on systems other than Linux.
    pub fn from_abstract_name(name: impl AsRef<[u8]>) -> io::Result<Self> {
        let name = name.as_ref();
        let shown = String::from_utf8_lossy(name);
        if !cfg!(any(target_os = "linux", target_os = "android")) {
            return Err(invalid_address(shown, "a path: abstract names exist on Linux only"));
        }
        if name.len() >= SUN_PATH {
            return Err(invalid_address(
                shown,
                &format!("a name of at most {} bytes", SUN_PATH - 1),
            ));
        }
        Ok(UnixAddress(Name::Abstract(name.into())))
    }

    /// Makes the address of a socket that was never bound, such as a client's own.
    pub fn unnamed() -> Self {
        UnixAddress(Name::Unnamed)
    }

    /// Reads the bytes of `sun_path` that the kernel returned. A path may fill all of them, one
    /// byte more than [`UnixAddress::from_path`] accepts.
    pub(crate) fn from_sun_path(bytes: &[u8]) -> Self {
        let bytes = &bytes[..bytes.len().min(SUN_PATH)];
        UnixAddress(match bytes {
            [] | [0] => Name::Unnamed,
            [0, name @ ..] if cfg!(any(target_os = "linux", target_os = "android")) => {
                Name::Abstract(name.into())
            }
            path => match path.split(|byte| *byte == 0).next() {
                None | Some([]) => Name::Unnamed,
                Some(path) => Name::Path(OsStr::from_bytes(path).into()),
            },
        })
    }

    /// Returns the path, if it has one.
    pub fn as_path(&self) -> Option<&Path> {
        match &self.0 {
            Name::Path(path) => Some(path),
            Name::Unnamed | Name::Abstract(_) => None,
        }
    }

    /// Returns the abstract name, if it has one, without the NUL byte that marks it in `sun_path`.
    pub fn as_abstract_name(&self) -> Option<&[u8]> {
        match &self.0 {
            Name::Abstract(name) => Some(name),
            Name::Unnamed | Name::Path(_) => None,
        }
    }

    /// Tells whether this is the address of a socket without a name.
    pub fn is_unnamed(&self) -> bool {
        matches!(self.0, Name::Unnamed)
    }

    /// Reads `text` if it has the form of a Unix socket's address; `None` if it has another.
    pub(super) fn from_text(text: &str) -> Option<io::Result<Self>> {
        if let Some(path) = text.strip_prefix("unix:") {
            Some(Self::from_path(path))
        } else if let Some(name) = text.strip_prefix('@') {
            Some(Self::from_abstract_name(unescape(name)))
        } else if PATH_STARTS.iter().any(|start| text.starts_with(start)) {
            Some(Self::from_path(text))
        } else {
            None
        }
    }
}

impl fmt::Display for UnixAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Name::Unnamed => f.write_str("unnamed"),
            Name::Path(path) => {
                let bytes = path.as_os_str().as_bytes();
                if !PATH_STARTS.iter().any(|start| bytes.starts_with(start.as_bytes())) {
                    f.write_str("unix:")?;
                }
                path.display().fmt(f)
            }
            Name::Abstract(name) => match std::str::from_utf8(name) {
                Ok(text) if !text.contains(|c: char| c.is_control() || c == '\\') => {
                    write!(f, "@{text}")
                }
                _ => write!(f, "@{}", name.escape_ascii()),
            },
        }
    }
}

/// Reverses [`u8::escape_ascii`]; a backslash that begins no such escape stands for itself.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let (byte, behind) = match (first, behind) {
            (b'\\', [b'x', high, low, behind @ ..]) if both_hex(*high, *low) => {
                (hex(*high) << 4 | hex(*low), behind)
            }
            (b'\\', [b'n', behind @ ..]) => (b'\n', behind),
            (b'\\', [b'r', behind @ ..]) => (b'\r', behind),
            (b'\\', [b't', behind @ ..]) => (b'\t', behind),
            (b'\\', [byte @ (b'\\' | b'\'' | b'"'), behind @ ..]) => (*byte, behind),
            _ => (*first, behind),
        };
        bytes.push(byte);
        rest = behind;
    }
    bytes
}

fn both_hex(high: u8, low: u8) -> bool {
    high.is_ascii_hexdigit() && low.is_ascii_hexdigit()
}

/// Returns the value of a hexadecimal digit.
fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

impl From<std::os::unix::net::SocketAddr> for UnixAddress {
    fn from(address: std::os::unix::net::SocketAddr) -> Self {
        match address.as_pathname() {
            Some(path) => UnixAddress(Name::Path(path.to_owned())),
            None => abstract_name(&address)
                .map_or_else(Self::unnamed, |name| UnixAddress(Name::Abstract(name.into()))),
        }
    }
}

#[cfg(target_os = "linux")]
fn abstract_name(address: &std::os::unix::net::SocketAddr) -> Option<&[u8]> {
    std::os::linux::net::SocketAddrExt::as_abstract_name(address)
}

#[cfg(not(target_os = "linux"))]
fn abstract_name(_: &std::os::unix::net::SocketAddr) -> Option<&[u8]> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_the_system_would_refuse_is_refused_early() {
        assert_eq!(SUN_PATH, 108, "Linux");
        assert!(UnixAddress::from_path("x".repeat(107)).is_ok());
        for bad in ["", "a\0b", &"x".repeat(108)] {
            let error = UnixAddress::from_path(bad).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(error.to_string().contains("expected a path"), "{error}");
        }
        assert!(UnixAddress::from_abstract_name("x".repeat(107)).is_ok());
        assert!(UnixAddress::from_abstract_name("x".repeat(108)).is_err());
    }

    #[test]
    fn what_the_kernel_gave_is_kept_as_it_came() {
        let path = |bytes: &[u8]| {
            let address = UnixAddress::from_sun_path(bytes);
            address.as_path().map(|path| path.as_os_str().as_bytes().to_vec())
        };
        let long = [b'x'; SUN_PATH + 1];
        assert_eq!(path(b"/a"), Some(b"/a".to_vec()));
        assert_eq!(path(b"/a\0b"), Some(b"/a".to_vec()));
        assert_eq!(path(&long[..SUN_PATH - 1]), Some(vec![b'x'; SUN_PATH - 1]));
        assert_eq!(path(&long[..SUN_PATH]), Some(vec![b'x'; SUN_PATH]));
        assert_eq!(path(&long), Some(vec![b'x'; SUN_PATH]));
        assert!(UnixAddress::from_sun_path(b"").is_unnamed());
        assert!(UnixAddress::from_sun_path(b"\0").is_unnamed());
        #[cfg(target_os = "linux")]
        {
            let name = |bytes: &[u8]| {
                UnixAddress::from_sun_path(bytes).as_abstract_name().map(<[u8]>::to_vec)
            };
            assert_eq!(name(b"\0n\0"), Some(b"n\0".to_vec()));
            assert_eq!(name(&[0; SUN_PATH]), Some(vec![0; SUN_PATH - 1]));
        }
    }

    #[test]
    fn each_form_is_shown_in_one_printable_line() {
        assert_eq!(UnixAddress::unnamed().to_string(), "unnamed");
        assert_eq!(UnixAddress::from_path("/a/b").unwrap().to_string(), "/a/b");
        assert_eq!(UnixAddress::from_path("b").unwrap().to_string(), "unix:b");
        let shown = |name: &[u8]| UnixAddress::from_abstract_name(name).unwrap().to_string();
        assert_eq!(shown(b""), "@");
        assert_eq!(shown("größe".as_bytes()), "@größe");
        assert_eq!(shown(b"a\0b"), "@a\\x00b");
        assert_eq!(shown(b"\xff"), "@\\xff");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn any_abstract_name_is_read_back_from_its_text() {
        use crate::addr::Address;
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        // Arbitrary bytes, and those that occur in escapes.
        let usual = b"\\\\\\xX09afAFgnrt'\"@:/ \0\n\xc3\xb6";
        for round in 0..50_000 {
            let name: Vec<u8> = (0..random(SUN_PATH as u64))
                .map(|_| match round % 2 {
                    0 => random(256) as u8,
                    _ => usual[random(usual.len() as u64) as usize],
                })
                .collect();
            let address = Address::from(UnixAddress::from_abstract_name(&name).unwrap());
            let text = address.to_string();
            assert!(!text.contains(char::is_control), "{text:?}");
            assert_eq!(text.parse::<Address>().unwrap(), address, "{text}");
        }
        let name = |text: &str| match UnixAddress::from_text(text) {
            Some(Ok(address)) => address.as_abstract_name().unwrap().to_vec(),
            other => panic!("{other:?}"),
        };
        assert_eq!(name(r"@a\\b"), br"a\b");
        assert_eq!(name(r"@a\b\x4"), br"a\b\x4", "no escapes");
    }

    #[test]
    fn addresses_of_the_standard_library_are_taken_over_whole() {
        use std::os::unix::net::{SocketAddr, UnixDatagram};
        let path = SocketAddr::from_pathname("/x").unwrap();
        assert_eq!(UnixAddress::from(path), UnixAddress::from_path("/x").unwrap());
        let unnamed = UnixDatagram::unbound().unwrap().local_addr().unwrap();
        assert!(UnixAddress::from(unnamed).is_unnamed());
        #[cfg(target_os = "linux")]
        {
            use std::os::linux::net::SocketAddrExt;
            let name = SocketAddr::from_abstract_name("n").unwrap();
            assert_eq!(UnixAddress::from(name), UnixAddress::from_abstract_name("n").unwrap());
        }
    }
}
