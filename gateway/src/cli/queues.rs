//! `hookweir queues`: what waits for each plugin.

use serde_json::Value;

use super::{
    Exit,
    operator::{Common, Operator, Table, items, table},
};

pub(super) fn run(common: &Common) -> Exit {
    Operator::run(common, |operator| {
        let answer = operator.all("queues")?;
        operator.show(&answer, rows);
        Ok(())
    })
}

fn rows(answer: &Value) -> Table {
    let head = [
        "PLUGIN",
        "DUE",
        "OLDEST",
        "LATER",
        "NEXT",
        "BEHIND",
        "HELD",
        "LEASED",
        "DEAD",
        "BLOCKED KEYS",
        "PAUSED",
    ];
    let row = |queue: &Value| {
        let count = |name: &str| queue[name].to_string();
        let oldest = queue["oldestDueSeconds"].as_u64();
        vec![
            queue["plugin"].as_str().unwrap_or_default().to_owned(),
            count("due"),
            oldest.map_or("-".to_owned(), |seconds| format!("{seconds} s")),
            count("later"),
            queue["nextDueAt"].as_str().unwrap_or("-").to_owned(),
            count("behind"),
            count("held"),
            count("leased"),
            count("dead"),
            count("blockedKeys"),
            super::source::paused(queue),
        ]
    };
    table(head, items(&answer["items"]).map(row))
}
