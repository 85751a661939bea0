//! A look at a socket from outside, which does not keep it: for who serves connections.

use std::{
    net::Shutdown,
    rc::{Rc, Weak},
};

use super::{AsyncSocket, core::Core};

/// A socket as long as somebody has a handle to it.
#[doc(hidden)]
pub struct Watched {
    core: Weak<Core>,
}

impl AsyncSocket {
    /// Returns the socket to look at. There is one who looks.
    pub(crate) fn watched(&self) -> Watched {
        Watched { core: Rc::downgrade(&self.core) }
    }
}

impl Watched {
    /// Tells whether bytes were received or sent since this was last asked.
    pub fn take_moved(&self) -> bool {
        self.with(|core| core.look(|link| link.sys().take_moved()).unwrap_or(true))
    }

    /// Tells whether a request may be under way: the last bytes that were moved were received, or
    /// some belong to something which is not complete, or nobody has asked for them yet.
    pub fn has_received(&self) -> bool {
        self.with(|core| {
            core.look(|link| link.sys().has_received_last()).unwrap_or(true) || core.has_received()
        })
    }

    /// Ends a direction, or both, for whoever uses the socket: verbs return the end of the stream.
    /// Returns whether somebody uses it.
    pub fn shut_down(&self, how: Shutdown) -> bool {
        self.with(|core| core.with_link(|link| Ok(link.shutdown(how)?)).is_ok())
    }

    /// Tells whether all have dropped it, and it still sends, or waits for that to arrive.
    pub(crate) fn is_left(&self) -> bool {
        self.core.upgrade().is_some_and(|core| core.handles.get() == 0)
    }

    fn with(&self, f: impl FnOnce(&Core) -> bool) -> bool {
        match self.core.upgrade() {
            Some(core) if core.handles.get() > 0 => f(&core),
            _ => false,
        }
    }
}
