//! Portolan, the appliance: schedules port scans, keeps every result, says what changed, and proves it.
#![forbid(unsafe_code)]

pub mod audit;
pub mod clock;
pub mod error;
pub mod ids;
pub mod ingest;
pub mod jobs;
pub mod layout;
pub mod results;
pub mod secrets;
pub mod sqlite;
pub mod store;
pub mod tls;
