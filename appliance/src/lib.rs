//! Portolan, the appliance: schedules port scans, keeps every result, says what changed, and proves it.
#![forbid(unsafe_code)]

pub mod app;
pub mod audit;
pub mod blocking;
pub mod bundle;
pub mod cli;
pub mod clock;
pub mod console;
pub mod docs;
pub mod error;
pub mod fleet;
pub mod identity;
pub mod ids;
pub mod ingest;
pub mod jobs;
pub mod layout;
pub mod listing;
pub mod noun;
pub mod outward;
pub mod overview;
pub mod releases;
pub mod results;
pub mod roles;
pub mod scans;
mod schema;
pub mod scope;
pub mod secrets;
pub mod settings;
pub mod sqlite;
pub mod store;
#[cfg(test)]
mod test;
pub mod tls;
pub mod told;
pub mod update;
pub mod web;
