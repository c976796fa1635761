//! How results come in: frames, proven and put into the spool. What faces the network stands beside it.

pub mod accept;
pub mod frame;
pub mod spool;
