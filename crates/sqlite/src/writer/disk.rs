//! A disk in memory for SQLite that notes every operation, can be cut from its power at any of them, and can fail.

use sqlite_vfs::{DatabaseHandle, LockKind, OpenOptions, Vfs, WalDisabled, register};
use std::collections::BTreeMap;
use std::fs;
use std::io::{Error, ErrorKind};
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Name of the file system that SQLite knows.
pub(super) const NAME: &str = "noted";
/// What a disk writes whole.
const SECTOR: usize = 512;

/// Something that has happened to a disk.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Write {
        file: String,
        at: usize,
        data: Vec<u8>,
    },
    Truncate {
        file: String,
        len: usize,
    },
    Delete {
        file: String,
    },
    Sync {
        file: String,
    },
    /// A group's outcome was told.
    Told(Result<(), String>),
}

/// Content and history of one disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    initial: BTreeMap<String, Vec<u8>>,
    files: BTreeMap<String, Vec<u8>>,
    pub(super) ops: Vec<Op>,
    /// Operations until the disk fails, and for how many it does.
    pub(super) failing: Option<(usize, usize)>,
    /// What it says then.
    pub(super) failure: Option<ErrorKind>,
}

impl Disk {
    /// Puts the files of a folder on a new disk.
    pub(super) fn of(folder: &Path, names: &[&str]) -> Self {
        let read = |name: &&str| ((*name).to_owned(), fs::read(folder.join(name)).expect("file"));
        let initial: BTreeMap<_, _> = names.iter().map(read).collect();
        Self { files: initial.clone(), initial, ..Self::default() }
    }

    fn operate(&mut self, op: Op) -> Result<(), Error> {
        if let Some((wait, times)) = &mut self.failing {
            match (*wait, *times) {
                (0, 0) => self.failing = None,
                (0, _) => {
                    *times -= 1;
                    return Err(self.failure.unwrap_or(ErrorKind::Other).into());
                }
                _ => *wait -= 1,
            }
        }
        apply(&mut self.files, &op, &mut || true);
        self.ops.push(op);
        Ok(())
    }

    /// Gives what is there after power failed behind the first `count` operations: all that was synced, and of the
    /// rest each sector or change of length with the chance in percent.
    pub(super) fn after(
        &self,
        count: usize,
        chance: u64,
        below: &mut dyn FnMut(u64) -> u64,
    ) -> BTreeMap<String, Vec<u8>> {
        let mut files = self.initial.clone();
        let done = &self.ops[..count];
        for (at, op) in done.iter().enumerate() {
            let synced = |name: &str| {
                done[at..].iter().any(|later| matches!(later, Op::Sync { file } if file == name))
            };
            let safe = match op {
                Op::Write { file, .. } | Op::Truncate { file, .. } => synced(file),
                Op::Delete { .. } | Op::Sync { .. } | Op::Told(_) => false,
            };
            apply(&mut files, op, &mut || safe || below(100) < chance);
        }
        files
    }
}

/// Applies an operation, sector by sector as far as `survives` says.
fn apply(files: &mut BTreeMap<String, Vec<u8>>, op: &Op, survives: &mut dyn FnMut() -> bool) {
    match op {
        Op::Write { file, at, data } => {
            let bytes = files.entry(file.clone()).or_default();
            let mut from = 0;
            while from < data.len() {
                let upto = (from + SECTOR - (at + from) % SECTOR).min(data.len());
                if survives() {
                    // What lies between reads as zeros.
                    bytes.resize(bytes.len().max(at + upto), 0);
                    bytes[at + from..at + upto].copy_from_slice(&data[from..upto]);
                }
                from = upto;
            }
        }
        Op::Truncate { file, len } if survives() => files.entry(file.clone()).or_default().resize(*len, 0),
        Op::Delete { file } if survives() => drop(files.remove(file)),
        Op::Truncate { .. } | Op::Delete { .. } | Op::Sync { .. } | Op::Told(_) => {}
    }
}

