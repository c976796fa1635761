//! The console: what a person in front of the machine does on its screen or its serial line, without a network.
//!
//! [`settings`] is what is decided of network and time, kept as one text file; [`render`] makes of it, without looking at
//! anything, the files that systemd's own services read; [`apply`] puts them there. [`menu`] is the dialogue: lines in, lines
//! out. What it changes goes through [`journal`] to the audit, also while the database cannot be opened. Folders and programs
//! are given to it ([`machine`]), so that all of it runs in a temporary tree.

pub mod apply;
pub mod checks;
pub mod journal;
pub mod machine;
pub mod menu;
pub mod render;
pub mod settings;
pub mod status;
pub mod talk;
