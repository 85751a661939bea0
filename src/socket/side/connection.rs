//! The state of a socket's attempt to connect.
//!
//! The kernel knows whether a socket is connected and why an attempt failed. It does not tell which
//! address the attempt is for, and once the attempt has succeeded, connect(2) returns Ok for any
//! address. So the address is kept here:
//!
//! | state | `connect(a)` |
//! | --- | --- |
//! | idle | begins an attempt |
//! | connecting to a, and its verb waits | queues behind that verb |
//! | connecting to a, no verb waits | continues the attempt, or begins again if it has failed |
//! | connecting to b, no verb waits | ends that attempt, even if it succeeded, and begins |
//! | idle, and connected | `EISCONN`, from the kernel |
//!
//! A verb that waits returns the result of its attempt, and then the state is idle.
//!
//! Invariant: no verb returns Ok for a peer other than its own.

use crate::{addr::Address, socket::link::Link};

/// An attempt to connect, if one is under way, and its address.
#[derive(Default)]
pub(crate) enum Connection {
    /// No attempt is under way.
    #[default]
    Idle,
    /// connect(2) has started an attempt to this address, and no verb has returned its result.
    /// Boxed, since most sockets are connected already or never connect.
    Connecting(Box<Address>),
}

/// What a new connect finds.
pub(crate) enum Found {
    /// No attempt, or one that was ended.
    Nothing,
    /// An attempt to the same address that has not finished.
    Same,
    /// An attempt to the same address that has succeeded.
    Connected,
}

impl Connection {
    /// Examines the attempt that an earlier connect has left, and ends it unless a connect to `to`
    /// can use it.
    pub(crate) fn clear_for(&mut self, link: &Link, to: &Address) -> rustix::io::Result<Found> {
        let Connection::Connecting(earlier) = self else { return Ok(Found::Nothing) };
        if **earlier == *to {
            match link.sys().is_connected_to(to) {
                Ok(true) => {
                    self.succeed();
                    return Ok(Found::Connected);
                }
                Ok(false) => return Ok(Found::Same),
                // No verb asked for that failure; a new attempt may succeed.
                Err(_) => {}
            }
        } else {
            link.sys().dissolve()?;
        }
        self.fail();
        Ok(Found::Nothing)
    }

    /// Notes that an attempt has begun.
    pub(crate) fn begin(&mut self, to: Address) {
        debug_assert!(matches!(self, Connection::Idle), "one attempt at a time");
        *self = Connection::Connecting(Box::new(to));
    }

    /// Returns the address of the attempt under way.
    pub(crate) fn target(&self) -> Option<&Address> {
        match self {
            Connection::Idle => None,
            Connection::Connecting(to) => Some(to),
        }
    }

    /// Notes that the attempt has succeeded.
    pub(crate) fn succeed(&mut self) {
        *self = Connection::Idle;
    }

    /// Notes that the attempt has failed or was ended.
    pub(crate) fn fail(&mut self) {
        *self = Connection::Idle;
    }
}
