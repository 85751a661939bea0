//! Quick entries of the methods that take each step of a program that uses them much.

use pyo3::prelude::*;

use super::{channel::Channel, event::Event, lock::Lock, queue::Queue, semaphore::Semaphore};
use crate::{
    coro::code,
    quick::{install, quick},
};

pub(super) fn install_all(py: Python<'_>) -> PyResult<()> {
    install::<0, Acquire>(py)?;
    install::<0, Take>(py)?;
    install::<0, Release>(py)?;
    install::<0, Wait>(py)?;
    install::<1, Put>(py)?;
    install::<1, PutNowait>(py)?;
    install::<1, Send>(py)
}

quick!(Acquire<0>, Lock, "acquire", |slf, []| Lock::acquire(slf, true, None));
quick!(Take<0>, Semaphore, "acquire", |slf, []| Semaphore::acquire(slf, true, None));
quick!(Release<0>, Semaphore, "release", |slf, []| {
    slf.get().release(slf.py(), 1).map(|()| slf.py().None())
});
quick!(Wait<0>, Event, "wait", |slf, []| Event::wait(slf, None));
quick!(Put<1>, Queue, "put", |slf, [item]| Queue::put(slf, item.to_owned().unbind()));
quick!(PutNowait<1>, Queue, "put_nowait", |slf, [item]| {
    slf.get().put_nowait(slf.py(), item.to_owned().unbind()).map(|()| slf.py().None())
});
quick!(Send<1>, Channel, "send", |slf, [message]| {
    let message = message.to_owned().unbind();
    slf.get().send(slf.py(), message).and_then(|sent| code(slf.py(), sent))
});
