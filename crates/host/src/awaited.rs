//! The one request of a connection that everything behind it waits for: a login, or a call that needs a password
//! computed.

use crate::{AuthFailure, identity::Working};
use futures::{FutureExt, channel::oneshot, future::BoxFuture};
use noex_core::{AuthToken, IdentityToken, Instant, Now, Session};
use noex_identity::PasswordResult;
use std::task::{Context, Poll};

/// What an authenticator says, when it says it.
pub(crate) type Verdict = Result<Option<Session>, AuthFailure>;

/// A request whose answer is not known yet.
pub(crate) enum Awaited {
    /// The authenticator has not answered; it is given up at `until`.
    Login { token: AuthToken, answer: BoxFuture<'static, Verdict>, until: Instant },
    /// A password is being computed.
    Identity { token: IdentityToken, working: Box<Working> },
}

/// What has become known.
pub(crate) enum Known {
    Login(AuthToken, Verdict),
    /// `Err` = the computation failed.
    Identity(IdentityToken, Box<Working>, Result<PasswordResult, oneshot::Canceled>),
}

impl Awaited {
    /// When to look again, whatever happens.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Login { until, .. } => Some(*until),
            Self::Identity { .. } => None,
        }
    }

    /// Gives what has become known, or keeps waiting.
    pub(crate) fn poll(self, cx: &mut Context<'_>, now: Now) -> Result<Known, Self> {
        match self {
            Self::Login { token, mut answer, until } => match answer.poll_unpin(cx) {
                Poll::Ready(verdict) => Ok(Known::Login(token, verdict)),
                Poll::Pending if until <= now.mono => {
                    Ok(Known::Login(token, Err(AuthFailure("no answer in time".to_owned()))))
                }
                Poll::Pending => Err(Self::Login { token, answer, until }),
            },
            Self::Identity { token, mut working } => match working.result.poll_unpin(cx) {
                Poll::Ready(result) => Ok(Known::Identity(token, working, result)),
                Poll::Pending => Err(Self::Identity { token, working }),
            },
        }
    }
}
