//! What a query of hosts is narrowed to, as SQL.

use std::collections::HashMap;
use std::fmt::Write as _;

use ::duckdb::Connection;
use ::duckdb::types::ToSql;
use portolan_scanner::net::Range;
use portolan_scanner::wire::{Reason, State};
use uuid::Uuid;

use super::halves;
use super::read::ports;
use crate::results::{Error, HostQuery, code};

/// The conditions of a query, with their values in order.
pub struct Filter {
    /// For a WHERE.
    pub sql: String,
    /// What its question marks stand for.
    pub values: Vec<Box<dyn ToSql>>,
}

impl Filter {
    pub fn of(connection: &Connection, query: &HostQuery) -> Result<Self, Error> {
        let mut filter =
            Self { sql: "w.scan = ?".to_owned(), values: vec![Box::new(query.scan.to_string())] };
        if let Some(vantage) = query.vantage {
            filter.and("w.vantage = ?", [&vantage.to_string()]);
        }
        if let Some(Range { first, last }) = query.within {
            let ((first_high, first_low), (last_high, last_low)) = (halves(first), halves(last));
            filter
                .and("(s.high > ? OR (s.high = ? AND s.last >= ?))", [&first_high, &first_high, &first_low]);
            filter.and("(s.high < ? OR (s.high = ? AND s.first <= ?))", [&last_high, &last_high, &last_low]);
        }
        if let Some(port) = query.port {
            let jobs = asked(connection, query.scan, port)?.iter().map(i32::to_string).collect::<Vec<_>>();
            let asked =
                if jobs.is_empty() { "false".to_owned() } else { format!("p.job IN ({})", jobs.join(", ")) };
            filter.and(&asked, []);
        }
        let wanted = [query.state.map(Wanted::State), query.reason.map(Wanted::Reason)];
        for wanted in wanted.into_iter().flatten() {
            match query.port {
                None => filter.any_port(wanted),
                Some(port) => filter.port(port, wanted),
            }
        }
        Ok(filter)
    }

    pub fn and<const N: usize>(&mut self, sql: &str, values: [&dyn CloneSql; N]) {
        let _ = write!(self.sql, " AND {sql}");
        self.values.extend(values.iter().map(|value| value.boxed()));
    }

    /// Some port of the host is as wanted.
    fn any_port(&mut self, wanted: Wanted) {
        let (of, number) = wanted.number();
        if wanted.is_open() {
            self.and(
                "EXISTS (FROM open_port o WHERE o.sweep = s.sweep AND o.high = s.high AND o.low = s.first)",
                [],
            );
        } else {
            let sql = format!(
                "((s.rest > 0 AND s.base {of} = ?) OR EXISTS (FROM run r
                   WHERE r.sweep = s.sweep AND r.high = s.high AND r.low = s.first AND r.reason {of} = ?))"
            );
            self.and(&sql, [&number, &number]);
        }
    }

    /// This port of the host, which was asked about, is as wanted.
    fn port(&mut self, port: u16, wanted: Wanted) {
        const OPEN: &str = "EXISTS (FROM open_port o WHERE o.sweep = s.sweep AND o.high = s.high
             AND o.low = s.first AND o.port = ?)";
        const RUN: &str = "FROM run r WHERE r.sweep = s.sweep AND r.high = s.high AND r.low = s.first
             AND r.first <= ? AND r.last >= ?";
        if wanted.is_open() {
            return self.and(OPEN, [&port]);
        }
        let (of, number) = wanted.number();
        let sql = format!(
            "(EXISTS ({RUN} AND r.reason {of} = ?)
             OR (s.base {of} = ? AND NOT EXISTS ({RUN}) AND NOT {OPEN}))"
        );
        self.and(&sql, [&port, &port, &number, &number, &port, &port, &port]);
    }
}

/// What a port is asked for: its state, or the reason of it.
#[derive(Clone, Copy)]
enum Wanted {
    State(State),
    Reason(Reason),
}

impl Wanted {
    fn is_open(self) -> bool {
        match self {
            Self::State(state) => state == State::Open,
            Self::Reason(reason) => reason.state() == State::Open,
        }
    }

    /// What is done to the number of a reason, and what it then is.
    fn number(self) -> (&'static str, u8) {
        match self {
            Self::State(state) => ("// 10", code::of_state(state)),
            Self::Reason(reason) => ("", code::of(reason)),
        }
    }
}

/// A value that can be put into a list of boxed ones.
pub trait CloneSql {
    fn boxed(&self) -> Box<dyn ToSql>;
}

impl<T: ToSql + Clone + 'static> CloneSql for T {
    fn boxed(&self) -> Box<dyn ToSql> {
        Box::new(self.clone())
    }
}

/// The jobs of a scan that asked about a port.
fn asked(connection: &Connection, scan: Uuid, port: u16) -> Result<Vec<i32>, Error> {
    let mut statement =
        connection.prepare("SELECT j.job, j.ports FROM job j JOIN sweep w USING (sweep) WHERE w.scan = ?")?;
    let mut rows = statement.query([scan.to_string()])?;
    let mut known: HashMap<String, bool> = HashMap::new();
    let mut jobs = Vec::new();
    while let Some(row) = rows.next()? {
        let text: String = row.get(1)?;
        let asked = if let Some(asked) = known.get(&text) {
            *asked
        } else {
            let asked = ports(&text)?.contains(port);
            known.insert(text, asked);
            asked
        };
        if asked {
            jobs.push(row.get(0)?);
        }
    }
    Ok(jobs)
}
