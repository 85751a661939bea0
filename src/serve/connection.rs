//! One connection as its server sees it, and the list of all.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    collections::BTreeMap,
    error::Error,
    fmt, io,
    net::Shutdown,
    panic::Location,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use super::control::Control;
use crate::{
    coro::{Origin, name_of, running},
    driver::Driver,
    error::peer_has_gone,
    log,
    socket::{AsyncSocket, Watched},
    sync::local::OwnedSemaphorePermit,
};

/// What a handler may end with: nothing, or a `Result`, whose error is logged.
///
/// The errors of peers are told apart from your own, as [`Coro::or_log`](crate::Coro::or_log) does:
/// an `io::Error`, or one in a `Box<dyn Error + Send + Sync>`, that says that the peer has reset
/// the connection is a line of level DEBUG, one of an early end a line of level INFO.
pub trait Outcome: sealed::Sealed {
    #[doc(hidden)]
    fn failure(self) -> Option<Failure>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for () {}
    impl<T, E> Sealed for Result<T, E> {}
}

impl Outcome for () {
    fn failure(self) -> Option<Failure> {
        None
    }
}

impl<T, E: fmt::Display + 'static> Outcome for Result<T, E> {
    fn failure(self) -> Option<Failure> {
        let error = self.err()?;
        let any: &dyn Any = &error;
        let boxed = any.downcast_ref::<Box<dyn Error + Send + Sync>>();
        let system = any.downcast_ref::<io::Error>();
        let system = system.or_else(|| boxed?.downcast_ref::<io::Error>());
        Some(Failure { text: error.to_string(), fault: system.map_or(Fault::Own, Fault::of) })
    }
}

/// The error of a handler.
#[doc(hidden)]
#[derive(Debug)]
pub struct Failure {
    text: String,
    fault: Fault,
}

/// Whose fault it is.
#[derive(Debug, PartialEq, Eq)]
enum Fault {
    Own,
    /// The peer has cut off what it had begun.
    Peers,
    /// The peer has gone, which is normal.
    Nobodys,
}

impl Fault {
    fn of(error: &io::Error) -> Fault {
        match error.kind() {
            _ if peer_has_gone(error) => Fault::Nobodys,
            io::ErrorKind::UnexpectedEof => Fault::Peers,
            _ => Fault::Own,
        }
    }
}

/// The connections whose handlers have not ended.
pub(super) struct Connections {
    control: Arc<Control>,
    open: RefCell<BTreeMap<u64, Rc<Connection>>>,
    last: Cell<u64>,
    /// Those whose handlers have ended, and that still send.
    sending: RefCell<Vec<Rc<Connection>>>,
    /// Where `serve` was called.
    place: &'static Location<'static>,
}

/// One of them.
struct Connection {
    socket: Watched,
    /// When bytes were last seen to have moved.
    moved: Cell<Instant>,
    cut: Cell<Option<Cut>>,
}

/// Why the server has ended a connection of which the handler knows nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// Nothing more is received.
    Reading,
    Both,
}

impl Connections {
    pub(super) fn new(
        control: &Arc<Control>,
        place: &'static Location<'static>,
    ) -> Rc<Connections> {
        Rc::new(Connections {
            control: Arc::clone(control),
            open: RefCell::default(),
            last: Cell::new(0),
            sending: RefCell::default(),
            place,
        })
    }

    /// Adds a connection.
    pub(super) fn add(
        self: &Rc<Self>,
        socket: &AsyncSocket,
        slot: Option<OwnedSemaphorePermit>,
    ) -> Member {
        let connection = Rc::new(Connection {
            socket: socket.watched(),
            moved: Cell::new(Driver::now()),
            cut: Cell::new(None),
        });
        let number = self.last.get() + 1;
        self.last.set(number);
        self.open.borrow_mut().insert(number, Rc::clone(&connection));
        Control::add(&self.control.accepted, 1);
        Control::add(&self.control.open, 1);
        Member { all: Rc::clone(self), number, connection, _slot: slot }
    }

    /// Tells whether there is one whose handler has ended, and which still sends.
    pub(super) fn are_sending(&self) -> bool {
        let mut sending = self.sending.borrow_mut();
        sending.retain(|connection| connection.socket.is_left());
        !sending.is_empty()
    }

    /// Forgets what has moved until now.
    pub(super) fn look_anew(&self) {
        let now = Driver::now();
        for connection in self.open.borrow().values() {
            connection.socket.take_moved();
            connection.moved.set(now);
        }
    }

    /// Closes those on which nothing has moved for `idle`, and ends reading on those on which
    /// nothing has moved for `quiet` and, unless it `is_late`, no request may be under way.
    pub(super) fn look(&self, idle: Option<Duration>, quiet: Option<Duration>, is_late: bool) {
        let now = Driver::now();
        let is_over =
            |silent: Duration, limit: Option<Duration>| limit.is_some_and(|limit| silent >= limit);
        let mut ended = Vec::new();
        for connection in self.open.borrow().values() {
            if connection.cut.get() == Some(Cut::Both) {
                continue;
            }
            if connection.socket.take_moved() {
                connection.moved.set(now);
                continue;
            }
            let silent = now.saturating_duration_since(connection.moved.get());
            if is_over(silent, idle) {
                ended.push((Rc::clone(connection), Cut::Both));
            } else if is_over(silent, quiet)
                && connection.cut.get().is_none()
                && (is_late || !connection.socket.has_received())
            {
                ended.push((Rc::clone(connection), Cut::Reading));
            }
        }
        // This may wake foreign code.
        for (connection, cut) in ended {
            let is_used = connection.socket.shut_down(match cut {
                Cut::Reading => Shutdown::Read,
                Cut::Both => Shutdown::Both,
            });
            if is_used {
                connection.cut.set(Some(cut));
                Control::add(&self.control.idle, u64::from(cut == Cut::Both));
            }
        }
    }
}

/// The place of a connection in the list, which its coroutine has until its end.
pub(super) struct Member {
    all: Rc<Connections>,
    number: u64,
    connection: Rc<Connection>,
    /// Given back when the handler, and the socket that it had, were dropped.
    _slot: Option<OwnedSemaphorePermit>,
}

impl Member {
    /// Counts and logs the failure of the handler.
    pub(super) fn failed(&self, failure: &Failure) {
        let name = name_of(running());
        let who = Origin::new(name.as_deref(), self.all.place);
        let line = format!("{who} ended: {}", failure.text);
        let is_of_the_end = match self.connection.cut.get() {
            Some(Cut::Both) => true,
            Some(Cut::Reading) => failure.fault != Fault::Own,
            None => false,
        };
        if is_of_the_end {
            return log::debug(format_args!("{line}, after the server had ended the connection"));
        }
        Control::add(&self.all.control.failed, 1);
        match failure.fault {
            Fault::Own => log::error(format_args!("{line}")),
            Fault::Peers => log::info(format_args!("{line}")),
            Fault::Nobodys => log::debug(format_args!("{line}")),
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.all.control.open.fetch_sub(1, Ordering::Relaxed);
        if self.connection.socket.is_left() {
            let mut sending = self.all.sending.borrow_mut();
            if sending.len() == sending.capacity() {
                sending.retain(|connection| connection.socket.is_left());
            }
            sending.push(Rc::clone(&self.connection));
        }
        let removed = self.all.open.borrow_mut().remove(&self.number);
        drop(removed);
    }
}
