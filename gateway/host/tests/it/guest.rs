//! Guests written as text: a core module with the contract's types embedded, as an SDK builds one.

use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

pub(crate) const CONTRACT: &str = include_str!("../../../../plugin-sdk/wit/hookweir.wit");

/// What a handler returns that is done and has no outputs: at 64, `ok` and an empty list.
pub(crate) const DONE: &str = "(i32.const 64)";

/// A core module with a handler of this body, `init` if it has one, and whatever else.
pub(crate) fn core(handler: &str, init: Option<&str>, more: &str) -> Vec<u8> {
    let init = init.map_or_else(String::new, |body| {
        format!(
            r#"(func (export "hookweir:plugin/lifecycle@1.0.0#init")
                (param i32 i32) (result i32) {body})"#
        )
    });
    let world = if init.is_empty() { "" } else { "include hookweir:plugin/with-lifecycle@1.0.0;" };
    let text = format!(
        r#"(module
            (memory (export "memory") 1)
            (global $free (mut i32) (i32.const 1024))
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (global.get $free)
                (global.set $free (i32.add (global.get $free)
                    (i32.and (i32.add (local.get 3) (i32.const 15)) (i32.const -16)))))
            (func $handle (export "hookweir:plugin/handler@1.0.0#handle")
                (param i32) (result i32) {handler})
            {init}
            {more})"#
    );
    embed(&text, &format!("include hookweir:plugin/plugin@1.0.0; {world}"))
}

/// A core module that is done with any event, and has this body where `api` answers and `verifier`
/// verifies. `contract` is that which it was made for.
pub(crate) fn asked(contract: &str, body: &str, more: &str) -> Vec<u8> {
    let request = "i32 ".repeat(13);
    let text = format!(
        r#"(module
            (memory (export "memory") 1)
            (global $free (mut i32) (i32.const 1024))
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (global.get $free)
                (global.set $free (i32.add (global.get $free)
                    (i32.and (i32.add (local.get 3) (i32.const 15)) (i32.const -16)))))
            (func (export "hookweir:plugin/handler@1.0.0#handle")
                (param i32) (result i32) {DONE})
            (func (export "hookweir:plugin/api@1.0.0#respond")
                (param {request}) (result i32) {body})
            (func (export "hookweir:plugin/verifier@1.0.0#verify")
                (param {request}) (result i32) {body})
            {more})"#
    );
    let worlds = ["plugin", "with-api", "with-verifier"];
    embed_in(
        contract,
        &text,
        &worlds.map(|w| format!("include hookweir:plugin/{w}@1.0.0;")).concat(),
    )
}

/// The module that `text` is, said to be a component of a world with these items.
pub(crate) fn embed(text: &str, items: &str) -> Vec<u8> {
    embed_in(CONTRACT, text, items)
}

fn embed_in(contract: &str, text: &str, items: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    resolve.push_str("hookweir.wit", contract).unwrap();
    let world = format!("package tested:guests; world tested {{ {items} }}");
    let package = resolve.push_str("tested.wit", &world).unwrap();
    let world = resolve.select_world(&[package], Some("tested")).unwrap();
    let mut module = wat::parse_str(text).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    module
}

/// A component whose handler takes and returns nothing, around a core module with these items.
pub(crate) fn wrong_handler(core: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
            (core module $m {core} (func (export "handle")))
            (core instance $i (instantiate $m))
            (func $handle (canon lift (core func $i "handle")))
            (instance $handler (export "handle" (func $handle)))
            (export "hookweir:plugin/handler@1.0.0" (instance $handler)))"#
    );
    wat::parse_str(text).unwrap()
}

/// `module` with a custom section more.
pub(crate) fn with_section(mut module: Vec<u8>, name: &str, data: &[u8]) -> Vec<u8> {
    let small = |len: usize| u8::try_from(len).ok().filter(|len| *len < 128).unwrap();
    module.push(0);
    module.push(small(1 + name.len() + data.len()));
    module.push(small(name.len()));
    module.extend_from_slice(name.as_bytes());
    module.extend_from_slice(data);
    module
}
