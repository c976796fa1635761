//! The install script, with the facts of this appliance written into it.

use super::{Facts, Release, Way};
use crate::error::{Error, Result};

const SCRIPT: &str = include_str!("../../../scanner/install.sh");

/// Between these two lines stand the facts, `name=value` each.
const BEGIN: &str = "# facts begin\n";
const END: &str = "# facts end\n";

/// The script for this release.
///
/// # Errors
/// `Unavailable` for a name or address that cannot stand in a script.
pub fn with(facts: &Facts, release: &Release, way: Way) -> Result<String> {
    let key = release.signed.as_ref().map(|signed| signed.key.word()).unwrap_or_default();
    let kit = match way {
        Way::Line => String::new(),
        Way::Stick => "yes".to_owned(),
    };
    let (before, rest) =
        SCRIPT.split_once(BEGIN).ok_or_else(|| Error::internal("install.sh has no facts"))?;
    let (_, after) =
        rest.split_once(END).ok_or_else(|| Error::internal("the facts of install.sh have no end"))?;
    let mut script = format!("{before}{BEGIN}");
    for (name, value) in [
        ("appliance", &facts.appliance),
        ("ca_sha256", &facts.ca_sha256),
        ("job_key", &facts.job_key),
        ("pages", &facts.pages),
        ("pages_pin", &facts.pages_pin),
        ("scanner_pub", &key),
        ("scanner_sha256", &release.sha256),
        ("kit", &kit),
    ] {
        if !value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:/_+=[]-".contains(&byte)) {
            let what = format!("The install script cannot carry {name} {value:?}: give a plain --name.");
            return Err(Error::Unavailable(what));
        }
        script.push_str(&format!("{name}='{value}'\n"));
    }
    script.push_str(END);
    script.push_str(after);
    Ok(script)
}
