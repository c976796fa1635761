//! What goes between a Portolan appliance and its scanners, and the scanner's side of it.
//!
//! Without features this library is the standard library alone: addresses and ports ([`net`]) and the signed text
//! frames ([`wire`]), and what a sample says of the recall ([`recall`]). Hashing, signing and verifying are parameters, so that each side brings its own. The feature
//! `link` adds the scanner's link to an appliance, with rustls and ring.

pub mod args;
pub mod certificate;
#[cfg(feature = "link")]
pub mod link;
pub mod net;
pub mod recall;
#[cfg(feature = "link")]
pub mod upgrade;
pub mod wire;
