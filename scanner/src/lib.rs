//! What goes between a Portolan appliance and its scanners.
//!
//! Without features this library is the standard library alone: addresses and ports ([`net`]) and the signed text
//! frames ([`wire`]). Hashing, signing and verifying are parameters, so that each side brings its own.

pub mod net;
pub mod wire;
