//! The Python type of calls: an awaitable that is its own iterator.
//!
//! Unsafe: a type made by hand, and the pointers that its slots receive.
#![allow(unsafe_code)]

use std::{
    cell::Cell,
    ffi::{CStr, c_int, c_void},
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
};

use pyo3::{
    exceptions::{PyRuntimeError, PyStopIteration, PyTypeError},
    ffi,
    prelude::*,
};

use super::{
    memory::dealloc,
    object::{Object, Resumed, Stage, set_type},
};
use crate::{
    engine,
    error::thrown,
    gil::{self, Gil},
    quick::{guarded, returned},
};

/// Wakes all coroutines.
static WAKE_ALL: Gil<Cell<fn(Python<'_>)>> = Gil::new(Cell::new(|_| {}));

/// Makes the type, and returns it. `wake_all` wakes all coroutines, of which one may wait for a
/// call that somebody gives up by hand.
pub(crate) fn make_type(py: Python<'_>, wake_all: fn(Python<'_>)) -> PyResult<Bound<'_, PyAny>> {
    WAKE_ALL.get(py).set(wake_all);
    let slots = [
        slot(ffi::Py_tp_dealloc, dealloc as unsafe extern "C" fn(_) as *mut _),
        slot(ffi::Py_tp_repr, repr as unsafe extern "C" fn(_) -> _ as *mut _),
        slot(ffi::Py_tp_new, refuse as unsafe extern "C" fn(_, _, _) -> _ as *mut _),
        slot(ffi::Py_am_await, itself as unsafe extern "C" fn(_) -> _ as *mut _),
        #[cfg(Py_3_10)]
        slot(ffi::Py_am_send, am_send as unsafe extern "C" fn(_, _, _) -> _ as *mut _),
        slot(ffi::Py_tp_iter, itself as unsafe extern "C" fn(_) -> _ as *mut _),
        slot(ffi::Py_tp_iternext, next as unsafe extern "C" fn(_) -> _ as *mut _),
        slot(ffi::Py_tp_methods, methods().cast()),
        slot(ffi::Py_tp_doc, c"The call of a verb: yield or await it, once.".as_ptr() as *mut _),
        slot(0, ptr::null_mut()),
    ];
    let mut spec = ffi::PyType_Spec {
        name: c"asyncoro.Call".as_ptr(),
        basicsize: size_of::<Object>() as c_int,
        itemsize: 0,
        flags: ffi::Py_TPFLAGS_DEFAULT as _,
        slots: slots.as_ptr().cast_mut(),
    };
    // SAFETY: the spec and its slots live for as long as the call; names, texts and methods are
    // static.
    let class = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyType_FromSpec(&mut spec))? };
    set_type(class.clone());
    Ok(class)
}

fn slot(slot: c_int, pfunc: *mut c_void) -> ffi::PyType_Slot {
    ffi::PyType_Slot { slot, pfunc }
}

fn methods() -> *mut ffi::PyMethodDef {
    let with = |name: &'static CStr, ml_meth, ml_flags, doc: &'static CStr| ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth,
        ml_flags,
        ml_doc: doc.as_ptr(),
    };
    use ffi::PyMethodDefPointer as Pointer;
    let methods = [
        with(
            c"send",
            Pointer { PyCFunction: send },
            ffi::METH_O,
            c"Starts it or goes on; StopIteration has its value.",
        ),
        with(
            c"throw",
            Pointer { PyCFunctionFast: throw },
            ffi::METH_FASTCALL,
            c"Gives it up, and raises the exception.",
        ),
        with(c"close", Pointer { PyCFunction: close }, ffi::METH_NOARGS, c"Gives it up."),
        with(
            c"__class_getitem__",
            Pointer { PyCFunction: ffi::Py_GenericAlias },
            ffi::METH_O | ffi::METH_CLASS,
            c"Call[T], for annotations.",
        ),
        ffi::PyMethodDef::zeroed(),
    ];
    // The type lives for ever, and refers to them.
    Box::leak(Box::new(methods)).as_mut_ptr()
}

unsafe extern "C" fn refuse(
    _class: *mut ffi::PyTypeObject,
    _args: *mut ffi::PyObject,
    _kwargs: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: the interpreter calls it with the GIL held.
    let py = unsafe { Python::assume_attached() };
    returned::<PyAny>(py, Err(PyTypeError::new_err("a verb makes a call: sock.recv(100)")))
}

unsafe extern "C" fn itself(own: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: the interpreter passes an object that is alive.
    unsafe { ffi::Py_INCREF(own) };
    own
}

/// Resumes the object; a panic becomes an error.
#[inline]
unsafe fn resume(py: Python<'_>, own: *mut ffi::PyObject) -> Resumed {
    // SAFETY: the caller passes an object of the type, which is alive.
    let object = unsafe { &*own.cast::<Object>() };
    catch_unwind(AssertUnwindSafe(|| object.resume(py))).unwrap_or_else(|_| {
        let error = PyRuntimeError::new_err("asyncoro has panicked");
        Resumed::Refused(error.into_value(py))
    })
}

