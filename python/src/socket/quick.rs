//! The verbs of a socket that come with every request, entered quickly.

use pyo3::prelude::*;

use super::PySocket;
use crate::quick::{Covered, Quick, install, number};

/// Gives the type the short ways into its methods.
pub(crate) fn make_fast(py: Python<'_>) -> PyResult<()> {
    install::<1, Recv>(py)?;
    install::<1, RecvAll>(py)?;
    install::<1, SendAll>(py)?;
    install::<1, SendMsg>(py)
}

/// A quick method of one argument.
macro_rules! quick {
    ($type:ident, $name:literal, |$slf:ident, $argument:ident| $call:expr) => {
        struct $type;

        impl Quick<1> for $type {
            type Class = PySocket;
            const NAME: &'static str = $name;

            fn covered() -> &'static Covered {
                static COVERED: Covered = Covered::new();
                &COVERED
            }

            fn call<'py>(
                $slf: &Bound<'py, PySocket>,
                [$argument]: [Borrowed<'_, 'py, PyAny>; 1],
            ) -> Option<PyResult<Py<PyAny>>> {
                Some($call)
            }
        }
    };
}

quick!(Recv, "recv", |slf, count| PySocket::recv(slf, number(count)?, 0));
quick!(RecvAll, "recvall", |slf, count| PySocket::recvall(slf, number(count)?, 0));
quick!(SendAll, "sendall", |slf, data| PySocket::sendall(slf, &data, 0));
quick!(SendMsg, "send_msg", |slf, data| PySocket::send_msg(slf, &data));
