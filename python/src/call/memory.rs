//! The memory of calls: made, and ended, or kept to be used for the next one.
//!
//! Unsafe: objects of a type made by hand. All fields are written before anybody sees one, and
//! dropped when nobody refers to it. A future is dropped in the scheduler's thread.
#![allow(unsafe_code)]

use std::{cell::Cell, ptr};

use pyo3::{exceptions::PyMemoryError, ffi, prelude::*};

use super::{
    object::{Object, Stage, class},
    origin::Origin,
    place::{Place, Started, Starting},
};
use crate::{
    engine::{self, Home},
    gil::{self, Gil},
};

/// The most objects that are kept to be used again: none under AddressSanitizer, which would see
/// nothing of what is done with them after their end.
const MOST_SPARE: usize = if cfg!(asan) { 0 } else { 64 };

/// Memory of objects that have ended.
struct Spare {
    count: Cell<usize>,
    objects: [Cell<*mut Object>; MOST_SPARE],
}

static SPARE: Gil<Spare> = Gil::new(Spare {
    count: Cell::new(0),
    objects: [const { Cell::new(ptr::null_mut()) }; MOST_SPARE],
});

impl Spare {
    fn take(&self) -> Option<*mut Object> {
        let left = self.count.get().checked_sub(1)?;
        self.count.set(left);
        Some(self.objects[left].get())
    }

    /// Keeps the memory of an object; `false` if there is enough.
    fn put(&self, object: *mut Object) -> bool {
        let count = self.count.get();
        let Some(place) = self.objects.get(count) else { return false };
        place.set(object);
        self.count.set(count + 1);
        true
    }
}

/// Makes a call of the verb `name` of the object `of`. When it is started, `operation` does it.
#[inline]
pub(crate) fn make<O>(
    py: Python<'_>,
    name: &'static str,
    of: Option<&Bound<'_, PyAny>>,
    operation: O,
) -> PyResult<Py<PyAny>>
where
    O: FnOnce(Starting<'_, '_>) -> Started + 'static,
{
    // SAFETY: the memory is that of an object of this type, all of whose fields are written before
    // anybody sees it.
    unsafe {
        let object = match SPARE.get(py).take() {
            Some(object) => object,
            None => allocate(py)?,
        };
        // The memory has a reference to the type, also while it is kept.
        (&raw mut (*object).head).write(ffi::PyObject_HEAD_INIT);
        (*object).head.ob_type = class(py);
        (&raw mut (*object).name).write(name);
        (&raw mut (*object).of).write(of.map_or(ptr::null_mut(), |of| of.clone().into_ptr()));
        (&raw mut (*object).stage).write(Cell::new(Stage::New));
        (&raw mut (*object).handed).write(Cell::new(0));
        (&raw mut (*object).home).write(Cell::new(Home::NONE));
        (&raw mut (*object).wait).write(Cell::new(None));
        (&raw mut (*object).origin).write(Origin::now(py));
        (&raw mut (*object).place).write(Place::new());
        (*object).place.store(operation);
        Ok(Bound::from_owned_ptr(py, object.cast()).unbind())
    }
}

#[cold]
fn allocate(py: Python<'_>) -> PyResult<*mut Object> {
    // SAFETY: the type is alive; nothing else is done with the memory.
    let object = unsafe {
        ffi::Py_INCREF(class(py).cast());
        ffi::PyObject_Malloc(size_of::<Object>()).cast::<Object>()
    };
    if object.is_null() { Err(PyMemoryError::new_err(())) } else { Ok(object) }
}

/// Ends an object that nobody refers to any more.
pub(super) unsafe extern "C" fn dealloc(own: *mut ffi::PyObject) {
    let object = own.cast::<Object>();
    // SAFETY: the interpreter holds the GIL, and nobody refers to the object.
    unsafe {
        let (place, is_new) = (&(*object).place, (*object).stage.get() == Stage::New);
        if place.is_empty() && !is_new && (*object).is_plain() {
            return free(Python::assume_attached(), object);
        }
        // Where the interpreter is ending, the memory stays.
        let _ = Python::try_attach(|py| release(py, object));
    }
}

/// Drops an object that has something in its place.
///
/// # Safety
/// Nobody refers to the object.
unsafe fn release(py: Python<'_>, object: *mut Object) {
    // SAFETY: the caller promises it.
    unsafe {
        let fields = &*object;
        if fields.stage.get() == Stage::New {
            undisturbed(py, || Origin::warn(fields.origin.as_deref(), fields.name, py));
        }
        if fields.place.waits() && !fields.home.get().is_here() {
            // It was started by hand, and its memory cannot be freed before its future is dropped.
            return drop_started(py, object);
        }
        fields.place.clear(fields.of());
        drop(fields.wait.take());
        (&raw mut (*object).origin).drop_in_place();
        free(py, object);
    }
}

/// Calls `f`, which may run code of Python's, in the drop of an object: that may be due to an
/// exception that is being raised, which must survive it, and which calls of Python's in `f` would
/// fail with.
pub(crate) fn undisturbed<R>(_: Python<'_>, f: impl FnOnce() -> R) -> R {
    let raised = Raised::take();
    let result = f();
    raised.put_back();
    result
}

/// The exception that is being raised, as the interpreter keeps it. `PyErr` would go on with a
/// panic of Rust's that has become one.
#[cfg(Py_3_12)]
struct Raised(*mut ffi::PyObject);

#[cfg(Py_3_12)]
impl Raised {
    fn take() -> Raised {
        // SAFETY: the caller holds the GIL.
        Raised(unsafe { ffi::PyErr_GetRaisedException() })
    }

    fn put_back(self) {
        // SAFETY: as above; it is what was taken.
        unsafe { ffi::PyErr_SetRaisedException(self.0) }
    }
}

#[cfg(not(Py_3_12))]
struct Raised([*mut ffi::PyObject; 3]);

#[cfg(not(Py_3_12))]
impl Raised {
    fn take() -> Raised {
        let [mut kind, mut value, mut trace] = [ptr::null_mut(); 3];
        // SAFETY: the caller holds the GIL.
        unsafe { ffi::PyErr_Fetch(&mut kind, &mut value, &mut trace) };
        Raised([kind, value, trace])
    }

    fn put_back(self) {
        let [kind, value, trace] = self.0;
        // SAFETY: as above; it is what was taken.
        unsafe { ffi::PyErr_Restore(kind, value, trace) }
    }
}

/// Releases an object whose place is empty, and keeps its memory for another one.
///
/// # Safety
/// As [`release`].
unsafe fn free(py: Python<'_>, object: *mut Object) {
    // SAFETY: the caller promises it.
    unsafe {
        ffi::Py_XDECREF((*object).of);
        if !SPARE.get(py).put(object) {
            ffi::Py_DECREF(class(py).cast());
            ffi::PyObject_Free(object.cast());
        }
    }
}

/// Drops an object whose future belongs to the scheduler's thread, there.
///
/// # Safety
/// As [`release`].
#[cold]
unsafe fn drop_started(py: Python<'_>, object: *mut Object) {
    // SAFETY: nobody has referred to it since.
    let home = unsafe { (*object).home.get() };
    // If the scheduler has gone, nothing may touch what is left.
    engine::hand_over(py, home, async move {
        // SAFETY: as above.
        unsafe {
            (*object).place.clear((*object).of());
            drop((*object).wait.take());
            (&raw mut (*object).origin).drop_in_place();
            free(gil::py(), object);
        }
    });
}
