//! The dispatcher: batches and leases.

use super::{Failure, Stop};
use crate::layout::Layout;
use std::time::Duration;

pub async fn run(_layout: Layout, _lease: Duration, stop: Stop) -> Result<(), Failure> {
    stop.asked().await;
    Ok(())
}
