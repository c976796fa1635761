//! The front door: the route table and what is folded from it, negotiation, errors, templates. Knows no SQL.
//!
//! A room hands over [`Routes`]; nothing else reaches the router, so there is no route without an access rule.

mod accept;
mod answer;
mod assets;
mod body;
mod call;
mod connections;
#[cfg(test)]
mod credentials_test;
pub mod csv;
mod guard;
mod handle;
mod input;
mod intake;
mod list;
mod matrix;
#[cfg(test)]
mod offers_test;
mod openapi;
mod problem;
mod render;
mod reply;
mod route;
mod router;
mod serve;
mod stream;
#[cfg(test)]
mod tests;
mod wrong;

pub use call::{Call, Caller, Via};
pub use input::NoInput;
pub use list::{Cursor, DEFAULT_LIMIT, ListQuery, MAX_LIMIT, Page, Sort, limit};
pub use matrix::{Matrix, MatrixRow, Sight};
pub use openapi::document;
pub use render::Pages;
pub use reply::{Answer, Reply};
pub use route::{Access, Nav, Route, Routes};
pub use router::Site;
pub use serve::{Listener, Serving, serve};
pub use stream::Writer;
