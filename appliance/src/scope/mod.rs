//! What scans cover: subnets, port lists, and the templates that join them with scanners and a timing.

mod count;
pub mod port_names;

pub use count::Count;
