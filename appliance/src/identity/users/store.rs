//! The SQL of accounts.

use super::{Account, AccountQuery, Kind, Method, Seen, State};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::identity::User;
use crate::identity::passwords::lockout;
use crate::identity::scopes::Builtin;
use crate::listing::{Filters, Listing};
use crate::noun::{Key, Link};
use crate::web::{ListQuery, Page};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use std::time::Duration;
use uuid::Uuid;

/// The columns that [`user`] reads, of the table `user` as `u`.
pub const USER: &str = "u.id, u.name, u.display, u.is_owner, u.created_at";

const LISTING: Listing = Listing {
    name: "users",
    table: "(SELECT u.*, coalesce(u.last_seen, 0) AS seen,
               trim(iif(u.password_hash IS NULL, '', 'password ')
                 || iif(EXISTS (SELECT 1 FROM oidc_link WHERE user = u.id), 'oidc ', '')
                 || iif(EXISTS (SELECT 1 FROM security_key WHERE user = u.id), 'security-key', '')) AS methods,
               iif(u.is_owner, ' owner', coalesce((SELECT group_concat(r.name, ', ' ORDER BY r.name)
                 FROM user_role h JOIN role r ON r.id = h.role WHERE h.user = u.id), '')) AS role_names
             FROM user u)",
    search: &["name", "display", "email"],
    sorts: &[
        ("name", "name"),
        ("display", "display"),
        ("role", "role_names"),
        ("method", "methods"),
        ("status", "status"),
        ("last_seen", "seen"),
        ("created_at", "created_at"),
    ],
};

/// An account as a sign-in meets it.
pub struct Known {
    pub user: User,
    pub kind: Kind,
    pub active: bool,
    pub password_hash: Option<String>,
}

impl Known {
    /// Whether it is a person's, and not disabled.
    pub fn may_sign_in(&self) -> bool {
        self.active && self.kind == Kind::Person
    }
}

/// Whether there is any user.
pub fn any(db: &Connection) -> Result<bool> {
    Ok(db.query_row("SELECT EXISTS (SELECT 1 FROM user)", [], |row| row.get(0))?)
}

pub fn user(row: &Row) -> rusqlite::Result<User> {
    let Key(id) = row.get("id")?;
    Ok(User {
        id,
        name: row.get("name")?,
        display: row.get("display")?,
        owner: row.get("is_owner")?,
        created_at: row.get("created_at")?,
    })
}

fn known_row(row: &Row) -> rusqlite::Result<Known> {
    let status: String = row.get("status")?;
    Ok(Known {
        user: user(row)?,
        kind: row.get("kind")?,
        active: status == "active",
        password_hash: row.get("password_hash")?,
    })
}

/// The account of this name.
pub fn by_name(db: &Connection, name: &str) -> Result<Option<Known>> {
    let mut statement = db.prepare_cached("SELECT * FROM user WHERE name = ?")?;
    Ok(statement.query_row([name], known_row).optional()?)
}

pub fn known(db: &Connection, id: Uuid) -> Result<Known> {
    let found = db.query_row("SELECT * FROM user WHERE id = ?", [Key(id)], known_row).optional()?;
    found.ok_or_else(|| Error::not_found("user", id))
}

/// Whether the account has a way in other than `beside`.
pub fn has_way_in(db: &Connection, id: Uuid, beside: &str) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM way_in WHERE user = ? AND way <> ?)";
    Ok(db.query_row(sql, params![Key(id), beside], |row| row.get(0))?)
}

/// Whether the owner or someone with the role admin gets in; by neither the word nor the roles of a provider `without`.
pub fn someone_gets_in(db: &Connection, without: Option<Uuid>) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM way_in w JOIN user u ON u.id = w.user
                 WHERE u.status = 'active' AND u.kind = 'person' AND (?1 IS NULL OR w.provider IS NOT ?1)
                   AND (u.is_owner OR EXISTS (SELECT 1 FROM user_role h WHERE h.user = u.id AND h.role = ?2
                                                AND (?1 IS NULL OR h.provider IS NOT ?1))))";
    Ok(db.query_row(sql, params![without.map(Key), Key(Builtin::Admin.id())], |row| row.get(0))?)
}

