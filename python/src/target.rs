//! What a coroutine is made of: calling a generator function, with the coroutine as one argument
//! where the function asks for it.
//!
//! Unsafe: the code of a function, without looking its name up.
#![allow(unsafe_code)]

use std::{
    cell::RefCell,
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use pyo3::{
    exceptions::PyTypeError,
    ffi, intern,
    prelude::*,
    types::{PyDict, PyString, PyTuple},
};

use crate::{
    coro::{self, Coro},
    gil::Gil,
    step::is_callable_by_yield,
};

/// Names of a parameter that gets the coroutine.
const NAMES: [&str; 2] = ["coro", "task"];

/// Flags of a code object: generator, coroutine, iterable coroutine.
const GENERATES: u32 = 0x20 | 0x80 | 0x100;

/// What a code object asks for, by its address; the object is kept, so that the address is.
struct Known {
    _code: Py<PyAny>,
    generates: bool,
    injected: Option<Py<PyString>>,
    name: Py<PyString>,
}

/// An address is as good as a hash of it.
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

/// Most code objects that are remembered.
const MOST_KNOWN: usize = 4096;

/// Calls what `args` and `kwargs` describe, `(f, *args, **kwargs)` or `(target=f, args=, kwargs=)`;
/// gives a generator, not started, and its name.
pub(crate) fn call(
    py: Python<'_>,
    coro: &Py<Coro>,
    args: &Bound<'_, PyTuple>,
    kwargs: Option<&Bound<'_, PyDict>>,
) -> PyResult<(Py<PyAny>, Py<PyString>)> {
    if let Ok(function) = args.get_item(0) {
        return call_function(py, coro, &function, &args.get_slice(1, args.len()), kwargs);
    }
    let given = |name: &str| match kwargs {
        Some(kwargs) => kwargs.get_item(name),
        None => Ok(None),
    };
    let Some(function) = given("target")? else {
        return Err(PyTypeError::new_err("a coroutine needs a generator function"));
    };
    let args = match given("args")? {
        Some(args) => args.try_iter()?.collect::<PyResult<Vec<_>>>()?,
        None => Vec::new(),
    };
    let kwargs = given("kwargs")?.filter(|kwargs| !kwargs.is_none());
    let kwargs = kwargs.as_ref().map(|kwargs| kwargs.cast::<PyDict>()).transpose()?;
    call_function(py, coro, &function, &PyTuple::new(py, args)?, kwargs)
}

fn call_function(
    py: Python<'_>,
    coro: &Py<Coro>,
    function: &Bound<'_, PyAny>,
    args: &Bound<'_, PyTuple>,
    kwargs: Option<&Bound<'_, PyDict>>,
) -> PyResult<(Py<PyAny>, Py<PyString>)> {
    let object = function.clone().unbind();
    if is_callable_by_yield(&object) {
        if !args.is_empty() || kwargs.is_some() {
            return Err(PyTypeError::new_err("a generator takes no arguments any more"));
        }
        return Ok((object, name(function)));
    }
    let Some((code, bare)) = code_of(py, function)? else {
        let made = function.call(args, kwargs)?.unbind();
        if is_callable_by_yield(&made) {
            return Ok((made, name(function)));
        }
        return Err(coro::no_generator(&name(function).to_string()));
    };
    let (injected, name) = known(py, &code, &bare)?;
    let made = match injected {
        None => function.call(args, kwargs)?,
        Some(parameter) => {
            let all = match kwargs {
                Some(kwargs) if kwargs.contains(&parameter)? => {
                    let text = format!("got multiple values for argument '{parameter}'");
                    return Err(PyTypeError::new_err(text));
                }
                Some(kwargs) => kwargs.copy()?,
                None => PyDict::new(py),
            };
            all.set_item(parameter, coro)?;
            function.call(args, Some(&all))?
        }
    };
    Ok((made.unbind(), name))
}

/// The code of a function or method, and the function.
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
    if let Some(code) = function.getattr_opt(intern!(py, "__code__"))? {
        return Ok(Some((code, function.clone())));
    }
    let Some(bare) = function.getattr_opt(intern!(py, "__func__"))? else { return Ok(None) };
    Ok(bare.getattr_opt(intern!(py, "__code__"))?.map(|code| (code, bare)))
}

/// The parameter that gets the coroutine, of a function that generates.
fn known<'py>(
    py: Python<'py>,
    code: &Bound<'py, PyAny>,
    function: &Bound<'py, PyAny>,
) -> PyResult<(Option<Bound<'py, PyString>>, Py<PyString>)> {
    let address = code.as_ptr().addr();
    let seen = {
        let mut table = KNOWN.get(py).borrow_mut();
        let table = table.get_or_insert_default();
        table.get(&address).map(|known| {
            let injected = known.injected.as_ref().map(|name| name.bind(py).clone());
            (known.generates, injected, known.name.clone_ref(py))
        })
    };
    let (generates, injected, name) = match seen {
        Some(seen) => seen,
        None => {
            let flags: u32 = code.getattr("co_flags")?.extract()?;
            let generates = flags & GENERATES != 0;
            let injected = if generates { injected(code, function)? } else { None };
            let known = Known {
                _code: code.clone().unbind(),
                generates,
                injected: injected.clone().map(Bound::unbind),
                name: name(function),
            };
            let named = known.name.clone_ref(py);
            let mut table = KNOWN.get(py).borrow_mut();
            let table = table.get_or_insert_default();
            if table.len() < MOST_KNOWN {
                table.insert(address, known);
            }
            (generates, injected, named)
        }
    };
    if generates { Ok((injected, name)) } else { Err(coro::no_generator(&name.to_string())) }
}

/// A parameter with a default that has one of the names.
fn injected<'py>(
    code: &Bound<'py, PyAny>,
    function: &Bound<'py, PyAny>,
) -> PyResult<Option<Bound<'py, PyString>>> {
    let names: Vec<Bound<'py, PyString>> = code.getattr("co_varnames")?.extract()?;
    let positional: usize = code.getattr("co_argcount")?.extract()?;
    let only_named: usize = code.getattr("co_kwonlyargcount")?.extract()?;
    let defaults = function.getattr("__defaults__")?;
    let defaults = if defaults.is_none() { 0 } else { defaults.len()? };
    let of_positional = names[positional - defaults..positional].iter();
    let named_defaults = function.getattr("__kwdefaults__")?;
    let of_named = names[positional..positional + only_named]
        .iter()
        .filter(|name| named_defaults.get_item(name).is_ok_and(|default| default.is_none()));
    let is_ours = |name: &&Bound<'py, PyString>| NAMES.iter().any(|ours| **name == **ours);
    Ok(of_positional.chain(of_named).find(is_ours).cloned())
}

fn name(function: &Bound<'_, PyAny>) -> Py<PyString> {
    let py = function.py();
    let name = function.getattr(intern!(py, "__name__")).and_then(|name| Ok(name.extract()?));
    name.unwrap_or_else(|_: PyErr| intern!(py, "coroutine").clone().unbind())
}
