//! The file: whose it is, what its rows are, and how they are changed.

use std::path::Path;

use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params, params_from_iter};
use tidings_proto::NodeId;
use tidings_proto::seed::memory::{Change, Key, Membership, Memory, Row};
use tidings_proto::wire::record::Record;
use tidings_runtime::store::{Format, Safety, StoreError, failed};

use super::table::{self, ALL, SUBSCRIPTION, Table};

/// What a seed's file looks like. The mark is "tdns".
pub(super) const FORMAT: Format =
    Format { application_id: 0x7464_6e73, steps: &[table::VERSION_1], safety: Safety::Commit };

/// Whose a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    /// The cluster's name.
    pub(crate) cluster: String,
    /// The seed.
    pub(crate) node: NodeId,
}

impl Owner {
    fn name(cluster: &str, node: &str) -> String {
        format!("seed {node} of cluster '{cluster}'")
    }

    fn sum(cluster: &str, node: &str) -> Vec<u8> {
        table::sum("owner", &[table::text(cluster), table::text(node)], &[])
    }

    /// Makes the file this one's.
    pub(super) fn write(&self, file: &Connection) -> rusqlite::Result<()> {
        let node = self.node.to_string();
        file.execute(
            "INSERT OR REPLACE INTO owner (one, cluster, node, sum) VALUES (1, ?1, ?2, ?3)",
            params![self.cluster, node, Self::sum(&self.cluster, &node)],
        )?;
        Ok(())
    }
}

/// Whose the file is, as it says: cluster and node. None when it says nothing.
pub(super) fn owner(
    file: &Connection,
    path: &Path,
) -> Result<Option<(String, String)>, StoreError> {
    let read = "SELECT cluster, node, sum FROM owner";
    let fields = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let found: Option<(String, String, Vec<u8>)> =
        file.query_row(read, [], fields).optional().map_err(|source| failed(path, source))?;
    let Some((cluster, node, sum)) = found else { return Ok(None) };
    if sum != Owner::sum(&cluster, &node) {
        let what = "the row that says whose it is has changed".to_owned();
        return Err(StoreError::Damaged { path: path.to_owned(), what });
    }
    Ok(Some((cluster, node)))
}

/// Takes possession of a new file, or checks whose an old one is. Returns whether it is new.
pub(super) fn claim(file: &Connection, path: &Path, wanted: &Owner) -> Result<bool, StoreError> {
    let Some((cluster, node)) = owner(file, path)? else {
        wanted.write(file).map_err(|source| failed(path, source))?;
        return Ok(true);
    };
    if (cluster.as_str(), node.as_str()) != (wanted.cluster.as_str(), &wanted.node.to_string()) {
        let found = Owner::name(&cluster, &node);
        let wanted = Owner::name(&wanted.cluster, &wanted.node.to_string());
        return Err(StoreError::Owner { path: path.to_owned(), found, wanted });
    }
    Ok(false)
}

/// A row as it was read.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) rowid: i64,
    /// None when it is damaged.
    pub(super) row: Option<Row>,
}

/// Some rows of a table after `rowid`, in order.
pub(super) fn rows(
    file: &Connection,
    table: &Table,
    rowid: i64,
    limit: usize,
) -> rusqlite::Result<Vec<Read>> {
    let (name, count) = (table.name, table.columns.len());
    let sql = format!(
        "SELECT rowid, {}, row, sum FROM {name} WHERE rowid > ?1 ORDER BY rowid LIMIT ?2",
        table.columns.join(", ")
    );
    let mut statement = file.prepare_cached(&sql)?;
    let read = |row: &rusqlite::Row<'_>| -> rusqlite::Result<Read> {
        let value = |n| row.get_ref(n).map(lossy);
        let columns: Vec<Value> = (1..=count).map(value).collect::<Result<_, _>>()?;
        let (bytes, sum) = (value(count + 1)?, value(count + 2)?);
        Ok(Read { rowid: row.get(0)?, row: verified(table, &columns, &bytes, &sum) })
    };
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    statement.query_map(params![rowid, limit], read)?.collect()
}

/// Rows of all tables.
pub(super) fn count(file: &Connection) -> rusqlite::Result<u64> {
    ALL.iter().try_fold(0, |sum, table| {
        let sql = format!("SELECT count(*) FROM {}", table.name);
        let rows: i64 = file.query_row(&sql, [], |row| row.get(0))?;
        Ok(sum + rows.unsigned_abs())
    })
}

/// Text that is none any more is something else than was written, which is all that matters.
fn lossy(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Text(bytes) => Value::Text(String::from_utf8_lossy(bytes).into_owned()),
        other => other.into(),
    }
}

