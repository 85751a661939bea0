//! Which of its certificates a server shows: the one for the name that the client asks for.
//!
//! The client says the name in its first message (SNI, RFC 6066). A certificate's names are the
//! DNS names of its subject alternative name; `*.example.org` stands for one label before
//! `.example.org` (RFC 6125, 6.4.3). An exact name goes before a wildcard, an earlier certificate
//! before a later one, and the first certificate is for everybody else.

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

/// The certificates of a server by name. They can be exchanged while handshakes go on.
#[derive(Debug)]
pub(super) struct ByName(RwLock<Arc<Table>>);

#[derive(Debug)]
struct Table {
    first: Arc<CertifiedKey>,
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// By what follows the `*`, the dot included.
    wildcard: HashMap<String, Arc<CertifiedKey>>,
}

impl ByName {
    /// There must be at least one.
    pub(super) fn new(identities: &[Identity]) -> ByName {
        ByName(RwLock::new(Arc::new(Table::new(identities))))
    }

    /// From now on, these. There must be at least one.
    pub(super) fn replace(&self, identities: &[Identity]) {
        let table = Arc::new(Table::new(identities));
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
    /// The name in the last first message that was looked at here.
    static ASKED: RefCell<Option<Box<str>>> = const { RefCell::new(None) };
}

/// Calls `f`, and gives the name that a client has asked for within it, too: rustls tells it only
/// to who chooses the certificate, which happens in the call that reads the first message.
pub(super) fn noting<R>(f: impl FnOnce() -> R) -> (R, Option<Box<str>>) {
    ASKED.take();
    (f(), ASKED.take())
}

impl Table {
    fn new(identities: &[Identity]) -> Table {
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
        Table { first, exact, wildcard }
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
