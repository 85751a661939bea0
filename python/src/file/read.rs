//! The verbs that read, and iteration over lines.

use std::{io, rc::Rc, time::Duration};

use asyncoro::{
    error::{DelimiterMissing, Incomplete},
    file::AsyncFile,
};
use pyo3::{exceptions::PyStopAsyncIteration, prelude::*, types::PyBytes};

use super::{
    object::{Called, PyFile},
    open::Open,
    within::{Deadline, limit},
};
use crate::{call::Outcome, error::raised, gil::py};

/// How much is read at once where less may be enough.
const PIECE: usize = 256 << 10;

/// The most bytes for which memory is taken before it is known that there are as many.
const TRUSTED: usize = 1 << 20;

#[pymethods]
impl PyFile {
    /// Reads at most `size` bytes, once there are any; with `full`, and from a regular file,
    /// exactly as many unless the end comes before. Without a size, all up to the end. b'' at the
    /// end. When `timeout` (seconds) is over it gives what has come, or raises TimeoutError.
    #[pyo3(signature = (size = 0, full = false, timeout = None))]
    fn read(
        slf: &Bound<'_, Self>,
        size: Option<isize>,
        full: bool,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> Called {
        let (most, limit) = (most(size), limit(timeout)?);
        PyFile::start(slf, "AsyncFile.read", move |open| read(open, most, full, limit))
    }

    /// Reads a line, with its end, at most `size` bytes of it; what is left at the end of the file.
    /// When `timeout` (seconds) is over it raises TimeoutError, and the next read gets what has
    /// come.
    #[pyo3(signature = (size = 0, sizehint = None, timeout = None))]
    fn readline(
        slf: &Bound<'_, Self>,
        size: Option<isize>,
        sizehint: Option<&Bound<'_, PyAny>>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> Called {
        // Memory grows with what comes, whatever is expected.
        let _ = sizehint;
        let (most, limit) = (most(size), limit(timeout)?);
        PyFile::start(slf, "AsyncFile.readline", move |open| async move {
            line(open, most, limit).await.map(|line| bytes(py(), &line))
        })
    }

    fn __aiter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    /// Reads the next line, with its end; StopAsyncIteration at the end of the file.
    fn __anext__(slf: &Bound<'_, Self>) -> Called {
        PyFile::start(slf, "AsyncFile.__anext__", move |open| async move {
            match line(open, usize::MAX, None).await? {
                line if line.is_empty() => Err(PyStopAsyncIteration::new_err(())),
                line => Ok(bytes(py(), &line)),
            }
        })
    }

    /// Waits until a read would not wait.
    fn _until_readable(slf: &Bound<'_, Self>) -> Called {
        PyFile::start(slf, "AsyncFile._until_readable", move |open| async move {
            let _turn = open.reading().await;
            let readable = open.file.readable().await;
            readable.map(|()| py().None()).map_err(|error| raised(py(), &error))
        })
    }
}

/// Reads a number of bytes; none, 0 and a negative one are no limit.
fn most(size: Option<isize>) -> usize {
    size.and_then(|size| usize::try_from(size).ok()).filter(|&size| size > 0).unwrap_or(usize::MAX)
}

fn bytes(py: Python<'_>, bytes: &[u8]) -> Py<PyAny> {
    PyBytes::new(py, bytes).into_any().unbind()
}

/// Returns the error of a timeout before anything has come.
pub(super) fn timed_out() -> PyErr {
    raised(py(), &io::ErrorKind::TimedOut.into())
}

async fn read(open: Rc<Open>, most: usize, full: bool, limit: Option<Duration>) -> Outcome {
    let deadline = Deadline::after(limit);
    let Some(_turn) = deadline.bound(open.reading()).await else { return Err(timed_out()) };
    let file = &open.file;
    let got = match most {
        usize::MAX => deadline.bound(file.read_to_end()).await,
        _ if full || open.is_regular => deadline.bound(exactly(file, most)).await,
        _ => deadline.bound(some(file, most)).await,
    };
    match got {
        Some(Ok(got)) => Ok(bytes(py(), &got)),
        Some(Err(error)) => Err(raised(py(), &error)),
        None => match ahead(file, most).await {
            Ok(got) if got.is_empty() => Err(timed_out()),
            Ok(got) => Ok(bytes(py(), &got)),
            Err(error) => Err(raised(py(), &error)),
        },
    }
}

/// Reads at most `most` bytes, once there are any.
async fn some(file: &AsyncFile, most: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; most.min(PIECE)];
    let count = file.read(&mut buffer).await?;
    buffer.truncate(count);
    Ok(buffer)
}

/// Reads exactly `count` bytes, or what there is up to the end.
async fn exactly(file: &AsyncFile, mut count: usize) -> io::Result<Vec<u8>> {
    if count > TRUSTED {
        let (facts, position) = (file.metadata().await?, file.position().await);
        if let Ok(position) = position {
            // More may come, and its kind may not tell: it is a limit, and no promise.
            let left = facts.len().saturating_sub(position);
            count = count.min(usize::try_from(left).unwrap_or(usize::MAX).max(TRUSTED));
        }
    }
    let mut buffer = vec![0; count];
    loop {
        match file.read_exact(&mut buffer).await {
            Ok(()) => return Ok(buffer),
            Err(error) => {
                // Nothing was taken: what there is is read again.
                let Some(&Incomplete { got, .. }) = inner(&error) else { return Err(error) };
                buffer.truncate(got);
            }
        }
    }
}

/// Takes what was read ahead.
async fn ahead(file: &AsyncFile, most: usize) -> io::Result<Vec<u8>> {
    let mut got = Vec::new();
    while file.has_read_ahead() && got.len() < most {
        got.extend(some(file, most - got.len()).await?);
    }
    Ok(got)
}

async fn line(open: Rc<Open>, most: usize, limit: Option<Duration>) -> PyResult<Vec<u8>> {
    let deadline = Deadline::after(limit);
    let Some(_turn) = deadline.bound(open.reading()).await else { return Err(timed_out()) };
    let file = &open.file;
    let line = match deadline.bound(file.read_until(b'\n', most)).await {
        // As many bytes have come.
        Some(Err(error)) if inner::<DelimiterMissing>(&error).is_some() => {
            exactly(file, most).await
        }
        Some(line) => line,
        None => return Err(timed_out()),
    };
    line.map_err(|error| raised(py(), &error))
}

fn inner<E: std::error::Error + 'static>(error: &io::Error) -> Option<&E> {
    error.get_ref()?.downcast_ref()
}
