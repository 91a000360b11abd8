//! Versions of plugins that gateways at one database share: what is live for all, and what one of them proposes to be.
//!
//! A proposal is live when every gateway that lives has said that it is ready, and over when one refuses or the time is up:
//! all or none ([`decide`]). Whoever says the last word decides, in the transaction in which it is said; what nobody
//! says any word on, since one that was waited for is gone or the time is up, whoever looks ([`Publishing::decide`]).

use std::{collections::BTreeMap, time::Duration};

use hookweir_event::{Digest, PluginName, Timestamp};

use crate::{ReadError, StoreError, postgres};

/// How long a proposal waits for the words of all. Twice what a version may take to compile where nobody says otherwise,
/// and a minute for those that wait for their turn.
pub const PROPOSAL_TIME: Duration = Duration::from_secs(180);
/// Of each plugin so many versions are remembered, so that a file that was live once is known for that.
pub(crate) const REMEMBERED_MAX: i64 = 256;
/// Of each plugin the contents of so many versions are kept that were live before.
pub(crate) const EARLIER_MAX: i64 = 5;
/// The longest reason that is kept, in bytes. Some quote a plugin.
const REASON_MAX: usize = 4096;

/// All that gateways share of plugins' versions, as it is at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Another whenever any of it but who lives is.
    pub revision: i64,
    /// The database's time.
    pub now: Timestamp,
    /// What this gateway is among `gateways`, where it is.
    pub boot: i64,
    /// Those that live and take part, by their names.
    pub gateways: Vec<SharingGateway>,
    /// Every plugin that a version was ever proposed of.
    pub plugins: BTreeMap<PluginName, PublishedPlugin>,
}

/// A gateway that takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharingGateway {
    /// Its turn of life: another after a restart.
    pub boot: i64,
    /// What it calls itself.
    pub name: String,
    /// What it runs, as it said last.
    pub runs: BTreeMap<PluginName, Runs>,
}

/// What a gateway runs of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runs {
    /// None: its events wait.
    pub version: Option<Digest>,
    /// How it stands, in a word, or why it is not what is live for all.
    pub standing: String,
}

/// What is shared of one plugin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PublishedPlugin {
    /// What is live for all; none if nothing ever was.
    pub live: Option<PublishedVersion>,
    /// The version that is held.
    pub pin: Option<Digest>,
    /// The last proposal, if it is under way or was refused.
    pub proposal: Option<Proposal>,
    /// Versions that were proposed, the last first.
    pub versions: Vec<KnownVersion>,
}

/// What is live for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedVersion {
    /// Of the proposal that it was.
    pub number: i64,
    /// None: the plugin was removed.
    pub version: Option<Digest>,
    /// Whether it proved itself before, or the operator answers for it.
    pub trusted: bool,
    /// The gateway that proposed it.
    pub by: String,
    /// Since when.
    pub at: Timestamp,
}

/// A version that is to be live for all, or was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// A later one has a higher one.
    pub number: i64,
    /// None: the plugin is to be removed.
    pub version: Option<Digest>,
    /// The gateway that proposes it.
    pub by: String,
    /// When it did.
    pub at: Timestamp,
    /// When its time is up.
    pub until: Timestamp,
    /// Why it is over, if it is.
    pub refused: Option<Refused>,
    /// What was said of it so far.
    pub words: Vec<GatewayWord>,
}

/// Why a proposal did not go live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The gateway that refused, or said nothing in time.
    pub by: String,
    /// Why, in a sentence.
    pub reason: String,
}

/// What a gateway said of a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayWord {
    /// Which.
    pub boot: i64,
    /// What it calls itself.
    pub gateway: String,
    /// What it said.
    pub word: Word,
}

/// What a gateway says of a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// It can serve it at once.
    Ready,
    /// It can't, with the reason.
    Refused(String),
    /// Its config does not grant what the version wants, with what.
    NeedsApproval(String),
}

/// A version that was proposed, once at least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownVersion {
    /// Which.
    pub version: Digest,
    /// When it went live the last time, if it ever did.
    pub from: Option<Timestamp>,
    /// When another took its place.
    pub until: Option<Timestamp>,
    /// Why it does not go live any more, if it was taken back.
    pub away: Option<Away>,
}

/// Why a version does not go live any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Away {
    /// Which.
    pub version: Digest,
    /// Who turned it away, as one word.
    pub cause: String,
    /// Why, in a sentence.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// What a gateway wants to be live for all. It is ready for it itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposing {
    /// Of which plugin.
    pub plugin: PluginName,
    /// None: it is to be removed.
    pub version: Option<Digest>,
    /// Only as long as this is live.
    pub instead_of: Option<Digest>,
    /// Whether it proved itself before, or the operator answers for it.
    pub trusted: bool,
    /// Whether it is held from then on.
    pub hold: bool,
    /// The version that is turned away for it.
    pub away: Option<Away>,
}

