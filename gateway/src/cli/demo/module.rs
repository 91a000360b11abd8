//! Other versions of a built module, made without a compiler: one that does the same, one that wants more,
//! one that says another word, and one that traps.

use std::ops::Range;

use hookweir_host::{Wants, WantsText};
use wasmparser::{ExternalKind, Parser, Payload, TypeRef};

/// The custom section with what a module wants.
const WANTS: &str = "hookweir:wants";
/// How the contract's handler is called in a core module.
const HANDLER: &str = "hookweir:plugin/handler@1.0.0#handle";

/// Another version, by its digest, that does the same: the module with one more custom section.
pub(super) fn same(module: &[u8]) -> Vec<u8> {
    // WebAssembly core specification, 5.5.3: id 0, size, then a name with its length, then anything.
    [module, &[0, 1 + 4 + 1, 4], b"demo", b"2"].concat()
}

/// A version that has another word of the same length in the place of one that its data has once.
pub(super) fn reworded(module: &[u8], old: &str, new: &str) -> Result<Vec<u8>, String> {
    if old.len() != new.len() {
        return Err(format!("`{old}` and `{new}` are not of one length"));
    }
    let words = module.windows(old.len()).enumerate();
    let places: Vec<_> = words.filter(|(_, word)| *word == old.as_bytes()).collect();
    let [(place, _)] = places[..] else {
        return Err(format!("it has `{old}` {} times", places.len()));
    };
    let mut module = module.to_vec();
    module[place..place + new.len()].copy_from_slice(new.as_bytes());
    Ok(module)
}

/// A version of the same code that wants to send requests to one more origin.
pub(super) fn wanting(module: &[u8], origin: &str) -> Result<Vec<u8>, String> {
    let content = wants(module)?;
    let written = serde_json::from_slice(&module[content.clone()]);
    let mut wants: WantsText = written.map_err(|error| format!("what it wants: {error}"))?;
    wants.http.push(origin.to_owned());
    let wants = Wants::of(wants)?;
    let mut module = module.to_vec();
    // Under another name, which lies right before it, the section says nothing any more.
    module[content.start - WANTS.len()] = b'-';
    wants.put_into(&module).map_err(|error| error.to_string())
}

/// Where in a module it says what it wants.
fn wants(module: &[u8]) -> Result<Range<usize>, String> {
    for payload in Parser::new(0).parse_all(module) {
        let Payload::CustomSection(section) = payload.map_err(broken)? else { continue };
        if section.name() == WANTS {
            let start = section.data_offset();
            return Ok(start..start + section.data().len());
        }
    }
    Err(format!("it has no section `{WANTS}`"))
}

/// A version that loads and starts as the module does, and traps whenever it handles an event: the
/// handler's code is an `unreachable`, and for the rest of its length nothing.
pub(super) fn trapping(module: &[u8]) -> Result<Vec<u8>, String> {
    let (mut imported, mut handler, mut code) = (0, None, Vec::new());
    for payload in Parser::new(0).parse_all(module) {
        match payload.map_err(broken)? {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    imported += usize::from(matches!(import.map_err(broken)?.ty, TypeRef::Func(_)));
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export.map_err(broken)?;
                    if export.name == HANDLER && export.kind == ExternalKind::Func {
                        handler = Some(export.index as usize);
                    }
                }
            }
            Payload::CodeSectionEntry(body) => code.push(body.range()),
            _ => {}
        }
    }
    // Functions are counted from the imported ones on.
    let body = handler.and_then(|handler| code.get(handler.checked_sub(imported)?));
    let body = body.ok_or_else(|| format!("it has no function `{HANDLER}`"))?.clone();
    let mut module = module.to_vec();
    // WebAssembly core specification, 5.4: no locals, `unreachable`, any number of `nop`, `end`.
    let [locals, first, rest @ .., end] = &mut module[body] else {
        return Err("its handler is too short to be broken".to_owned());
    };
    (*locals, *first, *end) = (0x00, 0x00, 0x0b);
    rest.fill(0x01);
    Ok(module)
}

