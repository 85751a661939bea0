//! The TLS facts that both sockets report, written once.

/// Adds the methods that report what TLS has negotiated, also on a closed socket.
macro_rules! facts {
    ($socket:ident) => {
        impl $socket {
            /// Returns the certificates of the peer, its own first, in DER; empty without TLS, or
            /// if it has sent none.
            #[doc(alias = "getpeercert")]
            pub fn peer_certificates(&self) -> Vec<rustls::pki_types::CertificateDer<'static>> {
                self.fact($crate::tls::session::Session::peer_certificates).unwrap_or_default()
            }

            /// Returns the application protocol that was negotiated (ALPN, RFC 7301).
            #[doc(alias = "selected_alpn_protocol")]
            pub fn alpn(&self) -> Option<Vec<u8>> {
                self.fact($crate::tls::session::Session::alpn).flatten()
            }

            /// Returns the version of TLS in use; `None` without TLS, and before the handshake.
            #[doc(alias = "version")]
            pub fn protocol_version(&self) -> Option<$crate::tls::TlsVersion> {
                self.fact($crate::tls::session::Session::version).flatten()
            }

            /// Returns the name that the client has asked for (SNI, RFC 6066), on a server.
            pub fn server_name(&self) -> Option<String> {
                self.fact(|session| session.asked_name().map(str::to_owned)).flatten()
            }

            /// Tells whether the handshake was a short one, with keys of an earlier session.
            #[doc(alias = "session_reused")]
            pub fn is_resumed(&self) -> bool {
                self.fact($crate::tls::session::Session::is_resumed).unwrap_or_default()
            }

            /// Tells whether the peer has announced its end (close_notify).
            ///
            /// After an end of stream it tells whether the peer intended it or the stream was cut.
            /// Always true without TLS, where this cannot be known.
            pub fn peer_closed_cleanly(&self) -> bool {
                self.fact($crate::tls::session::Session::has_peer_closed).unwrap_or(true)
            }

            /// Returns the number of handshakes that have failed on this listener: those that went
            /// wrong, took too long, or were ended for newer ones.
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
