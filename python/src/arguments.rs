//! The arguments of a call in one array, as the interpreter passes them: positional ones first,
//! then those with names. Passing them on makes no tuple and no dict.
//!
//! Unsafe: arrays of borrowed objects, and calls with them.
#![allow(unsafe_code)]

use std::{marker::PhantomData, ptr, slice};

use pyo3::{
    ffi,
    prelude::*,
    types::{PyDict, PyString, PyTuple},
};

/// Borrowed arguments, laid out as for a `vectorcallfunc`.
#[derive(Clone, Copy)]
pub(crate) struct Arguments<'a, 'py> {
    row: &'a [*mut ffi::PyObject],
    /// A tuple; null if no argument has a name.
    names: *mut ffi::PyObject,
    _objects: PhantomData<&'a Bound<'py, PyAny>>,
}

/// The most arguments that `call_with` passes without allocating.
const FEW: usize = 8;

impl<'a, 'py> Arguments<'a, 'py> {
    /// # Safety
    /// The pointers are what a function of the kind `vectorcallfunc` was called with, and live as
    /// long as that call.
    pub(crate) unsafe fn from_raw(
        row: *const *mut ffi::PyObject,
        flags: usize,
        names: *mut ffi::PyObject,
    ) -> Arguments<'a, 'py> {
        // SAFETY: the caller promises it.
        let row = unsafe {
            let named = if names.is_null() { 0 } else { ffi::PyTuple_GET_SIZE(names) };
            let count = ffi::PyVectorcall_NARGS(flags) + named;
            if count == 0 { &[] } else { slice::from_raw_parts(row, count as usize) }
        };
        Arguments { row, names, _objects: PhantomData }
    }

    /// Calls `work` with the arguments of a function that takes `*args, **kwargs`.
    pub(crate) fn within<R>(
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
        work: impl FnOnce(Arguments<'_, 'py>) -> PyResult<R>,
    ) -> PyResult<R> {
        let given: Vec<_> = kwargs.iter().flat_map(|kwargs| kwargs.iter()).collect();
        let names = match given.is_empty() {
            true => None,
            false => Some(PyTuple::new(args.py(), given.iter().map(|(name, _)| name))?),
        };
        let objects: Vec<_> = args.iter().chain(given.into_iter().map(|(_, it)| it)).collect();
        let row: Vec<_> = objects.iter().map(Bound::as_ptr).collect();
        let names = names.as_ref().map_or(ptr::null_mut(), Bound::as_ptr);
        work(Arguments { row: &row, names, _objects: PhantomData })
    }

    /// Counts the arguments without names.
    pub(crate) fn positional(&self) -> usize {
        self.row.len() - self.names().map_or(0, |names| names.len())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.row.is_empty()
    }

    fn names(&self) -> Option<Borrowed<'a, 'py, PyTuple>> {
        // SAFETY: arguments are made and used only with the GIL held; `names` is null, or a tuple
        // that is borrowed for as long as they are.
        unsafe {
            let py = Python::assume_attached();
            Borrowed::from_ptr_or_opt(py, self.names).map(|names| names.cast_unchecked())
        }
    }

    fn get(&self, place: usize) -> Borrowed<'a, 'py, PyAny> {
        // SAFETY: as above.
        unsafe { Borrowed::from_ptr(Python::assume_attached(), self.row[place]) }
    }

    /// Splits off the first positional argument; `None` if there is none.
    pub(crate) fn split_first(self) -> Option<(Borrowed<'a, 'py, PyAny>, Arguments<'a, 'py>)> {
        (self.positional() > 0).then(|| (self.get(0), Arguments { row: &self.row[1..], ..self }))
    }

    pub(crate) fn named(&self, name: &str) -> PyResult<Option<Borrowed<'a, 'py, PyAny>>> {
        let Some(names) = self.names() else { return Ok(None) };
        for (place, other) in names.iter().enumerate() {
            if *other.cast::<PyString>()? == *name {
                return Ok(Some(self.get(self.positional() + place)));
            }
        }
        Ok(None)
    }

    pub(crate) fn call(&self, function: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: the row and the names belong together.
        unsafe { vectorcall(function, self.row, self.positional(), self.names) }
    }

    /// Calls `function` with one more argument; `name` is a tuple of its name.
    pub(crate) fn call_with(
        &self,
        function: &Bound<'py, PyAny>,
        name: &Bound<'py, PyTuple>,
        value: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let mut names = None;
        let names = match self.names() {
            None => name,
            Some(others) => {
                let all = others.to_owned().into_sequence().concat(name.as_sequence())?;
                names.insert(all.to_tuple()?)
            }
        };
        let count = self.row.len();
        let (mut few, mut many) = ([ptr::null_mut(); FEW], Vec::new());
        let row = match few.get_mut(..=count) {
            Some(few) => few,
            None => {
                many.resize(count + 1, ptr::null_mut());
                &mut many[..]
            }
        };
        row[..count].copy_from_slice(self.row);
        row[count] = value.as_ptr();
        // SAFETY: the new row and the new names belong together.
        unsafe { vectorcall(function, row, self.positional(), names.as_ptr()) }
    }
}

/// # Safety
/// The row has `positional` objects, and then one for each of `names`, a tuple or null.
unsafe fn vectorcall<'py>(
    function: &Bound<'py, PyAny>,
    row: &[*mut ffi::PyObject],
    positional: usize,
    names: *mut ffi::PyObject,
) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: the caller promises it; the result is a new reference, or null and an exception.
    unsafe {
        let result = ffi::PyObject_Vectorcall(function.as_ptr(), row.as_ptr(), positional, names);
        Bound::from_owned_ptr_or_err(function.py(), result)
    }
}
