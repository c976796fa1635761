//! TLS: which cryptography both listeners speak, the certificate of the web pages, and the appliance's own CA
//! that scanners are known by.
//!
//! Every certificate is valid from 1970 to the end of 9999: behind an air gap clocks are wrong, at this end and
//! at the other, and a date is not how a certificate is withdrawn here (a revoked scanner is, by its row).

mod ca;
mod keys;
mod ui;

use std::sync::Arc;

use portolan_scanner::wire;
use rcgen::CertificateParams;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::error::{Error, Result};
use crate::ids::Random;
use crate::layout::Layout;
use crate::secrets::sha256;
pub use ca::Ca;
pub use keys::{Keys, host_name, kept_ui};
pub use ui::UiCertificate;

/// The name that the scanner-facing certificate carries, and that scanners expect, whatever address they dial.
pub const INGEST_NAME: &str = "portolan-ingest";

/// The cryptography of every TLS connection of the appliance: aws-lc-rs, the hybrid of X25519 and ML-KEM-768
/// first, then what older clients speak.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    use aws_lc_rs::kx_group::{SECP256R1, SECP384R1, X25519, X25519MLKEM768};
    let kx_groups = vec![X25519MLKEM768, X25519, SECP256R1, SECP384R1];
    Arc::new(CryptoProvider { kx_groups, ..aws_lc_rs::default_provider() })
}

/// The web pages' side of TLS: 1.3 and 1.2, HTTP/2 and 1.1, no client certificate.
///
/// # Errors
/// When key and certificate do not belong together.
pub fn ui_config(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<ServerConfig> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(Error::internal)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(Error::internal)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// The scanners' side of TLS, from the three files that the manager made for ingest: 1.3 only, HTTP/1.1. A client
/// certificate is optional (enrolment has none); one that is given must be of our CA.
///
/// # Errors
/// [`Error::Unavailable`] while the files are not there; else when they do not belong together.
pub fn ingest_config(layout: &Layout) -> Result<ServerConfig> {
    for path in [layout.ingest_key(), layout.ingest_leaf(), layout.ingest_ca()] {
        if !path.exists() {
            return Err(Error::Unavailable(format!("{} is not made yet", path.display())));
        }
    }
    let named = |path: std::path::PathBuf| move |e| Error::internal(format!("{}: {e}", path.display()));
    let key = PrivateKeyDer::from_pem_file(layout.ingest_key()).map_err(named(layout.ingest_key()))?;
    let leaf = CertificateDer::from_pem_file(layout.ingest_leaf()).map_err(named(layout.ingest_leaf()))?;
    let ca = CertificateDer::from_pem_file(layout.ingest_ca()).map_err(named(layout.ingest_ca()))?;
    let mut roots = RootCertStore::empty();
    roots.add(ca.clone()).map_err(Error::internal)?;
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .allow_unauthenticated()
        .build()
        .map_err(Error::internal)?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(Error::internal)?
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![leaf, ca], key)
        .map_err(Error::internal)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// As [`ingest_config`], once the manager has made the files; asks four times a second.
///
/// # Errors
/// The last refusal, after `patience`.
pub async fn wait_for_ingest_config(layout: &Layout, patience: std::time::Duration) -> Result<ServerConfig> {
    crate::store::wait(patience, || ingest_config(layout)).await
}

/// SHA-256 of something DER, as lower-case hex: how a certificate is named.
#[must_use]
pub fn fingerprint(der: &[u8]) -> String {
    wire::hex::encode(&sha256(der))
}

/// A public key's pin as `curl --pinnedpubkey` takes it: `sha256//` and base64 of SHA-256 over its
/// `SubjectPublicKeyInfo`.
#[must_use]
pub fn pin(subject_public_key_info: &[u8]) -> String {
    format!("sha256//{}", wire::base64::encode(&sha256(subject_public_key_info)))
}

/// What all our certificates have in common.
fn parameters(names: &[String], common_name: &str, random: &Random) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(names).map_err(Error::internal)?;
    params.not_before = rcgen::date_time_ymd(1970, 1, 1);
    // RFC 5280, 4.1.2.5: what has no well-defined end.
    params.not_after = time::macros::datetime!(9999-12-31 23:59:59 UTC);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, common_name);
    let mut serial = random.bytes::<16>();
    serial[0] = serial[0] & 0x7f | 0x40; // positive, and always 16 bytes
    params.serial_number = Some(serial.to_vec().into());
    Ok(params)
}
