//! `hookweir dead`: deliveries that are not tried again until somebody says so.

use serde_json::{Value, json};

use super::{
    Exit,
    events::Filter,
    jobs,
    operator::{Common, Operator, Table, counted, items, printable, table, with_query},
};

/// How many deliveries one request asks for, and how many one request mends.
const AT_ONCE: usize = 1000;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List dead letters, the newest event first, with what their last attempt said; with --state discarded,
    /// those that were put aside.
    List {
        #[command(flatten)]
        filter: Filter,
        #[command(flatten)]
        common: Common,
    },
    /// Have dead letters tried again, with all their attempts before them.
    Retry(Which),
    /// Let the order keys go on that these dead letters hold up. They stay dead.
    Skip(Which),
    /// Put dead letters aside. They stay dead, are in nobody's way, and are listed apart.
    Discard(Which),
}

/// Which dead letters: those named, or all that the filter means.
#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// Their ids, as `dead list` shows them.
    deliveries: Vec<String>,
    #[command(flatten)]
    filter: Filter,
    /// All there are.
    #[arg(long, conflicts_with = "deliveries")]
    all: bool,
    /// Say how many, and change none.
    #[arg(long, conflicts_with = "deliveries")]
    dry_run: bool,
    #[command(flatten)]
    common: Common,
}

/// What is done to dead letters.
#[derive(Clone, Copy)]
enum How {
    Retry,
    Skip,
    Discard,
}

impl How {
    /// The word in the API, and what is said of those to which it was done.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Retry => ("retry", "due again"),
            Self::Skip => ("skip", "in nobody's way any more"),
            Self::Discard => ("discard", "put aside"),
        }
    }
}

pub(super) fn run(command: Command) -> Exit {
    match command {
        Command::List { filter, common } => Operator::run(&common, |operator| {
            let dead = all(operator, &filter.or_state("dead"))?;
            operator.show(&json!({ "items": dead }), listing);
            Ok(())
        }),
        Command::Retry(which) => mend(&which, How::Retry),
        Command::Skip(which) => mend(&which, How::Skip),
        Command::Discard(which) => mend(&which, How::Discard),
    }
}

fn mend(which: &Which, how: How) -> Exit {
    let Which { deliveries, filter, all, common, .. } = which;
    let filtered = *filter != Filter::default();
    if usize::from(!deliveries.is_empty()) + usize::from(filtered) + usize::from(*all) != 1 {
        super::tell("name the dead letters, say which by a filter such as --plugin, or say --all");
        return Exit::Failed;
    }
    Operator::run(common, |operator| match deliveries.is_empty() {
        true => mend_all(operator, which, how),
        false => mend_named(operator, deliveries, how),
    })
}

fn mend_named(operator: &Operator, ids: &[String], how: How) -> Result<(), String> {
    let (verb, done) = how.words();
    let mut mended = 0;
    for some in ids.chunks(AT_ONCE) {
        let answer = operator.post(&format!("dead/{verb}"), &json!({ "deliveries": some }))?;
        mended += answer["deliveries"].as_u64().unwrap_or(0);
    }
    let of = counted(ids.len() as u64, "dead letter", "dead letters");
    let answer = json!({ "deliveries": mended });
    operator.tell(&answer, format_args!("{mended} of {of} {done}"));
    Ok(())
}

fn mend_all(operator: &Operator, which: &Which, how: How) -> Result<(), String> {
    let (kind, done) = how.words();
    let order = json!({ "kind": kind, "dryRun": which.dry_run });
    let job = jobs::run(operator, which.filter.parameters(), &order)?;
    let count = |name: &str| job[name].as_u64().unwrap_or(0);
    let of = counted(count("found"), "dead letter", "dead letters");
    if which.dry_run {
        let answer = json!({ "deliveries": count("found"), "dryRun": true });
        operator.tell(&answer, format_args!("{of} would be {done}"));
        return Ok(());
    }
    let answer = json!({ "deliveries": count("done") });
    operator.tell(&answer, format_args!("{} of {of} {done}", count("done")));
    Ok(())
}

/// All that the filter means, each with its event's id, source and type.
fn all(operator: &Operator, filter: &Filter) -> Result<Vec<Value>, String> {
    let (mut dead, mut cursor) = (Vec::new(), None);
    loop {
        let page = [("limit", Some(AT_ONCE.to_string())), ("cursor", cursor)];
        let parameters = filter.parameters().into_iter().chain(page);
        let answer = operator.get(&with_query("deliveries", parameters))?;
        for item in items(&answer["items"]) {
            let mut delivery = item["delivery"].clone();
            for (name, of) in [("event", "id"), ("source", "source"), ("type", "type")] {
                delivery[name] = item["event"][of].clone();
            }
            dead.push(delivery);
        }
        cursor = answer["next"].as_str().map(str::to_owned);
        if cursor.is_none() {
            return Ok(dead);
        }
    }
}

fn listing(answer: &Value) -> Table {
    let row = |delivery: &Value| {
        let text = |key: &str| delivery[key].as_str().unwrap_or("-").to_owned();
        let last = items(&delivery["attempts"]).last();
        let said = |key: &str| last.and_then(|last| last[key].as_str()).unwrap_or("-");
        vec![
            text("id"),
            text("settledAt"),
            text("plugin"),
            printable(&format!("{}/{}", text("source"), text("type"))),
            said("outcome").to_owned(),
            if delivery["blocks"] == true { printable(&text("orderKey")) } else { "-".to_owned() },
            printable(said("message")),
        ]
    };
    let head = ["DELIVERY", "DIED", "PLUGIN", "SOURCE/TYPE", "OUTCOME", "BLOCKS", "MESSAGE"];
    table(head, items(&answer["items"]).map(row))
}
