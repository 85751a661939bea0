//! The text form of a socket, the same for both faces.

use std::fmt;

use super::link::Link;
use crate::{addr::Address, sys::Kind};

/// The facts about a socket that its text form shows.
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

/// Writes the text form; `seen` is `None` while a closure called by one of its verbs runs.
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
    // The addresses of a closed socket, whose descriptor is inert, are not shown.
    for (which, address) in [("local", &seen.local), ("peer", &seen.peer)] {
        match address {
            Some(address) if state != "closed" => text.field(which, &format_args!("{address}")),
            _ => text.field(which, &format_args!("-")),
        };
    }
    text.field("tls", &seen.tls).finish()
}
