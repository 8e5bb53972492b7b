//! Tables of the database, and the way from each version of them to the next.

use rusqlite::Connection;

/// Marks a database as ours: `PRAGMA application_id`, the letters "noex".
pub const APPLICATION_ID: u32 = 0x6e6f_6578;

/// Version of the tables: `PRAGMA user_version`. The number of steps in the list of migrations.
#[expect(clippy::cast_possible_truncation, reason = "the list is short")]
pub const SCHEMA_VERSION: u32 = MIGRATIONS.len() as u32;

/// Step n leads from version n to version n + 1. A step that has been released is never changed.
///
/// 1: `records` has no rowid, so that a bucket's records lie together in base order. `ord` keeps the order in which
/// queries and kept things first came.
pub(crate) const MIGRATIONS: &[&str] = &["
    CREATE TABLE buckets (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        definition TEXT NOT NULL,
        counter INTEGER NOT NULL,
        next_seq INTEGER NOT NULL
    );
    CREATE TABLE queries (ord INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, definition TEXT NOT NULL);
    CREATE TABLE records (
        bucket INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        json TEXT NOT NULL,
        PRIMARY KEY (bucket, seq)
    ) WITHOUT ROWID;
    CREATE TABLE kept (
        ord INTEGER PRIMARY KEY,
        space TEXT NOT NULL,
        key TEXT NOT NULL,
        value TEXT NOT NULL,
        UNIQUE (space, key)
    );
"];

/// Gives the version of the tables.
pub(crate) fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Takes a database to the version at the end of `migrations`, in one transaction.
///
/// # Errors
/// If a step fails; the database stays as it was.
pub(crate) fn migrate(connection: &mut Connection, migrations: &[&str]) -> rusqlite::Result<()> {
    let from = version(connection)? as usize;
    if from >= migrations.len() {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    for step in migrations.iter().skip(from) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", i64::try_from(migrations.len()).unwrap_or(i64::MAX))?;
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(connection: &Connection) -> Vec<String> {
        let mut all = connection.prepare("SELECT name || v FROM t ORDER BY name").expect("table");
        all.query_map([], |row| row.get(0)).expect("rows").collect::<Result<_, _>>().expect("text")
    }

    #[test]
    fn steps_run_once_each_and_keep_the_data() {
        const STEPS: &[&str] = &[
            "CREATE TABLE t (name TEXT)",
            "ALTER TABLE t ADD COLUMN v TEXT NOT NULL DEFAULT 'x'",
            "UPDATE t SET v = v || 'y'",
        ];
        let mut connection = Connection::open_in_memory().expect("memory");
        migrate(&mut connection, &STEPS[..1]).expect("first");
        assert_eq!(version(&connection), Ok(1));
        connection.execute("INSERT INTO t VALUES ('a')", []).expect("fixture");
        migrate(&mut connection, STEPS).expect("rest");
        migrate(&mut connection, STEPS).expect("nothing left");
        assert_eq!((version(&connection), names(&connection)), (Ok(3), vec!["axy".to_owned()]));
    }

    #[test]
    fn a_failing_step_changes_nothing() {
        const STEPS: &[&str] = &[
            "CREATE TABLE t (name TEXT, v TEXT)",
            "INSERT INTO t VALUES ('b', '')",
            "INSERT INTO nowhere VALUES (1)",
        ];
        let mut connection = Connection::open_in_memory().expect("memory");
        migrate(&mut connection, &STEPS[..1]).expect("first");
        assert!(migrate(&mut connection, STEPS).is_err());
        assert_eq!((version(&connection), names(&connection).len()), (Ok(1), 0));
    }

    /// An empty database is version 0: making a new one is a migration too.
    #[test]
    fn a_new_database_is_marked() {
        let mut connection = Connection::open_in_memory().expect("memory");
        migrate(&mut connection, MIGRATIONS).expect("made");
        let mark: u32 =
            connection.pragma_query_value(None, "application_id", |row| row.get(0)).expect("mark");
        assert_eq!((mark, version(&connection)), (APPLICATION_ID, Ok(SCHEMA_VERSION)));
    }
}
