//! Opening a database: what must hold before the first byte of it is changed.
//!
//! First the file is looked at without SQLite, which would create or repair it; then it is owned, looked at again and
//! checked through a connection that only reads; then it is opened for writing.

use crate::error::{OpenError, Reason};
use crate::lock::Ownership;
use crate::schema::{APPLICATION_ID, MIGRATIONS, SCHEMA_VERSION, migrate, version};
use rusqlite::{Connection, OpenFlags, config::DbConfig};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long SQLite waits for a lock that another process holds, such as someone's shell.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Pages cached by a connection, in KiB.
const CACHE_KIB: i64 = 32 * 1024;

/// The first bytes of a database file. Source: the SQLite file format, "The Database Header".
const HEADER_BYTES: usize = 100;
const MAGIC: &[u8] = b"SQLite format 3\0";

/// Names a file beside the database.
pub(crate) fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Gives the one name of a database that may not exist yet, so that two ways to it find one lock.
pub(crate) fn resolve(path: &Path) -> Result<PathBuf, OpenError> {
    match path.canonicalize() {
        Ok(path) => return Ok(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(OpenError::io(path, &error)),
    }
    let Some(name) = path.file_name() else { return Err(OpenError::new(path, Reason::Directory)) };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let parent = parent.canonicalize().map_err(|error| OpenError::io(parent, &error))?;
    Ok(parent.join(name))
}

/// Looks at a file: whether it is there, and a database of ours of a version that is known.
///
/// # Errors
/// If it is anything else.
pub(crate) fn peek(path: &Path) -> Result<bool, OpenError> {
    let refuse = |reason| Err(OpenError::new(path, reason));
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let log = fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0);
            return if log { refuse(Reason::OnlyLog) } else { Ok(false) };
        }
        Err(error) => return Err(OpenError::io(path, &error)),
    };
    if found.is_dir() {
        return refuse(Reason::Directory);
    }
    if found.len() == 0 {
        return refuse(Reason::Empty);
    }
    let mut header = Vec::with_capacity(HEADER_BYTES);
    let read = File::open(path).and_then(|file| file.take(HEADER_BYTES as u64).read_to_end(&mut header));
    read.map_err(|error| OpenError::io(path, &error))?;
    if header.len() < HEADER_BYTES || !header.starts_with(MAGIC) {
        return refuse(Reason::NotSqlite);
    }
    let number = |at: usize| {
        header.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes)
    };
    let (user_version, application_id) = (number(60), number(68));
    if application_id != APPLICATION_ID {
        return refuse(Reason::Foreign { application_id });
    }
    peek_log(path)?;
    // The log may hold a later version; `verify` sees that too.
    known(path, user_version)?;
    // While there is a log, the database may be on its way to another length.
    let pages = if number(24) == number(92) { u64::from(number(28)) } else { 0 };
    let page_bytes = match number(16) >> 16 {
        1 => 65536,
        bytes => u64::from(bytes),
    };
    if found.len() < pages * page_bytes && !fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0)
    {
        let text = format!("it has {} bytes instead of {}", found.len(), pages * page_bytes);
        return refuse(Reason::Damaged(text));
    }
    Ok(true)
}

/// Refuses a write-ahead log that is none: SQLite would take it as empty, and what was kept in it would be gone without
/// a word. Source: the SQLite file format, "WAL Header". Zeros may be left by a power failure before its first sync.
fn peek_log(path: &Path) -> Result<(), OpenError> {
    let log = beside(path, "-wal");
    let mut magic = Vec::with_capacity(4);
    match File::open(&log).and_then(|log| log.take(4).read_to_end(&mut magic)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        read => read.map_err(|error| OpenError::io(&log, &error))?,
    };
    match magic.as_slice() {
        [] | [0, 0, 0, 0] | [0x37, 0x7f, 0x06, 0x82 | 0x83] => Ok(()),
        _ => Err(OpenError::new(&log, Reason::Damaged("this is no write-ahead log".to_owned()))),
    }
}

fn known(path: &Path, version: u32) -> Result<(), OpenError> {
    if version == 0 {
        // A new database gets its name when it has its tables.
        return Err(OpenError::new(path, Reason::Damaged("it has no schema version".to_owned())));
    }
    if version > SCHEMA_VERSION {
        return Err(OpenError::new(path, Reason::Newer { version, known: SCHEMA_VERSION }));
    }
    Ok(())
}

/// Opens a database for reading only: neither its content nor its log is changed, not even when it is closed.
pub(crate) fn connect_reader(path: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).and_then(|connection| {
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        Ok(connection)
    });
    connection.map_err(|error| OpenError::sqlite(path, &error))
}