/// All disks by name. A path is the disk's name, a slash, and the file's.
static DISKS: LazyLock<Arc<Mutex<BTreeMap<String, Disk>>>> = LazyLock::new(|| {
    let disks = Arc::default();
    register(NAME, Disks(Arc::clone(&disks)), false).expect("registered");
    disks
});

/// Puts a disk under a name, and makes the file system known to SQLite.
pub(super) fn mount(name: &str, disk: Disk) {
    lock(&DISKS).insert(name.to_owned(), disk);
}

/// Works on a disk.
pub(super) fn with<T>(name: &str, work: impl FnOnce(&mut Disk) -> T) -> T {
    work(lock(&DISKS).get_mut(name).expect("mounted"))
}

fn lock(disks: &Mutex<BTreeMap<String, Disk>>) -> MutexGuard<'_, BTreeMap<String, Disk>> {
    disks.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Disks(Arc<Mutex<BTreeMap<String, Disk>>>);

impl Disks {
    fn on<T>(
        &self,
        path: &str,
        work: impl FnOnce(&mut Disk, String) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let (disk, file) = path.trim_start_matches('/').split_once('/').ok_or(ErrorKind::NotFound)?;
        let mut disks = lock(&self.0);
        work(disks.get_mut(disk).ok_or(ErrorKind::NotFound)?, file.to_owned())
    }
}

impl Vfs for Disks {
    type Handle = Handle;

    fn open(&self, path: &str, _: OpenOptions) -> Result<Handle, Error> {
        self.on(path, |disk, file| {
            disk.files.entry(file).or_default();
            Ok(())
        })?;
        Ok(Handle { disks: Disks(Arc::clone(&self.0)), path: path.to_owned(), held: LockKind::None })
    }

    fn delete(&self, path: &str) -> Result<(), Error> {
        self.on(path, |disk, file| disk.operate(Op::Delete { file }))
    }

    fn exists(&self, path: &str) -> Result<bool, Error> {
        self.on(path, |disk, file| Ok(disk.files.contains_key(&file)))
    }

    fn temporary_name(&self) -> String {
        "none/temporary".to_owned()
    }

    fn random(&self, buffer: &mut [i8]) {
        buffer.fill(7);
    }

    fn sleep(&self, duration: Duration) -> Duration {
        duration
    }
}

/// An open file.
struct Handle {
    disks: Disks,
    path: String,
    held: LockKind,
}

impl DatabaseHandle for Handle {
    type WalIndex = WalDisabled;

    fn size(&self) -> Result<u64, Error> {
        self.disks.on(&self.path, |disk, file| Ok(disk.files.get(&file).map_or(0, Vec::len) as u64))
    }

    fn read_exact_at(&mut self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        buffer.fill(0);
        self.disks.on(&self.path, |disk, file| {
            let bytes = disk.files.get(&file).map(Vec::as_slice).unwrap_or_default();
            let bytes = bytes.get(offset as usize..).unwrap_or_default();
            let count = bytes.len().min(buffer.len());
            buffer[..count].copy_from_slice(&bytes[..count]);
            if count < buffer.len() { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
        })
    }

    fn write_all_at(&mut self, data: &[u8], offset: u64) -> Result<(), Error> {
        let (at, data) = (offset as usize, data.to_vec());
        self.disks.on(&self.path, |disk, file| disk.operate(Op::Write { file, at, data }))
    }

    fn sync(&mut self, _: bool) -> Result<(), Error> {
        self.disks.on(&self.path, |disk, file| disk.operate(Op::Sync { file }))
    }

    fn set_len(&mut self, size: u64) -> Result<(), Error> {
        self.disks.on(&self.path, |disk, file| disk.operate(Op::Truncate { file, len: size as usize }))
    }

    // One connection has the disk to itself.
    fn lock(&mut self, lock: LockKind) -> Result<bool, Error> {
        self.held = lock;
        Ok(true)
    }

    fn reserved(&mut self) -> Result<bool, Error> {
        Ok(false)
    }

    fn current_lock(&self) -> Result<LockKind, Error> {
        Ok(self.held)
    }

    fn wal_index(&self, _: bool) -> Result<WalDisabled, Error> {
        Ok(WalDisabled)
    }
}
