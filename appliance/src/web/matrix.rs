//! The access matrix: the route table folded into who may do what, and into what someone with these scopes sees.

use super::route::{Access, Route};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeSet;

/// Every route with its access rule and the roles it lets in.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Matrix {
    /// The roles, in the order of the columns. The owner may do everything and has none.
    pub roles: Vec<String>,
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
    /// `public`, `pending` (a sign-in that is not complete will do), `signed-in`, or the scope.
    pub access: String,
    /// What it does.
    pub summary: String,
    /// The roles that let in whoever holds one of them.
    pub roles: Vec<String>,
}

impl Matrix {
    /// Folds the table, with each role's name and scopes.
    #[must_use]
    pub fn of(rows: &[Route], roles: &[(String, BTreeSet<String>)]) -> Self {
        let row = |route: &Route| MatrixRow {
            method: route.method.to_string(),
            path: route.path.clone(),
            access: route.access.to_string(),
            summary: route.summary.to_owned(),
            roles: roles
                .iter()
                .filter(|(_, scopes)| route.access.admits(scopes))
                .map(|(name, _)| name.clone())
                .collect(),
        };
        let names = roles.iter().map(|(name, _)| name.clone()).collect();
        Self { roles: names, rows: rows.iter().map(row).collect() }
    }
}

/// What someone who is signed in with certain scopes sees.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Sight {
    /// The entries of the navigation.
    pub nav: Vec<Seen>,
    /// What they can do beside what anyone may who is signed in: the routes that their scopes open.
    pub opens: Vec<Opened>,
    /// How many routes ask for a scope at all.
    pub guarded: usize,
}

/// An entry of the navigation.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Seen {
    /// The heading it stands under.
    pub group: String,
    /// What the link says.
    pub title: String,
    /// Where it leads.
    pub path: String,
    /// The symbol beside it.
    pub icon: String,
}

/// A route that a scope opens.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Opened {
    /// HTTP method.
    pub method: String,
    /// Path.
    pub path: String,
    /// The scope.
    pub scope: String,
    /// What it does.
    pub summary: String,
}

impl Sight {
    /// Folds the table for these scopes.
    #[must_use]
    pub fn of(rows: &[Route], scopes: &BTreeSet<String>) -> Self {
        let mut entries: Vec<_> = rows
            .iter()
            .filter(|row| row.access.admits(scopes))
            .filter_map(|row| row.nav.map(|nav| (nav, &row.path)))
            .collect();
        entries.sort_by_key(|(nav, _)| nav.order);
        let nav = entries.into_iter().map(|(nav, path)| Seen {
            group: nav.group.to_owned(),
            title: nav.title.to_owned(),
            path: path.clone(),
            icon: nav.icon.to_owned(),
        });
        let asks = |row: &&Route| !row.twin && matches!(row.access, Access::Scope(_));
        let open = |row: &&Route| row.access.admits(scopes);
        let opens = rows.iter().filter(asks).filter(open).map(|row| Opened {
            method: row.method.to_string(),
            path: row.path.clone(),
            scope: row.access.to_string(),
            summary: row.summary.to_owned(),
        });
        Self { nav: nav.collect(), opens: opens.collect(), guarded: rows.iter().filter(asks).count() }
    }
}
