//! From a file's bytes to a component, without running or compiling anything.
//!
//! Compilers are not hardened against hostile input: running out of time or memory there is no
//! security fault in wasmtime's eyes. So all is validated and measured before the compiler sees it,
//! and the faults that authors commonly meet are told in their own words.

use hookweir_event::Digest;
use wasmparser::{Encoding, Parser, Payload, TypeRef, Validator};
use wit_component::ComponentEncoder;

use crate::{Exports, LoadFault, ModuleLimits, Wants, fault, wants};

/// Functions of all modules. A large interpreter has some 30,000.
const FUNCTIONS_MAX: u64 = 200_000;
/// Modules and components in one file; language toolchains make up to ten.
const MODULES_MAX: u64 = 100;
/// Components inside components.
const NESTING_MAX: u64 = 16;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A core module, which the gateway makes a component.
    Core,
    /// A component.
    Component,
}

/// What [`inspect`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// What the file is.
    pub kind: Kind,
    /// Which version it is: the digest of the file's bytes.
    pub digest: Digest,
    /// What it wants.
    pub wants: Wants,
    /// The interfaces that it imports as a component.
    pub imports: Vec<String>,
    /// The interfaces that it exports as a component.
    pub exports: Vec<String>,
    /// The file's size in bytes.
    pub size: u64,
}

impl Inspection {
    /// Which of the optional interfaces are among the exports.
    pub fn optional_exports(&self) -> Exports {
        Exports::among(&self.exports)
    }
}

/// Looks at a file as a load does, up to the point where it would be compiled: what it is and wants,
/// or why it would not load under these limits. Takes some milliseconds for a small plugin.
pub fn inspect(bytes: &[u8], limits: &ModuleLimits) -> Result<Inspection, LoadFault> {
    parse(bytes, limits).map(|parsed| parsed.inspection)
}

/// A component, not compiled yet.
pub(crate) struct Parsed {
    pub(crate) inspection: Inspection,
    pub(crate) component: Vec<u8>,
}

pub(crate) fn parse(bytes: &[u8], limits: &ModuleLimits) -> Result<Parsed, LoadFault> {
    let (size, max) = (bytes.len() as u64, limits.bytes);
    if size > max {
        return Err(LoadFault::TooLarge { size, max });
    }
    let kind = classify(bytes)?;
    let survey = survey(bytes, limits.function_bytes)?;
    Validator::new().validate_all(bytes).map_err(malformed)?;
    let wants = survey.wants.map_or_else(|| Ok(Wants::default()), Wants::read);
    let component = match kind {
        Kind::Component => bytes.to_vec(),
        Kind::Core => {
            check_core_imports(bytes)?;
            if !survey.typed {
                return Err(LoadFault::NoComponentType);
            }
            componentize(bytes)?
        }
    };
    let (imports, exports) = faces(&component)?;
    imports.iter().try_for_each(|name| check_import(name))?;
    if !exports.iter().any(|name| name.starts_with(fault::HANDLER_1)) {
        return Err(exports
            .iter()
            .find(|name| name.starts_with(fault::HANDLER_ANY))
            .map_or(LoadFault::NoHandler, |other| LoadFault::OtherVersion(other.clone())));
    }
    let wants = wants.map_err(LoadFault::Wants)?;
    // Other toolchains import all of a world, so that only of core modules an import tells something.
    let sends = kind == Kind::Core && imports.iter().any(|name| name.starts_with(fault::HTTP_1));
    if sends && wants.http.is_empty() {
        return Err(LoadFault::NoHosts);
    }
    let inspection = Inspection { kind, digest: Digest::of(bytes), wants, imports, exports, size };
    Ok(Parsed { inspection, component })
}

fn malformed(error: impl std::fmt::Display) -> LoadFault {
    LoadFault::Malformed(error.to_string())
}

/// Tells what else people drop into a plugins folder.
fn classify(bytes: &[u8]) -> Result<Kind, LoadFault> {
    if Parser::is_core_wasm(bytes) {
        return Ok(Kind::Core);
    }
    if Parser::is_component(bytes) {
        return Ok(Kind::Component);
    }
    match bytes {
        [] => Err(LoadFault::Empty),
        // ELF, Mach-O and Windows executables; wasmtime's own .cwasm is an ELF file.
        [0x7f, b'E', b'L', b'F', ..]
        | [0xcf, 0xfa, 0xed, 0xfe, ..]
        | [0xca, 0xfe, 0xba, 0xbe, ..]
        | [b'M', b'Z', ..] => Err(LoadFault::Native),
        [0x1f, 0x8b, ..] => Err(LoadFault::Gzip),
        [0, b'a', b's', b'm', ..] => Err(LoadFault::Malformed("its version is not known".into())),
        _ if looks_like_text(bytes) => Err(LoadFault::Text),
        _ => Err(LoadFault::NotWasm),
    }
}

