//! Converts addresses from and to Python's: tuples for the Internet, paths or names for Unix.

use std::{
    ffi::OsStr,
    net::{SocketAddr, SocketAddrV6},
    os::unix::ffi::OsStrExt,
};

use asyncoro::{
    Address,
    addr::{Target, ToAddress, UnixAddress},
    socket2::Domain,
};
use pyo3::{
    exceptions::{PyOSError, PyOverflowError, PyTypeError, PyValueError},
    prelude::*,
    types::{PyByteArray, PyBytes, PyString, PyTuple},
};

use crate::error::{raised, unresolved};

/// Converts an address to the form of Python's `socket`.
pub(crate) fn show(py: Python<'_>, address: &Address) -> PyResult<Py<PyAny>> {
    let shown = match address {
        Address::Inet(address) => {
            (address.ip().to_string(), address.port()).into_pyobject(py)?.into_any()
        }
        Address::Inet6(address) => {
            let scope = address.scope_id();
            let host = address.ip().to_string();
            (host, address.port(), address.flowinfo(), scope).into_pyobject(py)?.into_any()
        }
        Address::Unix(address) => match (address.as_path(), address.as_abstract_name()) {
            (Some(path), _) => path.as_os_str().into_pyobject(py)?.into_any(),
            (None, Some(name)) => PyBytes::new(py, &[b"\0", name].concat()).into_any(),
            (None, None) => PyString::new(py, "").into_any(),
        },
    };
    Ok(shown.unbind())
}

/// Reads an address that a program passed, for a socket of `family` if there is one yet; fails as
/// `socket` does.
pub(crate) fn read(address: &Bound<'_, PyAny>, family: Option<Domain>) -> PyResult<Target> {
    match address.cast::<PyTuple>() {
        Ok(tuple) => inet(tuple, family),
        Err(_) => unix(address, family),
    }
}

/// Reads a tuple: (host, port), and of IPv6 (host, port, flow, scope).
fn inet(tuple: &Bound<'_, PyTuple>, family: Option<Domain>) -> PyResult<Target> {
    let py = tuple.py();
    let wrong = match family {
        Some(Domain::UNIX) => Some("a bytes-like object is required, not 'tuple'"),
        Some(Domain::IPV4) if tuple.len() != 2 => {
            Some("AF_INET address must be a pair (host, port)")
        }
        _ if tuple.len() < 2 || tuple.len() > 4 => {
            Some("AF_INET6 address must be a tuple (host, port[, flowinfo[, scopeid]])")
        }
        _ => None,
    };
    if let Some(wrong) = wrong {
        return Err(PyTypeError::new_err(wrong));
    }
    let host = host(&tuple.get_item(0)?, family)?;
    let port: i64 = tuple.get_item(1)?.extract()?;
    let port =
        u16::try_from(port).map_err(|_| PyOverflowError::new_err("port must be 0-65535."))?;
    // What the crate refuses as a name, and its own name of the wildcard, no resolver knows.
    let target = match (host.as_str(), port).to_target() {
        Ok(target) if host != "*" => target,
        _ => return Err(unresolved(py, NO_NAME, "Name or service not known", &host)),
    };
    match (&target, family) {
        (Target::Address(Address::Inet(_)), Some(Domain::IPV6))
        | (Target::Address(Address::Inet6(_)), Some(Domain::IPV4)) => {
            let text = "Address family for hostname not supported";
            Err(unresolved(py, OTHER_FAMILY, text, &host))
        }
        (Target::Address(Address::Inet6(plain)), _) if tuple.len() > 2 => {
            let flow: u32 = tuple.get_item(2)?.extract()?;
            let scope: u32 = if tuple.len() > 3 { tuple.get_item(3)?.extract()? } else { 0 };
            let full = SocketAddrV6::new(*plain.ip(), port, flow, scope);
            Ok(Target::Address(SocketAddr::from(full).into()))
        }
        _ => Ok(target),
    }
}

/// EAI_NONAME and EAI_ADDRFAMILY, as Linux has them.
const NO_NAME: i32 = -2;
const OTHER_FAMILY: i32 = -9;

