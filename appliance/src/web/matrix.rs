//! The access matrix: the route table folded into who may do what.

use super::route::{Access, Route};
use schemars::JsonSchema;
use serde::Serialize;

/// Every route with its access rule.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Matrix {
    /// In the order of the table.
    pub rows: Vec<MatrixRow>,
}

/// One route's rule.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct MatrixRow {
    /// HTTP method.
    pub method: String,
    /// Path, also served under `/api/v1`.
    pub path: String,
    /// `public`, `signed-in`, or the scope.
    pub access: String,
    /// What it does.
    pub summary: String,
}

impl Matrix {
    /// Folds the table.
    #[must_use]
    pub fn of(rows: &[Route]) -> Self {
        let row = |route: &Route| MatrixRow {
            method: route.method.to_string(),
            path: route.path.clone(),
            access: match route.access {
                Access::Public => "public".to_owned(),
                Access::SignedIn => "signed-in".to_owned(),
                Access::Scope(scope) => scope.to_owned(),
            },
            summary: route.summary.to_owned(),
        };
        Self { rows: rows.iter().map(row).collect() }
    }
}
