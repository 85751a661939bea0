//! Chooses the certificate that a server shows: the one for the name that the client asks for.
//!
//! The client sends the name in its ClientHello (SNI, RFC 6066). A certificate's names are the DNS
//! names of its subject alternative name; `*.example.org` matches one label before `.example.org`
//! (RFC 6125, 6.4.3). An exact name takes precedence over a wildcard, an earlier certificate over a
//! later one, and all other clients get the first certificate.

use std::{
    cell::RefCell,
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::identity::Identity;

/// The certificates of a server by name. They can be exchanged while handshakes are in progress.
#[derive(Debug)]
pub(super) struct ByName(RwLock<Arc<Certificates>>);

#[derive(Debug)]
struct Certificates {
    first: Arc<CertifiedKey>,
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// The key is the part after the `*`, with the dot.
    wildcard: HashMap<String, Arc<CertifiedKey>>,
}

impl ByName {
    /// Makes the table of `identities`, of which there must be at least one.
    pub(super) fn new(identities: &[Identity]) -> ByName {
        ByName(RwLock::new(Arc::new(Certificates::new(identities))))
    }

    /// Replaces the table by that of `identities`, at least one.
    pub(super) fn replace(&self, identities: &[Identity]) {
        let table = Arc::new(Certificates::new(identities));
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = table;
    }

    fn find(&self, name: Option<&str>) -> Arc<CertifiedKey> {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        table.find(name).clone()
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        ASKED.with_borrow_mut(|asked| *asked = hello.server_name().map(Box::from));
        Some(self.find(hello.server_name()))
    }
}

thread_local! {
    /// The name in the last ClientHello that was resolved on this thread.
    static ASKED: RefCell<Option<Box<str>>> = const { RefCell::new(None) };
}

/// Calls `f`, and also returns the name that a client has asked for in it: rustls passes the name
/// only to the resolver, in the call that reads the ClientHello.
pub(super) fn with_asked_name<R>(f: impl FnOnce() -> R) -> (R, Option<Box<str>>) {
    ASKED.take();
    (f(), ASKED.take())
}

impl Certificates {
    fn new(identities: &[Identity]) -> Certificates {
        let first = identities.first().expect("a server has a certificate").certified.clone();
        let (mut exact, mut wildcard) = (HashMap::new(), HashMap::new());
        for identity in identities {
            for name in &identity.names {
                let (map, key) = match name.strip_prefix('*') {
                    Some(rest) => (&mut wildcard, rest),
                    None => (&mut exact, name.as_str()),
                };
                map.entry(key.to_owned()).or_insert_with(|| identity.certified.clone());
            }
        }
        Certificates { first, exact, wildcard }
    }

    fn find(&self, name: Option<&str>) -> &Arc<CertifiedKey> {
        let fitting = name.and_then(|name| {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            let parent = name.find('.').map(|dot| &name[dot..]);
            self.exact.get(&name).or_else(|| self.wildcard.get(parent?))
        });
        fitting.unwrap_or(&self.first)
    }
}
