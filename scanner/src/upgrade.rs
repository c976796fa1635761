//! `upgrade`: a person replaces this program by another one, or takes the one before. It never happens by itself.
//!
//! A release is signed in minisign's form over the file itself (`Ed`), so that Ed25519 is all that is needed here.
//! What was verified are the bytes that are written, and they take the old program's name in one step: at any moment
//! there is a whole program under that name, and the one before is kept beside it as `NAME.previous`.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::args::Args;
use crate::crypto;
use crate::wire::{base64, hex};
use crate::work::Error;
use crate::work::folder::{remove_if_there, sync_folder, write_private};

/// The key that releases must be signed with; pinned when the scanner was installed.
const PINNED: &str = "/etc/portolan/scanner.pub";

/// The subcommand `upgrade`.
///
/// # Errors
/// One sentence that says what to do; the program in place is then as it was.
pub fn main(mut args: Args) -> Result<(), Error> {
    let path = |value: Option<String>| value.map(PathBuf::from);
    let (from, key) = (path(args.value("--from")?), path(args.value("--key")?));
    let (sha256, rollback) = (args.value("--sha256")?, args.flag("--rollback"));
    let program = path(args.value("--program")?);
    args.finish()?;
    let program = match program {
        Some(program) => program,
        None => std::env::current_exe().map_err(Error::file("/proc/self/exe"))?,
    };
    let done = match (from, rollback) {
        (Some(from), false) => {
            let bytes = fs::read(&from).map_err(Error::file(&from))?;
            let said = proven(&from, &bytes, key, sha256)?;
            let version = replace(&program, &bytes)?;
            format!("{said}\n{} is now {version}; the one before is kept beside it", program.display())
        }
        (None, true) => format!("{} is now {}", program.display(), roll_back(&program)?),
        _ => return Err(Error::option("--from", "give either --from FILE or --rollback")),
    };
    // It is done, whoever hears of it.
    let _ =
        writeln!(io::stdout(), "{done}\nrestart the service to run it: systemctl restart portolan-scanner");
    Ok(())
}

/// Why these bytes may be run, in a sentence.
fn proven(from: &Path, bytes: &[u8], key: Option<PathBuf>, sha256: Option<String>) -> Result<String, Error> {
    let named = key.is_some();
    let key = key.unwrap_or_else(|| PINNED.into());
    let pinned = match fs::read_to_string(&key) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !named => None,
        read => Some(read.map_err(Error::file(&key))?),
    };
    match (pinned, sha256) {
        (Some(pinned), None) => {
            let signature = beside(from, ".minisig");
            let text = fs::read_to_string(&signature).map_err(Error::file(&signature))?;
            let pinned = pinned_key(&pinned).ok_or_else(|| Error::at(&key, "holds no key to verify with"))?;
            let comment = verify(&pinned, bytes, &text)
                .map_err(|what| Error::option("--from", format_args!("{}: {what}", from.display())))?;
            Ok(format!("the signature is good: {comment}"))
        }
        (None, Some(written)) => {
            let wanted = hex::decode(&written.trim().to_ascii_lowercase())
                .map_err(|_| Error::option("--sha256", "write 64 hexadecimal digits"))?;
            if crypto::sha256(bytes) != wanted {
                return Err(Error::option("--sha256", "the file has another one: nothing was changed"));
            }
            Ok("the SHA-256 is the one given; without a pinned key nothing says who made the file".into())
        }
        (Some(_), Some(_)) => {
            Err(Error::option("--sha256", "a key is pinned here: the signature is what counts, leave it out"))
        }
        (None, None) => Err(Error::option(
            "--from",
            format_args!("no key is pinned in {PINNED}: put scanner.pub there, or give --sha256 HEX"),
        )),
    }
}

/// The key in a file of minisign's: algorithm and number, and the key itself.
fn pinned_key(text: &str) -> Option<[u8; 42]> {
    let key = text.lines().find(|line| !line.starts_with("untrusted comment:"))?;
    base64::decode_array(key.trim()).ok()
}

/// Checks minisign's signature over a file; gives the comment that is signed too.
fn verify(key: &[u8; 42], bytes: &[u8], signature: &str) -> Result<String, &'static str> {
    let lines: Vec<&str> = signature.lines().collect();
    let [_, first, comment, second] = lines[..] else { return Err("its signature cannot be read") };
    let parts = (base64::decode_array::<74>(first), base64::decode_array(second));
    let ((Ok(first), Ok(over_comment)), Some(comment)) = (parts, comment.strip_prefix("trusted comment: "))
    else {
        return Err("its signature cannot be read");
    };
    if first.starts_with(b"ED") {
        return Err("it is signed in the form with a hash: sign it with `portolan sign sign --legacy`");
    }
    // The algorithm and the key's number.
    if first[..10] != key[..10] {
        return Err("it is signed with another key than the pinned one");
    }
    let (mut public, mut over_file) = ([0; 32], [0; 64]);
    public.copy_from_slice(&key[10..]);
    over_file.copy_from_slice(&first[10..]);
    let commented = [&over_file, comment.as_bytes()].concat();
    if !crypto::verify(&public, bytes, &over_file) || !crypto::verify(&public, &commented, &over_comment) {
        return Err("the signature does not fit: the file was changed or cut");
    }
    Ok(comment.to_owned())
}

