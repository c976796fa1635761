//! A TLS connection to the appliance: its CA is pinned, and nothing waits for ever.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use super::{Error, say};
use crate::crypto;
use crate::net::{Range, Ranges, addr_to_u128};
use crate::work::clock::Clock;
use crate::work::lock;

/// The name that every appliance's certificate for scanners carries, whatever address is dialled.
pub const SERVER_NAME: &str = "portolan-ingest";

/// The port for scanners, where none is named.
const PORT: &str = "8443";

/// How long one blocking call may last before the wish to stop is looked at.
const SLICE: Duration = Duration::from_millis(200);

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);

/// A way to the appliance.
pub trait Dial: Send + Sync {
    /// Opens a connection that fails when the deadline has passed.
    fn dial(&self, deadline: Instant) -> Result<Box<dyn Stream>, Error>;

    /// The addresses of the appliance, as far as they are known; loopback, which is this machine's, is not among them.
    fn appliance(&self) -> Ranges {
        Ranges::new()
    }
}

/// A connection whose deadline can be moved, from one request to the next.
pub trait Stream: Read + Write + Send {
    fn set_deadline(&mut self, deadline: Instant);
}

/// Dials TCP and speaks TLS 1.3.
pub struct Tls {
    address: String,
    config: Arc<ClientConfig>,
    stop: fn() -> bool,
    /// What the address was last resolved to.
    resolved: Mutex<Vec<IpAddr>>,
    /// How the first connection is protected is told.
    told: Once,
}

impl Tls {
    /// A way to `HOST` or `HOST:PORT`, trusting this CA only; with the scanner's certificate and PKCS #8 key, once
    /// it has them.
    pub fn new(
        address: &str,
        ca: Trust,
        own: Option<(Vec<u8>, Vec<u8>)>,
        clock: Arc<Clock>,
        stop: fn() -> bool,
    ) -> Result<Self, Error> {
        let provider = Arc::new(crypto::for_appliance());
        let unusable = |error: rustls::Error| Error::Other(error.to_string());
        let verifier = Arc::new(PinnedCa { trust: ca, provider: Arc::clone(&provider) });
        let builder = ClientConfig::builder_with_details(provider, clock)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(unusable)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some((certificate, pkcs8)) => builder
                .with_client_auth_cert(
                    vec![CertificateDer::from(certificate)],
                    PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pkcs8)),
                )
                .map_err(unusable)?,
        };
        Ok(Self {
            address: with_port(address),
            config: Arc::new(config),
            stop,
            resolved: Mutex::default(),
            told: Once::new(),
        })
    }

    fn connect(&self, deadline: Instant) -> Result<ClientConnectionOnTcp, Error> {
        let tcp = self.tcp(deadline).map_err(Error::Network)?;
        let name = ServerName::try_from(SERVER_NAME).expect("a DNS name");
        let tls = ClientConnection::new(Arc::clone(&self.config), name);
        let tls = tls.map_err(|error| Error::Other(error.to_string()))?;
        let mut connection = rustls::StreamOwned::new(tls, Timed { tcp, deadline, stop: self.stop });
        match connection.conn.complete_io(&mut connection.sock) {
            Ok(_) => Ok(connection),
            Err(error) if error.get_ref().is_some_and(is_untrusted) => Err(Error::Untrusted),
            Err(error) => Err(Error::Network(error)),
        }
    }

    fn tcp(&self, deadline: Instant) -> io::Result<TcpStream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{} has no address", self.address));
        let addresses: Vec<SocketAddr> = self.address.to_socket_addrs()?.collect();
        *lock(&self.resolved) = addresses.iter().map(SocketAddr::ip).collect();
        for address in addresses {
            let left = deadline.saturating_duration_since(Instant::now()).min(CONNECT);
            if left.is_zero() || (self.stop)() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            match TcpStream::connect_timeout(&address, left) {
                Ok(tcp) => {
                    tcp.set_nodelay(true)?;
                    return Ok(tcp);
                }
                Err(error) => last = io::Error::new(error.kind(), format!("{address}: {error}")),
            }
        }
        Err(last)
    }

    /// The CA certificate that the server showed: the one that the pin names.
    pub fn shown_ca(&self, pin: &[u8; 32], deadline: Instant) -> Result<Vec<u8>, Error> {
        let connection = self.connect(deadline)?;
        let shown = connection.conn.peer_certificates().unwrap_or_default();
        let ca = shown.iter().find(|certificate| crypto::sha256(certificate) == *pin);
        ca.map(|certificate| certificate.to_vec())
            .ok_or(Error::Protocol("the CA certificate is not shown".into()))
    }
}