fn broken(error: impl std::fmt::Display) -> String {
    format!("it is no module: {error}")
}

#[cfg(test)]
mod tests {
    use wasmparser::Validator;

    use super::*;

    /// A module with an imported function before its own, and the handler as the second of those.
    fn module() -> Vec<u8> {
        let text = format!(
            r#"(module
                (import "a" "b" (func $imported (param i32)))
                (func $other (result i32) (i32.const 7))
                (func $handle (param i32) (result i32) (local i64)
                    (call $imported (local.get 0)) (i32.const 300))
                (export "other" (func $other))
                (export "{HANDLER}" (func $handle))
                (@custom "{WANTS}" "{{\"sdk\":\"0.1.0\",\"subscribe\":[\"a/b\"]}}"))"#
        );
        wat::parse_str(text).unwrap()
    }

    fn written(module: &[u8]) -> WantsText {
        serde_json::from_slice(&module[wants(module).unwrap()]).unwrap()
    }

    #[test]
    fn a_version_that_wants_more_has_the_same_code_and_one_wish_more() {
        let module = module();
        let wanting = wanting(&module, "https://a.example").unwrap();
        assert_eq!(written(&module).http, [""; 0]);
        let wants = written(&wanting);
        assert_eq!(
            (wants.http, wants.subscribe),
            (vec!["https://a.example".into()], vec!["a/b".into()])
        );
        assert_eq!(wants.sdk.as_deref(), Some("0.1.0"));
        Validator::new().validate_all(&wanting).unwrap();
        assert!(super::wanting(&module, "nowhere").unwrap_err().contains("nowhere"));
        assert!(
            super::wanting(b"\0asm\x01\0\0\0", "https://a.example").unwrap_err().contains(WANTS)
        );
    }

    #[test]
    fn a_version_that_traps_is_valid_and_only_its_handler_is_another() {
        let module = module();
        let trapping = trapping(&module).unwrap();
        assert_eq!(trapping.len(), module.len());
        Validator::new().validate_all(&trapping).unwrap();
        let code = |module: &[u8]| -> Vec<Vec<u8>> {
            let payloads = Parser::new(0).parse_all(module).map(Result::unwrap);
            let bodies = payloads.filter_map(|payload| match payload {
                Payload::CodeSectionEntry(body) => Some(module[body.range()].to_vec()),
                _ => None,
            });
            bodies.collect()
        };
        let (before, after) = (code(&module), code(&trapping));
        assert_eq!(before[0], after[0]);
        assert_eq!(after[1][..2], [0, 0]);
        assert!(after[1][2..after[1].len() - 1].iter().all(|byte| *byte == 1), "{after:?}");
        let differing = module.iter().zip(&trapping).filter(|(a, b)| a != b).count();
        assert!(differing > 0 && differing <= after[1].len());
        let none = super::trapping(b"\0asm\x01\0\0\0").unwrap_err();
        assert!(none.contains(HANDLER), "{none}");
    }

    #[test]
    fn a_version_with_another_word_has_it_once() {
        let module = module();
        let reworded = reworded(&module, "\"a/b\"", "\"c/d\"").unwrap();
        assert_eq!(written(&reworded).subscribe, ["c/d"]);
        assert_eq!(reworded.len(), module.len());
        assert!(super::reworded(&module, "a/b", "a/bc").is_err());
        assert!(super::reworded(&module, "nothing", "of this").unwrap_err().contains("0 times"));
        assert!(super::reworded(&module, "e", "f").unwrap_err().contains("times"));
    }

    #[test]
    fn a_version_that_does_the_same_is_another_by_its_bytes_alone() {
        let module = module();
        let same = same(&module);
        assert!(same.starts_with(&module) && same.len() > module.len());
        Validator::new().validate_all(&same).unwrap();
    }
}