/// What came of proposing something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proposed {
    /// It waits for the others; the proposal of this number, which may be another's of the same version.
    UnderWay(i64),
    /// It is live for all, by the proposal of this number.
    Live(i64),
    /// Another version is proposed already, by this gateway.
    After(String),
    /// Another version is held.
    Pinned(Digest),
    /// Something else is live than what it was to take the place of.
    Outdated,
    /// Its content is not there: it has to be put first.
    NoContent,
}

/// What becomes of a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Somebody has not said a word yet.
    Wait,
    /// It goes live.
    Live,
    /// It does not.
    Refused(Refused),
}

/// What becomes of a proposal of which this was said, among those that live: by their boots, and what they call
/// themselves. Pure.
///
/// What gateways that are gone said counts no more, unless they refused: they may be back. Where nobody lives, nothing
/// goes live.
pub fn decide<'g>(
    words: &[GatewayWord],
    living: impl IntoIterator<Item = (i64, &'g str)>,
    now: Timestamp,
    until: Timestamp,
) -> Decision {
    let refusal = words.iter().find_map(|said| match &said.word {
        Word::Ready => None,
        Word::Refused(reason) | Word::NeedsApproval(reason) => {
            Some(Refused { by: said.gateway.clone(), reason: reason.clone() })
        }
    });
    if let Some(refused) = refusal {
        return Decision::Refused(refused);
    }
    let (mut anybody, mut silent) = (false, None);
    for (boot, name) in living {
        anybody = true;
        if silent.is_none() && !words.iter().any(|said| said.boot == boot) {
            silent = Some(name);
        }
    }
    match silent {
        None if anybody => Decision::Live,
        _ if now < until => Decision::Wait,
        silent => Decision::Refused(Refused {
            by: silent.unwrap_or("nobody").to_owned(),
            reason: format!("it said nothing of it within {PROPOSAL_TIME:?}"),
        }),
    }
}

impl Published {
    /// Whether a proposal could be decided now that is under way.
    pub fn is_due(&self) -> bool {
        self.open().any(|proposal| {
            let living = self.gateways.iter().map(|gateway| (gateway.boot, &*gateway.name));
            decide(&proposal.words, living, self.now, proposal.until) != Decision::Wait
        })
    }

    /// The proposals that are under way.
    pub fn open(&self) -> impl Iterator<Item = &Proposal> {
        let proposals = self.plugins.values().filter_map(|plugin| plugin.proposal.as_ref());
        proposals.filter(|proposal| proposal.refused.is_none())
    }
}

impl PublishedPlugin {
    /// The proposal that is under way.
    pub fn under_way(&self) -> Option<&Proposal> {
        self.proposal.as_ref().filter(|proposal| proposal.refused.is_none())
    }

    /// What is known of a version that was proposed once.
    pub fn known(&self, version: Digest) -> Option<&KnownVersion> {
        self.versions.iter().find(|known| known.version == version)
    }
}

impl Word {
    /// As it is in the database: a word, and the reason.
    pub(crate) fn parts(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Ready => ("ready", None),
            Self::Refused(reason) => ("refused", Some(bounded(reason))),
            Self::NeedsApproval(reason) => ("needs-approval", Some(bounded(reason))),
        }
    }

    pub(crate) fn of_parts(word: &str, reason: Option<String>) -> Option<Self> {
        match word {
            "ready" => Some(Self::Ready),
            "refused" => Some(Self::Refused(reason.unwrap_or_default())),
            "needs-approval" => Some(Self::NeedsApproval(reason.unwrap_or_default())),
            _ => None,
        }
    }

    /// In the admin API.
    pub fn as_str(&self) -> &'static str {
        self.parts().0
    }

    /// Why, if it is not ready.
    pub fn reason(&self) -> Option<&str> {
        self.parts().1
    }
}

/// A reason as it is kept.
pub(crate) fn bounded(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(REASON_MAX)]
}

/// A gateway's part in what gateways share of plugins' versions, through connections of its own: contents are large, and
/// webhooks must not wait for them. Cheap to clone.
///
/// Each verb is one transaction, and one of them is done at a time, over all gateways. Each may be done again by whoever
/// does not know whether it was done.
#[derive(Debug, Clone)]
pub struct Publishing(postgres::Publishing);

impl Publishing {
    pub(crate) fn new(engine: postgres::Publishing) -> Self {
        Self(engine)
    }

