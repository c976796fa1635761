//! What an enrolment settled.

use super::Error;
use crate::wire::fields::Fields;
use crate::wire::{Id, base64};
use crate::work::folder::Folder;

/// What `link.conf` holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `HOST:PORT`.
    pub appliance: String,
    pub scanner: Id,
    pub vantage: Id,
    /// The key that signs jobs (Ed25519, public), as the command line of `enrol` gave it: nothing that comes over the
    /// network changes it.
    pub job_key: [u8; 32],
}

impl Folder {
    pub fn settings(&self) -> Result<Settings, Error> {
        let what = "cannot be understood: remove the folder and enrol anew, with a new token";
        let broken = || Error::at(&self.path("link.conf"), what);
        if !self.has("link.conf") {
            return Err(Error::at(&self.path(""), "no enrolled scanner lives here: run `enrol` first"));
        }
        let fields = Fields::parse(&self.read("link.conf")?).map_err(|_| broken())?;
        let read = || {
            Some(Settings {
                appliance: fields.get("appliance")?.to_owned(),
                scanner: fields.read("scanner").ok()?,
                vantage: fields.read("vantage").ok()?,
                job_key: base64::decode_array(fields.get("job-key")?).ok()?,
            })
        };
        read().ok_or_else(broken)
    }

    /// Keeps the settings: the last step of an enrolment.
    pub fn keep_settings(&self, settings: &Settings) -> Result<(), Error> {
        let fields = Fields::new()
            .with("appliance", &settings.appliance)
            .with("scanner", settings.scanner)
            .with("vantage", settings.vantage)
            .with("job-key", base64::encode(&settings.job_key));
        self.write("link.conf", fields.to_string().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::temporary;
    use super::*;

    #[test]
    fn settings_come_back_and_their_absence_says_what_to_do() {
        let (folder, _guard) = temporary("settings");
        assert!(folder.settings().unwrap_err().to_string().contains("run `enrol` first"));
        let settings = Settings {
            appliance: "appliance.example:8443".into(),
            scanner: Id::from_bytes([1; 16]),
            vantage: Id::from_bytes([2; 16]),
            job_key: [3; 32],
        };
        folder.keep_settings(&settings).unwrap();
        assert_eq!(folder.settings().unwrap(), settings);
        folder.write("link.conf", b"appliance: x\n").unwrap();
        assert!(folder.settings().unwrap_err().to_string().contains("cannot be understood"));
    }
}
