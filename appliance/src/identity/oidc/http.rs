//! One request to a provider: TLS to its own CA bundle, HTTP/1.1, no redirect, bounded in time and bytes. Nothing here
//! is called unless a provider is configured.

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{HOST, HeaderValue};
use hyper_util::rt::TokioIo;
use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The longest a request may take, and the most bytes of an answer.
const PATIENCE: Duration = Duration::from_secs(10);
const MOST: usize = 1024 * 1024;

/// Why there is no answer, in words for who signs in.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failed(String);

/// Reaches providers whose certificates this bundle vouches for.
#[derive(Clone)]
pub struct Client(Arc<ClientConfig>);

impl Client {
    /// From PEM certificates.
    ///
    /// # Errors
    /// When there is none in it, or one cannot be read.
    pub fn trusting(pem: &str) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.map_err(|error| format!("is not PEM: {error}"))?;
            roots
                .add(certificate)
                .map_err(|error| format!("has a certificate that cannot be used: {error}"))?;
        }
        if roots.is_empty() {
            return Err("has no certificate: it begins with -----BEGIN CERTIFICATE-----".to_owned());
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }

    /// Sends it and reads the whole answer.
    ///
    /// # Errors
    /// [`Failed`].
    pub async fn send(&self, request: HttpRequest) -> Result<HttpResponse, Failed> {
        let answer = tokio::time::timeout(PATIENCE, self.exchange(request)).await;
        answer.unwrap_or_else(|_| Err(Failed(format!("no answer in {} s", PATIENCE.as_secs()))))
    }

    async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse, Failed> {
        let (mut parts, body) = request.into_parts();
        if parts.uri.scheme_str() != Some("https") {
            return Err(Failed(format!("{} is not https", parts.uri)));
        }
        let authority =
            parts.uri.authority().cloned().ok_or_else(|| Failed("there is no host".to_owned()))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(443);
        let name = ServerName::try_from(host.clone()).map_err(|_| Failed(format!("{host} is no name")))?;
        let failed =
            |what: &str, error: &dyn std::fmt::Display| Failed(format!("{what} {authority}: {error}"));
        let stream = TcpStream::connect((host.as_str(), port))
            .await
            .map_err(|error| failed("cannot reach", &error))?;
        let stream = TlsConnector::from(self.0.clone())
            .connect(name, stream)
            .await
            .map_err(|error| failed("no trust in", &error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failed("no HTTP with", &error))?;
        tokio::spawn(connection);
        if let Ok(value) = HeaderValue::from_str(authority.as_str()) {
            parts.headers.insert(HOST, value);
        }
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        parts.uri = path.parse().map_err(|_| Failed(format!("{path} is no path")))?;
        let request = hyper::Request::from_parts(parts, Full::new(Bytes::from(body)));
        let answer = sender.send_request(request).await.map_err(|error| failed("no answer from", &error))?;
        let (parts, body) = answer.into_parts();
        let body = Limited::new(body, MOST)
            .collect()
            .await
            .map_err(|error| failed("a broken answer from", &error))?;
        Ok(hyper::Response::from_parts(parts, body.to_bytes().to_vec()))
    }
}

impl<'c> AsyncHttpClient<'c> for Client {
    type Error = Failed;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, Failed>> + Send + 'static>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        let client = self.clone();
        Box::pin(async move { client.send(request).await })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_without_a_certificate_is_refused() {
        for pem in ["", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert!(Client::trusting(pem).is_err(), "{pem:?}");
        }
    }

    #[tokio::test]
    async fn only_https_is_spoken() {
        let made = rcgen::generate_simple_self_signed(["provider.test".to_owned()]).unwrap();
        let client = Client::trusting(&made.cert.pem()).unwrap();
        let request = hyper::Request::get("http://127.0.0.1:1/").body(vec![]).unwrap();
        assert!(client.send(request).await.unwrap_err().to_string().contains("is not https"));
        let request = hyper::Request::get("https://127.0.0.1:1/").body(vec![]).unwrap();
        assert!(client.send(request).await.unwrap_err().to_string().contains("cannot reach 127.0.0.1:1"));
    }
}
