//! What every way of enrolment is given.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _, Write as _};

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

/// The most that is read of a token's file.
const MOST: u64 = 1024;

/// The one-time token: from this file, from standard input for "-"; without a file it is asked for at the terminal. Never from
/// an argument or the environment: others on the machine can read those.
pub fn token(file: Option<String>) -> Result<String, Error> {
    let mut text = String::new();
    match file.as_deref() {
        Some("-") => {
            let read = io::stdin().take(MOST).read_to_string(&mut text);
            read.map_err(Error::file("standard input"))?
        }
        Some(path) => {
            let read = File::open(path).and_then(|file| file.take(MOST).read_to_string(&mut text));
            read.map_err(Error::file(path))?
        }
        None if io::stdin().is_terminal() => {
            // To the terminal, not to the log that others may keep of what is said.
            let asked = io::stderr().write_all(b"One-time token, as the appliance shows it: ");
            asked.and_then(|()| io::stdin().read_line(&mut text)).map_err(Error::file("the terminal"))?
        }
        None => 0,
    };
    let token = text.trim().to_owned();
    let proper = !token.is_empty() && token.len() <= 256 && token.bytes().all(|b| b.is_ascii_graphic());
    let what = "name the file with the one-time token of the appliance's page (\"-\" is standard input)";
    if proper { Ok(token) } else { Err(Error::option("--token-file", what)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_the_one_line_of_its_file() {
        let path = std::env::temp_dir().join(format!("portolan-token-{}", std::process::id()));
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            token(Some(path.to_str().unwrap().to_owned()))
        };
        assert_eq!(read("pte_abc\n").unwrap(), "pte_abc");
        for bad in ["", "\n", "two words", "pte_abc\npte_def\n", &"x".repeat(257), &"x".repeat(2_000)] {
            assert!(read(bad).unwrap_err().to_string().contains("--token-file"), "{bad}");
        }
        std::fs::remove_file(&path).unwrap();
        let gone = token(Some(path.to_str().unwrap().to_owned())).unwrap_err().to_string();
        assert!(gone.contains(path.to_str().unwrap()), "{gone}");
    }
}
