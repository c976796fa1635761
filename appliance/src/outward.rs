//! How this program asks others over HTTP: one request over a connection of its own, to an address that a setting or the
//! command line names. Nothing is followed, cached or kept alive, and an answer has a limit.

use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::tls;

/// The parts of `http://host[:port]/path` and `https://…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Whether it is TLS.
    pub secure: bool,
    /// Host, and port where one was given.
    pub authority: String,
    /// Path and query, from `/`.
    pub path: String,
}

impl Url {
    /// Reads one.
    ///
    /// # Errors
    /// A sentence on what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "is written as https://host/path or http://host:port/path".to_owned();
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong()),
        };
        let authority = uri.authority().ok_or_else(wrong)?;
        if authority.as_str().contains('@') {
            return Err("takes no name or password".to_owned());
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Self { secure, authority: authority.to_string(), path })
    }

    /// Where it is connected to, `host:port`.
    #[must_use]
    pub fn address(&self) -> String {
        let has_port = self.authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        match (has_port, self.secure) {
            (true, _) => self.authority.clone(),
            (false, true) => format!("{}:443", self.authority),
            (false, false) => format!("{}:80", self.authority),
        }
    }
}

/// Sends a request to where the URL says and gives the answer with a body that has yet to be read. Without `tls` only what
/// is not TLS can be asked.
///
/// # Errors
/// Nobody there, cut off, no HTTP, or a certificate that is not vouched for.
pub async fn ask(
    url: &Url,
    tls: Option<&Arc<ClientConfig>>,
    request: Request<Body>,
) -> io::Result<Response<Body>> {
    let address = url.address();
    match (url.secure, tls) {
        (true, Some(config)) => exchange(secured(&address, config).await?, request).await,
        (true, None) => Err(io::Error::other("nothing says whose certificate is to be trusted")),
        (false, _) => exchange(TcpStream::connect(&address).await?, request).await,
    }
}

/// A TLS connection to `host:port`, whose certificate is for that host.
///
/// # Errors
/// As [`ask`].
pub async fn secured(address: &str, config: &Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
        .map_err(|_| io::Error::other(format!("{host} is not the name of a host")))?;
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::clone(config)).connect(name, stream).await
}

async fn exchange<S>(stream: S, request: Request<Body>) -> io::Result<Response<Body>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // It ends with the answer's body, or when that is dropped.
    tokio::spawn(connection);
    let answer = sender.send_request(request).await.map_err(io::Error::other)?;
    Ok(answer.map(Body::new))
}

/// TLS 1.3 and 1.2 towards whom only the authorities in this PEM vouch for: the system's list is never asked.
///
/// # Errors
/// A sentence on what is wrong with it.
pub fn trusting(ca: &str) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
        let certificate = certificate.map_err(|error| format!("the CA cannot be read: {error}"))?;
        roots.add(certificate).map_err(|error| format!("the CA cannot be used: {error}"))?;
    }
    if roots.is_empty() {
        return Err("a CA in PEM is needed: nothing else says who the other side is".to_owned());
    }
    let builder = ClientConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| error.to_string())?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// TLS towards whoever has the certificate of this SHA-256 (over its DER, hex) and its key, whatever the name.
///
/// # Errors
/// A sentence on what is wrong with it.
pub fn pinned(sha256: &str) -> Result<Arc<ClientConfig>, String> {
    let sha256 = sha256.trim().replace(':', "").to_ascii_lowercase();
    if sha256.len() != 64 || !sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err("a pin is the SHA-256 of the certificate: 64 hexadecimal digits".to_owned());
    }
    let provider = tls::provider();
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| error.to_string())?;
    let verifier = Arc::new(Pinned { sha256, provider });
    Ok(Arc::new(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()))
}

/// Takes one certificate. That the other side has its key is proved by the handshake's signature, which rustls checks.
#[derive(Debug)]
struct Pinned {
    sha256: String,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let shown = tls::fingerprint(end_entity);
        if shown == self.sha256 {
            return Ok(ServerCertVerified::assertion());
        }
        Err(rustls::Error::General(format!("its certificate is {shown}, not the one that is pinned")))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_strictly() {
        let url = Url::parse("https://siem.example/in?x=1").unwrap();
        assert_eq!(
            (url.secure, url.path.as_str(), url.address().as_str()),
            (true, "/in?x=1", "siem.example:443")
        );
        assert_eq!(Url::parse("http://[::1]:8080").unwrap().address(), "[::1]:8080");
        assert_eq!(Url::parse("http://[::1]/").unwrap().address(), "[::1]:80");
        for bad in ["ftp://x/", "siem.example:514", "https://", "https://a:b@c/", "https://a b/"] {
            assert!(Url::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn without_a_ca_or_a_pin_nobody_is_trusted() {
        assert!(trusting("").unwrap_err().contains("a CA in PEM is needed"));
        assert!(trusting("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").is_err());
        assert!(pinned("abc").is_err());
        assert!(pinned(&"AB:".repeat(32)).is_ok());
    }
}
