//! Ingest: what scanners talk to.

use super::{Failure, PATIENCE, Stop};
use crate::layout::Layout;
use crate::tls;
use crate::web::{self, Listener};
use std::sync::Arc;

pub async fn run(layout: Layout, listener: Listener, stop: Stop) -> Result<(), Failure> {
    let config = tls::wait_for_ingest_config(&layout, PATIENCE).await?;
    println!("portolan: scanners at {}", listener.address);
    web::serve(listener, Arc::new(config), axum::Router::new(), stop.asked()).await?;
    Ok(())
}
