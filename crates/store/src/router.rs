//! Predicate index of one bucket's views: which views a changed record may concern.
//!
//! A view whose filter demands equality is found by hash: all views that demand it of the same fields share one table
//! from the hash of the wanted values to the views, so a write costs two probes per set of fields, however many
//! parameter values are subscribed. Different values with equal hashes do no harm, because a candidate's complete
//! filter is checked. A view that demands a range of a field is found in a tree of intervals, an alternative whose
//! branches can all be found is registered under each. All other views are tested one by one; those that can match
//! nothing are never woken.
//! Source: the store specification, C.2.

mod intervals;
#[cfg(test)]
mod tests;

use crate::filter::{Demand, Edge, Filter, Point, Ranges};
use crate::key::{Real, Text};
use crate::table::Hashing;
use crate::views::ViewId;
use hashbrown::HashMap;
use intervals::Intervals;
use noex_json::{CompactString, Value, identical};
use smallvec::SmallVec;
use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hash, Hasher};

/// At most so many fields make up a signature.
const FIELDS_MAX: usize = 3;
/// At most so many values of one field are enumerated.
const VALUES_MAX: usize = 4;
/// At most so many combinations of values are registered per view.
const COMBINATIONS_MAX: usize = 16;
/// At most so many branches of an alternative are registered per view.
const BRANCHES_MAX: usize = 16;

/// Fields of which a view demands equality, sorted.
type Fields = SmallVec<[CompactString; FIELDS_MAX]>;

/// Where a view is registered.
#[derive(Clone, Debug)]
enum Route {
    /// Under the hashes of the values that it wants.
    Equality(Fields, Vec<u64>),
    /// In the trees of intervals of a field.
    Range(CompactString, Ranges),
    /// Under each branch.
    Any(Vec<Route>),
    /// Among those that see every change.
    Residual,
}

#[derive(Debug)]
struct Signature {
    fields: Fields,
    views: HashMap<u64, SmallVec<[ViewId; 2]>, Hashing>,
}

#[derive(Debug)]
struct FieldRanges {
    field: CompactString,
    numbers: Intervals<Edge<Real>>,
    texts: Intervals<Edge<Text>>,
}

/// The views of one bucket.
#[derive(Debug)]
pub(crate) struct Router {
    hashing: Hashing,
    signatures: Vec<Signature>,
    ranges: Vec<FieldRanges>,
    residual: BTreeSet<ViewId>,
    /// All views, dead ones included.
    pub(crate) members: BTreeSet<ViewId>,
}

impl Router {
    /// Makes an empty router.
    pub(crate) fn new(hashing: Hashing) -> Self {
        Self {
            hashing,
            signatures: Vec::new(),
            ranges: Vec::new(),
            residual: BTreeSet::new(),
            members: BTreeSet::new(),
        }
    }

    /// Registers a view; without a filter, or with one that matches nothing, it is never found.
    pub(crate) fn add(&mut self, view: ViewId, filter: Option<&Filter>) {
        self.members.insert(view);
        if let Some(filter) = filter.filter(|filter| !filter.is_none()) {
            let route = self.route(&filter.demands());
            self.register(view, &route);
        }
    }

    /// Removes a view that was registered with this filter.
    pub(crate) fn remove(&mut self, view: ViewId, filter: Option<&Filter>) {
        self.members.remove(&view);
        if let Some(filter) = filter.filter(|filter| !filter.is_none()) {
            let route = self.route(&filter.demands());
            self.unregister(view, &route);
        }
    }

