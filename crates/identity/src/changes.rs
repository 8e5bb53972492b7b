//! What a call changes: computed first, applied once the host has written it.

use crate::row::Row;
use noex_json::Object;

#[derive(Clone, Debug)]
pub(crate) enum Change {
    Insert(Row),
    Update(Row),
    Remove(Row),
}

/// Changes of the state that are not yet made. Write [`Changes::records`] to the store in one transaction; if that
/// succeeds, hand the changes to [`Identity::commit`](crate::Identity::commit), else drop them: then nothing has
/// happened.
#[derive(Debug, Default)]
#[must_use = "nothing changes before the changes are committed"]
pub struct Changes {
    pub(crate) list: Vec<Change>,
    /// Number of the state that they were computed from.
    pub(crate) revision: u64,
}

/// One operation on a system bucket.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordChange {
    /// Name of the bucket.
    pub bucket: &'static str,
    /// Key of the record.
    pub id: String,
    /// What to do.
    pub action: RecordAction,
}

/// What to do with a record.
#[derive(Clone, Debug, PartialEq)]
pub enum RecordAction {
    /// Insert this record, whose key is new.
    Insert(Object),
    /// Set all these members of the existing record; those that are gone are `null`.
    Update(Object),
    /// Delete the record, which exists.
    Delete,
}

impl Changes {
    /// Tells whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The operations to be run, in this order, in one transaction at the time of the call.
    #[must_use]
    pub fn records(&self) -> Vec<RecordChange> {
        let record = |row: &Row, action| RecordChange { bucket: row.bucket(), id: row.id(), action };
        self.list
            .iter()
            .map(|change| match change {
                Change::Insert(row) => {
                    let mut object = row.encode();
                    let absent: Vec<_> = object
                        .iter()
                        .filter(|(_, value)| value.is_null())
                        .map(|(name, _)| name.clone())
                        .collect();
                    for name in absent {
                        object.remove(&name);
                    }
                    record(row, RecordAction::Insert(object))
                }
                Change::Update(row) => record(row, RecordAction::Update(row.encode())),
                Change::Remove(row) => record(row, RecordAction::Delete),
            })
            .collect()
    }

    pub(crate) fn insert(&mut self, row: Row) {
        self.list.push(Change::Insert(row));
    }

    pub(crate) fn update(&mut self, row: Row) {
        self.list.push(Change::Update(row));
    }

    pub(crate) fn remove(&mut self, row: Row) {
        self.list.push(Change::Remove(row));
    }
}
