//! Makes plain sockets with the defaults of both faces.
//!
//! The defaults: `TCP_NODELAY`, since small messages must not wait for an acknowledgement and are
//! coalesced before they are sent; `SO_REUSEADDR` for servers, so that a server can restart at
//! once; the longest backlog that the system allows.

use std::{io, time::Duration};

use socket2::{Domain, Type};

use crate::{
    addr::{Address, Target, ToAddress},
    error,
    sys::Sys,
};

/// Connections that may wait to be accepted; the system may have a lower limit.
const BACKLOG: i32 = 4096;

/// Pause before another try where the queue of a Unix socket is full: no event reports room.
pub(crate) const UNIX_PAUSE: Duration = Duration::from_millis(2);

/// Longest pause of `accept` at the limit of descriptors, unless one is closed in here.
pub(crate) const DESCRIPTOR_PAUSE: Duration = Duration::from_millis(100);

/// Returns a numeric address, for calls that cannot wait for a name.
pub(crate) fn numeric(address: &impl ToAddress, verb: &str) -> io::Result<Address> {
    match address.to_target()? {
        Target::Address(address) => Ok(address),
        Target::Name { host, .. } => {
            let text = format!("{verb} needs a numeric address, not the name {host:?}");
            Err(error::invalid_input(text))
        }
    }
}

/// Returns the first address of a socket's family. Without one, returns the first address, so that
/// the system names the problem. There must be at least one.
pub(crate) fn of_family(mut addresses: Vec<Address>, family: Option<Domain>) -> Address {
    let fits = |address: &Address| family.is_none_or(|family| domain(address) == family);
    let place = addresses.iter().position(fits).unwrap_or(0);
    addresses.swap_remove(place)
}

/// Makes a socket bound to the first of several addresses that can be bound; a stream also listens.
///
/// # Errors
/// Fails with the error of the first address.
pub(crate) fn bind_first(addresses: &[Address], kind: Type) -> io::Result<Sys> {
    let mut first_error = None;
    for address in addresses {
        match bind_one(address, kind) {
            Ok(sys) => return Ok(sys),
            Err(error) => drop(first_error.get_or_insert(error)),
        }
    }
    Err(first_error.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()))
}

fn bind_one(address: &Address, kind: Type) -> io::Result<Sys> {
    let sys = open(address, kind)?;
    if kind == Type::STREAM && !address.is_unix() {
        sys.options().set_reuse_address(true)?;
    }
    sys.bind(address)?;
    if kind == Type::STREAM {
        sys.listen(BACKLOG)?;
    }
    Ok(sys)
}

/// Makes a socket for an address, with the defaults.
pub(crate) fn open(address: &Address, kind: Type) -> io::Result<Sys> {
    let sys = Sys::open(domain(address), kind)?;
    if sys.kind().is_tcp() {
        // Accepted sockets inherit it.
        sys.options().set_tcp_nodelay(true)?;
    }
    Ok(sys)
}

fn domain(address: &Address) -> Domain {
    match address {
        Address::Inet(_) => Domain::IPV4,
        Address::Inet6(_) => Domain::IPV6,
        Address::Unix(_) => Domain::UNIX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_the_sockets_family_is_chosen() {
        let all = ["[::1]:1", "127.0.0.1:1", "[::2]:1", "127.0.0.2:1"];
        let all = || all.map(|text| text.parse::<Address>().unwrap()).to_vec();
        let chosen = |family| of_family(all(), family).to_string();
        assert_eq!(chosen(Some(Domain::IPV4)), "127.0.0.1:1");
        assert_eq!(chosen(Some(Domain::IPV6)), "[::1]:1");
        // No address fits, or the family is unknown: the system names the problem with the first.
        assert_eq!(chosen(Some(Domain::UNIX)), "[::1]:1");
        assert_eq!(chosen(None), "[::1]:1");
    }
}
