//! `hookweir check`: reads the config and says what is in it, or everything that is wrong with it.

use std::path::Path;

use super::{Exit, config_fault, say};
use crate::config::{Config, Surroundings};

pub(super) fn run(path: &Path) -> Exit {
    let config = match Config::load(path, &Surroundings::real()) {
        Ok(config) => config,
        Err(error) => return config_fault(&error),
    };
    say(format_args!("{} is good", path.display()));
    say(format_args!("  listens on {}, admin on {}", config.server.listen, config.admin.listen));
    say(format_args!("  store      {}", config.store));
    say(format_args!("  plugins    {}", config.host.dir.display()));
    for (name, source) in &config.sources {
        let rate = source.rate.map_or_else(|| "no limit".into(), |rate| rate.to_string());
        let (path, scheme) = (&source.path, source.scheme.name());
        say(format_args!("  source     {name}: POST {path}, {scheme}, {rate}"));
    }
    Exit::Ok
}
