//! The members of a record: their values, and a shape that records with the same names share.
//!
//! Most records of a bucket have the same members, so their names are kept once. A shape is found by comparing with
//! the last few of the bucket; a record that fits none has one of its own.

use crate::record::{UPDATED_AT, VERSION};
use noex_json::{CompactString, Object, Value};
use smallvec::SmallVec;
use std::sync::Arc;

/// Something with values by name: the members of a record, or an object that is to become one.
pub trait Fields {
    /// Finds a value; `None` = absent.
    fn get(&self, name: &str) -> Option<&Value>;
    /// Iterates over names and values in order.
    fn iter(&self) -> impl ExactSizeIterator<Item = (&CompactString, &Value)>;
}

impl Fields for Object {
    fn get(&self, name: &str) -> Option<&Value> {
        self.get(name)
    }

    fn iter(&self) -> impl ExactSizeIterator<Item = (&CompactString, &Value)> {
        self.iter()
    }
}

/// Members of a record, in the order of an [`Object`].
#[derive(Clone, Debug)]
pub struct Members {
    shape: Arc<Shape>,
    values: Box<[Value]>,
}

/// What records with the same members have in common.
#[derive(Debug)]
struct Shape {
    names: Box<[CompactString]>,
    /// Place of the key among them.
    key_at: Option<usize>,
    /// Places of the version and of the time of the last change.
    stamps_at: Option<[usize; 2]>,
}

impl Shape {
    fn new(members: &Object, key_field: &str) -> Self {
        Self {
            names: members.iter().map(|(name, _)| name.clone()).collect(),
            key_at: members.position(key_field),
            stamps_at: members.position(VERSION).zip(members.position(UPDATED_AT)).map(Into::into),
        }
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|other| other == name)
    }
}

impl Members {
    /// Takes the members of a record.
    pub(crate) fn new(members: Object, shapes: &mut Shapes) -> Self {
        let shape = shapes.of(&members);
        Self { shape, values: members.into_iter().map(|(_, value)| value).collect() }
    }

    /// Makes a copy with other values and these stamps: version and time of the change. Gives the changes back if one
    /// of them is no member, or if there are so many that searching for each would take long.
    pub(crate) fn changed(&self, changes: Object, stamps: [Value; 2]) -> Result<Self, Object> {
        if changes.len().saturating_mul(self.len()) > SEARCH_COST_MAX {
            return Err(changes);
        }
        let places: Option<SmallVec<[usize; 8]>> =
            changes.iter().map(|(name, _)| self.shape.position(name)).collect();
        let Some((places, stamps_at)) = places.zip(self.shape.stamps_at) else { return Err(changes) };
        let mut values = self.values.clone();
        let changes = changes.into_iter().map(|(_, value)| value);
        for (at, value) in places.into_iter().zip(changes).chain(stamps_at.into_iter().zip(stamps)) {
            if let Some(slot) = values.get_mut(at) {
                *slot = value;
            }
        }
        Ok(Self { shape: Arc::clone(&self.shape), values })
    }

    /// Names the key field, if it is there.
    pub(crate) fn key_field(&self) -> Option<&str> {
        self.shape.names.get(self.shape.key_at?).map(CompactString::as_str)
    }

    /// Gives the value of the key field.
    pub(crate) fn key(&self) -> Option<&Value> {
        self.values.get(self.shape.key_at?)
    }

    /// Loads the first values, every other one: they are half as long as what the processor loads together. What is
    /// given means nothing.
    pub(crate) fn load(&self) -> u64 {
        self.values.iter().take(LOADED_MAX).step_by(2).map(|value| u64::from(value.is_null())).sum()
    }

    /// Copies the members into an object.
    #[must_use]
    pub fn to_object(&self) -> Object {
        Object::from(self.iter().map(|(name, value)| (name.clone(), value.clone())).collect::<Vec<_>>())
    }

    /// Finds the value of a member; `None` = absent.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(self.shape.position(name)?)
    }

    /// Tells whether a member is there (`null` counts).
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.shape.position(name).is_some()
    }

    /// Gives the number of members.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Tells whether there are no members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Iterates over the members in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&CompactString, &Value)> {
        self.shape.names.iter().zip(&self.values)
    }
}

impl Fields for Members {
    fn get(&self, name: &str) -> Option<&Value> {
        self.get(name)
    }

    fn iter(&self) -> impl ExactSizeIterator<Item = (&CompactString, &Value)> {
        self.iter()
    }
}

/// The last few shapes of a bucket.
#[derive(Debug)]
pub(crate) struct Shapes {
    key_field: CompactString,
    recent: Vec<Arc<Shape>>,
    /// The one to give up next.
    oldest: usize,
}

