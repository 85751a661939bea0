//! What both sockets tell of TLS, written once.

/// Gives a socket the methods that tell what was agreed on; also known of one that is closed.
macro_rules! facts {
    ($socket:ident) => {
        impl $socket {
            /// Gives the certificates that the peer has shown, its own first, in DER; empty without
            /// TLS or when it has shown none.
            #[doc(alias = "getpeercert")]
            pub fn peer_certificates(&self) -> Vec<rustls::pki_types::CertificateDer<'static>> {
                self.fact($crate::tls::session::Session::peer_certificates).unwrap_or_default()
            }

            /// Gives the application protocol that was agreed on (ALPN, RFC 7301).
            #[doc(alias = "selected_alpn_protocol")]
            pub fn alpn(&self) -> Option<Vec<u8>> {
                self.fact($crate::tls::session::Session::alpn).flatten()
            }

            /// Gives the version of TLS that is spoken; `None` without TLS, and before the
            /// handshake.
            #[doc(alias = "version")]
            pub fn protocol_version(&self) -> Option<$crate::tls::TlsVersion> {
                self.fact($crate::tls::session::Session::version).flatten()
            }

            /// Gives the name that the client has asked for (SNI, RFC 6066), on the server's side.
            pub fn server_name(&self) -> Option<String> {
                self.fact(|session| session.asked_name().map(str::to_owned)).flatten()
            }

            /// Tells whether the handshake was a short one, with keys of an earlier session.
            #[doc(alias = "session_reused")]
            pub fn is_resumed(&self) -> bool {
                self.fact($crate::tls::session::Session::is_resumed).unwrap_or_default()
            }

            /// Tells whether the peer has said that nothing follows (close_notify).
            ///
            /// After an end of stream it tells whether that was the peer's wish, or whether
            /// somebody has cut the stream. Always true without TLS, where nobody can tell.
            pub fn peer_closed_cleanly(&self) -> bool {
                self.fact($crate::tls::session::Session::has_peer_closed).unwrap_or(true)
            }

            /// Gives the number of handshakes that have failed on this listener: those that went
            /// wrong, took too long, or made room for newer ones.
            pub fn failed_handshakes(&self) -> u64 {
                self.tls($crate::socket::records::Records::failures).unwrap_or(0)
            }

            fn fact<R>(&self, f: impl FnOnce(&$crate::tls::session::Session) -> R) -> Option<R> {
                self.tls(|tls| tls.fact(f)).flatten()
            }
        }
    };
}

pub(crate) use facts;