/// Reads the path or the abstract name of a Unix socket.
fn unix(address: &Bound<'_, PyAny>, family: Option<Domain>) -> PyResult<Target> {
    if let Some(family @ (Domain::IPV4 | Domain::IPV6)) = family {
        let family = if family == Domain::IPV4 { "AF_INET" } else { "AF_INET6" };
        let given = address.get_type().name()?;
        let text = format!("{family} address must be tuple, not {given}");
        return Err(PyTypeError::new_err(text));
    }
    let name: Vec<u8> = match address.cast::<PyBytes>() {
        Ok(bytes) => bytes.as_bytes().to_vec(),
        Err(_) => {
            let path: std::path::PathBuf = address.extract().map_err(|_| {
                PyTypeError::new_err("an address is a pair (host, port), or a path")
            })?;
            path.into_os_string().into_encoded_bytes()
        }
    };
    if name.len() > LONGEST_PATH {
        return Err(PyOSError::new_err("AF_UNIX path too long"));
    }
    let read = match name.strip_prefix(b"\0") {
        Some(name) => UnixAddress::from_abstract_name(name),
        None => UnixAddress::from_path(OsStr::from_bytes(&name)),
    };
    let read = read.map_err(|error| raised(address.py(), &error))?;
    Ok(Target::Address(Address::from(read)))
}

/// The bytes of a Unix socket's path, of 108 with the zero at its end; an abstract name has none.
const LONGEST_PATH: usize = 108;

/// Reads the host of an address: an empty one is the wildcard of the family, and a name that is not
/// ASCII is encoded, as `socket` does it.
fn host(host: &Bound<'_, PyAny>, family: Option<Domain>) -> PyResult<String> {
    let host: String = if let Ok(text) = host.cast::<PyString>() {
        encoded(text)?
    } else if let Ok(bytes) = host.cast::<PyBytes>() {
        String::from_utf8_lossy(bytes.as_bytes()).into_owned()
    } else if let Ok(bytes) = host.cast::<PyByteArray>() {
        String::from_utf8_lossy(&bytes.to_vec()).into_owned()
    } else if host.is_none() && family.is_none() {
        String::new()
    } else {
        let text = format!("str, bytes or bytearray expected, not {}", host.get_type().name()?);
        return Err(PyTypeError::new_err(text));
    };
    if host.contains('\0') {
        return Err(PyValueError::new_err("host name must not contain null character"));
    }
    Ok(match host.as_str() {
        "" if family == Some(Domain::IPV6) => "::".to_owned(),
        "" => "0.0.0.0".to_owned(),
        "<broadcast>" => "255.255.255.255".to_owned(),
        _ => host,
    })
}

/// Encodes a host name by IDNA, unless it is ASCII; UnicodeError if that cannot be.
pub(crate) fn encoded(host: &Bound<'_, PyString>) -> PyResult<String> {
    let text = host.to_cow()?;
    if text.is_ascii() {
        return Ok(text.into_owned());
    }
    let bytes: Vec<u8> = host.call_method1("encode", ("idna",))?.extract()?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Adds the address to an error of the regular socket's, as `raised` does to those of verbs.
pub(crate) fn with_address(py: Python<'_>, error: PyErr, address: &Bound<'_, PyAny>) -> PyErr {
    let value = error.value(py);
    let has_code = value.getattr("errno").is_ok_and(|errno| !errno.is_none());
    let bare = value.getattr("filename").is_ok_and(|name| name.is_none());
    if has_code && bare && value.is_instance_of::<PyOSError>() {
        let is_unresolved = error.get_type(py).name().is_ok_and(|name| name == "gaierror");
        let shown = match address.cast::<PyTuple>() {
            Ok(tuple) if is_unresolved => tuple.get_item(0).and_then(|it| host(&it, None)),
            _ => read(address, None).map(|target| target.to_string()),
        };
        let Ok(shown) = shown else { return error };
        // Another exception of that class may refuse it.
        let _ = value.setattr("filename", shown);
    }
    error
}