/// Whether the account's password must be replaced at the next sign-in.
pub fn must_change(db: &Connection, id: Uuid) -> Result<bool> {
    let sql = "SELECT must_change FROM user WHERE id = ?";
    Ok(db.query_row(sql, [Key(id)], |row| row.get(0)).optional()?.unwrap_or(false))
}

fn account(db: &Connection, row: &Row, now: Timestamp) -> rusqlite::Result<Account> {
    let Key(id) = row.get("id")?;
    let status: String = row.get("status")?;
    let locked = || {
        let sql = "SELECT EXISTS (SELECT 1 FROM lockout WHERE user = ? AND wrong >= ? AND until > ?)";
        db.prepare_cached(sql)?.query_row(params![Key(id), lockout::BORNE, now], |row| row.get(0))
    };
    let status = match status.as_str() {
        "disabled" => State::Disabled,
        _ if locked()? => State::Locked,
        _ => State::Active,
    };
    let methods: String = row.get("methods")?;
    Ok(Account {
        id,
        name: row.get("name")?,
        display: row.get("display")?,
        email: row.get("email")?,
        kind: row.get("kind")?,
        owner: row.get("is_owner")?,
        status,
        must_change: row.get("must_change")?,
        roles: roles(db, id, "local")?,
        provider_roles: roles(db, id, "oidc")?,
        methods: methods.split_whitespace().filter_map(Method::read).collect(),
        created_at: row.get("created_at")?,
        last_seen: row.get("last_seen")?,
        updated_at: row.get("updated_at")?,
        version: row.get("version")?,
    })
}

fn link(row: &Row) -> rusqlite::Result<Link> {
    let Key(id) = row.get("id")?;
    Ok(Link { id, name: row.get("name")? })
}

fn roles(db: &Connection, user: Uuid, origin: &str) -> rusqlite::Result<Vec<Link>> {
    let sql = "SELECT r.id, r.name FROM user_role h JOIN role r ON r.id = h.role
               WHERE h.user = ? AND h.origin = ? ORDER BY r.name";
    let mut statement = db.prepare_cached(sql)?;
    statement.query_map(params![Key(user), origin], link)?.collect()
}

/// One page of the accounts.
pub fn page(db: &Connection, query: AccountQuery, now: Timestamp) -> Result<Page<Account>> {
    const DAY: u64 = 86_400;
    let AccountQuery { q, role, method, status, kind, seen, sort, limit, cursor } = query;
    let mut filters = Filters::default();
    if let Some(role) = role {
        let sql = "id IN (SELECT user FROM user_role WHERE role = ?)";
        filters = filters.only(sql, [Value::Text(role.to_string())]);
    }
    if let Some(method) = method {
        filters = match method {
            Method::None => filters.only("methods = ''", []),
            method => filters.only("instr(methods, ?) > 0", [Value::Text(method.as_str().to_owned())]),
        };
    }
    if let Some(kind) = kind {
        filters = filters.only("kind = ?", [Value::Text(kind.as_str().to_owned())]);
    }
    debug_assert_eq!(lockout::BORNE, 5, "as the queries here say");
    let now_value = || [Value::Integer(now.micros())];
    filters = match status {
        None => filters,
        Some(State::Disabled) => filters.only("status = 'disabled'", []),
        Some(State::Locked) => filters.only(
            "status = 'active' AND id IN (SELECT user FROM lockout WHERE wrong >= 5 AND until > ?)",
            now_value(),
        ),
        Some(State::Active) => filters.only(
            "status = 'active' AND id NOT IN (SELECT user FROM lockout WHERE wrong >= 5 AND until > ?)",
            now_value(),
        ),
    };
    let since = |days: u64| [Value::Integer((now - Duration::from_secs(days * DAY)).micros())];
    filters = match seen {
        None => filters,
        Some(Seen::Day) => filters.only("seen > ?", since(1)),
        Some(Seen::Week) => filters.only("seen > ?", since(7)),
        Some(Seen::Month) => filters.only("seen > ?", since(30)),
        Some(Seen::Longer) => filters.only("seen > 0 AND seen <= ?", since(30)),
        Some(Seen::Never) => filters.only("seen = 0", []),
    };
    LISTING.page(db, &ListQuery { q, sort, limit, cursor }, filters, |row| account(db, row, now))
}

