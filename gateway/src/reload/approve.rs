//! What a plugin wants against what the operator granted. Pure.
//!
//! What is missing is written as TOML that operators add to their config. Its strings come from plugins, so
//! each is written by a TOML writer: none can be more than a string.

use std::fmt;

use hookweir_event::Pattern;
use hookweir_host::{Exports, HttpOrigin, Wants};
use toml_edit::{Array, Key, Value};

use crate::config::{PluginConfig, Subscriptions};

/// What keeps a version out until the operator adds it to the config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Needs {
    plugin: String,
    whys: Vec<String>,
    lines: Vec<String>,
}

impl Needs {
    fn new(plugin: &str) -> Self {
        Self { plugin: plugin.to_owned(), whys: Vec::new(), lines: Vec::new() }
    }

    fn add(&mut self, why: impl Into<String>, line: String) {
        self.whys.push(why.into());
        self.lines.push(line);
    }

    /// What to add, as it can be pasted. A key that is there already is replaced by its line.
    pub(crate) fn toml(&self) -> String {
        format!("[plugins.{}]\n{}", self.plugin, self.lines.join("\n"))
    }
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "needs approval: {}; add\n{}", self.whys.join("; "), self.toml())
    }
}

/// The subscriptions in force for a plugin, or what it needs the operator's word for.
pub(crate) fn approve(
    name: &str,
    wants: &Wants,
    exports: Exports,
    config: Option<&PluginConfig>,
    subscriptions: Subscriptions,
) -> Result<Vec<Pattern>, Needs> {
    let mut needs = Needs::new(name);
    let granted = config.and_then(|config| config.subscribe.as_ref());
    match granted {
        Some(_) => {}
        None if subscriptions == Subscriptions::Granted => {
            needs.add("host.subscriptions is \"granted\"", subscribe(wants));
        }
        None => {
            if let Some(wide) = wants.subscribe.iter().find(|pattern| pattern.is_wide()) {
                needs.add(format!("`{wide}` takes events of every source"), subscribe(wants));
            }
        }
    }
    check_http(&mut needs, wants, config);
    check_secrets(&mut needs, wants, config);
    check_exports(&mut needs, exports, config);
    if needs.lines.is_empty() {
        Ok(granted.unwrap_or(&wants.subscribe).clone())
    } else {
        Err(needs)
    }
}

fn subscribe(wants: &Wants) -> String {
    format!("subscribe = {}", list(&wants.subscribe))
}

fn list<T: fmt::Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Array>().to_string()
}

fn check_http(needs: &mut Needs, wants: &Wants, config: Option<&PluginConfig>) {
    let granted = config.and_then(|config| config.grant.http.as_ref());
    let granted: &[HttpOrigin] = granted.map_or(&[], |granted| &granted.origins);
    // A wish for any host leaves it to the operator, who may say fewer.
    let met = |wish: &HttpOrigin| {
        granted.iter().any(|grant| grant.covers(wish) || wish.is_any() && wish.covers(grant))
    };
    let missing: Vec<_> = wants.http.iter().filter(|wish| !met(wish)).cloned().collect();
    if !missing.is_empty() {
        let why = format!("it wants to send requests to {}", joined(&missing));
        let all: Vec<_> = granted.iter().chain(&missing).cloned().collect();
        needs.add(why, format!("http = {}", list(&all)));
    }
}

fn check_secrets(needs: &mut Needs, wants: &Wants, config: Option<&PluginConfig>) {
    let has = |name: &str| config.is_some_and(|config| config.grant.secrets.contains_key(name));
    for name in wants.secrets.iter().filter(|name| !has(name)) {
        let variable = format!("{}_{name}", needs.plugin).to_uppercase().replace('-', "_");
        let place = match wants.http.iter().any(|origin| !origin.is_any()) {
            true => format!("hosts = {}", list(&wants.http)),
            false => "readable = true".to_owned(),
        };
        let (key, variable) = (Key::new(name), Value::from(variable));
        let line = format!("secrets.{} = {{ env = {variable}, {place} }}", key.display_repr());
        needs.add(format!("it wants the secret {name}"), line);
    }
}

