//! Converts the crate's errors to Python's: OSError and its subclasses with `errno`, TimeoutError,
//! gaierror, SSLError, EOFError.

use std::{
    io::{self, ErrorKind},
    path::Path,
};

use asyncoro::{
    error::{
        Context, DelimiterMissing, Incomplete, MessageTooLong, TimedOut, Unresolved, WrongKind,
        is_closed, os_code,
    },
    rustls,
};
use pyo3::{
    exceptions::{PyBaseException, PyEOFError, PyOSError, PyTypeError, PyValueError},
    prelude::*,
    types::{PyTuple, PyType},
};

use crate::hooks;

/// EBADF, EMSGSIZE and EOPNOTSUPP, as Linux has them.
const EBADF: i32 = 9;
const EMSGSIZE: i32 = 90;
const EOPNOTSUPP: i32 = 95;

/// Makes the exception of a `throw(error)` or `throw(type, value)`, by CPython's rules.
pub(crate) fn thrown(
    kind: &Bound<'_, PyAny>,
    value: Option<&Bound<'_, PyAny>>,
) -> PyResult<Py<PyBaseException>> {
    let refused = || PyTypeError::new_err("throw takes exceptions");
    let value = value.filter(|value| !value.is_none());
    let error = match (kind.cast::<PyType>(), value) {
        (Ok(_), Some(value)) if value.is_instance(kind)? => value.clone(),
        (Ok(kind), Some(value)) => match value.cast::<PyTuple>() {
            Ok(arguments) => kind.call1(arguments)?,
            Err(_) => kind.call1((value,))?,
        },
        (Ok(kind), None) => kind.call0()?,
        (Err(_), None) => kind.clone(),
        (Err(_), Some(_)) => return Err(refused()),
    };
    error.cast_into::<PyBaseException>().map(Bound::unbind).map_err(|_| refused())
}

/// Converts the error of a verb.
pub(crate) fn raised(py: Python<'_>, error: &io::Error) -> PyErr {
    if let Some(raised) = inner::<PyErr>(error) {
        return raised.clone_ref(py);
    }
    if is_closed(error) {
        return closed();
    }
    if is_timeout(error) {
        return named(py, "timed_out", ());
    }
    if let Some(unresolved) = find::<Unresolved>(error) {
        return self::unresolved(py, unresolved.code, &unresolved.reason, &unresolved.host);
    }
    if let Some(wrong) = inner::<WrongKind>(error) {
        return wrong_kind(*wrong);
    }
    if let Some(tls) = find::<rustls::Error>(error) {
        let unverified = matches!(tls, rustls::Error::InvalidCertificate(_));
        let kind = if unverified { "unverified" } else { "insecure" };
        return named(py, kind, (in_python(error),));
    }
    if inner::<MessageTooLong>(error).is_some() || inner::<DelimiterMissing>(error).is_some() {
        return PyOSError::new_err((EMSGSIZE, error.to_string()));
    }
    if is_cut(error) {
        return PyEOFError::new_err(error.to_string());
    }
    if let Some(code) = os_code(error) {
        // As `open` names its file; errno and the text are those that `socket` gives.
        return match inner::<Context>(error).filter(|context| ADDRESSED.contains(&context.verb)) {
            Some(context) => PyOSError::new_err((code, text(code), context.address.clone())),
            None => PyOSError::new_err((code, text(code))),
        };
    }
    match error.kind() {
        ErrorKind::InvalidInput => PyValueError::new_err(in_python(error)),
        _ => PyOSError::new_err(in_python(error)),
    }
}

/// Makes the exception of a host that has no address.
pub(crate) fn unresolved(py: Python<'_>, code: i32, reason: &str, host: &str) -> PyErr {
    named(py, "unresolved", (code, reason, host))
}

/// Makes the exception of a verb that this kind of socket has not.
fn wrong_kind(wrong: WrongKind) -> PyErr {
    let verb = match wrong.verb {
        "accept" => return PyOSError::new_err((EOPNOTSUPP, text(EOPNOTSUPP))),
        "send_to" => "sendto",
        "recv_from" => "recvfrom",
        "recv_all" | "recv_all_bytes" => "recvall",
        "send_all" | "send_queued" => "sendall",
        verb => verb,
    };
    PyValueError::new_err(format!("{verb} does not work on a {}", wrong.socket))
}

/// The verbs of the crate whose errors have an address.
const ADDRESSED: [&str; 3] = ["connect", "create_connection", "create_tls_connection"];

/// The crate's names in its texts, and those of the package.
const NAMES: [(&str, &str); 3] = [
    ("ClientTls::ca_file", "cafile"),
    ("ClientTls::server_name", "server_name"),
    ("create_tls_connection", "create_connection"),
];

/// Returns the text of an error with the names that the package has.
fn in_python(error: &io::Error) -> String {
    NAMES.iter().fold(error.to_string(), |text, (theirs, ours)| text.replace(theirs, ours))
}

/// Returns the system's text for a code.
fn text(code: i32) -> String {
    let system = io::Error::from_raw_os_error(code).to_string();
    system.split(" (os error").next().unwrap_or_default().to_owned()
}

/// Makes the exception that `open` raises; `None` if it is no error of the system.
pub(crate) fn of_file(error: &io::Error, path: &Path) -> Option<PyErr> {
    let code = os_code(error)?;
    Some(PyOSError::new_err((code, text(code), path.to_string_lossy().into_owned())))
}

/// Makes an SSLError.
pub(crate) fn insecure(py: Python<'_>, reason: &str) -> PyErr {
    named(py, "insecure", (reason,))
}

/// Returns the error of any call on a socket that is closed.
pub(crate) fn closed() -> PyErr {
    PyOSError::new_err((EBADF, "Bad file descriptor: the socket is closed"))
}

/// Returns whether the error is that of the socket's timeout.
pub(crate) fn is_timeout(error: &io::Error) -> bool {
    error.kind() == ErrorKind::TimedOut && os_code(error).is_none()
}

/// Returns how many bytes a timed-out operation had done, and whether the rest is queued.
pub(crate) fn timed_out(error: &io::Error) -> Option<TimedOut> {
    inner::<TimedOut>(error).copied()
}

/// Returns whether the stream ended before all that was asked for had come.
pub(crate) fn is_cut(error: &io::Error) -> bool {
    inner::<Incomplete>(error).is_some()
}

fn inner<E: std::error::Error + 'static>(error: &io::Error) -> Option<&E> {
    error.get_ref()?.downcast_ref()
}

/// Finds the first error of a type among the causes of this one.
fn find<E: std::error::Error + 'static>(error: &io::Error) -> Option<&E> {
    let mut next: Option<&(dyn std::error::Error + 'static)> =
        error.get_ref().map(|inner| inner as &(dyn std::error::Error + 'static));
    while let Some(this) = next {
        if let Some(found) = this.downcast_ref::<E>() {
            return Some(found);
        }
        next = match this.downcast_ref::<io::Error>() {
            Some(nested) => nested.get_ref().map(|inner| inner as _),
            None => this.source(),
        };
    }
    None
}

/// Makes an exception by a hook of the Python part.
fn named<'py>(py: Python<'py>, name: &str, arguments: impl pyo3::call::PyCallArgs<'py>) -> PyErr {
    match hooks::hook(py, name).and_then(|make| make.call1(arguments)) {
        Ok(error) => PyErr::from_value(error),
        Err(error) => error,
    }
}
