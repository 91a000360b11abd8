//! A push, split into steps.
//! Shape: <https://docs.github.com/en/webhooks/webhook-events-and-payloads#push>.

use hookweir_sdk::prelude::*;
use serde::Deserialize;

use crate::steps::{BoardUpdate, CiTrigger, TeamNotify};

/// What the plugin reads of a push. What is not needed is not named, so GitHub may add to it.
#[derive(Deserialize)]
pub(crate) struct Push {
    #[serde(rename = "ref")]
    reference: String,
    after: String,
    deleted: bool,
    compare: String,
    commits: Vec<Commit>,
    repository: Repository,
    pusher: Pusher,
}

#[derive(Deserialize)]
struct Commit {
    message: String,
}

#[derive(Deserialize)]
struct Repository {
    full_name: String,
}

#[derive(Deserialize)]
struct Pusher {
    name: String,
}

/// The steps that follow from a push: three for commits on a branch, none for a tag, a deleted
/// branch, or a branch that brings nothing new.
pub(crate) fn split(push: &Push) -> Result<Outputs, Failure> {
    let Some(branch) = push.reference.strip_prefix("refs/heads/") else {
        return Ok(outputs![]);
    };
    if push.deleted || push.commits.is_empty() {
        return Ok(outputs![]);
    }
    let repository = &push.repository.full_name;
    let build = CiTrigger {
        repository: repository.clone(),
        branch: branch.to_owned(),
        commit: push.after.clone(),
    };
    let board = BoardUpdate { repository: repository.clone(), closed: closed(&push.commits) };
    let (count, who) = (push.commits.len(), &push.pusher.name);
    let plural = if count == 1 { "" } else { "s" };
    let text =
        format!("{who} pushed {count} commit{plural} to {repository}@{branch}: {}", push.compare);
    Ok(outputs![
        Output::json("ci.trigger", &build)?,
        Output::json("board.update", &board)?,
        Output::json("team.notify", &TeamNotify { text })?,
    ])
}

/// The issues that the commits say they close: `fixes #12`, `Closes: #7`, as GitHub reads them.
fn closed(commits: &[Commit]) -> Vec<u64> {
    const VERBS: [&str; 9] =
        ["close", "closes", "closed", "fix", "fixes", "fixed", "resolve", "resolves", "resolved"];
    let mut issues = Vec::new();
    for commit in commits {
        let words: Vec<&str> = commit.message.split_whitespace().collect();
        for pair in words.windows(2) {
            let verb = pair[0].trim_end_matches(':').to_ascii_lowercase();
            let number =
                pair[1].strip_prefix('#').map(|n| n.trim_end_matches(['.', ',', ';', ')']));
            if let Some(Ok(issue)) = number.map(str::parse)
                && VERBS.contains(&verb.as_str())
            {
                issues.push(issue);
            }
        }
    }
    issues.sort_unstable();
    issues.dedup();
    issues
}
