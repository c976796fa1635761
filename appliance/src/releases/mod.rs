//! Releases of the scanner: what is signed, and what this appliance hands out.

pub mod minisign;
