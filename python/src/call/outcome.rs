//! What a call gives: a value or an exception, in two forms.

use pyo3::{exceptions::PyBaseException, prelude::*};

use crate::gil;

/// The result of a call.
pub(crate) type Outcome = PyResult<Py<PyAny>>;

/// An outcome in two machine words, as it is stored and as a generator is resumed with it.
pub(crate) type Given = Result<Py<PyAny>, Py<PyBaseException>>;

pub(super) fn given(outcome: Outcome) -> Given {
    outcome.map_err(|error| error.into_value(gil::py()))
}
