//! The README promises nothing that is not there: its config is read by the gateway, the tests that
//! its guarantees name exist, and it gives the two commands.

use std::{fs, io, path::Path};

use hookweir::config::{Config, Surroundings};
use hookweir_tests::{guests::root, provider::Authority};

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).unwrap()
}

/// The fenced blocks in a language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let block = |rest: &str| rest.split("\n```").next().unwrap_or_default().to_owned();
    text.split(&fence).skip(1).map(block).collect()
}

#[test]
fn its_config_is_good() {
    let configs = blocks(&readme(), "toml");
    assert_eq!(configs.len(), 2);
    let env = |name: &str| match name {
        "DATABASE_URL" => Some("postgres://user:a-secret@host/database?sslmode=require".to_owned()),
        _ => Some("a-secret-of-some-length".to_owned()),
    };
    // One text does for each kind of file: a certificate and its key are looked for in it.
    let (certificate, key) = Authority::root("our authority").issue(&["hooks.example.com"], None);
    let pem = certificate + &key.serialize_pem();
    let file = |path: &Path| -> io::Result<String> {
        Ok(match path.extension().and_then(|extension| extension.to_str()) {
            Some("pem") => pem.clone(),
            Some("json") => r#"{"hooks": ["192.0.2.0/24"]}"#.to_owned(),
            Some("txt") => "192.0.2.0/24 # an office\n".to_owned(),
            _ => "another-secret\n".to_owned(),
        })
    };
    let around = Surroundings { env: &env, file: &file };
    let config = Config::parse(&configs[0], Path::new(""), &around).unwrap();
    assert_eq!((config.sources.len(), config.plugins.len()), (4, 1));
    let config = Config::parse(&configs[1], Path::new(""), &around).unwrap();
    assert_eq!(config.store.file(), None);
}

#[test]
fn its_guarantees_name_tests_that_exist() {
    let text = readme();
    let table = text.split("| guarantee | test |").nth(1).unwrap().split("\n\n").next().unwrap();
    let names: Vec<_> = table.split('`').skip(1).step_by(2).collect();
    assert!(names.len() >= 10, "{names:?}");
    for name in names {
        let (module, function) = name.split_once("::").unwrap();
        let file = root().join("tests/tests/it").join(module).with_extension("rs");
        let source = fs::read_to_string(&file).unwrap_or_else(|_| panic!("{name}: no such module"));
        assert!(source.contains(&format!("fn {function}()")), "{name} does not exist");
    }
}

#[test]
fn it_gives_the_two_commands_and_they_are_aliases() {
    let commands = blocks(&readme(), "sh");
    assert_eq!(commands, ["cargo demo", "cargo ci"]);
    let aliases = fs::read_to_string(root().join(".cargo/config.toml")).unwrap();
    assert!(aliases.contains("demo = ") && aliases.contains("ci = "));
}
