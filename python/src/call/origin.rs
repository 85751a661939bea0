//! The warning of a call that nobody has awaited, and the line that made it.
//!
//! Unsafe: the frame that runs.
#![allow(unsafe_code)]

use std::{
    cell::Cell,
    ffi::{CString, c_int},
};

use pyo3::{exceptions::PyRuntimeWarning, ffi, prelude::*};

use crate::gil::Gil;

/// The line that made a call.
pub(super) struct Origin {
    file: Py<PyAny>,
    line: c_int,
}

/// Whether calls note the line that made them.
static NOTES_ORIGINS: Gil<Cell<bool>> = Gil::new(Cell::new(false));

/// Sets whether calls note the line that makes them, for the warning of one that is never awaited.
#[pyfunction]
pub(crate) fn note_origins(py: Python<'_>, flag: bool) {
    NOTES_ORIGINS.get(py).set(flag);
}

/// Whether nothing is said of calls that nobody awaits.
static QUIET: Gil<Cell<bool>> = Gil::new(Cell::new(false));

/// Runs `f`, which closes generators: what these yield then nobody can await.
pub(crate) fn quietly<R>(py: Python<'_>, f: impl FnOnce() -> R) -> R {
    let before = QUIET.get(py).replace(true);
    let result = f();
    QUIET.get(py).set(before);
    result
}

impl Origin {
    /// Returns the line of Python that runs now, if lines are noted.
    #[inline]
    pub(super) fn now(py: Python<'_>) -> Option<Box<Origin>> {
        if NOTES_ORIGINS.get(py).get() { Origin::here(py) } else { None }
    }

    #[cold]
    fn here(py: Python<'_>) -> Option<Box<Origin>> {
        // SAFETY: the frame is borrowed, and that of the caller; its code is a new reference.
        let (code, line) = unsafe {
            let frame = ffi::PyEval_GetFrame();
            if frame.is_null() {
                return None;
            }
            let code = Bound::from_owned_ptr_or_opt(py, ffi::PyFrame_GetCode(frame).cast())?;
            (code, ffi::PyFrame_GetLineNumber(frame))
        };
        let file = code.getattr("co_filename").ok()?.unbind();
        Some(Box::new(Origin { file, line }))
    }

    /// Warns of a call that nobody has started.
    #[cold]
    pub(super) fn warn(origin: Option<&Origin>, name: &str, py: Python<'_>) {
        if QUIET.get(py).get() {
            return;
        }
        let text = format!("{name} was never awaited");
        let category = py.get_type::<PyRuntimeWarning>();
        let warned = match origin {
            Some(origin) => py.import("warnings").and_then(|warnings| {
                let arguments = (text, category, &origin.file, origin.line);
                warnings.call_method1("warn_explicit", arguments).map(drop)
            }),
            None => {
                let text = CString::new(text).expect("a name has no zero byte");
                PyErr::warn(py, &category, &text, 1)
            }
        };
        if let Err(error) = warned {
            error.write_unraisable(py, None);
        }
    }
}
