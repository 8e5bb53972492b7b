//! Results on their way: what is to be evaluated, what came out, and whom it concerns.

use super::state::{Snapshot, State};
use super::{SubscriberId, ViewId};
use crate::plan::Source;
use crate::query::CompiledQuery;
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
    pub(super) lsn: u64,
    pub(super) query: Arc<CompiledQuery>,
    pub(super) subscriber: Option<SubscriberId>,
    pub(super) input: Input,
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
    /// Does the work. Needs nothing of the store any more, so it may run anywhere.
    pub fn run(self) -> Evaluated {
        let Self { view, lsn, query, subscriber, input } = self;
        let (result, built) = match input {
            Input::Kept(snapshot) => (snapshot.write(&query), None),
            Input::Read { source, build: None } => {
                let text = query.evaluate(source.iter(), |record| record.members(), |record| record.json());
                (text, None)
            }
            Input::Read { source, build: Some(Build { number, refills }) } => {
                let mut state = Box::new(State::build(&query, &source, refills));
                let mut additions = 0;
                let text = state.snapshot(&mut additions).write(&query);
                (text, Some(Built { number, state, additions }))
            }
        };
        Evaluated { view, lsn, subscriber, result: result.map(Arc::from), built }
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
}
