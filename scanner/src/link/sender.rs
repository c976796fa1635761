//! Sends what waits in the spool.

use std::time::Duration;

use super::api::Client;
use super::session::Session;
use super::{Error, say};
use crate::crypto;
use crate::wire::hex;
use crate::work::spool::Name;

/// How long a frame may take: 4 MiB on a slow line.
const PATIENCE: Duration = Duration::from_mins(2);

/// The longest wait before it is tried again.
const RETRY: Duration = Duration::from_secs(30);

/// Sends until the session stops.
pub fn run(session: &Session) -> Result<(), Error> {
    let mut client = session.client();
    while !session.stopping() {
        for name in session.spool.waiting()?.into_iter().take_while(|_| !session.stopping()) {
            let send = || send(session, &mut client, &name);
            session.insist("results cannot be sent; they are kept", RETRY, send)?;
        }
        session.spool.wait(Duration::from_millis(500));
    }
    Ok(())
}

/// Sends one frame; it leaves the spool only when the appliance has it, or says that it will never take it.
pub fn send(session: &Session, client: &mut Client, name: &Name) -> Result<(), Error> {
    let frame = session.spool.read(name)?;
    let hash = hex::encode(&crypto::sha256(&frame));
    match client.post("/scanner/v1/results", &frame, PATIENCE) {
        Ok(answer) if answer.fields()?.get("frame") == Some(hash.as_str()) => session.spool.remove(name),
        Ok(_) => Err(Error::Protocol("the receipt is for another frame".into())),
        Err(Error::Refused { status, slug, detail }) if for_ever(status) => {
            say(format_args!("the appliance refused results: {slug}: {detail}; they are put aside"));
            session.spool.set_aside(name)
        }
        Err(error) => Err(error),
    }
}

/// Whether asking again is of no use.
pub fn for_ever(status: u16) -> bool {
    matches!(status, 400 | 409 | 413 | 422)
}