/// Whether this is a program for this machine that needs no other file.
fn fits(bytes: &[u8]) -> Result<(), &'static str> {
    const MACHINE: u16 = if cfg!(target_arch = "x86_64") { 62 } else { 183 };
    const INTERPRETER: u32 = 3;
    let two = |at: usize| Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    if !bytes.starts_with(b"\x7fELF\x02\x01") {
        return Err("is no program for 64-bit Linux");
    }
    if two(18) != Some(MACHINE) {
        return Err("is for another CPU");
    }
    let cut = "is cut off";
    let headers = bytes.get(32..40).and_then(|at| at.try_into().ok()).map(u64::from_le_bytes).ok_or(cut)?;
    let headers = usize::try_from(headers).ok().and_then(|at| bytes.get(at..)).ok_or(cut)?;
    let (size, count) = (two(54).ok_or(cut)?.max(4), two(56).ok_or(cut)?);
    let mut headers = headers.chunks(size.into()).take(count.into());
    if headers.any(|header| header.starts_with(&INTERPRETER.to_le_bytes())) {
        return Err("is not static: build it with `make scanner`");
    }
    Ok(())
}

/// Puts these bytes in the program's place; gives what the new one says of itself.
fn replace(program: &Path, bytes: &[u8]) -> Result<String, Error> {
    let refused = |what| Error::option("--from", format_args!("the file {what}"));
    fits(bytes).map_err(refused)?;
    let [new, kept, previous] = [".new", ".kept", ".previous"].map(|end| beside(program, end));
    settle(program)?;
    let version = write(&new, bytes).map_err(Error::file(&new)).and_then(|()| version(&new));
    let version = version.inspect_err(|_| drop(fs::remove_file(&new)))?;
    exchange(program, [(&kept, &previous), (&new, program)]).map(|()| version)
}

/// Exchanges the program and the one before; gives what the one in place says of itself.
fn roll_back(program: &Path) -> Result<String, Error> {
    let [kept, previous] = [".kept", ".previous"].map(|end| beside(program, end));
    settle(program)?;
    if !previous.exists() {
        return Err(Error::option("--rollback", format_args!("{} is not there", previous.display())));
    }
    let version = version(&previous)?;
    exchange(program, [(&previous, program), (&kept, &previous)]).map(|()| version)
}

/// Gives the program in place `.kept` as a second name, then renames in this order; on the disk when it returns.
fn exchange(program: &Path, renames: [(&Path, &Path); 2]) -> Result<(), Error> {
    let folder = program.parent().filter(|folder| !folder.as_os_str().is_empty());
    fs::hard_link(program, beside(program, ".kept"))
        .and_then(|()| renames.iter().try_for_each(|(from, to)| fs::rename(from, to)))
        .and_then(|()| sync_folder(folder.unwrap_or(Path::new("."))))
        .map_err(Error::file(program))?;
    // A rename onto another name of the same file leaves both.
    settle(program)
}

/// Ends what was broken off: `.kept` is a second name of the program that was in place. It is the previous one where
/// there is none, as a rollback had taken that away; else it is one name too many.
fn settle(program: &Path) -> Result<(), Error> {
    let [new, kept, previous] = [".new", ".kept", ".previous"].map(|end| beside(program, end));
    if kept.exists() && !previous.exists() && !same(&kept, program) {
        fs::rename(&kept, &previous).map_err(Error::file(&kept))?;
    }
    remove_if_there(&kept).map_err(Error::file(&kept))?;
    remove_if_there(&new).map_err(Error::file(&new))
}

/// Whether both are names of one file.
fn same(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let inode = |path: &Path| fs::metadata(path).map(|data| (data.dev(), data.ino())).ok();
    inode(one) == inode(other)
}

/// What a program says of itself: that it runs here.
fn version(program: &Path) -> Result<String, Error> {
    let said = Command::new(program).arg("--version").env_clear().output().map_err(Error::file(program))?;
    let text = String::from_utf8_lossy(&said.stdout).trim().to_owned();
    let ours = said.status.success() && text.starts_with("portolan-scanner ") && !text.contains('\n');
    let what = "it does not run here, or is no portolan-scanner";
    if ours { Ok(text) } else { Err(Error::at(program, what)) }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = write_private(path, bytes)?;
    file.set_permissions(Permissions::from_mode(0o755))?;
    file.sync_all()
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(end);
    name.into()
}

#[cfg(test)]
#[path = "upgrade_tests.rs"]
mod tests;
