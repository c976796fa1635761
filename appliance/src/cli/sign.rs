//! `portolan sign`: keys and signatures of releases, in minisign's files.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::exit::Exit;
use super::password;
use crate::clock::Clock;
use crate::ids::Random;
use crate::releases::minisign::{Cost, Error, Form, PublicKey, SecretKey};

/// What can be done with signatures.
#[derive(Debug, Subcommand)]
pub enum SignCommand {
    /// Make a key pair
    ///
    /// The secret key is sealed by a password, which is asked for; without a terminal it is the next line of standard
    /// input. Neither file may be there already.
    Keygen(KeygenArgs),
    /// Sign files; the signature of FILE is FILE.minisig
    Sign(SignArgs),
    /// Check the signature of a file
    ///
    /// Prints the trusted comment.
    Verify(VerifyArgs),
}

/// Arguments of `portolan sign keygen`.
#[derive(Debug, Args)]
pub struct KeygenArgs {
    /// Where the secret key goes (mode 0600)
    #[arg(long, value_name = "FILE")]
    secret: PathBuf,
    /// Where the public key goes; the secret key's name with .pub when absent
    #[arg(long, value_name = "FILE")]
    public: Option<PathBuf>,
    /// Do not seal the secret key: whoever has the file can sign
    #[arg(long)]
    no_password: bool,
}