fn joined<T: fmt::Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// To answer requests or to verify them makes a plugin's code reachable from outside: the operator has to
/// have said whether it may.
fn check_exports(needs: &mut Needs, exports: Exports, config: Option<&PluginConfig>) {
    if exports.api && config.is_none_or(|config| config.api.access.is_none()) {
        let name = needs.plugin.clone();
        let variable = name.to_ascii_uppercase().replace('-', "_");
        needs.add(
            format!("it answers requests below /api/{name}/ (\"public\" lets anybody ask, \"off\" nobody)"),
            format!("api = {{ token = {{ env = \"{variable}_API_TOKEN\" }} }}"),
        );
    }
    if exports.verifier && config.is_none_or(|config| config.verifier.is_none()) {
        needs.add("it verifies requests (false: it must not)", "verifier = true".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use hookweir_host::{Grant, HttpGrant, SecretGrant, SecretText};

    use super::*;
    use crate::config::ApiAccess;

    fn wants(patterns: &[&str]) -> Wants {
        Wants {
            subscribe: patterns.iter().map(|pattern| pattern.parse().unwrap()).collect(),
            ..Wants::default()
        }
    }

    fn origins(texts: &[&str]) -> Vec<HttpOrigin> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn granted(http: &[&str], secrets: &[&str]) -> PluginConfig {
        let secret = |name: &&str| {
            let value = SecretText::new("s".into());
            let grant = SecretGrant { value, hosts: vec![], readable: true };
            ((*name).to_owned(), grant)
        };
        let grant = Grant {
            http: Some(HttpGrant { origins: origins(http), addresses: vec![] }),
            secrets: secrets.iter().map(secret).collect(),
            ..Grant::default()
        };
        PluginConfig { grant, ..PluginConfig::default() }
    }

    fn refused(wants: &Wants, config: Option<&PluginConfig>) -> String {
        approve("ci-x", wants, Exports::default(), config, Subscriptions::Module)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_module_subscribes_itself_unless_it_takes_all_sources() {
        let own = wants(&["github/push"]);
        assert_eq!(
            approve("ci", &own, Exports::default(), None, Subscriptions::Module),
            Ok(own.subscribe.clone())
        );
        let wide = approve(
            "ci",
            &wants(&["github/push", "*/*"]),
            Exports::default(),
            None,
            Subscriptions::Module,
        );
        assert_eq!(
            wide.unwrap_err().to_string(),
            "needs approval: `*/*` takes events of every source; add\n\
             [plugins.ci]\nsubscribe = [\"github/push\", \"*/*\"]"
        );
    }

    #[test]
    fn the_operators_list_replaces_the_modules() {
        let config =
            PluginConfig { subscribe: Some(vec!["*/*".parse().unwrap()]), ..Default::default() };
        for rule in [Subscriptions::Module, Subscriptions::Granted] {
            let approved =
                approve("ci", &wants(&["github/push"]), Exports::default(), Some(&config), rule)
                    .unwrap();
            assert_eq!(approved, ["*/*".parse().unwrap()]);
        }
    }

    #[test]
    fn with_granted_subscriptions_a_module_has_no_say() {
        let refused = approve(
            "ci",
            &wants(&["github/push"]),
            Exports::default(),
            None,
            Subscriptions::Granted,
        );
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("[plugins.ci]\nsubscribe = [\"github/push\"]"));
    }

    #[test]
    fn all_that_is_not_granted_is_said_at_once_with_what_to_paste() {
        let all = Wants {
            http: origins(&["https://api.example.com"]),
            secrets: vec!["API_KEY".into()],
            ..wants(&["a/b", "*/*"])
        };
        assert_eq!(
            refused(&all, None),
            "needs approval: `*/*` takes events of every source; it wants to send requests to \
             https://api.example.com; it wants the secret API_KEY; add\n\
             [plugins.ci-x]\n\
             subscribe = [\"a/b\", \"*/*\"]\n\
             http = [\"https://api.example.com\"]\n\
             secrets.API_KEY = { env = \"CI_X_API_KEY\", hosts = [\"https://api.example.com\"] }"
        );
    }

    #[test]
    fn a_hostile_name_is_one_key_and_grants_nothing() {
        let name = "x = 1\n[plugins.other]\nhttp = [\"https://*\"]\n#";
        let hostile = Wants { secrets: vec![name.into()], ..wants(&["a/b"]) };
        let needs = approve("ci", &hostile, Exports::default(), None, Subscriptions::Module);
        let added: toml_edit::DocumentMut = needs.unwrap_err().toml().parse().unwrap();
        let plugins = added["plugins"].as_table().unwrap();
        assert_eq!(plugins.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["ci"]);
        let keys = |table: &toml_edit::Item| {
            let keys = table.as_table().unwrap().iter().map(|(key, _)| key.to_owned());
            keys.collect::<Vec<_>>()
        };
        assert_eq!(keys(&plugins["ci"]), ["secrets"]);
        assert_eq!(keys(&plugins["ci"]["secrets"]), [name]);
    }

    #[test]
    fn a_grant_may_be_wider_than_the_wish_and_not_narrower() {
        let api = Wants { http: origins(&["https://api.example.com"]), ..wants(&["a/b"]) };
        let wide = granted(&["https://*.example.com"], &[]);
        assert!(
            approve("ci", &api, Exports::default(), Some(&wide), Subscriptions::Module).is_ok()
        );
        let other = granted(&["https://www.example.com"], &[]);
        assert!(
            refused(&api, Some(&other))
                .ends_with("http = [\"https://www.example.com\", \"https://api.example.com\"]")
        );
        let below = Wants { http: origins(&["https://*.example.com"]), ..wants(&["a/b"]) };
        assert!(
            approve("ci", &below, Exports::default(), Some(&other), Subscriptions::Module).is_err()
        );
    }

    #[test]
    fn a_wish_for_any_host_leaves_it_to_the_operator() {
        let any = Wants { http: origins(&["https://*"]), ..wants(&["a/b"]) };
        assert!(refused(&any, None).ends_with("http = [\"https://*\"]"));
        assert!(refused(&any, Some(&granted(&[], &[]))).ends_with("http = [\"https://*\"]"));
        for some in ["https://*", "https://api.example.com"] {
            let config = granted(&[some], &[]);
            assert!(
                approve("ci", &any, Exports::default(), Some(&config), Subscriptions::Module)
                    .is_ok(),
                "{some}"
            );
        }
        assert!(
            approve(
                "ci",
                &any,
                Exports::default(),
                Some(&granted(&["http://a.b"], &[])),
                Subscriptions::Module
            )
            .is_err()
        );
    }

    #[test]
    fn who_can_be_asked_from_outside_needs_the_operators_word_on_it() {
        let exports = |api, verifier| Exports { api, verifier, ..Exports::default() };
        let asked = |name: &str, exports, config: Option<&PluginConfig>| {
            let approved = approve(name, &wants(&["a/b"]), exports, config, Subscriptions::Module);
            approved.map(drop).map_err(|needs| needs.to_string())
        };
        assert_eq!(asked("ci", exports(false, false), None), Ok(()));
        assert_eq!(
            asked("build-desk", exports(true, true), None).unwrap_err(),
            "needs approval: it answers requests below /api/build-desk/ (\"public\" lets anybody ask, \
             \"off\" nobody); it verifies requests (false: it must not); add\n\
             [plugins.build-desk]\napi = { token = { env = \"BUILD_DESK_API_TOKEN\" } }\nverifier = true"
        );
        let mut config = PluginConfig::default();
        config.api.access = Some(ApiAccess::Off);
        assert_eq!(asked("ci", exports(true, false), Some(&config)), Ok(()));
        let missing = asked("ci", exports(true, true), Some(&config)).unwrap_err();
        assert!(missing.contains("verifier") && !missing.contains("api ="), "{missing}");
        let config = PluginConfig { verifier: Some(false), ..config };
        assert_eq!(asked("ci", exports(true, true), Some(&config)), Ok(()));
    }
}
