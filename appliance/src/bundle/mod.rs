//! What is carried to another machine on a stick.
//!
//! [`kit`] says what a scanner needs to be installed without any download; [`folder`] puts files into a folder that may
//! hold other things, and tells what was done to it.

pub mod folder;
pub mod kit;
