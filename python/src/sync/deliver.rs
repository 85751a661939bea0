//! `Channel.deliver`: sends a message, and waits for subscribers, and for their room.

use std::{
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use pyo3::prelude::*;

use super::{
    broadcast::{Slows, broadcast},
    channel::{Arrivals, Channel, Core, Slow},
    items::Items,
    queue::Putting,
    stand::Stand,
};
use crate::{
    call::{self, Outcome},
    coro::{Coro, Delivering, code},
    gil,
    timer::{Timer, limit},
};

/// A subscriber for whose room is waited.
enum Pending {
    Coro(Delivering),
    Queue(Putting),
}

impl Pending {
    /// Returns whether it has got the message; `None` while that is open.
    fn poll(&mut self, cx: &mut Context<'_>) -> Option<bool> {
        match self {
            Pending::Queue(putting) => putting.poll_put(cx).map(|put| put.is_ok()),
            Pending::Coro(delivering) => match Pin::new(delivering).poll(cx) {
                Poll::Pending => None,
                Poll::Ready(status) => {
                    let status = status.and_then(|status| status.extract::<i32>(gil::py()));
                    Some(status.is_ok_and(|status| status > 0))
                }
            },
        }
    }
}

impl Slows for Vec<Pending> {
    fn coro(&mut self, coro: &Py<Coro>, message: Py<PyAny>) {
        let coro = coro.clone_ref(gil::py());
        self.push(Pending::Coro(Delivering::new(coro, Some(message), None)));
    }

    fn queue(
        &mut self,
        items: &Rc<Items>,
        _: Slow,
        message: Py<PyAny>,
    ) -> (bool, Option<Py<PyAny>>) {
        self.push(Pending::Queue(Putting::new(items, Some(message))));
        (false, None)
    }
}

struct Broadcasting {
    stand: Stand<Arrivals>,
    timer: Timer,
    /// How many are to get it at least; 0 if as many as there are.
    wanted: usize,
    message: Option<Py<PyAny>>,
    pending: Vec<Pending>,
    received: usize,
}

impl Broadcasting {
    fn core(&self) -> &Rc<Core> {
        &self.stand.core
    }

    /// Sends the message if there are enough subscribers.
    fn send(&mut self, py: Python<'_>, cx: &Context<'_>) -> bool {
        while self.core().count() < self.wanted && !self.core().is_closed() {
            if !self.stand.is_told(cx, || ()) {
                return false;
            }
        }
        if let Some(message) = self.message.take() {
            self.received = broadcast(py, &self.stand.core, message, &mut self.pending);
        }
        true
    }

    fn has_enough(&self) -> bool {
        self.pending.is_empty() || self.wanted > 0 && self.received >= self.wanted
    }
}

impl Future for Broadcasting {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let (own, py) = (&mut *self, gil::py());
        if own.message.is_none() || own.send(py, cx) {
            let received = &mut own.received;
            own.pending.retain_mut(|pending| match pending.poll(cx) {
                Some(has_got_it) => {
                    *received += usize::from(has_got_it);
                    false
                }
                None => true,
            });
            if own.has_enough() {
                return Poll::Ready(count(py, own.received));
            }
        }
        match own.timer.is_due(cx) {
            true => Poll::Ready(count(py, own.received)),
            false => Poll::Pending,
        }
    }
}

fn count(py: Python<'_>, count: usize) -> Outcome {
    Ok(count.into_pyobject(py)?.into_any().unbind())
}

#[pymethods]
impl Channel {
    /// Waits until there are `n` subscribers, sends a message, and waits for those without room,
    /// `timeout` seconds in all (None: for ever), and if `n` is not 0 only until `n` have got it:
    /// `yield` or `await` gives how many have got it, those of other channels among them; -1 if the
    /// channel is closed. Who had no room by then does not get it.
    #[pyo3(signature = (message, timeout = None, n = 0))]
    fn deliver(
        slf: &Bound<'_, Self>,
        message: Py<PyAny>,
        timeout: Option<&Bound<'_, PyAny>>,
        n: isize,
    ) -> PyResult<Py<PyAny>> {
        let timeout = limit(timeout)?;
        call::make(slf.py(), "Channel.deliver", Some(slf.as_any()), move |starting| {
            let py = gil::py();
            let core = starting.of::<Channel>().get().core.get(py);
            let wanted = usize::try_from(n).ok().filter(|_| !core.is_closed());
            let Some(wanted) = wanted else { return starting.done(code(py, -1)) };
            starting.poll(Broadcasting {
                stand: Stand::new(core),
                timer: Timer::new(timeout),
                wanted,
                message: Some(message),
                pending: Vec::new(),
                received: 0,
            })
        })
    }
}
