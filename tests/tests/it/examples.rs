//! Each public item of the SDK has an example in its documentation. That it compiles, and does what it says, the
//! documentation tests see to.
//!
//! Fields and variants are in the examples of what has them, and the constants for a provider's event types, which a
//! macro documents by their text, in their module's.

use std::{fs, path::Path};

use hookweir_tests::guests::root;

/// Files that nobody is shown.
const HIDDEN: &[&str] = &["export.rs", "signature.rs"];

/// The public items of a file without an example, as `line: item`.
fn silent(source: &str) -> Vec<String> {
    let mut faults = Vec::new();
    // What stands before the next item, whether an attribute of some lines has begun, and where it all is.
    let (mut before, mut open, mut within) = (String::new(), false, Within::Module);
    for (number, line) in source.lines().enumerate() {
        let text = line.trim();
        if text.starts_with("#[cfg(test)]") || text.starts_with("#[cfg(all(test") {
            break;
        }
        if line == "}" {
            within = Within::Module;
        }
        if open || text.starts_with("#[") {
            open = !text.ends_with(")]") && (open || !text.ends_with(']'));
            if ["#[doc(hidden)]", "#[macro_export]"].contains(&text) {
                before.push_str(text);
                before.push('\n');
            }
            continue;
        }
        if let Some(comment) = text.strip_prefix("///") {
            before.push_str(comment.trim_start());
            before.push('\n');
            continue;
        }
        let shown = within.shows(text) || is_exported(text, &before);
        if shown && !before.contains("#[doc(hidden)]") && !has_example(&before) {
            faults.push(format!("{}: {text}", number + 1));
        }
        before.clear();
        within = within.then(line);
    }
    faults
}

/// Where an item stands.
#[derive(Clone, Copy, PartialEq)]
enum Within {
    /// In the file itself, or in an `impl`.
    Module,
    /// In a trait, whose functions are as public as it is.
    Trait,
    /// In a module that nobody is shown.
    Private,
}

impl Within {
    fn shows(self, text: &str) -> bool {
        const ITEMS: [&str; 9] =
            ["fn", "const fn", "struct", "enum", "trait", "const", "type", "static", "macro"];
        let item = |text: &str| ITEMS.iter().any(|item| text.starts_with(&format!("{item} ")));
        match self {
            Self::Private => false,
            Self::Trait => text.starts_with("fn "),
            Self::Module => {
                text.strip_prefix("pub ").is_some_and(item)
                    || text.starts_with("pub use hookweir_sdk_macros::")
                    || text.starts_with("pub use crate::__")
            }
        }
    }

    fn then(self, line: &str) -> Self {
        let opens = line.ends_with('{');
        match line {
            _ if opens && line.starts_with("pub trait ") => Self::Trait,
            _ if opens && line.starts_with("mod ") => Self::Private,
            _ => self,
        }
    }
}

/// Whether this is a macro for all crates.
fn is_exported(text: &str, before: &str) -> bool {
    text.starts_with("macro_rules! ") && before.contains("#[macro_export]")
}

/// Whether there is a block that is compiled and run.
fn has_example(docs: &str) -> bool {
    docs.lines().any(|line| line == "```")
}

/// All Rust files below a folder.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if !HIDDEN.iter().any(|hidden| path.ends_with(hidden)) {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn each_public_item_of_the_sdk_has_one() {
    let (mut faults, mut items) = (Vec::new(), 0);
    for path in files(&root().join("plugin-sdk/src")) {
        let source = fs::read_to_string(&path).unwrap();
        items += source.matches("pub fn ").count();
        let path = path.strip_prefix(root()).unwrap().display().to_string();
        faults.extend(silent(&source).into_iter().map(|fault| format!("{path}:{fault}")));
    }
    assert!(faults.is_empty(), "without an example:\n{}", faults.join("\n"));
    assert!(items > 150, "only {items} functions were seen");
}

#[test]
fn each_public_module_of_the_sdk_begins_with_one() {
    let source = root().join("plugin-sdk/src");
    let read = |name: &str| fs::read_to_string(source.join(name)).unwrap();
    let lib = read("lib.rs");
    let modules: Vec<_> = lib.lines().filter_map(|line| line.strip_prefix("pub mod ")).collect();
    let modules = modules.iter().filter_map(|line| line.strip_suffix(';'));
    let modules: Vec<_> =
        modules.filter(|name| !HIDDEN.contains(&format!("{name}.rs").as_str())).collect();
    assert!(modules.len() >= 9, "{modules:?}");
    for module in modules {
        let text = read(&format!("{module}.rs"));
        let header: Vec<_> = text.lines().take_while(|line| line.starts_with("//!")).collect();
        assert!(header.contains(&"//! ```"), "`{module}` begins with no example");
    }
}

#[test]
fn an_item_without_one_is_seen() {
    let example = "/// Does it.\n///\n/// ```\n/// it();\n/// ```\n";
    for item in [
        "pub fn it() {}",
        "pub const fn it() {}",
        "pub struct It;",
        "pub trait It {}",
        "#[macro_export]\nmacro_rules! it {\n}",
        "#[must_use]\npub fn it() {}",
        "#[cfg_attr(\n    all(),\n    doc = \"x\"\n)]\npub fn it() {}",
        "pub use crate::__it as it;",
    ] {
        assert_eq!(silent(&format!("{example}{item}\n")), [""; 0], "{item}");
        for bare in ["", "/// Does it.\n", "/// ```ignore\n/// it();\n"] {
            assert_eq!(silent(&format!("{bare}{item}\n")).len(), 1, "{bare}{item}");
        }
    }
    for hidden in [
        "fn it() {}",
        "pub(crate) fn it() {}",
        "#[doc(hidden)]\npub fn it() {}",
        "mod own {\n    pub fn it() {}\n}",
        "#[cfg(test)]\nmod tests {\n    pub fn it() {}\n}",
        "pub use event::It;",
        "macro_rules! it {\n}",
    ] {
        assert_eq!(silent(hidden), [""; 0], "{hidden}");
    }
    // A method, and what a trait asks for.
    assert_eq!(silent("impl It {\n    pub fn it() {}\n}\n"), ["2: pub fn it() {}"]);
    let asked = format!("{example}pub trait It {{\n    fn it();\n}}\nfn other() {{}}\n");
    assert_eq!(silent(&asked), ["7: fn it();"]);
}
