//! The export shim: the bindings that wit-bindgen generates from `wit/`, and the macro that turns a
//! handler into an exported one.
//!
//! The one file of the SDK where `unsafe` is allowed: the generated code reads and writes the
//! guest's memory as the Canonical ABI lays it out, and a custom section is placed by an attribute
//! that Rust counts as unsafe. Nothing here is for plugin authors.
#![allow(unsafe_code, reason = "the Canonical ABI passes pointers; see the file's header")]

/// World `plugin` of the contract. Natively its imports link but can't be called: see `host`.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "wit",
        world: "plugin",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_plugin",
        default_bindings_module: "hookweir_sdk::export::bindings",
        runtime_path: "hookweir_sdk::export::rt",
    });
}

pub use wit_bindgen::rt;

use bindings::hookweir::plugin::types;

use crate::{Event, Failure, Outputs};

/// Runs a handler as the component's export: the panic hook first, then the event in the SDK's
/// words, then the answer in those of the contract.
pub fn run(
    handle: fn(Event) -> Result<Outputs, Failure>,
    event: types::Event,
) -> Result<Vec<types::Output>, types::Failure> {
    #[cfg(target_family = "wasm")]
    crate::panic::report_to_host();
    match handle(Event::from_wire(event)) {
        Ok(outputs) => Ok(outputs.into_wire()),
        Err(failure) => Err(failure.into_wire()),
    }
}

/// What `#[plugin]` expands to: on wasm the export, and what the plugin wants as a custom section;
/// natively a check of the handler's type alone.
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($handle:path, $wants:literal) => {
        #[cfg(not(target_family = "wasm"))]
        const _: fn($crate::Event) -> ::core::result::Result<$crate::Outputs, $crate::Failure> =
            $handle;

        #[cfg(target_family = "wasm")]
        const _: () = {
            struct Plugin;

            impl $crate::export::bindings::exports::hookweir::plugin::handler::Guest for Plugin {
                fn handle(
                    event: $crate::export::bindings::hookweir::plugin::types::Event,
                ) -> ::core::result::Result<
                    ::std::vec::Vec<$crate::export::bindings::hookweir::plugin::types::Output>,
                    $crate::export::bindings::hookweir::plugin::types::Failure,
                > {
                    $crate::export::run($handle, event)
                }
            }

    $crate::export::bindings::export_plugin!(Plugin with_types_in $crate::export::bindings);

            #[used]
            #[unsafe(link_section = "hookweir:wants")]
            static WANTS: [u8; $wants.len()] = *$wants;
        };
    };
}
