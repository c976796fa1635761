//! The appliance's own CA: it says which client is which scanner, and nothing else.

use rcgen::{
    BasicConstraints, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData as _,
    SanType, SubjectPublicKeyInfo,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{INGEST_NAME, fingerprint, parameters, pin};
use crate::error::{Error, Result};
use crate::ids::Random;
use crate::layout::{Layout, write_file};
use crate::secrets::signing::pem;

/// DER of a `SubjectPublicKeyInfo` up to the 32 bytes of an Ed25519 key (RFC 8410).
const ED25519_SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The CA with its key.
#[derive(Debug)]
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    random: Random,
}

impl Ca {
    /// A new CA (ECDSA P-256). It may issue end entities only.
    ///
    /// # Errors
    /// When the cryptographic library refuses.
    pub fn make(random: &Random) -> Result<Self> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(Error::internal)?;
        let mut params = parameters(&[], "Portolan scanner CA", random)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(Error::internal)?.der().clone();
        Ok(Self { issuer: Issuer::new(params, key), certificate, random: random.clone() })
    }

    /// From what [`Ca::to_pem`] gave.
    ///
    /// # Errors
    /// When it is not that.
    pub fn from_pem(text: &str, random: &Random) -> Result<Self> {
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(Error::internal)?;
        let certificate = CertificateDer::from_pem_slice(text.as_bytes()).map_err(Error::internal)?;
        let key = KeyPair::try_from(&key).map_err(Error::internal)?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(Error::internal)?;
        Ok(Self { issuer, certificate, random: random.clone() })
    }

    /// Key and certificate, to be sealed.
    #[must_use]
    pub fn to_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(pem("PRIVATE KEY", self.issuer.key().serialized_der()) + &self.certificate_pem())
    }

    /// The certificate, DER.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The certificate, PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> String {
        pem("CERTIFICATE", &self.certificate)
    }

    /// SHA-256 of the certificate's DER, hex: what `--ca-sha256` takes.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.certificate)
    }

    /// The pin of its public key.
    #[must_use]
    pub fn pin(&self) -> String {
        pin(&self.issuer.key().subject_public_key_info())
    }

    /// A client certificate (DER) for a scanner's Ed25519 key. Whoever asks must have proved to hold that key.
    ///
    /// # Errors
    /// When the cryptographic library refuses.
    pub fn issue_client_certificate(&self, public_key: &[u8; 32], scanner: Uuid) -> Result<Vec<u8>> {
        let spki = [&ED25519_SPKI[..], public_key].concat();
        let public = SubjectPublicKeyInfo::from_der(&spki).map_err(Error::internal)?;
        let mut params = parameters(&[], &scanner.to_string(), &self.random)?;
        let urn = format!("urn:uuid:{scanner}");
        params.subject_alt_names.push(SanType::URI(urn.try_into().map_err(Error::internal)?));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        Ok(params.signed_by(&public, &self.issuer).map_err(Error::internal)?.der().to_vec())
    }

    /// Writes the three files that ingest needs, unless they are there and of this CA; says whether it wrote.
    ///
    /// # Errors
    /// Any from the file system.
    pub fn provide_ingest(&self, layout: &Layout) -> Result<bool> {
        let ours = self.certificate_pem();
        if super::ingest_config(layout).is_ok() && std::fs::read_to_string(layout.ingest_ca())? == ours {
            return Ok(false);
        }
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(Error::internal)?;
        let mut params = parameters(&[INGEST_NAME.to_owned()], INGEST_NAME, &self.random)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let leaf = params.signed_by(&key, &self.issuer).map_err(Error::internal)?;
        let key = Zeroizing::new(pem("PRIVATE KEY", key.serialized_der()));
        write_file(&layout.ingest_key(), key.as_bytes(), 0o640)?;
        write_file(&layout.ingest_leaf(), pem("CERTIFICATE", leaf.der()).as_bytes(), 0o640)?;
        // Last: where it is, the two others are.
        write_file(&layout.ingest_ca(), ours.as_bytes(), 0o640)?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
    use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection};

    use super::*;
    use crate::secrets::signing::JobKey;

    fn ca() -> Ca {
        Ca::make(&Random::system()).unwrap()
    }

    /// PKCS#8 of an Ed25519 key, as a scanner keeps it.
    fn scanner_key(random: &Random) -> ([u8; 32], PrivateKeyDer<'static>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("k");
        let key = JobKey::make(random);
        key.save(&path).unwrap();
        (key.public(), PrivatePkcs8KeyDer::from_pem_file(&path).unwrap().into())
    }

    fn provided(ca: &Ca) -> (tempfile::TempDir, Layout) {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path());
        layout.create().unwrap();
        assert!(ca.provide_ingest(&layout).unwrap());
        (root, layout)
    }

    /// A handshake in memory; what the server saw of the client, or why it refused.
    fn shake(
        layout: &Layout,
        trusted: &Ca,
        client: Option<(Vec<u8>, PrivateKeyDer<'static>)>,
    ) -> std::result::Result<(Option<Vec<u8>>, rustls::NamedGroup), rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(trusted.certificate().clone()).unwrap();
        let config = ClientConfig::builder_with_provider(super::super::provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots);
        let config = match client {
            Some((certificate, key)) => config.with_client_auth_cert(vec![certificate.into()], key)?,
            None => config.with_no_client_auth(),
        };
        let server = Arc::new(super::super::ingest_config(layout).unwrap());
        let mut server = ServerConnection::new(server)?;
        let name = ServerName::try_from(INGEST_NAME).unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name)?;
        while client.is_handshaking()
            || server.is_handshaking()
            || client.wants_write()
            || server.wants_write()
        {
            let mut bytes = Vec::new();
            client.write_tls(&mut bytes).unwrap();
            server.read_tls(&mut &bytes[..]).unwrap();
            server.process_new_packets()?;
            let mut bytes = Vec::new();
            server.write_tls(&mut bytes).unwrap();
            client.read_tls(&mut &bytes[..]).unwrap();
            client.process_new_packets()?;
        }
        let seen = server.peer_certificates().map(|chain| chain[0].to_vec());
        Ok((seen, server.negotiated_key_exchange_group().unwrap().name()))
    }

    #[test]
    fn a_scanner_is_known_by_the_certificate_of_our_ca_and_the_handshake_is_hybrid() {
        let ca = ca();
        let (_root, layout) = provided(&ca);
        let (public, key) = scanner_key(&Random::seeded(1));
        let certificate = ca.issue_client_certificate(&public, Uuid::nil()).unwrap();
        let (seen, group) = shake(&layout, &ca, Some((certificate.clone(), key))).unwrap();
        assert_eq!(seen, Some(certificate));
        assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
    }

    #[test]
    fn no_certificate_is_let_in_for_enrolment_and_a_foreign_one_is_not() {
        let ca = ca();
        let (_root, layout) = provided(&ca);
        assert_eq!(shake(&layout, &ca, None).unwrap().0, None);
        let (public, key) = scanner_key(&Random::seeded(1));
        let foreign = self::ca().issue_client_certificate(&public, Uuid::nil()).unwrap();
        shake(&layout, &ca, Some((foreign, key))).unwrap_err();
    }

    #[test]
    fn a_scanner_that_trusts_another_ca_refuses_us() {
        let ca = ca();
        let (_root, layout) = provided(&ca);
        shake(&layout, &self::ca(), None).unwrap_err();
    }

    #[test]
    fn the_ca_comes_back_as_it_was_and_ingest_keeps_its_leaf() {
        let ca = ca();
        let (_root, layout) = provided(&ca);
        let again = Ca::from_pem(&ca.to_pem(), &Random::system()).unwrap();
        assert_eq!((again.fingerprint(), again.pin()), (ca.fingerprint(), ca.pin()));
        assert!(!again.provide_ingest(&layout).unwrap());
        let (public, key) = scanner_key(&Random::seeded(3));
        let certificate = again.issue_client_certificate(&public, Uuid::nil()).unwrap();
        shake(&layout, &ca, Some((certificate, key))).unwrap();
        assert!(self::ca().provide_ingest(&layout).unwrap());
    }
}
