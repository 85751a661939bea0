//! Converts addresses from and to Python's: tuples for the Internet, paths or names for Unix.

use std::net::{SocketAddr, SocketAddrV6};

use asyncoro::{
    Address,
    addr::{Target, ToAddress, UnixAddress},
    socket2::Domain,
};
use pyo3::{
    exceptions::{PyOverflowError, PyTypeError, PyValueError},
    prelude::*,
    types::{PyBytes, PyString, PyTuple},
};

use crate::error::raised;

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

/// Reads an address that a program passed, for a socket whose family `family` tells.
pub(crate) fn read(
    address: &Bound<'_, PyAny>,
    family: impl FnOnce() -> Option<Domain>,
) -> PyResult<Target> {
    let py = address.py();
    let fails = |error: std::io::Error| raised(py, &error);
    if let Ok(tuple) = address.cast::<PyTuple>() {
        if tuple.len() < 2 || tuple.len() > 4 {
            return Err(PyTypeError::new_err("an address is a pair (host, port)"));
        }
        let host = host(&tuple.get_item(0)?, family)?;
        let port: i64 = tuple.get_item(1)?.extract()?;
        let port =
            u16::try_from(port).map_err(|_| PyOverflowError::new_err("port must be 0-65535."))?;
        let target = (host.as_str(), port).to_target().map_err(fails)?;
        if tuple.len() > 2
            && let Target::Address(Address::Inet6(plain)) = &target
        {
            let flow: u32 = tuple.get_item(2)?.extract()?;
            let scope: u32 = if tuple.len() > 3 { tuple.get_item(3)?.extract()? } else { 0 };
            let full = SocketAddrV6::new(*plain.ip(), port, flow, scope);
            return Ok(Target::Address(SocketAddr::from(full).into()));
        }
        return Ok(target);
    }
    if let Some(family @ (Domain::IPV4 | Domain::IPV6)) = family() {
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
    let address = match name.strip_prefix(b"\0") {
        Some(name) => UnixAddress::from_abstract_name(name),
        None => {
            use std::os::unix::ffi::OsStrExt as _;
            UnixAddress::from_path(std::ffi::OsStr::from_bytes(&name))
        }
    };
    Ok(Target::Address(Address::from(address.map_err(fails)?)))
}

/// Reads the host of an address: an empty one is the wildcard of the family, and a name that is not
/// ASCII is encoded, as `socket` does it.
fn host(host: &Bound<'_, PyAny>, family: impl FnOnce() -> Option<Domain>) -> PyResult<String> {
    let host: String = match host.cast::<PyBytes>() {
        Ok(bytes) => String::from_utf8_lossy(bytes.as_bytes()).into_owned(),
        Err(_) if host.is_none() => String::new(),
        Err(_) => encoded(host.cast::<PyString>()?)?,
    };
    if host.contains('\0') {
        return Err(PyValueError::new_err("host name must not contain null character"));
    }
    Ok(match host.as_str() {
        "" if family() == Some(Domain::IPV6) => "::".to_owned(),
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
