//! What a plugin wants against what the operator granted. Pure.

use hookweir_event::Pattern;
use hookweir_host::{Exports, Wants};

use crate::config::{PluginConfig, Subscriptions};

/// The subscriptions in force for a plugin, or why it needs the operator's word first. The reason
/// ends with what to paste into the config.
pub(crate) fn approve(
    name: &str,
    wants: &Wants,
    config: Option<&PluginConfig>,
    subscriptions: Subscriptions,
) -> Result<Vec<Pattern>, String> {
    for (what, wanted) in [("http access to", &wants.http), ("the secrets", &wants.secrets)] {
        if !wanted.is_empty() {
            let wanted = wanted.join(", ");
            return Err(format!(
                "needs approval: it wants {what} {wanted}, which this version of the gateway can't grant"
            ));
        }
    }
    if let Some(granted) = config.and_then(|config| config.subscribe.as_ref()) {
        return Ok(granted.clone());
    }
    let paste = || {
        let patterns: Vec<_> = wants.subscribe.iter().map(|p| format!("\"{p}\"")).collect();
        format!("[plugins.{name}]\nsubscribe = [{}]", patterns.join(", "))
    };
    if subscriptions == Subscriptions::Granted {
        return Err(format!("needs approval: host.subscriptions is \"granted\"; add\n{}", paste()));
    }
    if let Some(wide) = wants.subscribe.iter().find(|pattern| pattern.is_wide()) {
        return Err(format!(
            "needs approval: `{wide}` takes events of every source; add\n{}",
            paste()
        ));
    }
    Ok(wants.subscribe.clone())
}

/// Whether the operator has said whether a plugin may answer requests and verify them, if it can: either
/// makes its code reachable from outside. The reason ends with what to paste into the config.
pub(crate) fn approve_exports(
    name: &str,
    exports: Exports,
    config: Option<&PluginConfig>,
) -> Result<(), String> {
    let mut wants = Vec::new();
    let mut paste = format!("[plugins.{name}]");
    if exports.api && config.is_none_or(|config| config.api.access.is_none()) {
        wants.push(format!(
            "it answers requests below /api/{name}/ (\"public\" lets anybody ask, \"off\" nobody)"
        ));
        let variable = name.to_ascii_uppercase().replace('-', "_");
        paste += &format!("\napi = {{ token = {{ env = \"{variable}_API_TOKEN\" }} }}");
    }
    if exports.verifier && config.is_none_or(|config| config.verifier.is_none()) {
        wants.push("it verifies requests (false: it must not)".to_owned());
        paste += "\nverifier = true";
    }
    match wants.is_empty() {
        true => Ok(()),
        false => Err(format!("needs approval: {}; add\n{paste}", wants.join(", and "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ApiAccess;

    fn wants(patterns: &[&str]) -> Wants {
        Wants {
            subscribe: patterns.iter().map(|pattern| pattern.parse().unwrap()).collect(),
            ..Wants::default()
        }
    }

    #[test]
    fn a_module_subscribes_itself_unless_it_takes_all_sources() {
        let own = wants(&["github/push"]);
        assert_eq!(approve("ci", &own, None, Subscriptions::Module), Ok(own.subscribe.clone()));
        let wide = approve("ci", &wants(&["github/push", "*/*"]), None, Subscriptions::Module);
        assert_eq!(
            wide.unwrap_err(),
            "needs approval: `*/*` takes events of every source; add\n\
             [plugins.ci]\nsubscribe = [\"github/push\", \"*/*\"]"
        );
    }

    #[test]
    fn the_operators_list_replaces_the_modules() {
        let config =
            PluginConfig { subscribe: Some(vec!["*/*".parse().unwrap()]), ..Default::default() };
        for rule in [Subscriptions::Module, Subscriptions::Granted] {
            let approved = approve("ci", &wants(&["github/push"]), Some(&config), rule).unwrap();
            assert_eq!(approved, ["*/*".parse().unwrap()]);
        }
    }

    #[test]
    fn with_granted_subscriptions_a_module_has_no_say() {
        let refused = approve("ci", &wants(&["github/push"]), None, Subscriptions::Granted);
        assert!(refused.unwrap_err().contains("[plugins.ci]\nsubscribe = [\"github/push\"]"));
    }

    #[test]
    fn what_can_not_be_granted_yet_is_refused() {
        let http = Wants { http: vec!["https://api.example.com".into()], ..wants(&["a/b"]) };
        assert!(
            approve("ci", &http, None, Subscriptions::Module).unwrap_err().contains("http access")
        );
    }

    #[test]
    fn who_can_be_asked_from_outside_needs_the_operators_word_on_it() {
        let exports = |api, verifier| Exports { api, verifier, ..Exports::default() };
        assert_eq!(approve_exports("ci", exports(false, false), None), Ok(()));
        assert_eq!(
            approve_exports("build-desk", exports(true, true), None).unwrap_err(),
            "needs approval: it answers requests below /api/build-desk/ (\"public\" lets anybody ask, \
             \"off\" nobody), and it verifies requests (false: it must not); add\n\
             [plugins.build-desk]\napi = { token = { env = \"BUILD_DESK_API_TOKEN\" } }\nverifier = true"
        );
        let mut config = PluginConfig::default();
        config.api.access = Some(ApiAccess::Off);
        assert_eq!(approve_exports("ci", exports(true, false), Some(&config)), Ok(()));
        let missing = approve_exports("ci", exports(true, true), Some(&config)).unwrap_err();
        assert!(missing.contains("verifier") && !missing.contains("api ="), "{missing}");
        let config = PluginConfig { verifier: Some(false), ..config };
        assert_eq!(approve_exports("ci", exports(true, true), Some(&config)), Ok(()));
    }
}
