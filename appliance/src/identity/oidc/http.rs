//! One request to a provider: TLS to its own CA bundle, HTTP/1.1, no redirect, bounded in time and bytes. Nothing here
//! is called unless a provider is configured.

use axum::body::{Body, to_bytes};
use axum::http::header::{HOST, HeaderValue};
use axum::http::{Request, Response};
use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};
use rustls::ClientConfig;
use std::fmt::Display;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::outward::{self, Url};

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
        outward::trusting(pem).map(Self)
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
        let url = Url::parse(&request.uri().to_string()).map_err(Failed)?;
        if !url.secure {
            return Err(Failed(format!("{} is not https", request.uri())));
        }
        let failed = |what: &str, error: &dyn Display| Failed(format!("{what} {}: {error}", url.address()));
        let (mut parts, body) = request.into_parts();
        if let Ok(value) = HeaderValue::from_str(&url.authority) {
            parts.headers.insert(HOST, value);
        }
        parts.uri = url.path.parse().map_err(|_| Failed(format!("{} is no path", url.path)))?;
        let request = Request::from_parts(parts, Body::from(body));
        let answer = outward::ask(&url, Some(&self.0), request)
            .await
            .map_err(|error| failed("cannot reach", &error))?;
        let (parts, body) = answer.into_parts();
        let body = to_bytes(body, MOST).await.map_err(|error| failed("a broken answer from", &error))?;
        Ok(Response::from_parts(parts, body.to_vec()))
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
        let request = Request::get("http://127.0.0.1:1/").body(vec![]).unwrap();
        assert!(client.send(request).await.unwrap_err().to_string().contains("is not https"));
        let request = Request::get("https://127.0.0.1:1/").body(vec![]).unwrap();
        assert!(client.send(request).await.unwrap_err().to_string().contains("cannot reach 127.0.0.1:1"));
    }
}
