//! The scanner-facing API of an appliance, as its client sees it.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::connection::{Dial, SERVER_NAME, Stream};
use super::http::{self, Response};
use super::{Error, VERSION};
use crate::crypto::{self, Identity};
use crate::wire::fields::Fields;
use crate::wire::http_signature::{self, Params};
use crate::wire::{Id, MAX_FRAME, hex};
use crate::work::clock::Clock;

/// How long an answer may take that has no reason to take long.
pub const SHORT: Duration = Duration::from_secs(15);

/// Who asks.
#[derive(Debug)]
pub struct Credentials {
    pub scanner: Id,
    pub api_key: String,
    pub identity: Identity,
}

/// One client: one connection, kept while it lives.
pub struct Client {
    dial: Arc<dyn Dial>,
    clock: Arc<Clock>,
    credentials: Option<Arc<Credentials>>,
    connection: Option<Box<dyn Stream>>,
}

impl Response {
    /// The body as `key: value` lines.
    pub fn fields(&self) -> Result<Fields, Error> {
        Ok(Fields::parse(&self.body)?)
    }
}

impl Client {
    pub fn new(dial: Arc<dyn Dial>, clock: Arc<Clock>, credentials: Option<Arc<Credentials>>) -> Self {
        Self { dial, clock, credentials, connection: None }
    }

    /// Posts a body and reads the answer, which may take as long as `patience`; one that is no success is an error.
    ///
    /// An answer that our clock is off teaches us the time, and the request is signed and sent once more.
    pub fn post(&mut self, path: &str, body: &[u8], patience: Duration) -> Result<Response, Error> {
        match self.attempt(path, body, patience) {
            Err(error) if error.is("clock") => self.attempt(path, body, patience),
            done => done,
        }
    }

    fn attempt(&mut self, path: &str, body: &[u8], patience: Duration) -> Result<Response, Error> {
        let sent = self.clock.now();
        let kept = self.connection.is_some();
        let response = match self.exchange(path, body, patience) {
            // The other side had closed a connection that we kept: that says nothing yet.
            Err(error) if kept && http::is_closed(&error) => self.exchange(path, body, patience),
            done => done,
        }?;
        if (200..300).contains(&response.status) {
            return Ok(response);
        }
        let fields = Fields::parse(&response.body).unwrap_or_default();
        let slug = fields.get("error").unwrap_or("unknown").to_owned();
        if slug == "clock"
            && let Ok(now) = fields.read("now")
        {
            self.clock.learn(now, sent);
        }
        let detail = fields.get("detail").unwrap_or("no detail given").to_owned();
        Err(Error::Refused { status: response.status, slug, detail })
    }

    fn exchange(&mut self, path: &str, body: &[u8], patience: Duration) -> Result<Response, Error> {
        let deadline = Instant::now() + patience;
        let mut stream = match self.connection.take() {
            Some(stream) => stream,
            None => self.dial.dial(deadline)?,
        };
        stream.set_deadline(deadline);
        let request = self.request(path, body)?;
        stream.write_all(&request).and_then(|()| stream.flush()).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => http::closed(),
            _ => Error::Network(error),
        })?;
        let response = http::read_response(&mut stream, MAX_FRAME)?;
        if response.keep {
            self.connection = Some(stream);
        }
        Ok(response)
    }

    fn request(&self, path: &str, body: &[u8]) -> Result<Vec<u8>, Error> {
        let agent = format!("portolan-scanner/{VERSION}");
        let mut headers = vec![
            ("Host", SERVER_NAME),
            ("User-Agent", &agent),
            ("Content-Type", "text/plain; charset=utf-8"),
        ];
        let Some(who) = &self.credentials else {
            return Ok(http::request(path, &headers, body));
        };
        let digest = http_signature::digest_to_header(&crypto::sha256(body));
        let params = Params {
            created: self.clock.appliance_now().div_euclid(1_000_000),
            nonce: hex::encode(&crypto::random::<16>()?),
            keyid: who.scanner,
        };
        let base = http_signature::base("POST", path, None, &digest, &params);
        let signature = http_signature::signature_to_header(&who.identity.sign(base.as_bytes()));
        let (key, params) = (format!("Bearer {}", who.api_key), params.to_header());
        headers.extend([
            ("Authorization", key.as_str()),
            ("Content-Digest", &digest),
            ("Signature-Input", &params),
            ("Signature", &signature),
        ]);
        Ok(http::request(path, &headers, body))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn a_request_is_signed_and_its_connection_kept() {
        let (appliance, mut client, identity) = testing::client();
        appliance.answer(200, "now: 5\n");
        appliance.answer(200, "state: go\n");
        let answer = client.post("/scanner/v1/heartbeat", b"clock: 1\n", SHORT).unwrap();
        assert_eq!(answer.fields().unwrap().get("now"), Some("5"));
        client.post("/scanner/v1/renew", b"", SHORT).unwrap();
        let asked = appliance.asked();
        assert_eq!(appliance.dialled(), 1);
        for request in &asked {
            testing::check_signature(request, &identity);
        }
        assert_ne!(asked[0].header("signature-input"), asked[1].header("signature-input"));
        assert_eq!(asked[0].header("authorization"), "Bearer pts_test");
    }

    #[test]
    fn a_connection_closed_in_between_is_opened_anew_once() {
        let (appliance, mut client, _) = testing::client();
        appliance.answer(200, "");
        client.post("/a", b"", SHORT).unwrap();
        appliance.close();
        appliance.answer(200, "");
        client.post("/b", b"", SHORT).unwrap();
        assert_eq!(appliance.dialled(), 2);
        appliance.close();
        appliance.close();
        assert!(matches!(client.post("/c", b"", SHORT), Err(Error::Network(_))));
    }

    #[test]
    fn a_wrong_clock_is_put_right_and_the_request_repeated() {
        let (appliance, mut client, _) = testing::client();
        let theirs = client.clock.now() + 7_200_000_000;
        appliance.answer(401, &format!("error: clock\ndetail: off\nnow: {theirs}\n"));
        appliance.answer(200, "");
        client.post("/a", b"", SHORT).unwrap();
        let created = Params::from_header(appliance.asked()[1].header("signature-input")).unwrap().created;
        assert!((created - theirs / 1_000_000).abs() < 5);
    }

    #[test]
    fn a_refusal_carries_the_appliances_words() {
        let (appliance, mut client, _) = testing::client();
        appliance.answer(401, "error: revoked\ndetail: by an administrator\n");
        let error = client.post("/a", b"", SHORT).unwrap_err();
        assert!(error.is("revoked"));
        assert!(error.to_string().contains("enrol it anew"), "{error}");
        appliance.answer(500, "<html>");
        assert!(client.post("/a", b"", SHORT).unwrap_err().to_string().contains("500"));
    }
}
