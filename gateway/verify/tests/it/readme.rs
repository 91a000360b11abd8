//! The table of presets in the README is what the presets say. `HOOKWEIR_WRITE=1` writes it.

use std::{collections::BTreeMap, fmt::Write as _, fs};

use hookweir_verify::Preset;
use serde_json::Value;

const START: &str = "<!-- presets -->\n";
const END: &str = "<!-- /presets -->\n";

#[test]
fn the_table_of_presets_is_what_they_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = fs::read_to_string(path).unwrap();
    let (before, rest) = readme.split_once(START).unwrap();
    let (written, after) = rest.split_once(END).unwrap();
    let table = table();
    if std::env::var_os("HOOKWEIR_WRITE").is_some() {
        fs::write(path, [before, START, &table, END, after].concat()).unwrap();
    } else {
        assert!(
            written == table,
            "run this test with HOOKWEIR_WRITE=1, and look at the difference"
        );
    }
}

fn table() -> String {
    let read = |name| {
        fs::read_to_string(format!("{}/tests/vectors/{name}.jsonl", env!("CARGO_MANIFEST_DIR")))
            .unwrap()
    };
    let mut vectors = BTreeMap::<String, u32>::new();
    for line in (read("open") + &read("more")).lines() {
        let vector: Value = serde_json::from_str(line).unwrap();
        *vectors.entry(vector["scheme"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    let mut table = String::from(
        "| preset | algorithm | what is signed | against replay | handshake | vectors |\n\
         |---|---|---|---|---|---|\n",
    );
    let cell = |text: &str| match text {
        "" => "–".to_owned(),
        text => format!("`` {} ``", text.replace('\n', "⏎").replace('|', "\\|")),
    };
    for preset in Preset::all() {
        let summary = preset.summary();
        writeln!(
            table,
            "| [{}]({}) | {} | {} | {} | {} | {} |",
            preset.name,
            preset.docs,
            summary.algorithm,
            cell(&summary.signed),
            summary.replay,
            if summary.handshake { "yes" } else { "–" },
            vectors.get(preset.name).map_or("–".to_owned(), u32::to_string),
        )
        .unwrap();
    }
    table
}
