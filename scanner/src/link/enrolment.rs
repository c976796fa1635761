//! Enrolment: a one-time token becomes a certificate and an API key.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::api::Client;
use super::connection::{Tls, Trust};
use super::settings::Settings;
use super::{Error, VERSION, say};
use crate::args::Args;
use crate::crypto::{self, Identity};
use crate::wire::fields::Fields;
use crate::wire::{base64, enrolment_proof, hex};
use crate::work::clock::Clock;
use crate::work::folder::Folder;
use crate::work::options::{identity, job_key, token as token_from};

/// How long the appliance's answer to one request may take: it waits 30 s for its manager.
const PATIENCE: Duration = Duration::from_secs(45);

/// How long all of it may take.
const GIVE_UP: Duration = Duration::from_mins(10);

/// The subcommand `enrol`. `stop` says whether the process was asked to end.
///
/// # Errors
/// One sentence that says what to do.
pub fn enrol(mut args: Args, stop: fn() -> bool) -> Result<(), Error> {
    let appliance = args.required("--appliance")?;
    let trust = trust(args.value("--ca")?, args.value("--ca-sha256")?)?;
    let job_key = job_key(&args.required("--job-key")?)?;
    let token = args.value("--token-file")?;
    let folder = Folder::at(args.required("--dir")?);
    args.finish()?;
    let token = token_from(token)?;

    folder.create()?;
    let _lock = folder.lock()?;
    if folder.has("link.conf") {
        let what = "a scanner is enrolled here already: choose another --dir, or remove this folder first";
        return Err(Error::at(&folder.path(""), what));
    }
    let identity = identity(&folder)?;
    let clock = Arc::new(Clock::default());
    let tls = Tls::new(&appliance, trust.clone(), None, Arc::clone(&clock), stop)?;
    let ca = match trust {
        Trust::Ca(der) => der,
        Trust::Pin(pin) => tls.shown_ca(&pin, Instant::now() + PATIENCE)?,
    };
    let mut client = Client::new(Arc::new(tls), clock, None);
    let answer = ask(&mut client, &identity, &token, stop)?;
    let settings = keep(&folder, appliance, &ca, job_key, &answer)?;
    say(format_args!("enrolled as scanner {} of vantage {}", settings.scanner, settings.vantage));
    Ok(())
}

fn ask(client: &mut Client, identity: &Identity, token: &str, stop: fn() -> bool) -> Result<Fields, Error> {
    let proof = identity.sign(enrolment_proof(&crypto::sha256(token.as_bytes())).as_bytes());
    let body = Fields::new()
        .with("token", token)
        .with("public-key", base64::encode(&identity.public_key()))
        .with("proof", base64::encode(&proof))
        .with("version", VERSION)
        .to_string();
    let give_up = Instant::now() + GIVE_UP;
    loop {
        let answer = client.post("/scanner/v1/enrol", body.as_bytes(), PATIENCE)?;
        let fields = answer.fields()?;
        if answer.status == 200 {
            return Ok(fields);
        }
        if Instant::now() > give_up {
            return Err(Error::Other("the manager did not answer for ten minutes: is it running?".into()));
        }
        let wait = Duration::from_secs(fields.read::<u64>("retry-after").unwrap_or(5).clamp(1, 60));
        say("the appliance has not decided yet; asking again");
        super::session::sleep(wait, stop)?;
    }
}

/// Keeps what the appliance gave. The settings come last: without them nothing is enrolled.
///
/// The key that signs jobs is none of it: whoever could say here which key to obey could give orders.
fn keep(
    folder: &Folder,
    appliance: String,
    ca: &[u8],
    job_key: [u8; 32],
    answer: &Fields,
) -> Result<Settings, Error> {
    let missing = |what: &str| Error::Protocol(format!("{what} is missing from the enrolment"));
    let api_key =
        answer.get("api-key").filter(|key| key.starts_with("pts_")).ok_or_else(|| missing("api-key"))?;
    let certificate = answer.get("certificate").and_then(|text| base64::decode(text).ok());
    let certificate = certificate.filter(|der| !der.is_empty()).ok_or_else(|| missing("certificate"))?;
    let settings =
        Settings { appliance, scanner: answer.read("scanner")?, vantage: answer.read("vantage")?, job_key };
    folder.write("ca.der", ca)?;
    folder.write("certificate.der", &certificate)?;
    folder.write("api.key", api_key.as_bytes())?;
    folder.keep_settings(&settings)?;
    Ok(settings)
}

fn trust(file: Option<String>, sha256: Option<String>) -> Result<Trust, Error> {
    match (file, sha256) {
        (Some(file), None) => certificate(Path::new(&file)).map(Trust::Ca),
        (None, Some(written)) => {
            let pin = written.trim().replace(':', "").to_ascii_lowercase();
            let what = "write the 64 hexadecimal digits that the appliance's page shows";
            hex::decode(&pin).map(Trust::Pin).map_err(|_| Error::option("--ca-sha256", what))
        }
        _ => Err(Error::option(
            "--ca",
            "give either --ca FILE or --ca-sha256 HEX, so that the appliance is known",
        )),
    }
}

