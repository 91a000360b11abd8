//! `hookweir plugin approve`: lets a version go live that the gateway holds back. What was turned away is
//! approved with a word; what wants more than it was granted, with lines in the config, which `--write`
//! adds.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
};

use hookweir_event::PluginName;
use serde_json::{Value, json};
use toml_edit::{DocumentMut, Item, Table};

use crate::{
    cli::{
        Exit,
        operator::{Common, Operator, printable},
    },
    config::{Config, Surroundings},
};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The plugin.
    name: PluginName,
    /// The first digits of the version, as `plugin list` shows them; left out, the one in the folder.
    #[arg(id = "digest", value_name = "VERSION")]
    version: Option<String>,
    /// Add what it wants to the config file. Nothing that is there is changed.
    #[arg(long, conflicts_with = "digest")]
    write: bool,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(args: &Args) -> Exit {
    Operator::run(&args.common, |operator| {
        let plugin = operator.get(&format!("plugins/{}", args.name))?;
        let file = &plugin["file"];
        if args.version.is_none() && file["why"] == "needs-approval" {
            return grant(operator, args, file);
        }
        if args.write {
            return Err(format!("{} wants nothing that the config could grant", args.name));
        }
        let body = json!({ "version": args.version });
        let answer = operator.post(&format!("plugins/{}/approve", args.name), &body)?;
        operator.tell(&answer, printable(answer["said"].as_str().unwrap_or_default()));
        Ok(())
    })
}

