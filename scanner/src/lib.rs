//! What goes between a Portolan appliance and its scanners, and the scanner's side of it.
//!
//! Without features this library is the standard library alone: addresses and ports ([`net`]) and the signed text
//! frames ([`wire`]), and what a sample says of the recall ([`recall`]). Hashing, signing and verifying are parameters,
//! so that each side brings its own. The feature `usb` adds jobs on a stick, with ring; `link` the scanner's link to an
//! appliance, with rustls and ring; `pq` the same with aws-lc-rs.

/// Says something on standard error, a line: that nobody reads it any more is no reason to end.
#[macro_export]
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($text)*);
    }};
}

pub mod args;
pub mod certificate;
#[cfg(feature = "signed")]
pub mod crypto;
#[cfg(feature = "network")]
pub mod link;
pub mod net;
pub mod recall;
#[cfg(feature = "signed")]
pub mod stick;
#[cfg(feature = "signed")]
pub mod upgrade;
pub mod wire;
#[cfg(feature = "signed")]
pub mod work;
