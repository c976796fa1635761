//! The router: the route table folded into axum. Nothing else adds a route.

use super::guard::{MAX_BODY, guard};
use super::handle::{handle, unmatched};
use super::render::Pages;
use super::route::{Route, Routes};
use super::{assets, openapi, stream};
use crate::app::App;
use crate::error::Error;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, Request};
use axum::http::{HeaderMap, Method};
use axum::routing::{MethodFilter, get, on};
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};

/// The site: services, pages, and the table they are reached by.
pub struct Site {
    pub(super) app: App,
    pub(super) pages: Pages,
    /// For files that are made while they are sent.
    pub(crate) files: Arc<Semaphore>,
    rows: Vec<Arc<Route>>,
    openapi: Value,
}

impl Site {
    /// Compiles the templates and folds the tables.
    ///
    /// # Errors
    /// A template that does not compile.
    pub fn new(app: App, tables: Vec<Routes>) -> Result<Self, minijinja::Error> {
        let rows: Vec<Route> = tables.into_iter().flat_map(Routes::into_rows).collect();
        let pages = Pages::new(&rows, &app.clock)?;
        let openapi = openapi::document(&rows);
        let files = Arc::new(Semaphore::new(stream::AT_ONCE));
        Ok(Self { app, pages, openapi, files, rows: rows.into_iter().map(Arc::new).collect() })
    }

    /// The table.
    pub fn rows(&self) -> impl Iterator<Item = &Route> {
        self.rows.iter().map(AsRef::as_ref)
    }

    /// The OpenAPI document.
    #[must_use]
    pub fn openapi(&self) -> &Value {
        &self.openapi
    }

    pub(super) fn row(&self, method: &Method, path: &str) -> Option<&Route> {
        self.rows().find(|row| row.method == *method && row.path == path)
    }

    /// The service that answers every request.
    #[expect(clippy::disallowed_methods, reason = "here the table becomes the router")]
    pub fn router(self: Arc<Self>) -> Router {
        let mut router = Router::new();
        for row in &self.rows {
            let Ok(filter) = MethodFilter::try_from(row.method.clone()) else { continue };
            for api in [false, true] {
                if api && row.twin {
                    continue;
                }
                let (site, row) = (self.clone(), row.clone());
                let path =
                    if api { format!("/api/v1{}", row.path.trim_end_matches('/')) } else { row.path.clone() };
                let service = move |request: Request| async move { handle(&site, &row, api, request).await };
                router = router.route(&path, on(filter, service));
            }
        }
        let document = self.clone();
        let (missing, method) = (self.clone(), self);
        // Small answers cost more to compress than to send.
        let worth_it = SizeAbove::new(860)
            .and(NotForContentType::IMAGES)
            .and(NotForContentType::const_new("application/octet-stream"));
        router
            .route("/api/v1/openapi.json", get(move || async move { axum::Json(document.openapi.clone()) }))
            .route(
                "/static/{*path}",
                get(|Path(path): Path<String>, headers: HeaderMap| async move { assets::serve(&path, &headers) }),
            )
            .fallback(move |request: Request| async move { unmatched(&missing, Error::NoRoute, request).await })
            .method_not_allowed_fallback(move |request: Request| async move {
                unmatched(&method, Error::Method, request).await
            })
            .layer(DefaultBodyLimit::max(MAX_BODY))
            .layer(CompressionLayer::new().compress_when(worth_it))
            .layer(axum::middleware::from_fn(guard))
    }
}
