//! Predicate index of one bucket's views: which views a changed record may concern.
//!
//! A view whose filter demands equality is found by hash: all views that demand it of the same fields share one table
//! from the hash of the wanted values to the views, so a write costs two probes per set of fields, however many
//! parameter values are subscribed. Different values with equal hashes do no harm, because a candidate's complete
//! filter is checked. All other views are tested one by one; those that can match nothing are never woken.
//! Source: the store specification, C.2.

#[cfg(test)]
mod tests;

use crate::filter::{Filter, IndexableCondition};
use crate::key::Real;
use crate::table::Hashing;
use crate::views::ViewId;
use hashbrown::HashMap;
use noex_json::{CompactString, Object, Value};
use smallvec::SmallVec;
use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hash, Hasher};

/// At most so many fields make up a signature.
const FIELDS_MAX: usize = 3;
/// At most so many values of one field are enumerated.
const VALUES_MAX: usize = 4;
/// At most so many combinations of values are registered per view.
const COMBINATIONS_MAX: usize = 16;

/// Fields of which a view demands equality, sorted.
type Fields = SmallVec<[CompactString; FIELDS_MAX]>;

/// Where a view is registered.
#[derive(Clone, Debug)]
pub(crate) enum Route {
    /// Nowhere: it matches no record.
    Dead,
    /// Under the hashes of the values that it wants.
    Equality(Fields, Vec<u64>),
    /// Among those that see every change.
    Residual,
}

#[derive(Debug)]
struct Signature {
    fields: Fields,
    views: HashMap<u64, SmallVec<[ViewId; 2]>, Hashing>,
}

/// The views of one bucket.
#[derive(Debug)]
pub(crate) struct Router {
    hashing: Hashing,
    signatures: Vec<Signature>,
    residual: BTreeSet<ViewId>,
    /// All views, dead ones included.
    pub(crate) members: BTreeSet<ViewId>,
}

impl Router {
    /// Makes an empty router.
    pub(crate) fn new(hashing: Hashing) -> Self {
        Self { hashing, signatures: Vec::new(), residual: BTreeSet::new(), members: BTreeSet::new() }
    }

    /// Chooses where a view with this filter is registered.
    pub(crate) fn route(&self, filter: &Filter) -> Route {
        if filter.is_none() {
            return Route::Dead;
        }
        let conditions = filter.indexable();
        let mut equalities: Vec<(&str, &[Value])> = Vec::new();
        for condition in &conditions {
            if let IndexableCondition::OneOf(field, values) = condition
                && values.len() <= VALUES_MAX
                && !equalities.iter().any(|(other, _)| other == field)
            {
                equalities.push((field, values));
            }
        }
        equalities.sort_by_key(|(field, values)| (values.len(), *field));
        let mut combinations = 1;
        equalities.truncate(FIELDS_MAX);
        equalities.retain(|(_, values)| {
            let fits = combinations * values.len() <= COMBINATIONS_MAX;
            if fits {
                combinations *= values.len();
            }
            fits
        });
        if equalities.is_empty() {
            return Route::Residual;
        }
        equalities.sort_by_key(|(field, _)| *field);
        let mut tuples: Vec<Vec<&Value>> = vec![Vec::new()];
        for (_, values) in &equalities {
            tuples = tuples
                .iter()
                .flat_map(|tuple| values.iter().map(|value| tuple.iter().copied().chain([value]).collect()))
                .collect();
        }
        let mut hashes: Vec<u64> =
            tuples.iter().filter_map(|tuple| self.hash(tuple.iter().map(|value| Some(*value)))).collect();
        hashes.sort_unstable();
        hashes.dedup();
        Route::Equality(equalities.iter().map(|(field, _)| CompactString::from(*field)).collect(), hashes)
    }

    /// Registers a view.
    pub(crate) fn add(&mut self, view: ViewId, route: &Route) {
        self.members.insert(view);
        match route {
            Route::Dead => {}
            Route::Residual => {
                self.residual.insert(view);
            }
            Route::Equality(fields, hashes) => {
                let at = match self.signatures.iter().position(|signature| signature.fields == *fields) {
                    Some(at) => at,
                    None => {
                        let views = HashMap::with_hasher(self.hashing.clone());
                        self.signatures.push(Signature { fields: fields.clone(), views });
                        self.signatures.len() - 1
                    }
                };
                let Some(signature) = self.signatures.get_mut(at) else { return };
                for hash in hashes {
                    signature.views.entry(*hash).or_default().push(view);
                }
            }
        }
    }

    /// Removes a view.
    pub(crate) fn remove(&mut self, view: ViewId, route: &Route) {
        self.members.remove(&view);
        match route {
            Route::Dead => {}
            Route::Residual => {
                self.residual.remove(&view);
            }
            Route::Equality(fields, hashes) => {
                let Some(at) = self.signatures.iter().position(|signature| signature.fields == *fields)
                else {
                    return;
                };
                let Some(signature) = self.signatures.get_mut(at) else { return };
                for hash in hashes {
                    if let Some(views) = signature.views.get_mut(hash) {
                        views.retain(|other| *other != view);
                        if views.is_empty() {
                            signature.views.remove(hash);
                        }
                    }
                }
                if signature.views.is_empty() {
                    self.signatures.swap_remove(at);
                }
            }
        }
    }

    /// Appends the views that a change from `old` to `new` may concern to `out`; some perhaps twice.
    pub(crate) fn candidates(&self, old: Option<&Object>, new: Option<&Object>, out: &mut Vec<ViewId>) {
        out.extend(&self.residual);
        for signature in &self.signatures {
            let hash = |members: Option<&Object>| {
                members.and_then(|members| self.hash(signature.fields.iter().map(|field| members.get(field))))
            };
            let (before, after) = (hash(old), hash(new));
            for hash in [before, after.filter(|hash| before != Some(*hash))].into_iter().flatten() {
                out.extend(signature.views.get(&hash).into_iter().flatten());
            }
        }
    }

    /// Hashes values so that identical ones agree; `None` if one of them is identical to nothing.
    fn hash<'a>(&self, values: impl Iterator<Item = Option<&'a Value>>) -> Option<u64> {
        let mut hasher = self.hashing.build_hasher();
        for value in values {
            match value? {
                Value::Null => 0_u8.hash(&mut hasher),
                Value::Bool(flag) => (1_u8, flag).hash(&mut hasher),
                Value::Number(number) => (2_u8, Real::new(*number)?).hash(&mut hasher),
                Value::String(text) => (3_u8, text.as_str()).hash(&mut hasher),
                Value::Array(_) | Value::Object(_) => return None,
            }
        }
        Some(hasher.finish())
    }
}
