//! Calls the generator function of a new coroutine, with the coroutine as an argument if the
//! function has a parameter for it.
//!
//! Unsafe: reading the code of a function without an attribute lookup.
#![allow(unsafe_code)]

use std::{
    cell::RefCell,
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    rc::Rc,
};

use pyo3::{
    exceptions::{PyException, PyTypeError},
    ffi,
    prelude::*,
    types::{PyDict, PyString, PyTuple},
};

use super::{object::Coro, step::is_callable_by_yield};
use crate::{arguments::Arguments, call, gil::Gil, once::interned};

/// Names of a parameter that gets the coroutine.
const NAMES: [&str; 2] = ["coro", "task"];

/// Flags of a code object: generator, coroutine, iterable coroutine.
const GENERATES: u32 = 0x20 | 0x80 | 0x100;

/// A generator and its name.
type Called = PyResult<(Py<PyAny>, Py<PyString>)>;

/// What is known of a code object, by its address, which stays its own while the object is kept.
/// Functions share a code object, as those that one decorator has made do: their names and defaults
/// are not known here.
struct Known {
    _code: Py<PyAny>,
    generates: bool,
    /// The parameters that get the coroutine if their function has a default for them.
    candidates: Option<Rc<[Candidate]>>,
}

/// A parameter with one of the names.
struct Candidate {
    /// Its name, in a tuple of its own.
    name: Py<PyTuple>,
    /// How many positional parameters follow it, and itself; `None` if it is keyword-only.
    from_end: Option<usize>,
}

/// Hashes an address by a shift and a multiplication.
#[derive(Default)]
struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_usize(usize::from(*byte));
        }
    }

    fn write_usize(&mut self, address: usize) {
        self.0 = (self.0 ^ (address as u64 >> 4)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

type Table = HashMap<usize, Known, BuildHasherDefault<AddressHasher>>;

static KNOWN: Gil<RefCell<Option<Table>>> = Gil::new(RefCell::new(None));

/// The most code objects that are remembered.
const MOST_KNOWN: usize = 4096;

/// Calls what the arguments describe, `(f, *args, **kwargs)` or `(target=f, args=, kwargs=)`, and
/// returns a generator, not started, and its name.
pub(crate) fn called(coro: &Bound<'_, Coro>, arguments: Arguments<'_, '_>) -> Called {
    if let Some((function, rest)) = arguments.split_first() {
        return call_function(coro, &function, rest);
    }
    let py = coro.py();
    let Some(function) = arguments.named("target")? else {
        return Err(PyTypeError::new_err("a coroutine needs a generator function"));
    };
    let args = match arguments.named("args")? {
        Some(args) => args.try_iter()?.collect::<PyResult<Vec<_>>>()?,
        None => Vec::new(),
    };
    let kwargs = arguments.named("kwargs")?.filter(|kwargs| !kwargs.is_none());
    let kwargs = kwargs.as_ref().map(|kwargs| kwargs.cast::<PyDict>()).transpose()?;
    let args = PyTuple::new(py, args)?;
    Arguments::within(&args, kwargs.as_deref(), |rest| call_function(coro, &function, rest))
}

fn call_function(
    coro: &Bound<'_, Coro>,
    function: &Bound<'_, PyAny>,
    arguments: Arguments<'_, '_>,
) -> Called {
    let py = coro.py();
    if is_runnable(py, function.as_unbound()) {
        if !arguments.is_empty() {
            return Err(PyTypeError::new_err("a generator takes no arguments any more"));
        }
        return Ok((function.clone().unbind(), name(function)));
    }
    let Some((code, bare)) = code_of(py, function)? else {
        return call_other(function, arguments);
    };
    let Some(candidates) = known(py, &code)? else {
        if bare.hasattr(interned!(py, "_gives_call"))? {
            return call_other(function, arguments);
        }
        return Err(no_generator(&name(&bare).to_string()));
    };
    let injected = match candidates {
        Some(candidates) => injected(&bare, &candidates)?,
        None => None,
    };
    let made = match injected {
        None => arguments.call(function)?,
        Some(parameter) => {
            let given = parameter.get_item(0)?.cast_into::<PyString>()?;
            if arguments.named(given.to_str()?)?.is_some() {
                let text = format!("got multiple values for argument '{given}'");
                return Err(PyTypeError::new_err(text));
            }
            arguments.call_with(function, &parameter, coro)?
        }
    };
    Ok((made.unbind(), name(&bare)))
}

/// Calls a function that is no generator function, but may give what a coroutine can run.
fn call_other(function: &Bound<'_, PyAny>, arguments: Arguments<'_, '_>) -> Called {
    let made = arguments.call(function)?.unbind();
    if is_runnable(function.py(), &made) {
        return Ok((made, name(function)));
    }
    Err(no_generator(&name(function).to_string()))
}

/// Returns whether a coroutine can run it: a generator, the object of an `async def`, a call.
fn is_runnable(py: Python<'_>, object: &Py<PyAny>) -> bool {
    is_callable_by_yield(object) || call::is_call(py, object)
}

/// Finds the code of a function or method, and the function.
#[allow(clippy::type_complexity, reason = "a pair")]
fn code_of<'py>(
    py: Python<'py>,
    function: &Bound<'py, PyAny>,
) -> PyResult<Option<(Bound<'py, PyAny>, Bound<'py, PyAny>)>> {
    // SAFETY: the object is a function, whose code it keeps alive.
    let own = unsafe {
        let is_function = ffi::PyFunction_Check(function.as_ptr()) != 0;
        is_function
            .then(|| Bound::from_borrowed_ptr(py, ffi::PyFunction_GetCode(function.as_ptr())))
    };
    if let Some(code) = own {
        return Ok(Some((code, function.clone())));
    }
    if let Some(code) = function.getattr_opt(interned!(py, "__code__"))? {
        return Ok(Some((code, function.clone())));
    }
    let Some(bare) = function.getattr_opt(interned!(py, "__func__"))? else { return Ok(None) };
    Ok(bare.getattr_opt(interned!(py, "__code__"))?.map(|code| (code, bare)))
}

/// Returns the parameters that may get the coroutine, if there are any; `None` if the code is not
/// that of a generator function.
#[allow(clippy::option_option, reason = "few functions have such a parameter")]
fn known(py: Python<'_>, code: &Bound<'_, PyAny>) -> PyResult<Option<Option<Rc<[Candidate]>>>> {
    let address = code.as_ptr().addr();
    let seen = {
        let mut table = KNOWN.get(py).borrow_mut();
        let table = table.get_or_insert_default();
        table.get(&address).map(|known| known.generates.then(|| known.candidates.clone()))
    };
    if let Some(seen) = seen {
        return Ok(seen);
    }
    let flags: u32 = code.getattr("co_flags")?.extract()?;
    let generates = flags & GENERATES != 0;
    let candidates: Rc<[Candidate]> =
        if generates { candidates(code)?.into() } else { Rc::new([]) };
    let candidates = (!candidates.is_empty()).then_some(candidates);
    let known = Known { _code: code.clone().unbind(), generates, candidates: candidates.clone() };
    let mut table = KNOWN.get(py).borrow_mut();
    let table = table.get_or_insert_default();
    if table.len() < MOST_KNOWN {
        table.insert(address, known);
    }
    Ok(generates.then_some(candidates))
}

/// Finds the parameters that have one of the names, positional ones first.
fn candidates(code: &Bound<'_, PyAny>) -> PyResult<Vec<Candidate>> {
    let names: Vec<Bound<'_, PyString>> = code.getattr("co_varnames")?.extract()?;
    let positional: usize = code.getattr("co_argcount")?.extract()?;
    let only_named: usize = code.getattr("co_kwonlyargcount")?.extract()?;
    let parameters = names.iter().take(positional + only_named).enumerate();
    let ours = parameters.filter(|(_, name)| NAMES.iter().any(|ours| **name == **ours));
    ours.map(|(place, name)| {
        let from_end = (place < positional).then(|| positional - place);
        Ok(Candidate { name: PyTuple::new(code.py(), [name])?.unbind(), from_end })
    })
    .collect()
}

/// Finds the parameter that gets the coroutine: one with a default in this function.
fn injected<'py>(
    function: &Bound<'py, PyAny>,
    candidates: &[Candidate],
) -> PyResult<Option<Bound<'py, PyTuple>>> {
    let py = function.py();
    for candidate in candidates {
        let name = candidate.name.bind(py);
        let is_it = match candidate.from_end {
            Some(from_end) => {
                let defaults = match own(function, ffi::PyFunction_GetDefaults) {
                    Some(defaults) => defaults,
                    None => Some(function.getattr(interned!(py, "__defaults__"))?),
                };
                let defaults = defaults.filter(|defaults| !defaults.is_none());
                defaults
                    .map_or(Ok(false), |defaults| Ok::<_, PyErr>(from_end <= defaults.len()?))?
            }
            None => {
                let defaults = function.getattr(interned!(py, "__kwdefaults__"))?;
                defaults.get_item(name.get_item(0)?).is_ok_and(|default| default.is_none())
            }
        };
        if is_it {
            return Ok(Some(name.clone()));
        }
    }
    Ok(None)
}