fn looks_like_text(bytes: &[u8]) -> bool {
    let start = bytes.trim_ascii_start();
    start.starts_with(b"(module") || start.starts_with(b"(component") || start.starts_with(b";;")
}

/// What one pass over all nested modules finds.
#[derive(Default)]
struct Survey<'a> {
    wants: Option<&'a [u8]>,
    /// Whether a section says which component the core module is.
    typed: bool,
    functions: u64,
    modules: u64,
}

fn survey(bytes: &[u8], function_bytes: u64) -> Result<Survey<'_>, LoadFault> {
    let mut found = Survey::default();
    let mut depth = 0_u64;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(malformed)? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                depth += 1;
                found.modules += 1;
                cap("modules", found.modules, MODULES_MAX)?;
                cap("levels of nested components", depth, NESTING_MAX)?;
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CodeSectionStart { count, .. } => {
                found.functions += u64::from(count);
                cap("functions", found.functions, FUNCTIONS_MAX)?;
            }
            Payload::CodeSectionEntry(body) => {
                let size = u64::try_from(body.range().len()).unwrap_or(u64::MAX);
                cap("bytes of code in one function", size, function_bytes)?;
            }
            Payload::CustomSection(section) => {
                if section.name() == wants::SECTION && found.wants.is_none() {
                    found.wants = Some(section.data());
                }
                found.typed |= section.name().starts_with("component-type");
            }
            _ => {}
        }
    }
    Ok(found)
}

fn cap(what: &'static str, found: u64, max: u64) -> Result<(), LoadFault> {
    if found > max { Err(LoadFault::Cap { what, found, max }) } else { Ok(()) }
}

/// The imports that tell of a wrong target or of a dependency made for browsers.
fn check_core_imports(bytes: &[u8]) -> Result<(), LoadFault> {
    for payload in Parser::new(0).parse_all(bytes) {
        let Payload::ImportSection(section) = payload.map_err(malformed)? else { continue };
        for import in section.into_imports() {
            let import = import.map_err(malformed)?;
            match import.module {
                "wasi_snapshot_preview1" | "wasi_unstable" => return Err(LoadFault::WrongTarget),
                module if module.starts_with("__wbindgen") || module == "wbg" => {
                    return Err(LoadFault::WasmBindgen(module.to_owned()));
                }
                "env" if matches!(import.ty, TypeRef::Func(_)) => {
                    return Err(LoadFault::Undefined(import.name.to_owned()));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn componentize(core: &[u8]) -> Result<Vec<u8>, LoadFault> {
    let unfit = |error: &dyn std::fmt::Display| LoadFault::Unfit(format!("{error:#}"));
    let encoder = ComponentEncoder::default().validate(true).module(core);
    encoder.and_then(|mut it| it.encode()).map_err(|error| unfit(&error))
}

/// The names that the outermost component imports and exports.
fn faces(component: &[u8]) -> Result<(Vec<String>, Vec<String>), LoadFault> {
    let (mut imports, mut exports, mut depth) = (Vec::new(), Vec::new(), 0_u32);
    for payload in Parser::new(0).parse_all(component) {
        match payload.map_err(malformed)? {
            Payload::Version { encoding: Encoding::Component | Encoding::Module, .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::ComponentImportSection(section) if depth == 1 => {
                for import in section {
                    imports.push(import.map_err(malformed)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    exports.push(export.map_err(malformed)?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok((imports, exports))
}

/// Whether this gateway has what is imported. The linker would say no too, in its own words.
fn check_import(name: &str) -> Result<(), LoadFault> {
    let (interface, version) = name.split_once('@').unwrap_or((name, ""));
    let offered = ["types", "log", "config", "clock", "random", "state", "http", "secrets"];
    if interface.strip_prefix(fault::PACKAGE_ANY).is_some_and(|name| offered.contains(&name)) {
        return Ok(());
    }
    if matches!(interface, "wasi:http/types" | "wasi:http/outgoing-handler")
        && version.starts_with("0.2.")
    {
        return Ok(());
    }
    let package = interface.split_once('/').map_or(interface, |(package, _)| package);
    match package {
        "wasi:cli" | "wasi:clocks" | "wasi:filesystem" | "wasi:io" | "wasi:random"
        | "wasi:sockets"
            if version.starts_with("0.2.") =>
        {
            Ok(())
        }
        _ => Err(LoadFault::UnknownImport(name.to_owned())),
    }
}