    /// Chooses where a view with these demands is registered; the same demands give the same route.
    fn route(&self, demands: &[Demand<'_>]) -> Route {
        if let Some(route) = self.equality(demands) {
            return route;
        }
        let ranges = || {
            demands.iter().filter_map(|demand| match demand {
                Demand::Within(field, ranges) => Some((*field, ranges)),
                Demand::OneOf(..) | Demand::Any(_) => None,
            })
        };
        let range = ranges().find(|(_, ranges)| ranges.is_bounded()).or_else(|| ranges().next());
        if let Some((field, ranges)) = range {
            return Route::Range(field.into(), ranges.clone());
        }
        for demand in demands {
            let Demand::Any(branches) = demand else { continue };
            let mut routes = Vec::new();
            for branch in branches {
                let route = self.route(branch);
                if let Route::Any(nested) = route {
                    routes.extend(nested);
                } else {
                    routes.push(route);
                }
            }
            if routes.len() <= BRANCHES_MAX && !routes.iter().any(|route| matches!(route, Route::Residual)) {
                return Route::Any(routes);
            }
        }
        Route::Residual
    }

    /// Chooses the fields of a signature; `None` if there is no equality.
    fn equality(&self, demands: &[Demand<'_>]) -> Option<Route> {
        let mut equalities: Vec<(&str, &[Option<&Value>])> = Vec::new();
        for demand in demands {
            if let Demand::OneOf(field, values) = demand
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
            return None;
        }
        equalities.sort_by_key(|(field, _)| *field);
        let mut tuples: Vec<Vec<Option<&Value>>> = vec![Vec::new()];
        for (_, values) in &equalities {
            tuples = tuples
                .iter()
                .flat_map(|tuple| values.iter().map(|value| tuple.iter().copied().chain([*value]).collect()))
                .collect();
        }
        let mut hashes: Vec<u64> =
            tuples.iter().filter_map(|tuple| self.hash(tuple.iter().copied())).collect();
        hashes.sort_unstable();
        hashes.dedup();
        let fields = equalities.iter().map(|(field, _)| CompactString::from(*field)).collect();
        Some(Route::Equality(fields, hashes))
    }

    fn register(&mut self, view: ViewId, route: &Route) {
        match route {
            Route::Residual => {
                self.residual.insert(view);
            }
            Route::Any(routes) => routes.iter().for_each(|route| self.register(view, route)),
            Route::Range(field, ranges) => {
                let priority = self.hashing.hash_one(view);
                if !self.ranges.iter().any(|of| of.field == *field) {
                    let (numbers, texts) = (Intervals::default(), Intervals::default());
                    self.ranges.push(FieldRanges { field: field.clone(), numbers, texts });
                }
                let Some(of) = self.ranges.iter_mut().find(|of| of.field == *field) else { return };
                if let Some((low, high)) = &ranges.numbers {
                    of.numbers.insert(low.clone(), Some(high.clone()), view, priority);
                }
                if let Some((low, high)) = &ranges.texts {
                    of.texts.insert(low.clone(), high.clone(), view, priority);
                }
            }
            Route::Equality(fields, hashes) => {
                if !self.signatures.iter().any(|signature| signature.fields == *fields) {
                    let views = HashMap::with_hasher(self.hashing.clone());
                    self.signatures.push(Signature { fields: fields.clone(), views });
                }
                let signature = self.signatures.iter_mut().find(|signature| signature.fields == *fields);
                let Some(signature) = signature else { return };
                for hash in hashes {
                    signature.views.entry(*hash).or_default().push(view);
                }
            }
        }
    }

    fn unregister(&mut self, view: ViewId, route: &Route) {
        match route {
            Route::Residual => {
                self.residual.remove(&view);
            }
            Route::Any(routes) => routes.iter().for_each(|route| self.unregister(view, route)),
            Route::Range(field, ranges) => {
                let Some(of) = self.ranges.iter_mut().find(|of| of.field == *field) else { return };
                if let Some((low, _)) = &ranges.numbers {
                    of.numbers.remove(low, view);
                }
                if let Some((low, _)) = &ranges.texts {
                    of.texts.remove(low, view);
                }
                self.ranges.retain(|of| !of.numbers.is_empty() || !of.texts.is_empty());
            }
            Route::Equality(fields, hashes) => {
                let signature = self.signatures.iter_mut().find(|signature| signature.fields == *fields);
                let Some(signature) = signature else { return };
                for hash in hashes {
                    if let Some(views) = signature.views.get_mut(hash) {
                        views.retain(|other| *other != view);
                        if views.is_empty() {
                            signature.views.remove(hash);
                        }
                    }
                }
                self.signatures.retain(|signature| !signature.views.is_empty());
            }
        }
    }

    /// Puts the views that a change from `old` to `new` may concern into `out`, each once; gives the number of
    /// places looked at.
    pub(crate) fn candidates<M: crate::members::Fields>(
        &self,
        old: Option<&M>,
        new: Option<&M>,
        out: &mut Vec<ViewId>,
    ) -> u64 {
        out.clear();
        out.extend(&self.residual);
        let residual = out.len();
        let mut probes = residual as u64;
        for signature in &self.signatures {
            let hash = |members: Option<&M>| {
                members.and_then(|members| self.hash(signature.fields.iter().map(|field| members.get(field))))
            };
            let (before, after) = (hash(old), hash(new));
            for hash in [before, after.filter(|hash| before != Some(*hash))].into_iter().flatten() {
                probes += 1;
                out.extend(signature.views.get(&hash).into_iter().flatten());
            }
        }
        for of in &self.ranges {
            let [before, after] =
                [old, new].map(|members| members.and_then(|members| members.get(&of.field)));
            let after = after.filter(|after| !identical(before, Some(after)));
            for point in [before, after].into_iter().filter_map(Point::of) {
                probes += point.number.map_or(0, |number| of.numbers.stab(&number, out));
                probes += point.text.map_or(0, |text| of.texts.stab(&text, out));
            }
        }
        if out.len() > residual.max(1) {
            out.sort_unstable();
            out.dedup();
        }
        probes
    }

    /// Hashes values so that identical ones agree; `None` if one of them is identical to nothing.
    fn hash<'a>(&self, values: impl Iterator<Item = Option<&'a Value>>) -> Option<u64> {
        let mut hasher = self.hashing.build_hasher();
        for value in values {
            match value {
                None => 4_u8.hash(&mut hasher),
                Some(Value::Null) => 0_u8.hash(&mut hasher),
                Some(Value::Bool(flag)) => (1_u8, flag).hash(&mut hasher),
                Some(Value::Number(number)) => (2_u8, Real::new(*number)?).hash(&mut hasher),
                Some(Value::String(text)) => (3_u8, text.as_str()).hash(&mut hasher),
                Some(Value::Array(_) | Value::Object(_)) => return None,
            }
        }
        Some(hasher.finish())
    }
}
