//! Quick entries of the verbs of a socket that each request takes.

use pyo3::prelude::*;

use super::object::PySocket;
use crate::quick::{install, number, quick};

pub(crate) fn make_fast(py: Python<'_>) -> PyResult<()> {
    install::<1, Recv>(py)?;
    install::<1, RecvAll>(py)?;
    install::<1, SendAll>(py)?;
    install::<1, SendMsg>(py)
}

quick!(Recv<1>, PySocket, "recv", |slf, [count]| PySocket::recv(slf, number(count)?, 0));
quick!(RecvAll<1>, PySocket, "recvall", |slf, [count]| PySocket::recvall(slf, number(count)?, 0));
quick!(SendAll<1>, PySocket, "sendall", |slf, [data]| PySocket::sendall(slf, &data, 0));
quick!(SendMsg<1>, PySocket, "send_msg", |slf, [data]| PySocket::send_msg(slf, &data));
