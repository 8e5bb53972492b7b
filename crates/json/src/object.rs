//! Ordered members of a JSON object.

use crate::Value;
use alloc::vec::Vec;
use compact_str::CompactString;
use hashbrown::HashMap;

/// Members of an object in ECMAScript order: canonical integers below 2^32 - 1 first, ascending; then the other
/// names in order of first appearance. A repeated name keeps its first place and takes the last value.
///
/// Lookups are linear: records have few members. Bulk construction and [`Object::merge`] stay linear in the number
/// of members, so a message with very many of them costs no more than its length.
#[derive(Clone, Debug, Default)]
pub struct Object {
    /// Those with integer-like names are at the front; nothing is kept about them, so that a [`Value`] stays small.
    members: Vec<(CompactString, Value)>,
}

/// Up to this many members a linear search beats building a map.
const SMALL_MAX: usize = 24;

impl Object {
    /// Makes an object without members.
    #[must_use]
    pub const fn new() -> Self {
        Self { members: Vec::new() }
    }

    /// Gives the number of members.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Tells whether there are no members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Finds the value of a member; `None` = absent.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.members.iter().find(|(n, _)| n == name).map(|(_, value)| value)
    }

    /// Finds the place of a member. It stays the same until a member is added or removed.
    #[must_use]
    pub fn position(&self, name: &str) -> Option<usize> {
        self.members.iter().position(|(n, _)| n == name)
    }

    /// Tells whether a member is there (`null` counts).
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Sets a member: in its place if it exists, else at the end of its class of names.
    pub fn set(&mut self, name: impl Into<CompactString>, value: impl Into<Value>) {
        let (name, value) = (name.into(), value.into());
        if let Some(slot) = self.members.iter_mut().find(|(n, _)| *n == name) {
            slot.1 = value;
        } else {
            self.push_new(name, value);
        }
    }

    /// Removes a member and gives its value.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        let at = self.position(name)?;
        Some(self.members.remove(at).1)
    }

    /// Removes the members whose name is not to be kept.
    pub fn retain(&mut self, mut keep: impl FnMut(&CompactString) -> bool) {
        self.members.retain(|(name, _)| keep(name));
    }

    /// Iterates over the members in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&CompactString, &Value)> {
        self.members.iter().map(|(name, value)| (name, value))
    }

    /// Sets each of `changes` as [`Object::set`] would, in linear time.
    pub fn merge(&mut self, changes: impl IntoIterator<Item = (CompactString, Value)>) {
        let mut changes = changes.into_iter();
        if self.len() + changes.size_hint().1.unwrap_or(usize::MAX) <= 2 * SMALL_MAX {
            for (name, value) in changes {
                self.set(name, value);
            }
            return;
        }
        let mut places: HashMap<CompactString, usize> =
            self.members.iter().enumerate().map(|(at, (name, _))| (name.clone(), at)).collect();
        let mut integers = Vec::new();
        for (name, value) in changes.by_ref() {
            if let Some(at) = places.get(&name) {
                if let Some(slot) = self.members.get_mut(*at) {
                    slot.1 = value;
                }
            } else if integer_name(&name).is_some() {
                integers.push((name, value));
            } else {
                places.insert(name.clone(), self.members.len());
                self.members.push((name, value));
            }
        }
        self.add_integers(integers);
    }

    fn push_new(&mut self, name: CompactString, value: Value) {
        let Some(number) = integer_name(&name) else {
            self.members.push((name, value));
            return;
        };
        let less =
            |(name, _): &(CompactString, Value)| integer_name(name).is_some_and(|other| other < number);
        self.members.insert(self.members.partition_point(less), (name, value));
    }

    /// Adds members with integer-like names of which none exists yet; among themselves the last one wins.
    fn add_integers(&mut self, mut added: Vec<(CompactString, Value)>) {
        if added.is_empty() {
            return;
        }
        let integers = self.members.partition_point(|(name, _)| integer_name(name).is_some());
        let rest = self.members.split_off(integers);
        self.members.append(&mut added);
        // Stable, so of equal names the last comes last; dedup keeps the first of a run after reversing.
        self.members.sort_by_key(|(name, _)| integer_name(name));
        self.members.reverse();
        self.members.dedup_by(|later, kept| later.0 == kept.0);
        self.members.reverse();
        self.members.extend(rest);
    }
}