#[cfg(Py_3_10)]
unsafe extern "C" fn am_send(
    own: *mut ffi::PyObject,
    _value: *mut ffi::PyObject,
    result: *mut *mut ffi::PyObject,
) -> ffi::PySendResult {
    // SAFETY: the interpreter holds the GIL, and passes live objects and space for a result.
    unsafe {
        let py = Python::assume_attached();
        match resume(py, own) {
            Resumed::Itself => {
                *result = itself(own);
                ffi::PySendResult::PYGEN_NEXT
            }
            Resumed::Object(object) => {
                *result = object.into_ptr();
                ffi::PySendResult::PYGEN_NEXT
            }
            Resumed::Given(Ok(value)) => {
                *result = value.into_ptr();
                ffi::PySendResult::PYGEN_RETURN
            }
            Resumed::Given(Err(error)) | Resumed::Refused(error) => {
                PyErr::from_value(error.into_bound(py).into_any()).restore(py);
                *result = ptr::null_mut();
                ffi::PySendResult::PYGEN_ERROR
            }
        }
    }
}

unsafe extern "C" fn next(own: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: the interpreter holds the GIL, and passes an object that is alive.
    unsafe {
        let py = Python::assume_attached();
        match resume(py, own) {
            Resumed::Itself => itself(own),
            Resumed::Object(object) => object.into_ptr(),
            // The end without an exception: the value is None.
            Resumed::Given(Ok(value)) if value.is_none(py) => ptr::null_mut(),
            Resumed::Given(Ok(value)) => {
                stop(py, value);
                ptr::null_mut()
            }
            Resumed::Given(Err(error)) | Resumed::Refused(error) => {
                PyErr::from_value(error.into_bound(py).into_any()).restore(py);
                ptr::null_mut()
            }
        }
    }
}

/// Raises StopIteration with the value.
fn stop(py: Python<'_>, value: Py<PyAny>) {
    // SAFETY: the objects are alive. A tuple would be taken for the arguments, and an exception for
    // the one to be raised.
    unsafe {
        let is_plain = ffi::PyTuple_Check(value.as_ptr()) == 0
            && ffi::PyExceptionInstance_Check(value.as_ptr()) == 0;
        if is_plain {
            ffi::PyErr_SetObject(ffi::PyExc_StopIteration, value.as_ptr());
            return;
        }
    }
    PyStopIteration::new_err((value,)).restore(py);
}

unsafe extern "C" fn send(
    own: *mut ffi::PyObject,
    _value: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as in `next`, which returns null without an exception for the value None.
    unsafe {
        let yielded = next(own);
        if yielded.is_null() && ffi::PyErr_Occurred().is_null() {
            ffi::PyErr_SetNone(ffi::PyExc_StopIteration);
        }
        yielded
    }
}

unsafe extern "C" fn throw(
    own: *mut ffi::PyObject,
    row: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // Attached, since in any thread: what is dropped then is released at once.
    let raised = Python::try_attach(|py| {
        let error = guarded(|| {
            // SAFETY: the interpreter passes an array of that many objects.
            let argument = |place| unsafe {
                (place < count).then(|| Borrowed::from_ptr(py, *row.add(place as usize)))
            };
            let Some(kind) = argument(0) else {
                return Err(PyTypeError::new_err("throw takes an exception"));
            };
            let error = thrown(&kind, argument(1).as_deref())?;
            // SAFETY: the interpreter passes an object of the type.
            unsafe { &*own.cast::<Object>() }.give_up_anywhere(py, own);
            Err(PyErr::from_value(error.into_bound(py).into_any()))
        });
        returned::<PyAny>(py, error)
    });
    raised.unwrap_or_else(ending)
}

unsafe extern "C" fn close(
    own: *mut ffi::PyObject,
    _nothing: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    let closed = Python::try_attach(|py| {
        let closed = guarded(|| {
            // SAFETY: the interpreter passes an object of the type.
            unsafe { &*own.cast::<Object>() }.give_up_anywhere(py, own);
            Ok(py.None())
        });
        returned(py, closed)
    });
    // SAFETY: the interpreter calls it with the GIL held, also while it ends.
    closed.unwrap_or_else(|| unsafe { itself(ffi::Py_None()) })
}

unsafe extern "C" fn repr(own: *mut ffi::PyObject) -> *mut ffi::PyObject {
    let shown = Python::try_attach(|py| {
        // SAFETY: the interpreter passes an object of the type.
        returned(py, guarded(|| unsafe { &*own.cast::<Object>() }.shown(py)))
    });
    shown.unwrap_or_else(ending)
}

/// Raises what is raised while the interpreter ends.
#[cold]
fn ending() -> *mut ffi::PyObject {
    let text = c"the interpreter is ending";
    // SAFETY: only slots of the type call this, which the interpreter calls with the GIL held.
    unsafe { ffi::PyErr_SetString(ffi::PyExc_RuntimeError, text.as_ptr()) };
    ptr::null_mut()
}

impl Object {
    /// Gives it up; what was started is dropped in the scheduler's thread.
    fn give_up_anywhere(&self, py: Python<'_>, own: *mut ffi::PyObject) {
        if self.stage.get() == Stage::Begun && self.handed.get() == 0 {
            // A coroutine that waits for it must look.
            WAKE_ALL.get(py).get()(py);
        }
        if !self.place.waits() || self.home.get().is_here() {
            self.give_up_in_task(py);
            return self.give_up();
        }
        self.stage.set(Stage::Over);
        self.handed.set(0);
        // SAFETY: the object is alive.
        let call = unsafe { Bound::from_borrowed_ptr(py, own).unbind() };
        let home = self.home.get();
        if !home.exists(py) {
            // Its scheduler has gone, and with it what the future would give up.
            std::mem::forget(call);
            return;
        }
        engine::hand_over(py, home, async move {
            Object::within(&call).give_up_in_task(gil::py());
            Object::within(&call).give_up();
        });
    }
}
