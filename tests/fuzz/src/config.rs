//! A config file: it is taken or refused with reasons, and never gives a secret away.

use std::path::Path;

use hookweir::config::{Config, Surroundings};

/// What every variable and every file holds.
const SECRET: &str = "a-secret-nobody-may-see-0123456789";

pub(crate) fn one(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let env = |_: &str| Some(SECRET.to_owned());
    let file = |_: &Path| Ok(SECRET.to_owned());
    let around = Surroundings { env: &env, file: &file };
    match Config::parse(&text, Path::new("/etc/hookweir"), &around) {
        Ok(config) => {
            // Not if the text itself says it.
            if !text.contains(SECRET) {
                let shown = config.shown().to_string();
                assert!(!shown.contains(SECRET), "{shown}");
                let debug = format!("{config:?}");
                assert!(!debug.contains(SECRET), "{debug}");
            }
            assert_eq!(config.needs_restart(&config.clone()), Vec::<&str>::new());
        }
        Err(faults) => {
            assert!(!faults.is_empty(), "refused without a reason");
            let lines = text.split('\n').count();
            for fault in faults {
                assert!((1..=lines).contains(&fault.line) && fault.column > 0, "{fault}");
                assert!(!fault.message.is_empty() && !fault.message.contains(SECRET), "{fault}");
            }
        }
    }
}

/// The README's config is one that says everything.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let readme = include_str!("../../../README.md");
    let blocks = readme.split("```toml\n").skip(1);
    let blocks = blocks.filter_map(|rest| Some(rest.split_once("```")?.0));
    blocks.map(|block| block.as_bytes().to_vec()).collect()
}