/// Checks what can be checked without changing anything: version and structure.
pub(crate) fn verify(path: &Path) -> Result<(), OpenError> {
    let reader = connect_reader(path)?;
    let wrap = |error| OpenError::sqlite(path, &error);
    known(path, version(&reader).map_err(wrap)?)?;
    match problems(&reader, "quick_check").map_err(wrap)? {
        found if found.is_empty() => Ok(()),
        found => Err(OpenError::new(path, Reason::Damaged(found.join("; ")))),
    }
}

/// How many problems a check lists.
const PROBLEMS_MAX: u32 = 10;

/// Runs `quick_check` or `integrity_check` and lists the problems.
pub(crate) fn problems(connection: &Connection, check: &str) -> rusqlite::Result<Vec<String>> {
    let mut found = Vec::new();
    connection.pragma(None, check, PROBLEMS_MAX, |row| {
        let line: String = row.get(0)?;
        if line != "ok" {
            found.push(line);
        }
        Ok(())
    })?;
    Ok(found)
}

/// Opens a database for writing.
pub(crate) fn connect_writer(path: &Path) -> Result<Connection, OpenError> {
    let wrap = |error| OpenError::sqlite(path, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(wrap)?;
    // SQLite opens a write-protected file for reading, without a word.
    if connection.is_readonly("main").map_err(wrap)? {
        return Err(OpenError::new(path, Reason::ReadOnly));
    }
    connection.busy_timeout(BUSY_TIMEOUT).map_err(wrap)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB).map_err(wrap)?;
    Ok(connection)
}

/// Makes a new database, complete or not at all: it is built under another name, filled, and renamed.
///
/// # Errors
/// What `fill` says, or the system; the other name is free again then, unless the process has died.
pub(crate) fn create<E: From<OpenError>>(
    path: &Path,
    _owner: &Ownership,
    fill: impl FnOnce(&mut Connection) -> Result<(), E>,
) -> Result<(), E> {
    let draft = beside(path, "-new");
    remove(&draft)?;
    let made = build(&draft, fill).and_then(|()| Ok(publish(&draft, path)?));
    if made.is_err() {
        // The first error is the one to tell.
        let _ = remove(&draft);
    }
    made
}

fn build<E: From<OpenError>>(
    draft: &Path,
    fill: impl FnOnce(&mut Connection) -> Result<(), E>,
) -> Result<(), E> {
    let wrap = |error| OpenError::sqlite(draft, &error);
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(draft, flags).map_err(wrap)?;
    // Nobody reads a draft after a crash, so it needs no journal.
    let settings = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE;";
    connection.execute_batch(settings).map_err(wrap)?;
    migrate(&mut connection, MIGRATIONS).map_err(wrap)?;
    fill(&mut connection)?;
    connection.execute_batch("PRAGMA locking_mode = NORMAL; PRAGMA journal_mode = WAL;").map_err(wrap)?;
    connection.close().map_err(|(_, error)| wrap(error))?;
    Ok(())
}

/// Gives a complete draft its name, durably. The name must be free, which its owner has checked.
pub(crate) fn publish(draft: &Path, path: &Path) -> Result<(), OpenError> {
    let wrap = |error| OpenError::io(path, &error);
    if path.exists() {
        return Err(OpenError::new(path, Reason::Exists));
    }
    File::open(draft).and_then(|file| file.sync_all()).map_err(wrap)?;
    fs::rename(draft, path).map_err(wrap)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|parent| parent.sync_all()).map_err(wrap)
}

/// Removes a draft and what SQLite puts beside it.
pub(crate) fn remove(draft: &Path) -> Result<(), OpenError> {
    for suffix in ["", "-journal", "-wal", "-shm"] {
        let path = beside(draft, suffix);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(OpenError::io(&path, &error));
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// A database that this process owns, checked and of the newest version.
#[derive(Debug)]
pub(crate) struct Owned {
    pub(crate) path: PathBuf,
    pub(crate) connection: Connection,
    /// Dropped last: the lock outlives the connection.
    pub(crate) owner: Ownership,
}

/// Opens a database as its only writer, and makes it if it is missing.
///
/// # Errors
/// If it cannot be used; nothing has been changed then.
pub(crate) fn own(path: &Path) -> Result<Owned, OpenError> {
    let path = resolve(path)?;
    peek(&path)?;
    let owner = Ownership::acquire(&path)?;
    if peek(&path)? {
        verify(&path)?;
    } else {
        create(&path, &owner, |_| Ok::<_, OpenError>(()))?;
    }
    let mut connection = connect_writer(&path)?;
    // Whoever holds the write lock, such as someone's shell, might do so for long: better no start than no writes.
    let locked = connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK");
    locked.map_err(|error| OpenError::sqlite(&path, &error))?;
    migrate(&mut connection, MIGRATIONS).map_err(|error| OpenError::sqlite(&path, &error))?;
    Ok(Owned { path, connection, owner })
}