/// Shows what the config lacks, or adds it.
fn grant(operator: &Operator, args: &Args, file: &Value) -> Result<(), String> {
    let reason = file["reason"].as_str().unwrap_or_default();
    let Some(add) = file["add"].as_str() else {
        return Err(reason.lines().map(printable).collect::<Vec<_>>().join("\n"));
    };
    // It is a plugin's wish, for a terminal and a config: what `printable` would change has no place there.
    let add: Vec<_> = add.lines().map(printable).collect();
    let add = add.join("\n");
    if !args.write {
        let hint = "add this, or have --write add it:";
        operator.tell(file, format_args!("{} needs approval; {hint}\n{add}", args.name));
        return Ok(());
    }
    let path = args.common.config();
    let path = fs::canonicalize(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let text = merge(&text, &add, args.name.as_str())?;
    let folder = path.parent().unwrap_or(Path::new(""));
    Config::parse(&text, folder, &Surroundings::real()).map_err(|faults| {
        let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
        format!("the config would not be good with it, and is as it was:\n{}", faults.join("\n"))
    })?;
    replace(&path, &text).map_err(|error| format!("{}: {error}", path.display()))?;
    let answer = json!({ "path": path, "added": add });
    let follows = "a running gateway follows by itself";
    operator.tell(&answer, format_args!("added to {}; {follows}:\n{add}", path.display()));
    Ok(())
}

/// The config with these tables' keys in it. A key that is there is never changed, and nothing is added but
/// to this plugin's table.
fn merge(config: &str, add: &str, plugin: &str) -> Result<String, String> {
    let parse = |text: &str| text.parse::<DocumentMut>().map_err(|error| error.to_string());
    let (mut config, add) = (parse(config)?, parse(add)?);
    if !is_of(&add, plugin) {
        return Err(format!(
            "what it wants is more than keys of [plugins.{plugin}]; nothing is added"
        ));
    }
    let mut taken = Vec::new();
    merge_table(config.as_table_mut(), add.as_table(), "", &mut taken);
    if taken.is_empty() {
        return Ok(config.to_string());
    }
    let add = add.to_string().trim_end().to_owned();
    Err(format!("the config has {} already; merge this by hand:\n{add}", taken.join(" and ")))
}

/// Whether these are keys of `[plugins.NAME]` alone: what a plugin wants must not reach any other table.
fn is_of(add: &DocumentMut, plugin: &str) -> bool {
    let only = |item: &Item, name| {
        let Item::Table(table) = item else { return None };
        let mut keys = table.iter();
        let first = keys.next().filter(|(key, _)| *key == name).map(|(_, item)| item.clone());
        first.filter(|_| keys.next().is_none())
    };
    let own = only(add.as_item(), "plugins").and_then(|plugins| only(&plugins, plugin));
    let Some(Item::Table(own)) = own else { return false };
    own.iter().all(|(_, item)| match item {
        Item::Table(below) => below.is_dotted(),
        item => item.is_value(),
    })
}

fn merge_table(into: &mut Table, add: &Table, path: &str, taken: &mut Vec<String>) {
    for (key, item) in add {
        let path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        match (into.get_mut(key), item) {
            (None, item) => _ = into.insert(key, apart(item)),
            (Some(Item::Table(into)), Item::Table(add)) => merge_table(into, add, &path, taken),
            (Some(_), _) => taken.push(path),
        }
    }
}

/// The same item, to stand by itself at the end of the file wherever it stood where it comes from.
fn apart(item: &Item) -> Item {
    let mut item = item.clone();
    if let Item::Table(table) = &mut item {
        table.set_position(None);
        table.decor_mut().set_prefix("\n");
        for (_, below) in table.iter_mut() {
            *below = apart(below);
        }
    }
    item
}

/// Written beside and renamed, with the rights that the file had: a gateway that watches sees it whole.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut aside = tempfile::NamedTempFile::with_prefix_in(".hookweir-", folder)?;
    aside.write_all(text.as_bytes())?;
    aside.as_file().set_permissions(fs::metadata(path)?.permissions())?;
    aside.as_file().sync_all()?;
    aside.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADD: &str = "[plugins.ci]\nsubscribe = [\"*/*\"]\nhttp = [\"https://ci.example\"]";

    #[test]
    fn what_is_added_leaves_all_else_as_it_was() {
        let config = "# Ours.\n[server]\nlisten = \"127.0.0.1:1\"  # here\n";
        let merged = merge(config, ADD, "ci").unwrap();
        assert!(merged.starts_with(config), "{merged}");
        assert!(merged.ends_with(&format!("# here\n\n{ADD}\n")), "{merged}");

        let config =
            "[plugins.ci]\nrate = \"off\" # fast\n\n[plugins.other]\n# last\nrate = \"off\"\n";
        let merged = merge(config, ADD, "ci").unwrap();
        assert_eq!(
            merged,
            "[plugins.ci]\nrate = \"off\" # fast\nsubscribe = [\"*/*\"]\nhttp = [\"https://ci.example\"]\n\n\
             [plugins.other]\n# last\nrate = \"off\"\n"
        );

        let merged =
            merge("[plugins.other]\nrate = \"off\"\n[store]\nurl = \"sqlite:x\"\n", ADD, "ci");
        let merged = merged.unwrap();
        assert!(merged.starts_with("[plugins.other]\nrate = \"off\"\n"), "{merged}");
        assert!(merged.contains("[plugins.ci]\nsubscribe = [\"*/*\"]"), "{merged}");
        assert!(!merged.contains("[plugins]\n"), "{merged}");
    }

    #[test]
    fn a_key_that_is_there_is_never_changed() {
        for config in [
            "[plugins.ci]\nsubscribe = []\n",
            "[plugins]\nci = { subscribe = [] }\n",
            "plugins = { ci = { rate = \"off\" } }\n",
        ] {
            let refused = merge(config, ADD, "ci").unwrap_err();
            assert!(refused.contains("plugins") && refused.ends_with(ADD), "{refused}");
        }
        assert!(merge("[plugins", ADD, "ci").is_err());
    }

    #[test]
    fn nothing_is_added_to_any_table_but_the_plugins() {
        for add in [
            format!("{ADD}\n[plugins.other]\nhttp = [\"https://*\"]"),
            format!("{ADD}\n[admin]\nlisten = \"0.0.0.0:1\""),
            format!("{ADD}\n[plugins.ci.secrets.a]\nenv = \"A\""),
            format!("{ADD}\n[[plugins.ci.more]]\na = 1"),
            format!("plugins.other.rate = 1\n{ADD}"),
            "[plugins.other]\nhttp = []".to_owned(),
            "plugins = { ci = { http = [] } }".to_owned(),
            String::new(),
        ] {
            let refused = merge("", &add, "ci").unwrap_err();
            assert!(refused.contains("nothing is added"), "{add}: {refused}");
        }
        let secret = format!("{ADD}\nsecrets.KEY = {{ env = \"A\" }}\napi = {{ token = {{ }} }}");
        assert!(merge("", &secret, "ci").is_ok());
    }

    #[test]
    fn the_file_keeps_its_rights() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.toml");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        replace(&path, "new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
