//! The settings of a server's configuration with their defaults, and rustls's configuration made
//! from them.

use std::{io, sync::Arc, time::Duration};

use rustls::{
    ServerConfig,
    server::{NoServerSessionStorage, ServerSessionMemoryCache},
};

use super::{
    super::{
        alpn::check_alpn,
        defaults::{HANDSHAKE_TIMEOUT, REMEMBERED_SESSIONS},
        names::ByName,
        provider::{Versions, provider, ticketer},
    },
    material::Material,
};
use crate::error::invalid_data;

#[derive(Clone)]
pub(super) struct ServerSettings {
    pub(super) alpn: Vec<Vec<u8>>,
    pub(super) versions: Versions,
    pub(super) tickets: usize,
    pub(super) timeout: Duration,
    pub(super) handshakes: usize,
}

impl Default for ServerSettings {
    fn default() -> ServerSettings {
        ServerSettings {
            alpn: Vec::new(),
            versions: Versions::default(),
            tickets: 2,
            timeout: HANDSHAKE_TIMEOUT,
            handshakes: 256,
        }
    }
}

impl ServerSettings {
    pub(super) fn build(
        &self,
        material: &Material,
        resolver: Arc<ByName>,
    ) -> io::Result<ServerConfig> {
        check_alpn(&self.alpn)?;
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&self.versions.supported())
            .map_err(invalid_data)?;
        let builder = match material.client_verifier()? {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(resolver);
        config.alpn_protocols = self.alpn.clone();
        config.send_tls13_tickets = self.tickets;
        if self.tickets == 0 {
            config.session_storage = Arc::new(NoServerSessionStorage {});
        } else {
            config.session_storage = ServerSessionMemoryCache::new(REMEMBERED_SESSIONS);
            config.ticketer = ticketer()?;
        }
        Ok(config)
    }
}
