//! Makes files: of what is open, or by opening one.

use std::{
    cell::{Cell, RefCell},
    fs::{File, OpenOptions},
    io::{Seek, SeekFrom},
    os::fd::{AsFd, AsRawFd, RawFd},
    path::PathBuf,
    rc::Rc,
};

use asyncoro::file::AsyncFile;
use pyo3::{
    exceptions::{PyTypeError, PyValueError},
    prelude::*,
    types::{PyBool, PyInt, PyString},
};

use super::{
    descriptor::duplicate,
    object::{Called, Inner, PyFile},
    open::Open,
};
use crate::{
    call,
    engine::{self, Home},
    error::{of_file, raised},
    exiting,
    gil::py,
    once::interned,
    socket::PySocket,
};

#[pymethods]
impl PyFile {
    #[new]
    #[pyo3(signature = (fd, *, closefd = None))]
    fn new(py: Python<'_>, fd: &Bound<'_, PyAny>, closefd: Option<bool>) -> PyResult<PyFile> {
        exiting::guard();
        if fd.is_instance_of::<PyInt>() && !fd.is_instance_of::<PyBool>() {
            return over_number(py, fd.extract()?, closefd.unwrap_or(false));
        }
        let closes = closefd.unwrap_or(true);
        if let Ok(socket) = fd.cast::<PySocket>() {
            return over_socket(socket, closes);
        }
        if fd.is_instance(&py.import("socket")?.getattr("socket")?)? {
            let socket = py.get_type::<PySocket>().call1((fd,))?;
            return over_socket(socket.cast::<PySocket>()?, closes);
        }
        if !fd.hasattr(interned!(py, "fileno"))? || fd.is_instance_of::<PyFile>() {
            let is_path = fd.is_instance_of::<PyString>() || fd.hasattr("__fspath__")?;
            let kind = fd.get_type().name()?.to_string();
            let what = "an open file, a socket or the number of a descriptor is wanted, not";
            let more = if is_path { ": AsyncFile.open(path) opens a file" } else { "" };
            return Err(PyTypeError::new_err(format!("{what} {kind}{more}")));
        }
        over_object(fd, closes)
    }

    /// Opens a file, on a thread: `mode` is 'r', 'w', 'x' or 'a', with '+' to read and write. It
    /// gives an AsyncFile of bytes.
    #[staticmethod]
    #[pyo3(signature = (path, mode = "r"))]
    fn open(path: &Bound<'_, PyAny>, mode: &str) -> Called {
        let py = path.py();
        let path: PathBuf = py.import("os")?.call_method1("fsdecode", (path,))?.extract()?;
        let options = options(mode)?;
        call::make(py, "AsyncFile.open", None, move |starting| starting.poll(open(path, options)))
    }
}

/// Reads the mode of `open`; `None` is to read alone, without waiting for a pipe's writer.
fn options(mode: &str) -> PyResult<Option<OpenOptions>> {
    let kinds: String = mode.chars().filter(|kind| !"b+".contains(*kind)).collect();
    let both = mode.matches('+').count();
    if mode.matches('b').count() > 1 || both > 1 || !["r", "w", "x", "a"].contains(&&*kinds) {
        let text = format!("invalid mode {mode:?}: 'r', 'w', 'x' or 'a', and '+' for both ways");
        return Err(PyValueError::new_err(text));
    }
    let mut options = OpenOptions::new();
    match &*kinds {
        "r" if both == 0 => return Ok(None),
        "r" => options.read(true).write(true),
        "w" => options.write(true).create(true).truncate(true),
        "x" => options.write(true).create_new(true),
        _ => options.append(true).create(true),
    };
    options.read(both == 1);
    Ok(Some(options))
}

async fn open(path: PathBuf, options: Option<OpenOptions>) -> call::Outcome {
    let opened = match options {
        Some(options) => AsyncFile::open_with(&path, options).await,
        None => AsyncFile::open(&path).await,
    };
    let py = py();
    let opened = opened.and_then(Open::of);
    let open = opened.map_err(|error| of_file(&error, &path).unwrap_or(raised(py, &error)))?;
    let number = open.file.as_fd().as_raw_fd();
    let file = PyFile::with(inner(Some(open), number, true));
    file.inner(py).bound.set(engine::here());
    Ok(Py::new(py, file)?.into_any())
}

fn inner(open: Option<Rc<Open>>, number: RawFd, closes: bool) -> Inner {
    Inner {
        open: RefCell::new(open),
        under: Cell::new(None),
        socket: RefCell::new(None),
        closes,
        number,
        is_closed: Cell::new(false),
        bound: Cell::new(Home::NONE),
    }
}

fn over_socket(socket: &Bound<'_, PySocket>, closes: bool) -> PyResult<PyFile> {
    let py = socket.py();
    if socket.get().is_blocking(py) {
        let text = "the socket is a blocking one: an AsyncFile is for coroutines";
        return Err(PyTypeError::new_err(text));
    }
    let number = socket.call_method0(interned!(py, "fileno"))?.extract()?;
    if number < 0 {
        return Err(super::open::closed());
    }
    let inner = inner(None, number, closes);
    inner.under.set(Some(socket.clone().into_any().unbind()));
    *inner.socket.borrow_mut() = Some(socket.clone().unbind());
    Ok(PyFile::with(inner))
}

/// Makes one of a number, which is closed with it if `closes`.
fn over_number(py: Python<'_>, number: RawFd, closes: bool) -> PyResult<PyFile> {
    let fd = duplicate(number).map_err(|error| raised(py, &error))?;
    let open = Open::over(fd).map_err(|error| raised(py, &error))?;
    let inner = inner(Some(open), number, closes);
    if closes {
        inner.under.set(Some(closer(py, number)?));
    }
    Ok(PyFile::with(inner))
}

/// Makes an object that has the descriptor, and whose `close` closes it.
fn closer(py: Python<'_>, number: RawFd) -> PyResult<Py<PyAny>> {
    let io = py.import("io")?;
    // Neither is asked to read or write.
    let opened = io.call_method1("FileIO", (number, "r"));
    opened.or_else(|_| io.call_method1("FileIO", (number, "w"))).map(Bound::unbind)
}

/// Makes one of an object of Python's that has a descriptor. What it has not written yet is written
/// first; a regular file goes on where the object has stopped reading.
fn over_object(object: &Bound<'_, PyAny>, closes: bool) -> PyResult<PyFile> {
    let py = object.py();
    let number: RawFd = object.call_method0(interned!(py, "fileno"))?.extract()?;
    if object.hasattr("flush")? {
        object.call_method0("flush")?;
    }
    let fd = duplicate(number).map_err(|error| raised(py, &error))?;
    let file = File::from(fd);
    if file.metadata().is_ok_and(|facts| facts.is_file()) {
        let position = object.call_method0("tell").and_then(|at| at.extract::<u64>());
        // Else that of the descriptor: the object has none, or one of text that is no number of
        // bytes.
        if let Ok(position) = position {
            let _ = (&file).seek(SeekFrom::Start(position));
        }
    }
    let open = Open::over(file.into()).map_err(|error| raised(py, &error))?;
    let inner = inner(Some(open), number, closes);
    inner.under.set(Some(object.clone().unbind()));
    Ok(PyFile::with(inner))
}
