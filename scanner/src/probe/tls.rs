//! A TLS handshake for the sake of one thing: the certificate that the server shows.
//!
//! Nothing is verified, as nothing is trusted: no secret goes over this connection and nothing that comes over it is
//! believed. It speaks TLS 1.2 and 1.3, shows no certificate of its own, and hangs up when it has seen the server's.

use std::io::ErrorKind;
use std::net::IpAddr;
use std::sync::Arc;

use portolan_scanner::wire::Certificate;
use portolan_scanner::{certificate, crypto};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};

use crate::sys::Socket;

/// How much a peer may make us read in one step, in pieces.
const PIECES: usize = 16;

/// How handshakes are begun; `None` if the library cannot do it.
pub struct Config(Option<Arc<ClientConfig>>);

impl Config {
    /// With every cipher suite that the library has.
    pub fn new() -> Self {
        let provider = Arc::new(crypto::provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12]);
        let config = builder.ok().map(|builder| {
            let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(Anything));
            let mut config = builder.with_no_client_auth();
            config.resumption = Resumption::disabled();
            Arc::new(config)
        });
        Self(config)
    }

    /// As where the library cannot do it.
    #[cfg(test)]
    pub fn unable() -> Self {
        Self(None)
    }
}

/// A handshake under way.
pub struct Handshake(ClientConnection);

/// How it stands.
pub enum Step {
    /// The peer's turn.
    Wait,
    /// It is over, with what the peer showed.
    Over(Option<Certificate>),
}

impl Handshake {
    /// A new one, with nothing sent yet.
    pub fn begin(config: &Config, address: IpAddr) -> Option<Self> {
        let name = ServerName::IpAddress(address.into());
        ClientConnection::new(Arc::clone(config.0.as_ref()?), name).ok().map(Self)
    }

    /// Goes on as far as can be without waiting.
    pub fn step(&mut self, mut socket: &Socket) -> Step {
        let tls = &mut self.0;
        for _ in 0..PIECES {
            while tls.wants_write() {
                match tls.write_tls(&mut socket) {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(_) => return Step::Over(None),
                }
            }
            match tls.read_tls(&mut socket) {
                Ok(count) if count > 0 => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Step::Wait,
                _ => return Step::Over(None),
            }
            let refused = tls.process_new_packets().is_err();
            if let Some(leaf) = tls.peer_certificates().and_then(<[_]>::first) {
                let leaf = certificate::read(leaf, crypto::sha256(leaf));
                tls.send_close_notify();
                // It is a courtesy: the peer may be gone.
                let _ = tls.write_tls(&mut socket);
                return Step::Over(Some(leaf));
            }
            if refused {
                return Step::Over(None);
            }
        }
        Step::Wait
    }
}

/// Takes any certificate, to look at.
#[derive(Debug)]
struct Anything;

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _stapled: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        use SignatureScheme as S;
        vec![
            S::ECDSA_NISTP256_SHA256,
            S::ECDSA_NISTP384_SHA384,
            S::ECDSA_NISTP521_SHA512,
            S::ED25519,
            S::ED448,
            S::RSA_PSS_SHA256,
            S::RSA_PSS_SHA384,
            S::RSA_PSS_SHA512,
            S::RSA_PKCS1_SHA256,
            S::RSA_PKCS1_SHA384,
            S::RSA_PKCS1_SHA512,
            S::ECDSA_SHA1_Legacy,
            S::RSA_PKCS1_SHA1,
        ]
    }
}