impl Dial for Tls {
    fn dial(&self, deadline: Instant) -> Result<Box<dyn Stream>, Error> {
        let connection = self.connect(deadline)?;
        self.told.call_once(|| {
            let exchange =
                connection.conn.negotiated_key_exchange_group().map(rustls::crypto::SupportedKxGroup::name);
            let exchange = exchange.map_or_else(|| "unknown".into(), |name| format!("{name:?}"));
            say(format_args!("connected to {}: TLS 1.3, key exchange {exchange}", self.address));
        });
        Ok(Box::new(connection))
    }

    fn appliance(&self) -> Ranges {
        let resolved = lock(&self.resolved);
        let abroad = resolved.iter().filter(|address| !address.to_canonical().is_loopback());
        abroad.map(|address| Range::single(addr_to_u128(*address))).collect()
    }
}

/// Whether a handshake failed because the server's certificate is not of the CA that is trusted.
fn is_untrusted(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    let untrusted = rustls::Error::from(CertificateError::UnknownIssuer);
    error.downcast_ref::<rustls::Error>() == Some(&untrusted)
}

type ClientConnectionOnTcp = rustls::StreamOwned<ClientConnection, Timed>;

impl Stream for ClientConnectionOnTcp {
    fn set_deadline(&mut self, deadline: Instant) {
        self.sock.deadline = deadline;
    }
}

/// Adds the port for scanners where none is named: `host`, `host:port`, `[v6]`, `[v6]:port` or a bare IPv6 address.
fn with_port(address: &str) -> String {
    if address.parse::<std::net::Ipv6Addr>().is_ok() {
        return format!("[{address}]:{PORT}");
    }
    let behind_host = address.rfind(']').map_or(address, |end| &address[end..]);
    if behind_host.contains(':') { address.to_owned() } else { format!("{address}:{PORT}") }
}

/// A TCP stream that fails once its deadline has passed or the process is asked to stop.
#[derive(Debug)]
pub struct Timed {
    tcp: TcpStream,
    deadline: Instant,
    stop: fn() -> bool,
}

impl Timed {
    fn until_done<T>(
        &mut self,
        slice: fn(&TcpStream, Option<Duration>) -> io::Result<()>,
        mut call: impl FnMut(&mut TcpStream) -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || (self.stop)() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"));
            }
            slice(&self.tcp, Some(left.min(SLICE)))?;
            match call(&mut self.tcp) {
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                }
                done => return done,
            }
        }
    }
}

impl Read for Timed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.until_done(TcpStream::set_read_timeout, |tcp| tcp.read(into))
    }
}

impl Write for Timed {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.until_done(TcpStream::set_write_timeout, |tcp| tcp.write(from))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}

impl rustls::time_provider::TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        let micros = u64::try_from(self.appliance_now()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_micros(micros)))
    }
}

/// The one CA that is trusted.
#[derive(Debug, Clone)]
pub enum Trust {
    /// The certificate itself: DER.
    Ca(Vec<u8>),
    /// The SHA-256 of its DER: the server must show it.
    Pin([u8; 32]),
}

#[derive(Debug)]
struct PinnedCa {
    trust: Trust,
    provider: Arc<CryptoProvider>,
}

impl PinnedCa {
    fn ca(&self, shown: &[CertificateDer<'_>]) -> Result<CertificateDer<'static>, rustls::Error> {
        match &self.trust {
            Trust::Ca(der) => Ok(CertificateDer::from(der.clone())),
            Trust::Pin(pin) => {
                let ca = shown.iter().find(|certificate| crypto::sha256(certificate) == *pin);
                ca.map(|ca| ca.clone().into_owned()).ok_or(CertificateError::UnknownIssuer.into())
            }
        }
    }
}

impl ServerCertVerifier for PinnedCa {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca(intermediates)?)?;
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
                .build()
                .map_err(|error| rustls::Error::General(error.to_string()))?;
        verifier.verify_server_cert(leaf, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("only TLS 1.3 is spoken here".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_appliance_is_where_its_name_was_resolved_to_unless_that_is_loopback() {
        let tls = Tls::new("localhost:1", Trust::Pin([0; 32]), None, Arc::default(), || false).unwrap();
        assert!(tls.appliance().is_empty());
        assert!(tls.dial(Instant::now() + CONNECT).is_err(), "nobody listens there");
        assert!(!tls.resolved.lock().unwrap().is_empty());
        assert!(tls.appliance().is_empty(), "loopback is this machine's own");
        let found =
            ["192.0.2.7", "::ffff:192.0.2.8", "::1", "fd00::7"].map(|address| address.parse().unwrap());
        *tls.resolved.lock().unwrap() = found.to_vec();
        assert_eq!(tls.appliance().to_string(), "192.0.2.7-192.0.2.8, fd00::7");
    }
}
