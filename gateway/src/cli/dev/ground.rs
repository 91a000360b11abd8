//! The scratch folder: plugins, store, and a config made of what the plugins want. Each source that they
//! subscribe to is there, and takes anything: its type is in a header.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use hookweir_event::{Origin, Pattern};
use hookweir_host::{HttpOrigin, Inspection, ModuleLimits, inspect};
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, Value, value};

use crate::{chance::Chance, cli::ports::Held};

/// Where the events' type is.
pub(super) const TYPE_HEADER: &str = "x-webhook-type";
/// The source that is there for plugins that take events of any source, or of none.
const ANY: &str = "dev";
/// Whether a module is too large is for the gateway to say, by the limits that its config sets: here it is only
/// looked at for what it wants.
const ANY_SIZE: ModuleLimits =
    ModuleLimits { bytes: u64::MAX, function_bytes: u64::MAX, compile_time: Duration::MAX };
/// A file with a made-up secret.
const MADE_UP: &str = "made-up-secret";

/// Where everything is. The folder is somebody else's to remove.
#[derive(Debug, Clone)]
pub(super) struct Ground {
    folder: PathBuf,
    listen: SocketAddr,
    admin: SocketAddr,
    /// Whose `[plugins]` count.
    config: Option<PathBuf>,
}

/// Where a source's events are posted to.
pub(super) fn path_of(source: &str) -> String {
    format!("/webhooks/{source}")
}

impl Ground {
    pub(super) fn new(
        folder: PathBuf,
        listen: SocketAddr,
        config: Option<PathBuf>,
    ) -> Result<Self, String> {
        let admin = Held::find(&Chance::system()).and_then(|free| free.address());
        let admin = admin.map_err(|fault| format!("a port for the admin API: {fault}"))?;
        let ground = Self { folder, listen, admin, config };
        fs::create_dir(ground.plugins())
            .and_then(|()| fs::write(ground.folder.join(MADE_UP), MADE_UP))
            .map_err(|error| format!("{}: {error}", ground.folder.display()))?;
        Ok(ground)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn config(&self) -> PathBuf {
        self.folder.join("gateway.toml")
    }

    pub(super) fn plugins(&self) -> PathBuf {
        self.folder.join("plugins")
    }

    pub(super) fn database(&self) -> PathBuf {
        self.folder.join("data/hookweir.db")
    }

    /// Writes the config anew if the plugins that are there now want another.
    pub(super) fn write(&self) -> Result<(), String> {
        let text = self.text(&self.seen(), self.given()?).to_string();
        let path = self.config();
        if fs::read_to_string(&path).is_ok_and(|before| before == text) {
            return Ok(());
        }
        let aside = self.folder.join(".gateway.toml");
        let written = fs::write(&aside, text).and_then(|()| fs::rename(&aside, &path));
        written.map_err(|error| format!("{}: {error}", path.display()))
    }

    /// A type for each source that can be posted to, to show how.
    pub(super) fn examples(&self) -> Result<Vec<(String, String)>, String> {
        let sources = sources(&self.seen(), &self.given()?).into_iter();
        Ok(sources.map(|(source, kind)| (source, kind.replace('*', "test"))).collect())
    }

    /// The plugins that answer requests.
    pub(super) fn apis(&self) -> Vec<String> {
        let seen = self.seen().into_iter();
        seen.filter(|(_, seen)| seen.optional_exports().api).map(|(name, _)| name).collect()
    }

    /// The `[plugins]` of the config that was named.
    fn given(&self) -> Result<Table, String> {
        let Some(path) = &self.config else { return Ok(Table::new()) };
        let fault = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let text = fs::read_to_string(path).map_err(|error| fault(&error))?;
        let config: DocumentMut = text.parse().map_err(|error| fault(&error))?;
        let plugins = config.get("plugins").and_then(Item::as_table);
        Ok(plugins.cloned().unwrap_or_default())
    }

    /// What the modules are. One that can't be read is the gateway's to complain of.
    fn seen(&self) -> BTreeMap<String, Inspection> {
        let entries = fs::read_dir(self.plugins()).into_iter().flatten().flatten();
        let modules = entries.map(|entry| entry.path());
        let modules = modules.filter(|path| path.extension().is_some_and(|end| end == "wasm"));
        let seen = |path: PathBuf| {
            let name = path.file_stem()?.to_str()?.to_owned();
            let seen = inspect(&fs::read(&path).ok()?, &ANY_SIZE).ok()?;
            Some((name, seen))
        };
        modules.filter_map(seen).collect()
    }

    fn text(&self, seen: &BTreeMap<String, Inspection>, given: Table) -> DocumentMut {
        let mut config = DocumentMut::new();
        config["server"] = one("listen", self.listen.to_string());
        config["admin"] = one("listen", self.admin.to_string());
        let mut all = Table::new();
        all.set_implicit(true);
        for source in sources(seen, &given).into_keys() {
            let mut table = Table::new();
            let mut scheme = InlineTable::new();
            scheme.insert("type", format!("header:{TYPE_HEADER}").into());
            scheme.insert("id", "none".into());
            table["path"] = value(path_of(&source));
            table["insecure"] = value(true);
            table["scheme"] = value(scheme);
            table["rate"] = value("off");
            all.insert(&source, Item::Table(table));
        }
        config["sources"] = Item::Table(all);
        let mut plugins = given;
        plugins.set_implicit(true);
        for (name, seen) in seen {
            if !plugins.contains_key(name) {
                plugins.insert(name, Item::Table(granted(name, seen)));
            }
        }
        config["plugins"] = Item::Table(plugins);
        config
    }
}

fn one(key: &str, text: String) -> Item {
    let mut table = Table::new();
    table[key] = value(text);
    Item::Table(table)
}

/// The sources that plugins subscribe to, each with the first type that one wants of it.
fn sources(seen: &BTreeMap<String, Inspection>, given: &Table) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for pattern in seen.iter().flat_map(|(name, seen)| patterns(name, seen, given)) {
        let source = match pattern.origin() {
            Some(Origin::Source(name)) => name.to_string(),
            Some(Origin::Plugin(_) | Origin::Gateway) => continue,
            None => ANY.to_owned(),
        };
        let text = pattern.to_string();
        let event_type = text.split_once('/').map_or("*", |(_, event_type)| event_type);
        found.entry(source).or_insert_with(|| event_type.to_owned());
    }
    if found.is_empty() {
        found.insert(ANY.to_owned(), "*".to_owned());
    }
    found
}

