//! How far the connecting of a socket has come.
//!
//! The kernel knows whether a socket is connected and why an attempt has failed; what it does not
//! tell is where to the attempt under way goes, and its connect(2) says Ok to any address once that
//! one has succeeded. So that is kept here:
//!
//! | state | `connect(a)` |
//! | --- | --- |
//! | idle | begins an attempt |
//! | connecting to a, and its verb waits | stands in line behind that |
//! | connecting to a, nobody waits | goes on with it, or begins anew if it has failed |
//! | connecting to b, nobody waits | gives it up, even if it has succeeded, and begins |
//! | idle, and connected | `EISCONN`, from the kernel |
//!
//! A verb that waits is told how its attempt has ended, and then the state is idle.
//!
//! What must stay true: no verb says Ok for a peer that it was not asked for.

use crate::{addr::Address, socket::link::Link};

/// Tells whether an attempt to connect is under way, and where to.
#[derive(Default)]
pub(crate) enum Connection {
    /// No attempt of ours is under way.
    #[default]
    Idle,
    /// connect(2) has begun one to this address, and nobody was told how it has ended. In a box,
    /// since most sockets are connected, or never are.
    Connecting(Box<Address>),
}

/// What a connect finds that comes anew.
pub(crate) enum Found {
    /// Nothing in its way.
    Nothing,
    /// An attempt to the very address, which has not ended.
    Same,
    /// It has ended well.
    Connected,
}

impl Connection {
    /// Looks at what an earlier connect has left, and clears it away if it is of no use for one to
    /// `to`.
    pub(crate) fn clear_for(&mut self, link: &Link, to: &Address) -> rustix::io::Result<Found> {
        let Connection::Connecting(earlier) = self else { return Ok(Found::Nothing) };
        if **earlier == *to {
            match link.sys().is_connected_to(to) {
                Ok(true) => {
                    self.succeed();
                    return Ok(Found::Connected);
                }
                Ok(false) => return Ok(Found::Same),
                // Told to nobody who asked for it; the new one may do better.
                Err(_) => {}
            }
        } else {
            link.sys().dissolve()?;
        }
        self.fail();
        Ok(Found::Nothing)
    }

    /// An attempt has begun.
    pub(crate) fn begin(&mut self, to: Address) {
        debug_assert!(matches!(self, Connection::Idle), "one attempt at a time");
        *self = Connection::Connecting(Box::new(to));
    }

    /// Tells where to the attempt under way goes.
    pub(crate) fn target(&self) -> Option<&Address> {
        match self {
            Connection::Idle => None,
            Connection::Connecting(to) => Some(to),
        }
    }

    /// Notes that the attempt has ended well: the kernel has the connection.
    pub(crate) fn succeed(&mut self) {
        *self = Connection::Idle;
    }

    /// Notes that the attempt has failed, or was given up.
    pub(crate) fn fail(&mut self) {
        *self = Connection::Idle;
    }
}
