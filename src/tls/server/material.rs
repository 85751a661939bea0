//! The part of a server's configuration that comes from files, which a reload replaces.

use std::{io, sync::Arc};

use rustls::{
    RootCertStore,
    pki_types::CertificateDer,
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};

use super::super::{
    identity::Identity,
    provider::provider,
    trust::{self, Authorities},
};
use crate::error::invalid_data;

#[derive(Clone)]
pub(super) struct Material {
    /// At least one.
    pub(super) identities: Vec<Identity>,
    pub(super) client_authorities: Vec<Authorities>,
    /// Whether a client must have a certificate, if there are authorities.
    pub(super) certificate_required: bool,
}

impl Material {
    pub(super) fn new(identity: Identity) -> Material {
        let identities = vec![identity];
        Material { identities, client_authorities: Vec::new(), certificate_required: false }
    }

    /// Reads the files read_again.
    pub(super) fn read_again(&self, verb: &'static str) -> io::Result<Material> {
        let identities = self.identities.iter().map(|identity| identity.read_again(verb));
        let authorities = self.client_authorities.iter().map(|given| given.read_again(verb));
        Ok(Material {
            identities: identities.collect::<io::Result<_>>()?,
            client_authorities: authorities.collect::<io::Result<_>>()?,
            certificate_required: self.certificate_required,
        })
    }

    pub(super) fn trusts_the_same_clients(&self, other: &Material) -> bool {
        self.certificate_required == other.certificate_required
            && self.trusted().eq(other.trusted())
    }

    /// Makes the verifier of clients; `None` if everybody may connect.
    pub(super) fn client_verifier(&self) -> io::Result<Option<Arc<dyn ClientCertVerifier>>> {
        if self.client_authorities.is_empty() {
            return Ok(None);
        }
        let mut roots = RootCertStore::empty();
        trust::add(&mut roots, &self.client_authorities)?;
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
        let builder =
            if self.certificate_required { builder } else { builder.allow_unauthenticated() };
        builder.build().map(Some).map_err(invalid_data)
    }

    fn trusted(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        self.client_authorities.iter().flat_map(|authorities| &authorities.certificates)
    }
}
