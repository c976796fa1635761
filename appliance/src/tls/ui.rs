//! The certificate of the web pages: self-signed, made at first start, replaced by the site's own when it has one.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use rcgen::{ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, PublicKeyData as _};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::{fingerprint, parameters, pin, ui_config};
use crate::error::{Error, Result};
use crate::ids::Random;
use crate::secrets::signing::pem;

/// Key and certificate of the web pages.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UiCertificate {
    names: BTreeSet<String>,
    certificate: String,
    key: String,
}

impl Drop for UiCertificate {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl std::fmt::Debug for UiCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UiCertificate").field("names", &self.names).finish_non_exhaustive()
    }
}

/// The names it always carries, and `more`: host names and addresses by which the appliance is reached.
fn with_loopback(more: &[String]) -> BTreeSet<String> {
    let always = ["localhost".into(), Ipv4Addr::LOCALHOST.to_string(), Ipv6Addr::LOCALHOST.to_string()];
    more.iter().cloned().chain(always).collect()
}

impl UiCertificate {
    /// A new key (ECDSA P-256) with a certificate for `localhost`, both loopback addresses and `names`.
    ///
    /// # Errors
    /// When a name can be in no certificate.
    pub fn make(names: &[String], random: &Random) -> Result<Self> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(Error::internal)?;
        Self::sign(&key, with_loopback(names), random)
    }

    /// The same key with a certificate that carries `names` as well, when it does not yet: a pinned key stays.
    ///
    /// # Errors
    /// When a name can be in no certificate.
    pub fn covering(&self, names: &[String], random: &Random) -> Result<Option<Self>> {
        let wanted = with_loopback(names);
        if wanted.is_subset(&self.names) {
            return Ok(None);
        }
        Self::sign(&self.key_pair()?, &wanted | &self.names, random).map(Some)
    }

    fn sign(key: &KeyPair, names: BTreeSet<String>, random: &Random) -> Result<Self> {
        let list: Vec<String> = names.iter().cloned().collect();
        let mut params = parameters(&list, "Portolan", random)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = pem("CERTIFICATE", params.self_signed(key).map_err(Error::internal)?.der());
        Ok(Self { names, certificate, key: pem("PRIVATE KEY", key.serialized_der()) })
    }

    /// From what [`UiCertificate::to_json`] gave.
    ///
    /// # Errors
    /// When it is not that.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        Ok(serde_json::from_slice(bytes)?)
    }

    /// Everything, to be sealed.
    ///
    /// # Errors
    /// Never, for what this type can hold.
    pub fn to_json(&self) -> Result<Zeroizing<Vec<u8>>> {
        Ok(Zeroizing::new(serde_json::to_vec(self)?))
    }

    fn key_pair(&self) -> Result<KeyPair> {
        KeyPair::from_pem(&self.key).map_err(Error::internal)
    }

    /// The certificate.
    ///
    /// # Errors
    /// When it does not read.
    pub fn der(&self) -> Result<CertificateDer<'static>> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).map_err(Error::internal)
    }

    /// Names and addresses in the certificate.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// SHA-256 of the certificate, hex: what a browser shows.
    ///
    /// # Errors
    /// When the certificate does not read.
    pub fn fingerprint(&self) -> Result<String> {
        Ok(fingerprint(&self.der()?))
    }

    /// The pin of its public key, for `curl --pinnedpubkey`.
    ///
    /// # Errors
    /// When the key does not read.
    pub fn pin(&self) -> Result<String> {
        Ok(pin(&self.key_pair()?.subject_public_key_info()))
    }

    /// The server configuration for the web pages.
    ///
    /// # Errors
    /// When key and certificate do not read or do not belong together.
    pub fn config(&self) -> Result<ServerConfig> {
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).map_err(Error::internal)?;
        ui_config(vec![self.der()?], key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn it_names_localhost_both_loopbacks_and_what_was_asked() {
        let made = UiCertificate::make(&names(&["chart.example", "10.0.0.5"]), &Random::system()).unwrap();
        let listed: Vec<&str> = made.names().collect();
        assert_eq!(listed, ["10.0.0.5", "127.0.0.1", "::1", "chart.example", "localhost"]);
        let config = made.config().unwrap();
        assert_eq!(config.alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
    }

    #[test]
    fn a_new_name_changes_the_certificate_and_keeps_the_pinned_key() {
        let made = UiCertificate::make(&[], &Random::system()).unwrap();
        assert!(made.covering(&names(&["localhost"]), &Random::system()).unwrap().is_none());
        let wider = made.covering(&names(&["chart.example"]), &Random::system()).unwrap().unwrap();
        assert_eq!(made.pin().unwrap(), wider.pin().unwrap());
        assert_ne!(made.fingerprint().unwrap(), wider.fingerprint().unwrap());
        let back = UiCertificate::from_json(&wider.to_json().unwrap()).unwrap();
        assert_eq!(back.fingerprint().unwrap(), wider.fingerprint().unwrap());
        assert!(!format!("{back:?}").contains("PRIVATE"));
    }

    #[test]
    fn it_is_valid_for_a_clock_that_is_decades_off() {
        use rustls::client::WebPkiServerVerifier;
        use rustls::client::danger::ServerCertVerifier as _;
        use rustls::pki_types::{ServerName, UnixTime};
        let made = UiCertificate::make(&[], &Random::system()).unwrap();
        let der = made.der().unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(der.clone()).unwrap();
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), super::super::provider())
            .build()
            .unwrap();
        for seconds in [1, 946_684_800, 4_102_444_800] {
            let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
            let name = ServerName::try_from("localhost").unwrap();
            let seen = verifier.verify_server_cert(&der, &[], &name, &[], now);
            assert!(seen.is_ok(), "{seconds}: {seen:?}");
        }
    }
}
