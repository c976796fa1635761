//! What a machine needs to become a scanner, open to anyone: the script, the program, its signature and its key.

use super::Release;
use crate::error::Error;
use crate::web::{Access, Answer, Call, NoInput, Reply, Routes};
use axum::body::Bytes;
use schemars::JsonSchema;
use serde::Serialize;

const BINARY: &str = "application/octet-stream";
const TEXT: &str = "text/plain; charset=utf-8";

/// The rows.
pub fn routes() -> Routes {
    Routes::of("releases", "fleet/install")
        .get("/install.sh", Access::Public, script)
        .media(&["text/x-shellscript"])
        .summary("The script that installs a scanner from this appliance")
        .get("/scanner/portolan-scanner", Access::Public, program)
        .media(&[BINARY])
        .summary("The scanner's program")
        .get("/scanner/portolan-scanner.minisig", Access::Public, signature)
        .media(&[TEXT])
        .summary("The signature of the scanner's program")
        .get("/scanner/scanner.pub", Access::Public, key)
        .media(&[TEXT])
        .summary("The key that the scanner's program is signed with")
}

/// These answer with a file, always.
#[derive(Serialize, JsonSchema)]
struct File {}

fn file(media: &'static str, name: &str, bytes: impl Into<Bytes>) -> Reply<File> {
    Reply::ok(File {}).whole(media, name, bytes)
}

async fn script(call: Call, _: NoInput) -> Answer<File> {
    Ok(file("text/x-shellscript; charset=utf-8", "install.sh", call.app.releases.script().await?))
}

async fn program(call: Call, _: NoInput) -> Answer<File> {
    Ok(file(BINARY, "portolan-scanner", call.app.releases.release().await?.program.clone()))
}

async fn signature(call: Call, _: NoInput) -> Answer<File> {
    let release = call.app.releases.release().await?;
    Ok(file(TEXT, "portolan-scanner.minisig", signed(&release)?.signature.clone()))
}

async fn key(call: Call, _: NoInput) -> Answer<File> {
    let release = call.app.releases.release().await?;
    Ok(file(TEXT, "scanner.pub", signed(&release)?.key.file()))
}

fn signed(release: &Release) -> Result<&super::Signed, Error> {
    let what = "here: the release of the scanner in this appliance's folder is not signed";
    release.signed.as_ref().ok_or_else(|| Error::not_found("signature", what))
}
