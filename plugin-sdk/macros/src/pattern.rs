//! Whether a text is a subscription pattern `source/type`, checked while the plugin compiles.
//!
//! The gateway's own check decides (`Pattern` of `hookweir-event`); a plugin must build without the
//! gateway, so this is a second one. `patterns.txt` holds examples that both must judge alike.

/// The longest name of a source or plugin, in bytes.
const NAME_MAX: usize = 64;
/// The longest event type, in bytes.
const TYPE_MAX: usize = 256;

/// What is wrong with a pattern, and what to write.
pub(crate) fn check(text: &str) -> Result<(), String> {
    let Some((source, event_type)) = text.split_once('/') else {
        return Err(format!(
            "`{text}` is not a subscription: write `source/type`, such as \"github/push\" or \
             \"stripe/payment_intent.*\""
        ));
    };
    if !is_source(source) {
        return Err(format!(
            "`{source}` in `{text}` is not a source: name one (a-z, 0-9 and `-`), or write \
             `plugin.NAME`, `gateway` or a lone `*`"
        ));
    }
    if !is_type(event_type) {
        return Err(format!(
            "`{event_type}` in `{text}` is not an event type or a pattern for one: 1 to {TYPE_MAX} \
             bytes without white space; `*` stands for any run of characters"
        ));
    }
    Ok(())
}

fn is_source(source: &str) -> bool {
    match source.strip_prefix("plugin.") {
        Some(plugin) => is_name(plugin),
        None => matches!(source, "*" | "gateway") || is_name(source),
    }
}

fn is_name(name: &str) -> bool {
    let clean = name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    (1..=NAME_MAX).contains(&name.len()) && clean && !matches!(name, "gateway" | "plugin")
}

fn is_type(event_type: &str) -> bool {
    (1..=TYPE_MAX).contains(&event_type.len())
        && !event_type.chars().any(|c| c.is_whitespace() || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `good` or `bad`, then the pattern in quotes, a line each.
    const EXAMPLES: &str = include_str!("../patterns.txt");

    #[test]
    fn the_examples_are_judged_as_they_say() {
        let mut seen = 0;
        for line in EXAMPLES.lines().filter(|line| !line.starts_with('#')) {
            let (verdict, quoted) = line.split_once(' ').unwrap();
            let text: String = serde_json::from_str(quoted).unwrap();
            assert_eq!(check(&text).is_ok(), verdict == "good", "{line}");
            seen += 1;
        }
        assert!(seen > 20, "{seen} examples");
    }

    #[test]
    fn a_fault_says_what_to_write() {
        let fault = check("push").unwrap_err();
        assert!(fault.contains("write `source/type`"), "{fault}");
        let fault = check("GitHub/push").unwrap_err();
        assert!(fault.contains("`GitHub` in `GitHub/push` is not a source"), "{fault}");
    }
}
