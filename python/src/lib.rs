//! The bindings of the Python package asyncoro: its coroutines and sockets are those of the crate.
//!
//! A coroutine of Python's is one of the crate's that drives a generator (`coro/runner.rs`). A
//! call, of a socket say, is an object; `yield` or `await` starts it, which makes the crate's
//! future and polls it (`call/`). All except waiting is done with the GIL held (`engine.rs`,
//! `gil.rs`).

mod address;
mod arguments;
mod call;
mod coro;
mod engine;
mod error;
#[cfg(target_os = "linux")]
mod eventloop;
mod exiting;
mod file;
mod fresh;
mod gil;
mod guest;
mod holding;
mod hooks;
mod log;
mod mask;
mod once;
mod promise;
mod quick;
mod serve;
mod signal;
mod socket;
mod sync;
mod threads;
mod timer;
mod view;
mod watcher;

use pyo3::prelude::*;

/// Waits `seconds`, with None for ever; `yield` or `await` it in a coroutine.
#[pyfunction]
fn sleep(py: Python<'_>, seconds: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
    let limit = timer::limit(Some(seconds))?;
    call::make(py, "asyncoro.sleep", None, move |starting| starting.poll(timer::pause(limit)))
}

/// Returns the coroutine that runs in this thread; in a task of asyncio's one that stands for the
/// task, with a mailbox; None outside of both.
#[pyfunction]
fn current(py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
    if let Some(coro) = call::current_coro(py) {
        return Ok(Some(coro));
    }
    if guest::running_loop(py).is_none() {
        return Ok(None);
    }
    let coro = hooks::hook(py, "current_in_task")?.call0()?;
    Ok((!coro.is_none()).then(|| coro.unbind()))
}

/// Returns the coroutine of ours that runs in this thread.
#[pyfunction]
fn running(py: Python<'_>) -> Option<Py<PyAny>> {
    call::current_coro(py)
}

#[pymodule(gil_used = true)]
fn _engine(module: &Bound<'_, PyModule>) -> PyResult<()> {
    engine::refuse_sub_interpreters()?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    // pyo3 would make these at their first use, under a lock of its own (`once.rs`).
    module.py().get_type::<coro::alarm::Alarm>();
    Python::attach(|_| {});
    log::subscribe();
    module.add_class::<coro::Coro>()?;
    module.add_class::<guest::Guest>()?;
    module.add_class::<coro::Driver>()?;
    #[cfg(target_os = "linux")]
    eventloop::add_to(module)?;
    coro::make_fast(module.py())?;
    module.add("Call", call::make_type(module.py(), coro::registry::wake_all)?)?;
    module.add_function(wrap_pyfunction!(call::first::first, module)?)?;
    module.add_function(wrap_pyfunction!(call::origin::note_origins, module)?)?;
    module.add_function(wrap_pyfunction!(engine::set_drain, module)?)?;
    module.add_function(wrap_pyfunction!(engine::get_drain, module)?)?;
    sync::add_to(module)?;
    module.add_class::<socket::PySocket>()?;
    module.add_class::<socket::PyDatagramSocket>()?;
    socket::make_fast(module.py())?;
    module.py().get_type::<socket::Watched>();
    module.py().get_type::<socket::Begun>();
    module.add_class::<file::PyFile>()?;
    module.add_class::<promise::Promise>()?;
    module.add_function(wrap_pyfunction!(promise::promised, module)?)?;
    module.add_function(wrap_pyfunction!(sleep, module)?)?;
    module.add_function(wrap_pyfunction!(coro::alarm::alarm, module)?)?;
    module.add_function(wrap_pyfunction!(socket::connect, module)?)?;
    module.add_function(wrap_pyfunction!(socket::close_over, module)?)?;
    module.add_function(wrap_pyfunction!(socket::release_over, module)?)?;
    module.add_function(wrap_pyfunction!(current, module)?)?;
    module.add_function(wrap_pyfunction!(running, module)?)?;
    module.add_function(wrap_pyfunction!(serve::serve, module)?)?;
    module.add_function(wrap_pyfunction!(engine::interrupt, module)?)?;
    module.add_function(wrap_pyfunction!(engine::stop_when_idle, module)?)?;
    module.add_class::<signal::PySignal>()?;
    module.add_function(wrap_pyfunction!(signal::signal, module)?)?;
    module.add_function(wrap_pyfunction!(signal::ignore_signal, module)?)?;
    module.add_function(wrap_pyfunction!(signal::check_signals, module)?)?;
    module.add_function(wrap_pyfunction!(engine::stop, module)?)?;
    module.add_function(wrap_pyfunction!(serve::after_fork, module)?)?;
    module.add_function(wrap_pyfunction!(watcher::stop_watching, module)?)?;
    module.add_function(wrap_pyfunction!(engine::in_scheduler, module)?)?;
    module.add_function(wrap_pyfunction!(engine::is_running, module)?)?;
    module.add_function(wrap_pyfunction!(hooks::set_hooks, module)?)?;
    module.add_function(wrap_pyfunction!(hooks::set_legacy, module)?)?;
    module.add_function(wrap_pyfunction!(holding::process_ends, module)?)?;
    module.add_function(wrap_pyfunction!(coro::registry::alive, module)?)?;
    module.add_function(wrap_pyfunction!(holding::when_none_holds, module)?)?;
    module.add_function(wrap_pyfunction!(holding::give_up, module)?)
}