/// What a plugin subscribes to: the given config's list replaces its own.
fn patterns(name: &str, seen: &Inspection, given: &Table) -> Vec<Pattern> {
    let list = given.get(name).and_then(|own| own.get("subscribe")).and_then(Item::as_array);
    match list {
        Some(list) => list.iter().filter_map(|text| text.as_str()?.parse().ok()).collect(),
        None => seen.wants.subscribe.clone(),
    }
}

/// Everything that a module wants. Secrets are those of the environment, if they are there under the name that
/// `plugin check` proposes, and else made up.
fn granted(name: &str, seen: &Inspection) -> Table {
    let mut table = Table::new();
    let list = |texts: Vec<String>| value(texts.into_iter().collect::<Array>());
    let texts = |items: &[HttpOrigin]| items.iter().map(ToString::to_string).collect();
    let wants = &seen.wants;
    table["subscribe"] = list(wants.subscribe.iter().map(ToString::to_string).collect());
    if !wants.http.is_empty() {
        table["http"] = list(texts(&wants.http));
    }
    let exports = seen.optional_exports();
    if exports.api {
        table["api"] = value("public");
    }
    if exports.verifier {
        table["verifier"] = value(true);
    }
    let hosts: Vec<_> = wants.http.iter().filter(|origin| !origin.is_any()).cloned().collect();
    let mut secrets = Table::new();
    for secret in wants.secrets.iter().collect::<BTreeSet<_>>() {
        let mut entry = InlineTable::new();
        let variable = format!("{name}_{secret}").to_uppercase().replace('-', "_");
        if std::env::var_os(&variable).is_some() {
            entry.insert("env", variable.into());
        } else {
            entry.insert("file", MADE_UP.into());
        }
        if hosts.is_empty() {
            entry.insert("readable", true.into());
        } else {
            let hosts: Vec<String> = texts(&hosts);
            entry.insert("hosts", Value::Array(hosts.into_iter().collect()));
        }
        secrets[secret] = value(entry);
    }
    if !secrets.is_empty() {
        table["secrets"] = Item::Table(secrets);
    }
    table
}

