//! What the plugin reads of a push.
//! Shape: <https://docs.github.com/en/webhooks/webhook-events-and-payloads#push>.

use serde::Deserialize;

/// A push. What is not needed is not named, so GitHub may add to it.
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

/// What others want to know of a push.
#[derive(Debug, PartialEq)]
pub(crate) struct News {
    pub(crate) repository: String,
    pub(crate) branch: String,
    pub(crate) commit: String,
    /// Issues that the commits close.
    pub(crate) closed: Vec<u64>,
    /// All of it in a line, for people.
    pub(crate) text: String,
}

/// The news of commits on a branch; none for a tag, a deleted branch, or a branch that brings nothing new.
pub(crate) fn read(push: &Push) -> Option<News> {
    let branch = push.reference.strip_prefix("refs/heads/")?;
    if push.deleted || push.commits.is_empty() {
        return None;
    }
    let repository = &push.repository.full_name;
    let (count, who) = (push.commits.len(), &push.pusher.name);
    let plural = if count == 1 { "" } else { "s" };
    let text =
        format!("{who} pushed {count} commit{plural} to {repository}@{branch}: {}", push.compare);
    Some(News {
        repository: repository.clone(),
        branch: branch.to_owned(),
        commit: push.after.clone(),
        closed: closed(&push.commits),
        text,
    })
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