pub fn one(db: &Connection, id: Uuid, now: Timestamp) -> Result<Account> {
    let sql = format!("SELECT * FROM {} WHERE id = ?", LISTING.table);
    let found = db.query_row(&sql, [Key(id)], |row| account(db, row, now)).optional()?;
    found.ok_or_else(|| Error::not_found("user", id))
}

/// What a new account's row says beside its fields.
pub struct New<'a> {
    pub id: Uuid,
    pub password_hash: Option<&'a str>,
    pub owner: bool,
    pub now: Timestamp,
}

fn taken(error: rusqlite::Error) -> Error {
    Error::taken(error, "name", "is taken by another account")
}

pub fn insert(tx: &Transaction, new: &New, fields: &super::Fields) -> Result<()> {
    let sql =
        "INSERT INTO user (id, name, display, email, kind, password_hash, is_owner, created_at, updated_at)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let New { id, password_hash, owner, now } = new;
    let super::Fields { name, display, email, kind, roles, .. } = fields;
    let values = params![Key(*id), name, display, email, kind.as_str(), password_hash, owner, now, now];
    tx.execute(sql, values).map_err(taken)?;
    give_roles(tx, *id, roles)
}

pub fn update(tx: &Transaction, id: Uuid, fields: &super::Fields, now: Timestamp) -> Result<()> {
    let sql = "UPDATE user SET name = ?, display = ?, email = ?, must_change = ?, updated_at = ?,
                 version = version + 1 WHERE id = ?";
    let super::Fields { name, display, email, must_change, roles, .. } = fields;
    tx.execute(sql, params![name, display, email, must_change, now, Key(id)]).map_err(taken)?;
    tx.execute("DELETE FROM user_role WHERE user = ? AND origin = 'local'", [Key(id)])?;
    give_roles(tx, id, roles)
}

fn give_roles(tx: &Transaction, user: Uuid, roles: &[Link]) -> Result<()> {
    let mut statement = tx.prepare_cached("INSERT INTO user_role (user, role) VALUES (?, ?)")?;
    for role in roles {
        statement.execute([Key(user), Key(role.id)])?;
    }
    Ok(())
}

pub fn set_status(tx: &Transaction, id: Uuid, active: bool, now: Timestamp) -> Result<()> {
    let status = if active { "active" } else { "disabled" };
    let sql = "UPDATE user SET status = ?, updated_at = ?, version = version + 1 WHERE id = ?";
    tx.execute(sql, params![status, now, Key(id)])?;
    Ok(())
}

/// Sets the password, or takes it away; either settles that it must be replaced, and voids links that would.
pub fn set_password(tx: &Transaction, id: Uuid, phc: Option<&str>, now: Timestamp) -> Result<()> {
    let sql = "UPDATE user SET password_hash = ?, must_change = 0, updated_at = ?, version = version + 1
               WHERE id = ?";
    tx.execute(sql, params![phc, now, Key(id)])?;
    tx.execute("DELETE FROM reset_link WHERE user = ?", [Key(id)])?;
    Ok(())
}

/// The password must be replaced at the next sign-in.
pub fn ask_for_another(tx: &Transaction, id: Uuid) -> Result<()> {
    tx.execute("UPDATE user SET must_change = 1 WHERE id = ?", [Key(id)])?;
    Ok(())
}

/// Replaces a hash by another of the same password, if it is still the one that was checked.
pub fn rehash(tx: &Transaction, id: Uuid, old: &str, new: &str) -> Result<bool> {
    let sql = "UPDATE user SET password_hash = ? WHERE id = ? AND password_hash = ?";
    Ok(tx.execute(sql, params![new, Key(id), old])? == 1)
}

pub fn set_owner(tx: &Transaction, id: Uuid, owner: bool, now: Timestamp) -> Result<()> {
    let sql = "UPDATE user SET is_owner = ?, updated_at = ?, version = version + 1 WHERE id = ?";
    tx.execute(sql, params![owner, now, Key(id)])?;
    Ok(())
}

pub fn delete(tx: &Transaction, id: Uuid) -> Result<()> {
    tx.execute("DELETE FROM user WHERE id = ?", [Key(id)])?;
    Ok(())
}
