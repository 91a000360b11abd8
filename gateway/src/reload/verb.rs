//! What operators ask of reload, and the way it gets there: a bounded queue with an answer to each. Reload
//! alone writes the board, so nobody else may do these things.

use std::time::Duration;

use hookweir_event::{Digest, PluginName};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

/// How many may wait.
const QUEUE: usize = 16;
/// How long an answer is waited for. What was asked for may be done after that still.
const PATIENCE: Duration = Duration::from_secs(30);

/// What to do with a plugin's versions. Versions are named by the first digits of their digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// Serve an earlier version, the last good one if none is named. The one it leaves is turned away.
    Rollback {
        /// Which.
        to: Option<String>,
    },
    /// Hold a version, the live one if none is named: no other takes its place.
    Pin {
        /// Which.
        to: Option<String>,
    },
    /// Hold it no longer.
    Unpin,
    /// Let a version that was turned away be tried again, the folder's if none is named; and close the
    /// plugin's breaker.
    Approve {
        /// Which.
        version: Option<String>,
    },
}

/// Why it was not done. Completes "failed to …".
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Nothing has this name.
    #[error("no plugin has this name{}", hint(near.as_deref()))]
    NoPlugin {
        /// What may have been meant.
        near: Option<String>,
    },
    /// It is known, and its file is gone.
    #[error("its file is not in the plugins folder, and nothing serves without one")]
    NoFile,
    /// No version is kept before the live one.
    #[error("there is no earlier version to go back to")]
    NoEarlier,
    /// No version has this name.
    #[error("no version begins with {text:?}; there {}", list(known))]
    NoVersion {
        /// What was asked for.
        text: String,
        /// What there is.
        known: Vec<Digest>,
    },
    /// Several versions have this name.
    #[error("{text:?} names several versions: {}", join(found))]
    Ambiguous {
        /// What was asked for.
        text: String,
        /// What it may mean.
        found: Vec<Digest>,
    },
    /// It serves already.
    #[error("{} is live already", .0.short())]
    Live(Digest),
    /// Nothing serves.
    #[error("no version of it is live; name one")]
    NotLive,
    /// Another verb is asked for first.
    #[error("{} is pinned; `pin --off` lets others serve", .0.short())]
    Pinned(Digest),
    /// There is no pin to take off.
    #[error("no version is pinned")]
    NotPinned,
    /// Only the config can grant what it wants.
    #[error("{0}")]
    Grant(String),
    /// It is kept, and does not run under this config.
    #[error("{} can't serve: {reason}", version.short())]
    CanNotServe {
        /// Which.
        version: Digest,
        /// Why.
        reason: String,
    },
    /// It is live, and the data folder does not have it.
    #[error("{} would not be held over a restart: {reason}", version.short())]
    NotKept {
        /// Which.
        version: Digest,
        /// Why.
        reason: String,
    },
    /// Not all gateways agree.
    #[error("{0}")]
    NotAgreed(String),
    /// The data folder, or the store that gateways share.
    #[error("it can't be written down: {0}")]
    NotWritten(String),
    /// Others ask as well, or the gateway compiles.
    #[error("the gateway is busy with other versions; ask again")]
    Busy,
    /// It ends.
    #[error("the gateway is shutting down")]
    ShuttingDown,
}

fn hint(near: Option<&str>) -> String {
    near.map_or_else(String::new, |near| format!("; did you mean \"{near}\"?"))
}

fn list(known: &[Digest]) -> String {
    match known {
        [] => "is none".to_owned(),
        [one] => format!("is {}", one.short()),
        _ => format!("are {}", join(known)),
    }
}

fn join(versions: &[Digest]) -> String {
    versions.iter().map(Digest::short).collect::<Vec<_>>().join(", ")
}

/// One wish, with the way back.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) plugin: PluginName,
    pub(super) verb: Verb,
    pub(super) answer: oneshot::Sender<Result<String, Refusal>>,
}

/// What is handed in.
#[derive(Debug)]
pub(super) enum Asked {
    /// Something is to be done with a plugin's versions.
    Wish(Wish),
    /// The config and the plugins folder are to be looked at now.
    Look(oneshot::Sender<Looked>),
}

/// What a look has brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked {
    /// What became of the config.
    pub config: ConfigLook,
    /// The plugins of which another version serves than before, or none, or one for the first time.
    pub plugins: Vec<PluginLook>,
    /// Files that are not live, with the reason.
    pub not_live: Vec<(PluginName, String)>,
    /// A file is not decided about: it may be half copied. It is looked at again soon.
    pub pending: bool,
}

