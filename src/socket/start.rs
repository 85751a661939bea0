//! Prepares TLS, for either face.

use std::io;

use super::link::Link;
use crate::{
    addr::Target,
    error::{self, invalid_input},
    tls::Tls,
};

/// The TLS configuration of a client that connects, and the host's name.
pub(crate) struct Connecting {
    pub(crate) tls: Tls,
    pub(crate) host: Option<String>,
}

impl Connecting {
    /// # Errors
    /// An invalid configuration, before anything is connected.
    pub(crate) fn new(tls: Tls, target: &Target) -> io::Result<Connecting> {
        tls.client_config()?;
        Ok(Connecting { tls, host: host_of(target) })
    }
}

/// Returns the host of a target in the form that TLS uses.
fn host_of(target: &Target) -> Option<String> {
    match target {
        Target::Name { host, .. } => Some(host.to_string()),
        Target::Address(address) => Some(address.socket_addr()?.ip().to_string()),
    }
}

/// Tells whether TLS can be added to a socket of this kind at all.
fn may_speak(link: &Link, verb: &'static str) -> io::Result<()> {
    if !link.kind().is_stream() {
        return Err(error::wrong_kind(verb, link.kind().name()));
    }
    if link.tls().is_some_and(|tls| !tls.is_plain()) {
        return Err(invalid_input("the socket has its TLS already"));
    }
    Ok(())
}

pub(crate) fn may_intend(link: &Link) -> io::Result<()> {
    may_speak(link, "with_tls")?;
    if link.sys().peer_addr().is_ok() {
        let text = "with_tls is for sockets that listen or will connect; this one is connected: \
                    use start_tls";
        return Err(invalid_input(text));
    }
    Ok(())
}

pub(crate) fn may_begin(link: &Link) -> io::Result<()> {
    may_speak(link, "start_tls")?;
    link.sys().peer_addr()?;
    Ok(())
}

/// Refuses bytes that came before TLS and that no verb has received: they must not be read as part
/// of the TLS stream.
pub(crate) fn refuse_leftover(is_left: bool) -> io::Result<()> {
    if is_left {
        return Err(invalid_input("start_tls with bytes received before TLS and not taken"));
    }
    Ok(())
}
