//! The probe as a program: by hand and as the link's child, against real listeners on loopback and in network
//! namespaces. Nothing leaves this machine.
#![expect(clippy::unwrap_used, reason = "a test's panic is its report, its helpers' too")]

mod by_hand;
mod child;
mod common;
mod confined;
mod field;
mod formats;
mod guard;
mod hints;
mod resume;
mod syn;
