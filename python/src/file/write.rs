//! The verbs that write, and those about the position.

use std::{io::SeekFrom, rc::Rc, time::Duration};

use asyncoro::coro::yield_now;
use pyo3::{
    IntoPyObjectExt,
    exceptions::{PyOverflowError, PyValueError},
    prelude::*,
};

use super::{
    object::{Called, PyFile},
    open::Open,
    read::timed_out,
    within::{Deadline, limit},
};
use crate::{call::Outcome, error::raised, gil::py, view::View};

/// After how many bytes a verb that has not had to wait lets others run.
const SHARE: usize = 1 << 20;

#[pymethods]
impl PyFile {
    /// Writes what there is room for; with `full`, and to a regular file, all. Gives how many
    /// bytes. When `timeout` (seconds) is over it gives how many were written, or raises
    /// TimeoutError if none were.
    #[pyo3(signature = (buf, full = false, timeout = None))]
    fn write(
        slf: &Bound<'_, Self>,
        buf: &Bound<'_, PyAny>,
        full: bool,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> Called {
        let (data, limit) = (View::of(buf)?, limit(timeout)?);
        PyFile::start(slf, "AsyncFile.write", move |open| write(open, data, full, limit))
    }

    /// Moves the position of a regular file, as `seek` of files does; gives the new one.
    #[pyo3(signature = (offset, whence = 0))]
    fn seek(slf: &Bound<'_, Self>, offset: i64, whence: i32) -> Called {
        let to =
            match whence {
                0 => SeekFrom::Start(u64::try_from(offset).map_err(|_| {
                    PyValueError::new_err(format!("negative seek position {offset}"))
                })?),
                1 => SeekFrom::Current(offset),
                2 => SeekFrom::End(offset),
                _ => {
                    let text = format!("invalid whence ({whence}, should be 0, 1 or 2)");
                    return Err(PyValueError::new_err(text));
                }
            };
        PyFile::start(slf, "AsyncFile.seek", move |open| async move {
            let _turn = open.reading().await;
            given(open.file.seek(to).await)
        })
    }

    /// Gives the position of a regular file.
    fn tell(slf: &Bound<'_, Self>) -> Called {
        PyFile::start(slf, "AsyncFile.tell", move |open| async move {
            let _turn = open.reading().await;
            given(open.file.position().await)
        })
    }

    /// Cuts or extends a regular file to `size` bytes, None: to its position, which stays; gives
    /// the size.
    #[pyo3(signature = (size = None))]
    fn truncate(slf: &Bound<'_, Self>, size: Option<i64>) -> Called {
        let size = size.map(u64::try_from).transpose();
        let size = size.map_err(|_| PyOverflowError::new_err("a size cannot be negative"))?;
        PyFile::start(slf, "AsyncFile.truncate", move |open| async move {
            let _turn = open.writing().await;
            let size = match size {
                Some(size) => Ok(size),
                None => open.file.position().await,
            };
            let cut = match size {
                Ok(size) => open.file.set_len(size).await.map(|()| size),
                Err(error) => Err(error),
            };
            given(cut)
        })
    }

    /// Waits until all that was written is on the disk.
    fn sync(slf: &Bound<'_, Self>) -> Called {
        PyFile::start(slf, "AsyncFile.sync", move |open| async move {
            let _turn = open.writing().await;
            let synced = open.file.sync_all().await;
            synced.map(|()| py().None()).map_err(|error| raised(py(), &error))
        })
    }
}

fn given(number: std::io::Result<u64>) -> Outcome {
    match number {
        Ok(number) => number.into_py_any(py()),
        Err(error) => Err(raised(py(), &error)),
    }
}

async fn write(open: Rc<Open>, data: View, full: bool, limit: Option<Duration>) -> Outcome {
    let deadline = Deadline::after(limit);
    let Some(_turn) = deadline.bound(open.writing()).await else { return Err(timed_out()) };
    let (mut done, mut rested) = (0, 0);
    while done < data.len() {
        let rest = &data.bytes()[done..];
        let wrote = match open.is_regular {
            // What has begun is carried out, and so it is counted.
            true if deadline.is_over() => None,
            true => Some(open.file.write(rest).await),
            false => deadline.bound(open.file.write(rest)).await,
        };
        match wrote {
            Some(Ok(0)) => break,
            Some(Ok(count)) => done += count,
            Some(Err(error)) => return Err(raised(py(), &error)),
            None if done == 0 => return Err(timed_out()),
            None => break,
        }
        if !full && !open.is_regular {
            break;
        }
        if done - rested >= SHARE && done < data.len() {
            rested = done;
            yield_now().await;
        }
    }
    done.into_py_any(py())
}
