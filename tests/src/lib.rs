//! What the end-to-end tests and the demo stand on: the real binaries, started as an operator starts them and
//! used through what they offer to everyone — pages, API, the scanner's command line. Nothing here knows the
//! insides of the appliance.
#![forbid(unsafe_code)]

pub mod api;
pub mod binaries;
pub mod browser;
pub mod by_hand;
pub mod client;
pub mod http;
pub mod in_use;
pub mod line;
pub mod listeners;
pub mod pictures;
pub mod process;
pub mod scanner;
pub mod site;
pub mod story;
pub mod supervisor;
pub mod tls;
pub mod units;
pub mod vm;
pub mod wait;

pub use client::Client;
pub use http::Response;
pub use line::Line;
pub use listeners::Listener;
pub use scanner::{Pins, Scanner};
pub use site::Site;
pub use wait::wait_until;
