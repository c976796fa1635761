//! What every way of enrolment is given.

use std::io::{self, Read};

use super::Error;
use super::folder::Folder;
use crate::crypto::Identity;
use crate::wire::base64;

/// The scanner's key; one from an enrolment that broke off is taken up again, so that its token still fits.
pub fn identity(folder: &Folder) -> Result<Identity, Error> {
    if !folder.has("identity.key") {
        folder.write("identity.key", &Identity::generate()?)?;
    }
    Identity::from_pkcs8(&folder.read("identity.key")?)
}

/// The key that signs jobs, as it was typed.
pub fn job_key(written: &str) -> Result<[u8; 32], Error> {
    let what = "write the key as the appliance's page shows it: 44 characters of base64";
    base64::decode_array(written.trim()).map_err(|_| Error::option("--job-key", what))
}

/// The one-time token: as given, from standard input for "-", else from the environment.
pub fn token(given: Option<String>) -> Result<String, Error> {
    let token = match given {
        Some(token) if token == "-" => {
            let mut text = String::new();
            let read = io::stdin().take(1024).read_to_string(&mut text);
            read.map(|_| text).map_err(Error::file("standard input"))?
        }
        Some(token) => token,
        None => std::env::var("PORTOLAN_TOKEN").unwrap_or_default(),
    };
    let token = token.trim().to_owned();
    let proper = !token.is_empty() && token.len() <= 256 && token.bytes().all(|b| b.is_ascii_graphic());
    let what = "give the one-time token of the appliance's page (\"-\" reads it from standard input)";
    if proper { Ok(token) } else { Err(Error::option("--token", what)) }
}