/// The row, if nothing of it has changed since it was written.
fn verified(table: &Table, columns: &[Value], bytes: &Value, sum: &Value) -> Option<Row> {
    let (Value::Blob(bytes), Value::Blob(sum)) = (bytes, sum) else { return None };
    if *sum != table::sum(table.name, columns, bytes) {
        return None;
    }
    let row = Row::from_bytes(bytes)?;
    let (belongs, expected) = table::columns(&row)?;
    (belongs.name == table.name && expected == columns).then_some(row)
}

/// What the whole file holds.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) memory: Memory,
    /// Damaged rows, by table.
    pub(super) damaged: Vec<(&'static str, i64)>,
}

/// Rows read at once.
const PART: usize = 1_000;

/// Reads everything.
pub(super) fn read_all(file: &Connection, path: &Path) -> Result<Contents, StoreError> {
    let mut contents = Contents::default();
    for table in ALL {
        let mut last = i64::MIN;
        loop {
            let part = rows(file, table, last, PART).map_err(|source| failed(path, source))?;
            let Some(end) = part.last() else { break };
            last = end.rowid;
            for Read { rowid, row } in part {
                match row {
                    Some(row) => contents.memory.rows.push(row),
                    None => contents.damaged.push((table.name, rowid)),
                }
            }
        }
    }
    contents.memory.damaged = !contents.damaged.is_empty();
    Ok(contents)
}

/// Removes damaged rows. The seed does not vote any more before it has learned what others know:
/// that is written down together with it.
pub(super) fn drop_damaged(
    file: &mut Connection,
    damaged: &[(&'static str, i64)],
) -> rusqlite::Result<()> {
    let change = file.transaction()?;
    for (table, rowid) in damaged {
        change.execute(&format!("DELETE FROM {table} WHERE rowid = ?1"), [rowid])?;
    }
    // An index may still have the former key of a row of which the key has changed.
    change.execute_batch("REINDEX")?;
    forbid_votes(&change)?;
    change.commit()
}

/// The seed has to learn before it votes.
pub(super) fn forbid_votes(file: &Connection) -> rusqlite::Result<()> {
    let found = rows(file, &table::MEMBERSHIP, i64::MIN, 1)?;
    let old = found.into_iter().find_map(|read| match read.row {
        Some(Row::Membership(of)) => Some(of),
        _ => None,
    });
    let new = Membership { votes: false, ..old.unwrap_or_default() };
    put(file, &Row::Membership(new))
}

/// Makes changes, all or none of them.
pub(super) fn write<'a>(
    file: &mut Connection,
    changes: impl Iterator<Item = &'a Change>,
) -> rusqlite::Result<()> {
    let transaction: Transaction<'_> = file.transaction()?;
    for change in changes {
        match change {
            Change::Put(row) => put(&transaction, row)?,
            Change::Remove(key) => remove(&transaction, key)?,
        }
    }
    transaction.commit()
}

fn put(file: &Connection, row: &Row) -> rusqlite::Result<()> {
    let Some((table, mut columns)) = table::columns(row) else { return Ok(()) };
    if let Row::Peer(signed) = row
        && let Record::Peer(of) = &signed.record
    {
        let sql = "DELETE FROM subscription WHERE node = ?1 AND incarnation <> ?2";
        let life = of.incarnation.0.cast_signed();
        file.prepare_cached(sql)?.execute(params![of.node.to_string(), life])?;
    }
    let bytes = row.to_bytes();
    let sum = table::sum(table.name, &columns, &bytes);
    columns.extend([Value::Blob(bytes), Value::Blob(sum)]);
    let places: Vec<String> = (1..=columns.len()).map(|n| format!("?{n}")).collect();
    let sql = format!(
        "INSERT OR REPLACE INTO {} ({}, row, sum) VALUES ({})",
        table.name,
        table.columns.join(", "),
        places.join(", ")
    );
    file.prepare_cached(&sql)?.execute(params_from_iter(columns))?;
    Ok(())
}

fn remove(file: &Connection, key: &Key) -> rusqlite::Result<()> {
    let (table, columns) = table::place(key);
    remove_from(file, table, table.keys, &columns)?;
    if let Key::Peer(_) = key {
        remove_from(file, &SUBSCRIPTION, 1, &columns)?;
    }
    Ok(())
}

fn remove_from(
    file: &Connection,
    table: &Table,
    keys: usize,
    columns: &[Value],
) -> rusqlite::Result<()> {
    let named = (1..).zip(&table.columns[..keys]);
    let named: Vec<String> = named.map(|(n, column)| format!("{column} = ?{n}")).collect();
    let sql = format!("DELETE FROM {} WHERE {}", table.name, named.join(" AND "));
    file.prepare_cached(&sql)?.execute(params_from_iter(columns))?;
    Ok(())
}
