//! The ways by which people get in, and that the last one is not taken.
//!
//! What counts as a way is said once, by the view `way_in` of the database. It is asked inside the transaction that takes
//! one: of two that each leave the other's way, the second finds out.

use super::users::store;
use crate::error::{Error, Result};
use rusqlite::{Connection, Transaction};
use uuid::Uuid;

/// Whether an account has a way in.
///
/// # Errors
/// Any from the database.
pub fn any(db: &Connection, user: Uuid) -> Result<bool> {
    store::has_way_in(db, user, "")
}

/// Whether an account has a way in beside a password.
///
/// # Errors
/// Any from the database.
pub fn beside_password(db: &Connection, user: Uuid) -> Result<bool> {
    store::has_way_in(db, user, "password")
}

/// Refuses to have left nobody who gets in and may do everything: the owner, or who holds the role admin. With `without`,
/// what this provider says does not count: it may be another's word now.
///
/// # Errors
/// `Conflict`; any from the database.
pub fn left(tx: &Transaction, without: Option<Uuid>) -> Result<()> {
    if store::someone_gets_in(tx, without)? {
        return Ok(());
    }
    Err(Error::conflict(
        "this is the last way in: passwords sign in nobody, and by no other way would the owner or anyone with the role \
         admin get in. Let the owner sign in by password first",
    ))
}

/// Refuses to have taken the last way into an account that `had` one.
///
/// # Errors
/// `Conflict`; any from the database.
pub fn kept(tx: &Transaction, user: Uuid, had: bool) -> Result<()> {
    if had && !any(tx, user)? {
        return Err(Error::conflict(
            "this is the last way in of this account: let it have another one first. A password is one where it signs in, a \
             provider once it knows the account, a key once it has signed in alone",
        ));
    }
    Ok(())
}