#[cfg(test)]
mod tests {
    use hookweir_event::{Digest, SourceName};
    use hookweir_host::{Kind, Wants};

    use super::*;
    use crate::config::{Config, Surroundings};

    fn seen(subscribe: &[&str], http: &[&str], secrets: &[&str]) -> Inspection {
        let wants = Wants {
            sdk: None,
            subscribe: subscribe.iter().map(|text| text.parse().unwrap()).collect(),
            http: http.iter().map(|text| text.parse().unwrap()).collect(),
            secrets: secrets.iter().map(|text| (*text).to_owned()).collect(),
        };
        let (imports, exports) = (Vec::new(), vec!["hookweir:plugin/api@1.0.0".to_owned()]);
        let digest = Digest::of(b"");
        Inspection { kind: Kind::Core, digest, wants, imports, exports, size: 0 }
    }

    fn ground() -> Ground {
        Ground {
            folder: "/scratch".into(),
            listen: "127.0.0.1:8080".parse().unwrap(),
            admin: "127.0.0.1:8081".parse().unwrap(),
            config: None,
        }
    }

    fn config(seen: &BTreeMap<String, Inspection>, given: &str) -> Config {
        let given: DocumentMut = given.parse().unwrap();
        let given = given.get("plugins").and_then(Item::as_table).cloned().unwrap_or_default();
        let text = ground().text(seen, given).to_string();
        let file = |_: &Path| Ok(MADE_UP.to_owned());
        let around = Surroundings { env: &|_| Some("from-the-environment".into()), file: &file };
        Config::parse(&text, Path::new("/scratch"), &around)
            .unwrap_or_else(|faults| panic!("{faults:?} in\n{text}"))
    }

    #[test]
    fn each_source_takes_anything_and_each_plugin_is_granted_what_it_wants() {
        let orders = seen(
            &["erp/order.*", "plugin.orders/order.paid", "gateway/alert.*"],
            &["https://api.example.com"],
            &["API_KEY"],
        );
        let modules = [
            ("orders".to_owned(), orders),
            ("wide".to_owned(), seen(&["*/*"], &["https://*"], &["READ"])),
        ];
        let modules = modules.into();
        let read = config(&modules, "");
        let sources: Vec<_> = read.sources.keys().map(SourceName::as_str).collect();
        assert_eq!(sources, ["dev", "erp"]);
        assert!(read.sources.values().all(|source| source.scheme.is_insecure()));
        let orders = &read.plugins[&"orders".parse().unwrap()];
        assert_eq!(orders.grant.http.as_ref().unwrap().origins.len(), 1);
        assert!(!orders.grant.secrets["API_KEY"].readable);
        let wide = &read.plugins[&"wide".parse().unwrap()];
        assert!(wide.grant.secrets["READ"].readable);
        assert_eq!(wide.subscribe.as_ref().unwrap().len(), 1);

        // What the operator says of a plugin counts whole.
        let given = "[plugins.orders]\nsubscribe = [\"shop/*\"]\nconfig = { currency = \"eur\" }\n";
        let read = config(&modules, given);
        let orders = &read.plugins[&"orders".parse().unwrap()];
        assert_eq!(orders.grant.config["currency"], "eur");
        assert_eq!(orders.grant.http, None);
        let sources: Vec<_> = read.sources.keys().map(SourceName::as_str).collect();
        assert_eq!(sources, ["dev", "shop"]);
        assert_eq!(config(&BTreeMap::new(), "").sources.len(), 1);
    }
}