/// What became of the config in a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigLook {
    /// Its files say what they said.
    Unchanged,
    /// Another is in force.
    Reloaded,
    /// It can't be followed; the old one stays in force. With the reason.
    Refused(String),
}

/// A plugin of which another version serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginLook {
    /// Which.
    pub name: PluginName,
    /// What served before.
    pub before: Option<Digest>,
    /// What serves now.
    pub now: Option<Digest>,
}

impl Wish {
    /// Nobody waits for it any more. Who asks again must not have it done twice.
    pub(super) fn is_forsaken(&self) -> bool {
        self.answer.is_closed()
    }
}

/// Where operators' wishes are handed in.
#[derive(Debug, Clone)]
pub struct Wishes(mpsc::Sender<Asked>);

impl Wishes {
    pub(super) fn new() -> (Self, mpsc::Receiver<Asked>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self(sender), receiver)
    }

    /// Asks, and waits for the answer: what was done, in words.
    ///
    /// # Errors
    /// Why it was not done.
    pub async fn ask(&self, plugin: PluginName, verb: Verb) -> Result<String, Refusal> {
        let (answer, answered) = oneshot::channel();
        self.hand_in(Asked::Wish(Wish { plugin, verb, answer }), answered).await?
    }

    /// Has the config and the plugins folder looked at now, and waits for what that brings.
    ///
    /// # Errors
    /// Why nobody looked, or looks still.
    pub async fn look(&self) -> Result<Looked, Refusal> {
        let (answer, answered) = oneshot::channel();
        self.hand_in(Asked::Look(answer), answered).await
    }

    async fn hand_in<T>(&self, asked: Asked, answered: oneshot::Receiver<T>) -> Result<T, Refusal> {
        self.0.try_send(asked).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Refusal::Busy,
            mpsc::error::TrySendError::Closed(_) => Refusal::ShuttingDown,
        })?;
        match tokio::time::timeout(PATIENCE, answered).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(Refusal::ShuttingDown),
            Err(_) => Err(Refusal::Busy),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_would_help() {
        let [one, two] = [Digest::from_bytes([0x1a; 32]), Digest::from_bytes([0x1b; 32])];
        let text = || "1".to_owned();
        for (refusal, said) in [
            (
                Refusal::NoPlugin { near: Some("payments".into()) },
                "no plugin has this name; did you mean \"payments\"?",
            ),
            (
                Refusal::NoVersion { text: text(), known: vec![] },
                "no version begins with \"1\"; there is none",
            ),
            (
                Refusal::NoVersion { text: text(), known: vec![one, two] },
                "no version begins with \"1\"; there are 1a1a1a1a1a1a, 1b1b1b1b1b1b",
            ),
            (
                Refusal::Ambiguous { text: text(), found: vec![one, two] },
                "\"1\" names several versions: 1a1a1a1a1a1a, 1b1b1b1b1b1b",
            ),
        ] {
            assert_eq!(refusal.to_string(), said);
        }
    }

    #[tokio::test]
    async fn no_more_than_so_many_wait() {
        let (wishes, mut receiver) = Wishes::new();
        let ask = || wishes.ask("ci".parse().unwrap(), Verb::Unpin);
        let mut waiting = Vec::new();
        for _ in 0..QUEUE {
            let mut asking = Box::pin(ask());
            assert!(by_now(&mut asking).await.is_none());
            waiting.push(asking);
        }
        assert_eq!(ask().await, Err(Refusal::Busy));
        wish(&mut receiver).await.answer.send(Ok("done".into())).unwrap();
        assert_eq!(waiting.remove(0).await, Ok("done".into()));
        drop(receiver);
        assert_eq!(waiting.remove(0).await, Err(Refusal::ShuttingDown));
        assert_eq!(ask().await, Err(Refusal::ShuttingDown));
    }

    #[tokio::test]
    async fn a_wish_is_forsaken_when_who_asked_has_gone() {
        let (wishes, mut receiver) = Wishes::new();
        let ask = || Box::pin(wishes.ask("ci".parse().unwrap(), Verb::Unpin));
        let (mut stays, mut goes) = (ask(), ask());
        assert!(by_now(&mut stays).await.is_none() && by_now(&mut goes).await.is_none());
        drop(goes);
        assert!(!wish(&mut receiver).await.is_forsaken());
        assert!(wish(&mut receiver).await.is_forsaken());
    }

    async fn wish(receiver: &mut mpsc::Receiver<Asked>) -> Wish {
        match receiver.recv().await.unwrap() {
            Asked::Wish(wish) => wish,
            Asked::Look(_) => panic!("nobody asked for a look"),
        }
    }

    /// What a future has come to by now.
    async fn by_now<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        tokio::select! { biased; done = future => Some(done), () = std::future::ready(()) => None }
    }
}
