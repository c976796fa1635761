//! The routes of receivers.

use super::{Receiver, Tested};
use crate::noun;
use crate::web::Access::Scope;
use crate::web::{Answer, Call, NoInput, Reply, Routes};

/// The rows.
pub fn routes() -> Routes {
    noun::rows::<Receiver>()
        .post("/receivers/{id}/test", Scope("receivers:manage"), test)
        .summary("Send one message that is no entry, and hear how that went")
}

async fn test(call: Call, _: NoInput) -> Answer<Tested> {
    let id = call.id("receiver")?;
    let tested = call.app.siem.test(&call.actor(), id).await?;
    Ok(Reply::done(format!("/receivers/{id}"), tested.words.clone(), tested))
}