/// Arguments of `portolan sign sign`.
#[derive(Debug, Args)]
pub struct SignArgs {
    /// The secret key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Sign the file itself instead of its BLAKE2b-512: the form that releases of the scanner have
    #[arg(long)]
    legacy: bool,
    /// The trusted comment, which is signed too; time and file name when absent
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
    /// What to sign
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Arguments of `portolan sign verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The public key: its file, or its second line
    #[arg(long, value_name = "FILE|KEY")]
    public_key: String,
    /// The signature; FILE.minisig when absent
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
    /// What was signed
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Why a command did not do its work.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("{}: {source}", .path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{0}")]
    Password(io::Error),
    #[error(transparent)]
    Minisign(#[from] Error),
    #[error("{}: {source}", .path.display())]
    In { path: PathBuf, source: Error },
}

impl Failure {
    fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { path: path.to_owned(), source }
    }

    fn within(path: &Path) -> impl FnOnce(Error) -> Self {
        move |source| Self::In { path: path.to_owned(), source }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::In { source: Error::OtherKey(_) | Error::Mismatch | Error::Comment, .. } => Exit::Refused,
            _ => Exit::Unreachable,
        }
    }
}

/// Runs the command.
#[must_use]
pub fn run(command: &SignCommand) -> ExitCode {
    let done = match command {
        SignCommand::Keygen(args) => keygen(args, &Random::system(), Cost::SENSITIVE),
        SignCommand::Sign(args) => sign(args, &Clock::system()),
        SignCommand::Verify(args) => verify(args),
    };
    match done {
        Ok(said) => {
            println!("{said}");
            Exit::Done.into()
        }
        Err(failure) => {
            eprintln!("portolan: {failure}");
            failure.exit().into()
        }
    }
}

fn keygen(args: &KeygenArgs, random: &Random, cost: Cost) -> Result<String, Failure> {
    let public = args.public.clone().unwrap_or_else(|| args.secret.with_extension("pub"));
    for path in [&args.secret, &public] {
        if path.exists() {
            return Err(Failure::file(path)(io::Error::other("is there already; it is not written over")));
        }
    }
    let password = if args.no_password {
        None
    } else {
        Some(password::ask_new("Password of the new key").map_err(Failure::Password)?)
    };
    let key = SecretKey::make(random);
    let text = key.file(password.as_ref().map(|password| (password.as_str(), cost)), random);
    create(&args.secret, text.as_bytes(), 0o600)?;
    create(&public, key.public().file().as_bytes(), 0o644)?;
    let warning = if args.no_password { "; it is not sealed: whoever reads it can sign" } else { "" };
    Ok(format!(
        "public key {} in {}\nsecret key in {}{warning}",
        key.public().id,
        public.display(),
        args.secret.display()
    ))
}

fn sign(args: &SignArgs, clock: &Clock) -> Result<String, Failure> {
    let form = if args.legacy { Form::Legacy } else { Form::Hashed };
    let key = secret(&args.key)?;
    let mut said = Vec::new();
    for path in &args.files {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let now = clock.now().micros() / 1_000_000;
        let comment = args.comment.clone().unwrap_or_else(|| format!("timestamp:{now} file:{name}"));
        let signature = key.sign(&read(path, fs::read)?, form, &comment).map_err(Failure::within(path))?;
        let to = beside(path);
        fs::write(&to, signature).map_err(Failure::file(&to))?;
        said.push(format!("signed: {}", to.display()));
    }
    Ok(said.join("\n"))
}

/// Reads a secret key; asks for its password if it has one.
pub(super) fn secret(path: &Path) -> Result<SecretKey, Failure> {
    let text = zeroize::Zeroizing::new(read(path, fs::read_to_string)?);
    let ask = || password::ask("Password of the key").map_err(Failure::Password);
    SecretKey::parse(&text, ask).map_err(|failure| match failure {
        Failure::Minisign(source) => Failure::within(path)(source),
        other => other,
    })
}

fn verify(args: &VerifyArgs) -> Result<String, Failure> {
    let path = Path::new(&args.public_key);
    let key = match PublicKey::parse(&args.public_key) {
        Ok(key) => key,
        Err(_) => PublicKey::parse(&read(path, fs::read_to_string)?).map_err(Failure::within(path))?,
    };
    let from = args.signature.clone().unwrap_or_else(|| beside(&args.file));
    let signature = read(&from, fs::read_to_string)?;
    let bytes = read(&args.file, fs::read)?;
    let (comment, _) = key.verify(&bytes, &signature).map_err(Failure::within(&args.file))?;
    Ok(format!("ok: signed with key {}\ntrusted comment: {comment}", key.id))
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".minisig");
    name.into()
}

fn read<'a, T>(path: &'a Path, how: impl FnOnce(&'a Path) -> io::Result<T>) -> Result<T, Failure> {
    how(path).map_err(Failure::file(path))
}

fn create(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    opened.and_then(|mut file| file.write_all(bytes)).map_err(Failure::file(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_is_signed_verifies_and_what_was_changed_does_not() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        let args = KeygenArgs { secret: at("site.key"), public: None, no_password: true };
        let said = keygen(&args, &Random::seeded(1), Cost::SENSITIVE).unwrap();
        assert!(said.contains("whoever reads it can sign"), "{said}");
        assert_eq!(fs::metadata(at("site.key")).unwrap().permissions().mode() & 0o777, 0o600);
        let again = keygen(&args, &Random::seeded(2), Cost::SENSITIVE).unwrap_err().to_string();
        assert!(again.contains("is there already"), "{again}");

        fs::write(at("tool"), b"bytes").unwrap();
        let request = SignArgs { key: at("site.key"), legacy: true, comment: None, files: vec![at("tool")] };
        sign(&request, &Clock::fixed(Timestamp::EPOCH)).unwrap();
        let request = VerifyArgs {
            public_key: at("site.pub").to_string_lossy().into_owned(),
            signature: None,
            file: at("tool"),
        };
        assert!(verify(&request).unwrap().ends_with("trusted comment: timestamp:0 file:tool"));
        fs::write(at("tool"), b"bites").unwrap();
        let refused = verify(&request).unwrap_err();
        assert_eq!(refused.exit(), Exit::Refused);
        assert!(refused.to_string().contains("does not fit"), "{refused}");
        fs::remove_file(at("tool.minisig")).unwrap();
        assert_eq!(verify(&request).unwrap_err().exit(), Exit::Unreachable);
    }
}
