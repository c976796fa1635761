//! What is asked of a port besides how fast: the method, whether hints are noted, whether own addresses count.

use portolan_scanner::wire;
use rusqlite::Row;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Preset;
use crate::noun::Refusals;

/// How a port is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// By connecting to it as any program does; needs no privileges.
    #[default]
    Connect,
    /// By half a handshake; needs `CAP_NET_RAW`. A scanner without it connects instead and says so.
    Syn,
}

impl From<Method> for wire::Method {
    fn from(method: Method) -> Self {
        match method {
            Method::Connect => Self::Connect,
            Method::Syn => Self::Syn,
        }
    }
}

impl ToSql for Method {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(wire::Method::from(*self).as_str().into())
    }
}

impl FromSql for Method {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_str()?.parse() {
            Ok(wire::Method::Connect) => Ok(Self::Connect),
            Ok(wire::Method::Syn) => Ok(Self::Syn),
            Err(_) => Err(FromSqlError::InvalidType),
        }
    }
}

/// What a scan does to a port, and to whose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Manner {
    /// How a port is asked.
    pub method: Method,
    /// Whether what open ports say first is noted, and the certificate of those that speak TLS.
    pub hints: bool,
    /// Whether the scanners' own addresses and the appliance's are probed too, where the scope holds them.
    pub own: bool,
}

impl Manner {
    /// Refuses what the preset does not allow.
    pub(super) fn check(self, refusals: &mut Refusals, preset: Preset) -> Self {
        if self.hints && preset == Preset::Gentle {
            refusals.say("hints", "gentle takes no hints: leave them out, or take another preset");
        }
        self
    }

    /// Reads the columns `method`, `hints` and `own`.
    ///
    /// # Errors
    /// When a column is missing or holds something else.
    pub fn read(row: &Row) -> rusqlite::Result<Self> {
        Ok(Self { method: row.get("method")?, hints: row.get("hints")?, own: row.get("own")? })
    }
}