/// Equality of member sets in the sense of [`crate::deep_equal`], whatever the order.
impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self.iter().all(|(name, value)| other.get(name).is_some_and(|v| v == value))
    }
}

impl FromIterator<(CompactString, Value)> for Object {
    fn from_iter<I: IntoIterator<Item = (CompactString, Value)>>(members: I) -> Self {
        let mut object = Object::new();
        object.merge(members);
        object
    }
}

impl From<Vec<(CompactString, Value)>> for Object {
    /// As collecting them, but keeps the list where its order is right already.
    fn from(members: Vec<(CompactString, Value)>) -> Self {
        let repeated = |at: usize, name: &str| {
            members.get(..at).is_some_and(|earlier| earlier.iter().any(|(other, _)| other == name))
        };
        let in_order = members.len() <= SMALL_MAX
            && members
                .iter()
                .enumerate()
                .all(|(at, (name, _))| integer_name(name).is_none() && !repeated(at, name));
        if in_order { Self { members } } else { members.into_iter().collect() }
    }
}

impl IntoIterator for Object {
    type Item = (CompactString, Value);
    type IntoIter = alloc::vec::IntoIter<(CompactString, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.members.into_iter()
    }
}

/// Reads a canonical array index: no sign, no leading zero, below 2^32 - 1.
fn integer_name(name: &str) -> Option<u32> {
    let bytes = name.as_bytes();
    if bytes.len() > 10
        || !bytes.first()?.is_ascii_digit()
        || (bytes.len() > 1 && bytes.first() == Some(&b'0'))
    {
        return None;
    }
    name.parse::<u32>().ok().filter(|number| *number != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{format, string::ToString};

    fn names(object: &Object) -> Vec<&str> {
        object.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn values_are_small() {
        // Records are mostly these.
        assert_eq!((size_of::<Value>(), size_of::<(CompactString, Value)>()), (24, 48));
    }

    #[test]
    fn integer_like_names_come_first_ascending() {
        let mut object = Object::new();
        for name in ["b", "10", "a", "9", "01", "4294967295", "4294967294", "-1", "0"] {
            object.set(name, true);
        }
        assert_eq!(names(&object), ["0", "9", "10", "4294967294", "b", "a", "01", "4294967295", "-1"]);
        object.remove("9");
        object.set("3", 1.0);
        assert_eq!(names(&object)[..4], ["0", "3", "10", "4294967294"]);
    }

    #[test]
    fn retained_members_keep_their_order() {
        let mut object = Object::new();
        for name in ["b", "2", "a", "1", "c"] {
            object.set(name, true);
        }
        object.retain(|name| name != "1" && name != "a");
        object.set("0", true);
        object.set("3", true);
        assert_eq!(names(&object), ["0", "2", "3", "b", "c"]);
        assert_eq!((object.position("3"), object.position("1")), (Some(2), None));
    }

    #[test]
    fn lists_become_objects_as_if_collected() {
        for list in ["a b c", "a b a", "b 1 a 0", "a", ""] {
            let members: Vec<_> = list
                .split_whitespace()
                .enumerate()
                .map(|(at, name)| (CompactString::new(name), Value::Bool(at == 0)))
                .collect();
            let collected: Object = members.clone().into_iter().collect();
            let taken = Object::from(members);
            assert_eq!(names(&taken), names(&collected), "{list}");
            assert_eq!(taken, collected, "{list}");
        }
    }

    #[test]
    fn large_and_small_merges_agree() {
        let members: Vec<(CompactString, Value)> = (0..300_u32)
            .map(|i| {
                (
                    CompactString::from(format!("{}{}", if i % 3 == 0 { "" } else { "k" }, (i * 7) % 90)),
                    Value::Number(f64::from(i)),
                )
            })
            .collect();
        let bulk: Object = members.clone().into_iter().collect();
        assert_eq!(names(&bulk), names(&Object::from(members.clone())));
        let mut one_by_one = Object::new();
        for (name, value) in members {
            one_by_one.set(name, value);
        }
        assert_eq!(names(&bulk), names(&one_by_one));
        assert_eq!(Value::from(bulk).to_json(), Value::from(one_by_one).to_json().to_string());
    }
}