/// A certificate as DER, from a file of PEM or DER.
fn certificate(path: &Path) -> Result<Vec<u8>, Error> {
    let bytes = std::fs::read(path).map_err(Error::file(path))?;
    if bytes.starts_with(&[0x30]) {
        return Ok(bytes);
    }
    let pem = CertificateDer::from_pem_slice(&bytes).map(|der| der.to_vec());
    pem.map_err(|_| {
        Error::option("--ca", format_args!("{} holds no certificate (PEM or DER)", path.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Appliance, temporary};
    use super::*;
    use crate::wire::Id;

    fn granted() -> String {
        Fields::new()
            .with("scanner", Id::from_bytes([1; 16]))
            .with("vantage", Id::from_bytes([2; 16]))
            .with("api-key", "pts_secret")
            .with("certificate", base64::encode(b"der"))
            .with("now", 5)
            .to_string()
    }

    #[test]
    fn the_token_is_proven_and_asked_for_until_it_is_granted() {
        let (appliance, identity) =
            (Appliance::default(), Identity::from_pkcs8(&Identity::generate().unwrap()).unwrap());
        appliance.answer(202, "retry-after: 1\n");
        appliance.answer(200, &granted());
        let mut client = Client::new(Arc::new(appliance.clone()), Arc::new(Clock::default()), None);
        let answer = ask(&mut client, &identity, "ptt_token", || false).unwrap();
        assert_eq!(answer.get("api-key"), Some("pts_secret"));
        let asked = appliance.asked();
        assert_eq!(asked[0].body, asked[1].body);
        assert_eq!(asked[0].header("authorization"), "");
        let fields = Fields::parse(&asked[0].body).unwrap();
        let proof = base64::decode_array(fields.get("proof").unwrap()).unwrap();
        let key = base64::decode_array(fields.get("public-key").unwrap()).unwrap();
        // What the manager checks, which knows of the token the hash alone.
        let said = enrolment_proof(&crypto::sha256(b"ptt_token"));
        assert!(crypto::verify(&key, said.as_bytes(), &proof));
    }

    #[test]
    fn what_was_given_is_kept_and_the_settings_last() {
        let (folder, _guard) = temporary("enrol");
        let keep = |answer: &str| {
            keep(&folder, "host".into(), b"ca", [7; 32], &Fields::parse(answer.as_bytes()).unwrap())
        };
        let half = keep(&granted().replace("certificate", "certificat")).unwrap_err().to_string();
        assert!(half.contains("certificate is missing"), "{half}");
        assert!(!folder.has("link.conf"));
        let settings = keep(&granted()).unwrap();
        assert_eq!(folder.settings().unwrap(), settings);
        assert_eq!(folder.read("api.key").unwrap(), b"pts_secret");
        assert_eq!(folder.read("certificate.der").unwrap(), b"der");
    }

    #[test]
    fn the_key_that_signs_jobs_is_never_taken_from_an_answer() {
        let (folder, _guard) = temporary("job-key");
        let other = Fields::parse(granted().as_bytes()).unwrap().with("job-key", base64::encode(&[8; 32]));
        keep(&folder, "host".into(), b"ca", [7; 32], &other).unwrap();
        assert_eq!(folder.settings().unwrap().job_key, [7; 32]);
    }

    #[test]
    fn an_enrolment_that_broke_off_takes_up_its_key_again() {
        let (folder, _guard) = temporary("key");
        let first = identity(&folder).unwrap().public_key();
        assert_eq!(identity(&folder).unwrap().public_key(), first);
    }

    #[test]
    fn options_say_what_they_want() {
        let said = |file: Option<&str>, pin: Option<&str>| {
            trust(file.map(str::to_owned), pin.map(str::to_owned)).unwrap_err().to_string()
        };
        assert!(said(None, None).contains("--ca-sha256"));
        assert!(said(Some("a"), Some("b")).contains("either"));
        assert!(said(None, Some("abc")).contains("64 hexadecimal digits"));
        assert!(said(Some("/dev/null"), None).contains("holds no certificate"));
        assert!(matches!(
            trust(None, Some("AB:".repeat(32).trim_end_matches(':').into())),
            Ok(Trust::Pin([0xab, ..]))
        ));
        assert_eq!(job_key(&base64::encode(&[7; 32])).unwrap(), [7; 32]);
        for wrong in ["", "AAAA", &base64::encode(&[7; 31]), &"07".repeat(32)] {
            assert!(job_key(wrong).unwrap_err().to_string().contains("44 characters of base64"), "{wrong}");
        }
    }
}