/// Returns what a function has, or `Some(None)` if it has none; `None` for other objects.
#[allow(clippy::option_option, reason = "two questions")]
fn own<'py>(
    function: &Bound<'py, PyAny>,
    get: unsafe extern "C" fn(*mut ffi::PyObject) -> *mut ffi::PyObject,
) -> Option<Option<Bound<'py, PyAny>>> {
    // SAFETY: the object is a function, and keeps what it returns alive.
    unsafe {
        (ffi::PyFunction_Check(function.as_ptr()) != 0)
            .then(|| Bound::from_borrowed_ptr_or_opt(function.py(), get(function.as_ptr())))
    }
}

/// Returns the name of a function or another object; `coroutine` if it has none.
fn name(function: &Bound<'_, PyAny>) -> Py<PyString> {
    let py = function.py();
    // SAFETY: the object is a function, which has a name that is a `str`.
    let own = unsafe {
        let is_function = ffi::PyFunction_Check(function.as_ptr()) != 0;
        let name = || (*function.as_ptr().cast::<ffi::PyFunctionObject>()).func_name;
        is_function.then(|| Bound::from_borrowed_ptr(py, name()))
    };
    let name = match own {
        Some(name) => Ok(name),
        None => function.getattr(interned!(py, "__name__")),
    };
    match name.map(Bound::cast_into::<PyString>) {
        Ok(Ok(name)) if name.is_exact_instance_of::<PyString>() => name.unbind(),
        // To show one of a subclass may run any code.
        Ok(Ok(name)) => match name.to_str() {
            Ok(text) => PyString::new(py, text).unbind(),
            Err(_) => interned!(py, "coroutine").clone().unbind(),
        },
        _ => interned!(py, "coroutine").clone().unbind(),
    }
}

/// Makes the error for what is no generator function.
fn no_generator(text: &str) -> PyErr {
    PyException::new_err(format!("{text} is not a generator!"))
}
