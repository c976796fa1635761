//! `portolan bundle`: what another machine needs, written onto a stick.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use portolan_scanner::wire::base64;
use serde_json::json;

use super::admin::{self, Files, FilesArgs, Outcome, Said};
use crate::bundle::kit::{self, For, Written};
use crate::error::Error;
use crate::fleet::{Authority, Fleet, Parts, ScannerInput};
use crate::jobs::Jobs;
use crate::releases::Releases;
use crate::sqlite::Opening;
use crate::told::Told;

/// What `portolan bundle` takes.
#[derive(Args, Debug)]
pub struct BundleArgs {
    #[command(flatten)]
    files: FilesArgs,
    #[command(subcommand)]
    command: BundleCommand,
}

#[derive(Debug, Subcommand)]
enum BundleCommand {
    /// Write a folder from which a scanner is installed without any download
    ///
    /// Adds a scanner, or takes one that is there, and offers it a one-time token, as its page does. The folder gets the
    /// program, its signature, the key that it is signed with, the script that installs it, the certificate of the
    /// appliance's CA, and the token. On the machine of the scanner, as root: `sh install.sh` in that folder.
    ScannerKit(KitArgs),
}

/// Which kit, and where to.
#[derive(Args, Debug)]
struct KitArgs {
    /// The folder; made if it is not there. What else is in it stays
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// The vantage that the new scanner stands in, by name or id; needed where there are several
    #[arg(long, value_name = "NAME")]
    vantage: Option<String>,
    /// What the new scanner is called; else as its vantage, with a number if need be
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Addresses, ranges and subnets that the new scanner's requests may come from
    #[arg(long, value_name = "RANGES", default_value = "")]
    binding: String,
    /// No new scanner: one that is there and has not enrolled, by name or id. Its token before is void
    #[arg(long, value_name = "NAME", conflicts_with_all = ["vantage", "name", "binding"])]
    scanner: Option<String>,
    /// What the scanner dials, where it is not what the appliance was started with
    #[arg(long, value_name = "NAME:PORT")]
    appliance: Option<String>,
    /// Where the release of the scanner lies, where it is not what the appliance was started with
    #[arg(long, value_name = "DIR")]
    scanner_dir: Option<PathBuf>,
    /// Write over the files of a kit that is there
    #[arg(long)]
    replace: bool,
}

/// Runs the command.
#[must_use]
pub fn run(args: &BundleArgs) -> ExitCode {
    let BundleArgs { files, command: BundleCommand::ScannerKit(kit) } = args;
    admin::ended(files, || scanner_kit(files, kit))
}

fn scanner_kit(args: &FilesArgs, wanted: &KitArgs) -> Outcome {
    let files = Files::open(args)?;
    let Told { mut facts, scanner_dir, .. } = Told::read(&files.layout)?;
    if let Some(appliance) = &wanted.appliance {
        facts.appliance.clone_from(appliance);
    }
    let ca = kit::certificate(&files.layout.ingest_ca(), &facts.ca_sha256)?;
    let releases = Releases::new(wanted.scanner_dir.clone().unwrap_or(scanner_dir), facts.clone());
    let job_key = base64::decode_array(&facts.job_key).map_err(Error::internal)?;
    let fleet = Fleet::new(Parts {
        clock: files.clock.clone(),
        ids: files.ids.clone(),
        random: files.random.clone(),
        store: files.store.clone(),
        jobs: Jobs::open(&files.layout.jobs_db(), Opening::Guest)?,
        ca: Authority::Known(facts.ca_sha256),
        job_key,
        address: facts.appliance,
        releases: releases.clone(),
    });
    let written = files.wait(async {
        let whom = match &wanted.scanner {
            Some(said) => For::Known(kit::scanner(&fleet, said).await?),
            None => For::New(new(&fleet, wanted).await?),
        };
        let to = (wanted.to.as_path(), wanted.replace);
        kit::write((&fleet, &releases), &files.actor, whom, to, &ca).await
    })?;
    Ok(said(wanted, &written))
}

async fn new(fleet: &Fleet, wanted: &KitArgs) -> crate::error::Result<ScannerInput> {
    let vantage = kit::vantage(fleet, wanted.vantage.as_deref()).await?;
    let name = match &wanted.name {
        Some(name) => name.clone(),
        None => kit::free_name(fleet, &vantage.name).await?,
    };
    let binding = wanted.binding.clone();
    Ok(ScannerInput { name, vantage: vantage.id, binding, ..ScannerInput::default() })
}

fn said(wanted: &KitArgs, Written { enrolment, kept_to_owner }: &Written) -> Said {
    let (scanner, to) = (&enrolment.scanner, wanted.to.display());
    let mut text = format!(
        "{to}: the kit of the scanner {} in the vantage {}\n\
         its token is good once, until {}, with {}\n\
         on that machine, as root, in this folder: sh install.sh\n",
        scanner.name, scanner.vantage.name, enrolment.expires_at, enrolment.appliance
    );
    if !kept_to_owner {
        text.push_str("this file system knows no permissions: whoever has the stick can read the token\n");
    }
    let json = json!({
        "to": wanted.to,
        "scanner": scanner,
        "appliance": enrolment.appliance,
        "ca_sha256": enrolment.ca_sha256,
        "expires_at": enrolment.expires_at,
        "token_kept_to_owner": kept_to_owner,
    });
    Said::new(text, json)
}
