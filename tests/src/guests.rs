//! Plugins for tests: the examples and the hostile ones, built once and kept.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock},
};

use hookweir::toolchain::{Install, Toolchain, find};

/// The workspace's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The core module of a plugin: an example, or a test guest.
pub fn wasm(name: &str) -> Vec<u8> {
    static BUILT: Mutex<Option<HashMap<String, Vec<u8>>>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let built = built.get_or_insert_default();
    built.entry(name.to_owned()).or_insert_with(|| build(name)).clone()
}

/// The same behaviour under another digest: a custom section is appended.
pub fn with_section(mut module: Vec<u8>, content: u64) -> Vec<u8> {
    // WebAssembly core specification, 5.5.3: id 0, size, then a name with its length, then anything.
    module.extend([0, 1 + 4 + 8, 4]);
    module.extend(b"test");
    module.extend(content.to_le_bytes());
    module
}

/// A version with other words: they are in one place of the module, and as long.
pub fn reworded(module: &[u8], old: &str, new: &str) -> Vec<u8> {
    let at: Vec<_> =
        (0..module.len()).filter(|&at| module[at..].starts_with(old.as_bytes())).collect();
    assert_eq!((at.len(), old.len()), (1, new.len()), "`{old}` is in one place of the module");
    let mut module = module.to_vec();
    module[at[0]..at[0] + new.len()].copy_from_slice(new.as_bytes());
    module
}

/// The guest `hostile` as a version that traps at every event `temper`, which the built one echoes.
pub fn ill_tempered(module: &[u8]) -> Vec<u8> {
    reworded(module, "temper: good", "temper: ill!")
}

/// A component that has a plugin's names and not its types: it passes as one, until it is tried.
pub fn wrong_types() -> Vec<u8> {
    wrongly_typed("")
}

/// The same that takes many seconds to compile: 32 functions, each as large as one may be.
pub fn slow_to_compile() -> Vec<u8> {
    let step = "(local.set 0 (i32.add (i32.load (local.get 0)) (local.get 1)))";
    // A step is 10 bytes of code; what frames them has room.
    let function = format!("(func (param i32 i32) {})", step.repeat(((512 << 10) - 4096) / 10));
    wrongly_typed(&format!("(memory 1) {}", function.repeat(32)))
}

fn wrongly_typed(more: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
        (core module $m {more} (func (export "handle")))
        (core instance $i (instantiate $m))
        (func $handle (canon lift (core func $i "handle")))
        (instance $handler (export "handle" (func $handle)))
        (export "hookweir:plugin/handler@1.0.0" (instance $handler)))"#
    );
    wat::parse_str(text).unwrap()
}

fn build(name: &str) -> Vec<u8> {
    static TOOLCHAIN: OnceLock<Toolchain> = OnceLock::new();
    // Captured with the test's output, so that it is seen only where something went wrong.
    let say = |line: &str| eprintln!("{line}");
    let toolchain = TOOLCHAIN.get_or_init(|| find(Install::IfNeeded, &say).unwrap());
    let built = toolchain.build(&folder(name), None, &say).unwrap();
    fs::read(built.wasm).unwrap()
}

fn folder(name: &str) -> PathBuf {
    let example = root().join("plugins").join(name);
    if example.is_dir() { example } else { root().join("tests/guests").join(name) }
}
