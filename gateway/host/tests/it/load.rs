//! What is refused at load, and in which words.

use hookweir_host::{Exports, Grant, Inspection, LoadFault, ModuleLimits, inspect};

use crate::{
    guest::{CONTRACT, DONE, asked, core, embed, with_section, wrong_handler},
    host, prepare,
};

fn look(bytes: &[u8]) -> Result<Inspection, LoadFault> {
    inspect(bytes, &ModuleLimits::default())
}

fn refused(bytes: &[u8]) -> String {
    look(bytes).unwrap_err().to_string()
}

fn module(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

#[test]
fn files_of_other_kinds_are_told_apart() {
    assert_eq!(look(b""), Err(LoadFault::Empty));
    assert_eq!(look(b"\x7fELF\x02\x01"), Err(LoadFault::Native));
    assert_eq!(look(b"MZ\x90"), Err(LoadFault::Native));
    assert_eq!(look(b"\x1f\x8b\x08"), Err(LoadFault::Gzip));
    assert_eq!(look(b"\n(module)"), Err(LoadFault::Text));
    assert_eq!(look(b"#!/bin/sh"), Err(LoadFault::NotWasm));
    let cut = &core(DONE, None, "")[..100];
    assert!(matches!(look(cut), Err(LoadFault::Malformed(_))), "{:?}", look(cut));
    assert!(refused(b"\0asm\x07\0\0\0").starts_with("the file is not valid WebAssembly"));
}

#[test]
fn wrong_targets_and_stray_imports_are_named() {
    let preview1 = r#"(module (import "wasi_snapshot_preview1" "fd_write" (func)))"#;
    assert!(refused(&module(preview1)).starts_with("it was built for wasm32-wasip1"));
    let browser = r#"(module (import "__wbindgen_placeholder__" "__wbindgen_describe" (func)))"#;
    let fault = refused(&module(browser));
    assert!(fault.contains("wasm-bindgen") && fault.contains("chrono"), "{fault}");
    let open = r#"(module (import "env" "sqlite3_open" (func)))"#;
    assert!(refused(&module(open)).contains("`sqlite3_open`"));
    assert_eq!(look(&module("(module)")), Err(LoadFault::NoComponentType));
}

#[test]
fn the_contract_is_checked_by_name() {
    let handler = embed("(module)", "export hookweir:plugin/handler@1.0.0;");
    assert!(matches!(look(&handler), Err(LoadFault::Unfit(_))), "{:?}", look(&handler));
    assert_eq!(look(&module("(component)")), Err(LoadFault::NoHandler));
    let component = |import: &str| module(&format!("(component (import \"{import}\" (instance)))"));
    for unknown in ["hookweir:plugin/dreams@1.0.0", "wasi:http/types@0.3.0", "a:b/c"] {
        assert_eq!(look(&component(unknown)), Err(LoadFault::UnknownImport(unknown.into())));
    }
    let other =
        r#"(component (instance $i) (export "hookweir:plugin/handler@2.0.0" (instance $i)))"#;
    assert!(refused(&module(other)).contains("this gateway calls"), "{}", refused(&module(other)));
}

#[test]
fn what_would_choke_the_compiler_is_refused() {
    let body = "(drop (i32.const 0))".repeat(400_000);
    let large = module(&format!("(module (func {body}))"));
    assert!(matches!(
        look(&large),
        Err(LoadFault::Cap { what: "bytes of code in one function", .. })
    ));
    let nested = (0..17).fold(String::new(), |inner, _| format!("(component {inner})"));
    let nested = module(&format!("(component {nested})"));
    assert!(matches!(look(&nested), Err(LoadFault::Cap { max: 16, .. })), "{:?}", look(&nested));
    let many = format!("(component {})", "(core module)".repeat(101));
    assert!(matches!(look(&module(&many)), Err(LoadFault::Cap { what: "modules", .. })));
}

#[test]
fn wants_are_read_and_their_faults_told() {
    let plain = core(DONE, None, "");
    assert_eq!(look(&plain).unwrap().wants.subscribe, []);
    let wants = |json: &str| with_section(plain.clone(), "hookweir:wants", json.as_bytes());
    let said = look(&wants(r#"{"sdk":"1","subscribe":["stripe/*"],"http":["https://a"]}"#));
    let said = said.unwrap().wants;
    assert_eq!(said.subscribe, ["stripe/*".parse().unwrap()]);
    assert_eq!(said.http, ["https://a".parse().unwrap()]);
    assert_eq!(
        refused(&wants(r#"{"subscribe":["stripe"]}"#)),
        "its section `hookweir:wants` can't be read: a subscription is `source/type`, such as \
         `github/push` or `stripe/payment_intent.*`"
    );
}

#[tokio::test]
async fn a_wrong_type_passes_the_linker_and_fails_the_trial() {
    let bytes = wrong_handler("");
    assert!(look(&bytes).is_ok(), "the names are right");
    let fault = prepare(bytes).await.unwrap_err();
    assert!(matches!(fault, LoadFault::WrongExport { .. }), "{fault:?}");
    assert!(fault.to_string().starts_with(
        "its `hookweir:plugin/handler@1.0.0` does not have the types of hookweir:plugin@1.0.0"
    ));
}

#[tokio::test]
async fn optional_exports_are_known_and_one_of_a_wrong_type_is_refused() {
    let version = prepare(asked(CONTRACT, "unreachable", "")).await.unwrap();
    let both = Exports { api: true, verifier: true, ..Exports::default() };
    assert_eq!(version.exports(), both);
    assert_eq!(look(&asked(CONTRACT, "unreachable", "")).unwrap().optional_exports(), both);
    let plain = prepare(core(DONE, None, "")).await.unwrap();
    assert_eq!(plain.exports(), Exports::default());
    for (interface, from, to) in [
        ("api", "status: u16,", "status: u32,"),
        ("verifier", "id: option<string>,\n    event-type", "id: string,\n    event-type"),
    ] {
        let contract = CONTRACT.replace(from, to);
        assert_ne!(contract, CONTRACT);
        let bytes = asked(&contract, "unreachable", "");
        assert!(look(&bytes).is_ok(), "the names are right");
        let fault = prepare(bytes).await.unwrap_err().to_string();
        let expected = format!("its `hookweir:plugin/{interface}@1.0.0` does not have the types");
        assert!(fault.starts_with(&expected), "{fault}");
    }
}

#[tokio::test]
async fn what_fails_when_started_is_refused() {
    let start = async |core: &str| prepare(wrong_handler(core)).await.unwrap_err().to_string();
    let failed = "it failed when it was started:";
    assert_eq!(
        start("(func $s unreachable) (start $s)").await,
        format!("{failed} it aborted without a word")
    );
    assert_eq!(
        start("(func $s (loop br 0)) (start $s)").await,
        format!("{failed} it used more than 500ms of CPU time")
    );
    assert_eq!(
        start("(memory 1100)").await,
        format!("{failed} it asked for 72089600 bytes of memory; its limit is 67108864")
    );
}

#[tokio::test]
async fn init_has_the_last_word() {
    // At 64: `err`, and a text of 2 bytes at 80.
    let refusal = r#"(data (i32.const 64) "\01\00\00\00\50\00\00\00\02\00\00\00\00\00\00\00no")"#;
    let fault = prepare(core(DONE, Some("(i32.const 64)"), refusal)).await.unwrap_err();
    assert_eq!(fault, LoadFault::Init("no".into()));
    let fault = prepare(core(DONE, Some("unreachable"), "")).await.unwrap_err();
    assert!(matches!(fault, LoadFault::Start(_)), "{fault:?}");
    assert!(prepare(core(DONE, Some("(i32.const 64)"), "")).await.is_ok());
}

#[tokio::test]
async fn sizes_are_checked_before_anything_is_read() {
    let grant = Grant::default();
    let name = || "tested".parse().unwrap();
    let max = ModuleLimits::default().bytes;
    let large = vec![0; usize::try_from(max).unwrap() + 1];
    let fault = host().prepare(name(), large, grant.clone()).await.unwrap_err();
    assert_eq!(fault, LoadFault::TooLarge { size: max + 1, max });
    let mut greedy = grant;
    greedy.limits.memory = 1 << 40;
    let fault = host().prepare(name(), core(DONE, None, ""), greedy).await.unwrap_err();
    assert!(matches!(fault, LoadFault::MemoryGrant { .. }), "{fault:?}");
}