/// Values that are loaded together; of more the processor loads the rest by itself.
const LOADED_MAX: usize = 16;
/// Shapes that a bucket remembers.
const SHAPES_MAX: usize = 4;
/// Names of a shape that is remembered; the names of more have to be compared with each record too.
const NAMES_MAX: usize = 64;
/// Bytes of one of its names.
const NAME_BYTES_MAX: usize = 256;

/// Up to this many comparisons of names, searching beats building a map.
pub(crate) const SEARCH_COST_MAX: usize = 1024;

impl Shapes {
    /// Remembers none yet; `key_field` names the key.
    pub(crate) fn new(key_field: &str) -> Self {
        Self { key_field: key_field.into(), recent: Vec::new(), oldest: 0 }
    }

    fn of(&mut self, members: &Object) -> Arc<Shape> {
        let fits = |shape: &&Arc<Shape>| {
            shape.names.len() == members.len()
                && shape.names.iter().zip(members.iter()).all(|(name, (other, _))| name == other)
        };
        if let Some(known) = self.recent.iter().find(fits) {
            return Arc::clone(known);
        }
        let shape = Arc::new(Shape::new(members, &self.key_field));
        let names = &shape.names;
        if names.len() <= NAMES_MAX && names.iter().all(|name| name.len() <= NAME_BYTES_MAX) {
            match self.recent.get_mut(self.oldest) {
                Some(oldest) => *oldest = Arc::clone(&shape),
                None => self.recent.push(Arc::clone(&shape)),
            }
            self.oldest = (self.oldest + 1) % SHAPES_MAX;
        }
        shape
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(names: &[&str]) -> Object {
        names.iter().zip(0..).map(|(name, n)| ((*name).into(), Value::Number(f64::from(n)))).collect()
    }

    fn shared(one: &Members, other: &Members) -> bool {
        Arc::ptr_eq(&one.shape, &other.shape)
    }

    #[test]
    fn equal_names_are_kept_once() {
        let mut shapes = Shapes::new("id");
        let mut make = |names: &[&str]| Members::new(object(names), &mut shapes);
        let first = make(&["id", "a", "b"]);
        assert!(shared(&first, &make(&["id", "a", "b"])));
        for names in [&["a", "id", "b"][..], &["id", "a"], &["id", "a", "b", "c"], &["a"]] {
            let other = make(names);
            assert!(!shared(&first, &other), "{names:?}");
            assert_eq!(names, other.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>());
            assert_eq!(other.key(), other.get("id"));
        }
        assert_eq!(
            (first.key(), first.get("b"), first.get("c")),
            (Some(&0.0.into()), Some(&2.0.into()), None)
        );
        assert_eq!(first.to_object(), object(&["id", "a", "b"]));
    }

    #[test]
    fn a_few_shapes_are_remembered_and_no_large_ones() {
        let mut shapes = Shapes::new("id");
        let first = Members::new(object(&["id"]), &mut shapes);
        for n in 1..SHAPES_MAX {
            let _ = Members::new(object(&["id", &n.to_string()]), &mut shapes);
        }
        assert!(shared(&first, &Members::new(object(&["id"]), &mut shapes)));
        let _ = Members::new(object(&["id", "x"]), &mut shapes);
        assert!(!shared(&first, &Members::new(object(&["id"]), &mut shapes)));
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        let many: Vec<String> = (0..=NAMES_MAX).map(|n| n.to_string()).collect();
        for names in [vec![long.as_str()], many.iter().map(String::as_str).collect()] {
            let of = |shapes: &mut Shapes| Members::new(object(&names), shapes);
            assert!(!shared(&of(&mut shapes), &of(&mut shapes)));
        }
        assert!(shapes.recent.len() <= SHAPES_MAX);
    }

    #[test]
    fn changes_of_values_keep_the_shape() {
        let stamps = || [7.0.into(), 9.0.into()];
        let members = Members::new(object(&["id", "a", UPDATED_AT, "b", VERSION]), &mut Shapes::new("id"));
        let changed = members.changed(object(&["b", "a"]), stamps()).expect("all are members");
        assert!(shared(&members, &changed));
        let values = ["id", "a", UPDATED_AT, "b", VERSION].map(|name| changed.get(name)?.as_number());
        assert_eq!(values, [0.0, 1.0, 9.0, 0.0, 7.0].map(Some));
        assert!(members.changed(object(&["b", "c"]), stamps()).is_err());
        let unstamped = Members::new(object(&["id", "a", VERSION]), &mut Shapes::new("id"));
        assert!(unstamped.changed(object(&["a"]), stamps()).is_err());
    }
}
