//! The SQL of a rotation: every sealed column, read and written anew.

use rusqlite::{Connection, Transaction, params};

use super::Sealed;
use crate::error::{Error, Result};
use crate::ids::Random;
use crate::listing::rows;
use crate::secrets::MasterKey;

/// Opens every secret of a column with the first key and closes it with the second; gives how many there were.
///
/// # Errors
/// When one does not open; any from the database.
pub fn seal_anew(
    tx: &Transaction,
    place: &Sealed,
    (old, new): (&MasterKey, &MasterKey),
    random: &Random,
) -> Result<usize> {
    let Sealed { table, key, column, identity } = place;
    // The names are constants of the program.
    let all = format!("SELECT {key}, {column} FROM {table} WHERE {column} IS NOT NULL");
    let none: [u8; 0] = [];
    let found = rows(tx, &all, none, |row| Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?)))?;
    let update = format!("UPDATE {table} SET {column} = ? WHERE {key} = ?");
    let mut update = tx.prepare(&update)?;
    for (key, sealed) in &found {
        let identity = identity(key);
        let plain =
            old.open(&identity, sealed).map_err(|why| Error::internal(format!("{identity}: {why}")))?;
        update.execute(params![new.seal(&identity, &plain, random), key])?;
    }
    Ok(found.len())
}

/// Refuses when a column that is called sealed holds something and is none of these: nobody would open it again.
///
/// # Errors
/// `Internal`, naming the table; any from the database.
pub fn all_known(db: &Connection, places: &[Sealed]) -> Result<()> {
    let sealed = "SELECT t.name FROM pragma_table_list t, pragma_table_info(t.name) c
                  WHERE t.schema = 'main' AND t.type = 'table' AND c.name = 'sealed'";
    let none: [u8; 0] = [];
    for table in rows(db, sealed, none, |row| row.get::<_, String>(0))? {
        if places.iter().any(|place| place.table == table) {
            continue;
        }
        // The name comes from the schema, where the migrations put it.
        let any = format!("SELECT EXISTS (SELECT 1 FROM \"{table}\" WHERE sealed IS NOT NULL)");
        if db.query_row(&any, [], |row| row.get(0))? {
            return Err(Error::internal(format!(
                "{table} has secrets, and it is not known how they are sealed"
            )));
        }
    }
    Ok(())
}
