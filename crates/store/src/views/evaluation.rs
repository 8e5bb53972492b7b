//! Results on their way: what is to be evaluated, what came out, and whom it concerns.

use super::delta::Delta;
use super::state::{Snapshot, State};
use super::{SubscriberId, ViewId};
use crate::plan::Source;
use crate::query::CompiledQuery;
use noex_json::CompactString;
use std::sync::Arc;

/// A result and its age.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewState {
    /// Number of the commit with which this result came about; greater than that of every earlier result.
    pub version: u64,
    /// The result as JSON text; `None` = no value.
    pub result: Option<Arc<str>>,
}

/// Outcome of subscribing.
#[derive(Debug)]
pub enum Subscribed {
    /// The result is known.
    Ready(ViewState),
    /// The result must be evaluated; publishing it gives the subscriber's initial state.
    Evaluate(Evaluation),
}

/// A view to evaluate: all that is needed, as of one commit.
#[derive(Debug)]
#[must_use = "the view stays dirty until the evaluation is run and published"]
pub struct Evaluation {
    pub(super) view: ViewId,
    pub(super) bucket: CompactString,
    pub(super) lsn: u64,
    pub(super) query: Arc<CompiledQuery>,
    pub(super) subscriber: Option<SubscriberId>,
    pub(super) input: Input,
    /// What to write changes against, if somebody wants to know them.
    pub(super) base: Option<Base>,
}

/// A version of a result that has been published.
#[derive(Clone, Debug)]
pub(super) struct Base {
    /// `None` = the version that is published now is not known in this form.
    pub(super) version: Option<(u64, Arc<Snapshot>)>,
}

/// What a result is made from.
#[derive(Debug)]
pub(super) enum Input {
    /// The state that is kept.
    Kept(Snapshot),
    /// Records; the state that is to be kept from now on is built from them too, if asked for.
    Read { source: Source, build: Option<Build> },
}

/// A state to build.
#[derive(Clone, Copy, Debug)]
pub(super) struct Build {
    /// Distinguishes it from others of the same view.
    pub(super) number: u64,
    /// How often a limited list has been read again.
    pub(super) refills: u32,
}

/// A result to publish.
#[derive(Debug)]
#[must_use = "the result reaches nobody until it is published"]
pub struct Evaluated {
    pub(super) view: ViewId,
    pub(super) lsn: u64,
    pub(super) subscriber: Option<SubscriberId>,
    pub(super) result: Option<Arc<str>>,
    pub(super) built: Option<Built>,
    /// What the result was written from, if it is to be a base.
    pub(super) snapshot: Option<Arc<Snapshot>>,
    /// The changes since another version.
    pub(super) delta: Option<Delta>,
}

/// A state as of the commit of its evaluation.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) number: u64,
    pub(super) state: Box<State>,
    /// Additions that its first result took.
    pub(super) additions: u64,
}

impl Evaluation {
    /// Names the bucket that is read.
    #[must_use]
    pub fn bucket(&self) -> &CompactString {
        &self.bucket
    }

    /// Does the work. Needs nothing of the store any more, so it may run anywhere.
    pub fn run(self) -> Evaluated {
        let Self { view, lsn, query, subscriber, input, base, .. } = self;
        let mut built = None;
        let snapshot = match input {
            Input::Kept(snapshot) => snapshot,
            Input::Read { source, build: None } => {
                let text = query.evaluate(source.iter(), |record| record.members(), |record| record.json());
                let result = text.map(Arc::from);
                return Evaluated { view, lsn, subscriber, result, built, snapshot: None, delta: None };
            }
            Input::Read { source, build: Some(Build { number, refills }) } => {
                let mut state = Box::new(State::build(&query, &source, refills));
                let mut additions = 0;
                let snapshot = state.snapshot(&mut additions);
                built = Some(Built { number, state, additions });
                snapshot
            }
        };
        let result: Option<Arc<str>> = snapshot.write(&query).map(Arc::from);
        let delta = base.as_ref().and_then(|base| base.version.as_ref()).and_then(|(from, old)| {
            let changes = snapshot.write_delta(lsn, *from, old, &query)?;
            let is_shorter = result.as_ref().is_some_and(|result| changes.len() < result.len());
            is_shorter.then(|| Delta { from: *from, to: lsn, changes: changes.into() })
        });
        let snapshot = base.map(|_| Arc::new(snapshot));
        Evaluated { view, lsn, subscriber, result, built, snapshot, delta }
    }
}

/// Outcome of publishing.
#[derive(Debug)]
pub struct Published {
    /// The view's state now, perhaps newer than what was published: the initial state of the subscriber for whom the
    /// evaluation was made.
    pub state: ViewState,
    /// Subscribers to tell, with what.
    pub changed: Vec<(SubscriberId, ViewState)>,
    /// The changes that led to the new result, if a subscriber of the view follows them (see
    /// [`Store::follow_changes`](crate::Store::follow_changes)) and if they are shorter than the result. One who was last
    /// told version [`Delta::from`] can be told these instead; anybody else must be told the result.
    pub delta: Option<Delta>,
}
