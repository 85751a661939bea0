//! The text form of a socket, the same for both faces.

use std::fmt;

use super::link::Link;
use crate::{addr::Address, sys::Kind};

/// What the text form of a socket needs to ask the socket for.
pub(crate) struct Seen {
    local: Option<Address>,
    peer: Option<Address>,
    tls: bool,
}

impl Seen {
    pub(crate) fn of(link: &Link) -> Seen {
        Seen {
            local: link.sys().local_addr().ok(),
            peer: link.sys().peer_addr().ok(),
            tls: link.is_secure(),
        }
    }
}

/// `seen` is `None` while the socket is in use, in a closure that is called by a verb of it.
pub(crate) fn show(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    kind: Kind,
    state: &str,
    seen: Option<Seen>,
) -> fmt::Result {
    let mut text = f.debug_struct(name);
    text.field("kind", &format_args!("{}", kind.name())).field("state", &format_args!("{state}"));
    let Some(seen) = seen else { return text.finish_non_exhaustive() };
    // A closed socket has an inert descriptor, of which there is nothing to say.
    for (which, address) in [("local", &seen.local), ("peer", &seen.peer)] {
        match address {
            Some(address) if state != "closed" => text.field(which, &format_args!("{address}")),
            _ => text.field(which, &format_args!("-")),
        };
    }
    text.field("tls", &seen.tls).finish()
}