    /// The same under this name.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self(self.0.named(name))
    }

    /// What it calls itself.
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// What gateways share, or none if nothing of it but who lives has changed since `revision`.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn look(&self, since: Option<i64>) -> Result<Option<Published>, ReadError> {
        self.0.look(since).await
    }

    /// The content of a version, if it is kept.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn content(&self, version: Digest) -> Result<Option<Vec<u8>>, ReadError> {
        self.0.content(version).await
    }

    /// Keeps content, for ten minutes at least, and as long as anything names it.
    ///
    /// # Errors
    /// As the commit failed.
    pub async fn put(&self, version: Digest, content: &[u8]) -> Result<(), StoreError> {
        self.0.put(version, content).await
    }

    /// Proposes what this gateway is ready for.
    ///
    /// # Errors
    /// As the commit failed.
    pub async fn propose(&self, what: &Proposing) -> Result<Proposed, StoreError> {
        self.0.propose(what).await
    }

    /// Says a word on the proposal of this number. If that is not under way any more, nobody hears it.
    ///
    /// # Errors
    /// As the commit failed.
    pub async fn say(
        &self,
        plugin: &PluginName,
        number: i64,
        word: &Word,
    ) -> Result<(), StoreError> {
        self.0.say(plugin, number, word).await
    }

    /// Decides about all proposals that can be decided about.
    ///
    /// # Errors
    /// As the commit failed.
    pub async fn decide(&self) -> Result<(), StoreError> {
        self.0.decide().await
    }

    /// Says what this gateway runs. From then on it takes part: what is proposed waits for its word.
    ///
    /// # Errors
    /// As the commit failed.
    pub async fn run(&self, runs: &BTreeMap<PluginName, Runs>) -> Result<(), StoreError> {
        self.0.run(runs).await
    }

    /// Holds what is live, or nothing any more. False if it is not live.
    ///
    /// # Errors
    /// As the commit failed.
    pub async fn hold(
        &self,
        plugin: &PluginName,
        version: Option<Digest>,
    ) -> Result<bool, StoreError> {
        self.0.hold(plugin, version).await
    }

    /// Lets a version go live again that was turned away.
    ///
    /// # Errors
    /// As the commit failed.
    pub async fn forgive(&self, plugin: &PluginName, version: Digest) -> Result<(), StoreError> {
        self.0.forgive(plugin, version).await
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UNTIL: Timestamp = Timestamp::from_millis(1000);

    fn said(boot: i64, word: Word) -> GatewayWord {
        GatewayWord { boot, gateway: format!("g{boot}"), word }
    }

    fn at(words: &[GatewayWord], living: &[i64], now: i64) -> Decision {
        let living: Vec<_> = living.iter().map(|boot| (*boot, format!("g{boot}"))).collect();
        let living = living.iter().map(|(boot, name)| (*boot, &**name));
        decide(words, living, Timestamp::from_millis(now), UNTIL)
    }

    #[test]
    fn it_is_live_when_all_that_live_are_ready_and_over_when_one_refuses_or_the_time_is_up() {
        let ready = |boot| said(boot, Word::Ready);
        let refused = |boot| said(boot, Word::NeedsApproval("no grant".into()));
        assert_eq!(at(&[ready(1)], &[1], 0), Decision::Live);
        assert_eq!(at(&[ready(1)], &[1, 2], 0), Decision::Wait);
        assert_eq!(at(&[ready(1), ready(2)], &[1, 2], 5000), Decision::Live, "late, and agreed");
        assert_eq!(at(&[ready(1), ready(2)], &[2], 0), Decision::Live, "who proposed it is gone");
        assert_eq!(at(&[ready(1)], &[], 0), Decision::Wait);
        let no = Refused { by: "g2".into(), reason: "no grant".into() };
        assert_eq!(at(&[ready(1), refused(2)], &[1, 2, 3], 0), Decision::Refused(no));
        let Decision::Refused(late) = at(&[ready(1)], &[1, 2], 1000) else { panic!("it waits") };
        assert_eq!(late.by, "g2");
    }

    fn words() -> impl Strategy<Value = Vec<GatewayWord>> {
        let word = prop_oneof![
            8 => Just(Word::Ready),
            1 => Just(Word::Refused("no".into())),
            1 => Just(Word::NeedsApproval("no".into())),
        ];
        prop::collection::btree_map(0_i64..6, word, 0..6)
            .prop_map(|words| words.into_iter().map(|(boot, word)| said(boot, word)).collect())
    }

    proptest! {
        #[test]
        fn all_or_none(
            words in words(),
            living in prop::collection::btree_set(0_i64..6, 0..6),
            now in 0_i64..2000,
        ) {
            let living: Vec<_> = living.into_iter().collect();
            let ready = |boot: &i64| words.iter().any(|it| it.boot == *boot && it.word == Word::Ready);
            let agreed = words.iter().all(|it| it.word == Word::Ready);
            let decision = at(&words, &living, now);
            let live = agreed && !living.is_empty() && living.iter().all(ready);
            prop_assert_eq!(decision == Decision::Live, live);
            // Nothing is under way for ever, and nothing is over before its time that nobody refused.
            prop_assert!(decision != Decision::Wait || now < 1000);
            prop_assert!(!matches!(decision, Decision::Refused(_)) || !agreed || now >= 1000);
            // Another word of one that is ready changes nothing for the worse.
            let mut more = words.clone();
            if let Some(silent) = living.iter().find(|boot| !words.iter().any(|it| it.boot == **boot)) {
                more.push(said(*silent, Word::Ready));
                let after = at(&more, &living, now);
                prop_assert!(decision != Decision::Live || after == Decision::Live);
                prop_assert!(agreed != matches!(after, Decision::Refused(_)) || now >= 1000);
            }
        }
    }
}
