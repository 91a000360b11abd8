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
        // The worlds below speak of requests, this one does not.
        generate_unused_types: true,
        pub_export_macro: true,
        export_macro_name: "export_plugin",
        default_bindings_module: "hookweir_sdk::export::bindings",
        runtime_path: "hookweir_sdk::export::rt",
    });
}

/// The optional exports, a world each. They have the types of [`bindings`].
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod lifecycle {
    wit_bindgen::generate!({
        path: "wit",
        world: "with-lifecycle",
        pub_export_macro: true,
        export_macro_name: "export_lifecycle",
        default_bindings_module: "hookweir_sdk::export::lifecycle",
        runtime_path: "hookweir_sdk::export::rt",
    });
}

#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod api {
    wit_bindgen::generate!({
        path: "wit",
        world: "with-api",
        with: {
            "hookweir:plugin/types@1.0.0": hookweir_sdk::export::bindings::hookweir::plugin::types,
            "hookweir:plugin/api@1.0.0": generate,
        },
        pub_export_macro: true,
        export_macro_name: "export_api",
        default_bindings_module: "hookweir_sdk::export::api",
        runtime_path: "hookweir_sdk::export::rt",
    });
}

#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod verifier {
    wit_bindgen::generate!({
        path: "wit",
        world: "with-verifier",
        with: {
            "hookweir:plugin/types@1.0.0": hookweir_sdk::export::bindings::hookweir::plugin::types,
            "hookweir:plugin/verifier@1.0.0": generate,
        },
        pub_export_macro: true,
        export_macro_name: "export_verifier",
        default_bindings_module: "hookweir_sdk::export::verifier",
        runtime_path: "hookweir_sdk::export::rt",
    });
}

use serde::de::DeserializeOwned;
pub use wit_bindgen::rt;

use bindings::hookweir::plugin::types;

use crate::{Event, Failure, Outputs, Request, Response, Verified, json};

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

/// Runs an api as the component's export.
pub fn respond(
    respond: fn(Request) -> Result<Response, Failure>,
    request: types::Request,
) -> Result<types::Response, types::Failure> {
    #[cfg(target_family = "wasm")]
    crate::panic::report_to_host();
    match respond(Request::from_wire(request)) {
        Ok(response) => Ok(response.into_wire()),
        Err(failure) => Err(failure.into_wire()),
    }
}

/// Runs a verifier as the component's export.
pub fn verify(
    verify: fn(Request) -> Result<Verified, String>,
    request: types::Request,
) -> Result<types::Verified, String> {
    #[cfg(target_family = "wasm")]
    crate::panic::report_to_host();
    verify(Request::from_wire(request)).map(Verified::into_wire)
}

/// Runs an init as the component's export. A config that does not fit is refused before it runs.
pub fn init<T: DeserializeOwned>(
    init: fn(T) -> Result<(), String>,
    config_json: &str,
) -> Result<(), String> {
    #[cfg(target_family = "wasm")]
    crate::panic::report_to_host();
    let config = json::read("config", config_json.as_bytes());
    init(config.map_err(|fault| fault.message().to_owned())?)
}

/// The backend of `getrandom` 0.3 and 0.4 for all of a plugin's crates, which look for this very name and type if
/// they are built with `--cfg getrandom_backend="custom"`.
/// <https://docs.rs/getrandom/0.4.3/getrandom/#custom-backend>
///
/// # Safety
/// `buffer` has room for `len` bytes; nothing need be in it yet.
#[cfg(all(target_family = "wasm", feature = "getrandom"))]
#[unsafe(no_mangle)]
unsafe extern "Rust" fn __getrandom_v03_custom(
    buffer: *mut u8,
    len: usize,
) -> Result<(), getrandom::Error> {
    // SAFETY: the caller's promise; and after this all of it is written.
    let buffer = unsafe {
        std::ptr::write_bytes(buffer, 0, len);
        std::slice::from_raw_parts_mut(buffer, len)
    };
    crate::random::fill(buffer);
    Ok(())
}

/// What `#[plugin]` expands to: on wasm the export, and what the plugin wants as a custom section;
/// natively a check of the handler's type alone.
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($handle:path, $wants:literal) => {
        // Twice in one place, and the compiler says this name.
        #[allow(dead_code)]
        const A_CRATE_HAS_ONE_PLUGIN_FUNCTION: () = ();

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

/// What `#[api]` expands to.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_api {
    ($respond:path) => {
        // Twice in one place, and the compiler says this name.
        #[allow(dead_code)]
        const A_CRATE_HAS_ONE_API_FUNCTION: () = ();

        #[cfg(not(target_family = "wasm"))]
        const _: fn($crate::Request) -> ::core::result::Result<$crate::Response, $crate::Failure> =
            $respond;

        #[cfg(target_family = "wasm")]
        const _: () = {
            struct Api;

            impl $crate::export::api::exports::hookweir::plugin::api::Guest for Api {
                fn respond(
                    request: $crate::export::bindings::hookweir::plugin::types::Request,
                ) -> ::core::result::Result<
                    $crate::export::bindings::hookweir::plugin::types::Response,
                    $crate::export::bindings::hookweir::plugin::types::Failure,
                > {
                    $crate::export::respond($respond, request)
                }
            }

    $crate::export::api::export_api!(Api with_types_in $crate::export::api);
        };
    };
}

/// What `#[verifier]` expands to.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_verifier {
    ($verify:path) => {
        // Twice in one place, and the compiler says this name.
        #[allow(dead_code)]
        const A_CRATE_HAS_ONE_VERIFIER_FUNCTION: () = ();

        #[cfg(not(target_family = "wasm"))]
        const _: fn(
            $crate::Request,
        ) -> ::core::result::Result<$crate::Verified, ::std::string::String> = $verify;

        #[cfg(target_family = "wasm")]
        const _: () = {
            struct Verifier;

            impl $crate::export::verifier::exports::hookweir::plugin::verifier::Guest for Verifier {
                fn verify(
                    request: $crate::export::bindings::hookweir::plugin::types::Request,
                ) -> ::core::result::Result<
                    $crate::export::bindings::hookweir::plugin::types::Verified,
                    ::std::string::String,
                > {
                    $crate::export::verify($verify, request)
                }
            }

            $crate::export::verifier::export_verifier!(Verifier with_types_in $crate::export::verifier);
        };
    };
}

/// What `#[init]` expands to.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_init {
    ($init:path) => {
        // Twice in one place, and the compiler says this name.
        #[allow(dead_code)]
        const A_CRATE_HAS_ONE_INIT_FUNCTION: () = ();

        #[cfg(not(target_family = "wasm"))]
        const _: fn(&str) -> ::core::result::Result<(), ::std::string::String> =
            |config| $crate::export::init($init, config);

        #[cfg(target_family = "wasm")]
        const _: () = {
            struct Lifecycle;

            impl $crate::export::lifecycle::exports::hookweir::plugin::lifecycle::Guest for Lifecycle {
                fn init(
                    config: ::std::string::String,
                ) -> ::core::result::Result<(), ::std::string::String> {
                    $crate::export::init($init, &config)
                }
            }

            $crate::export::lifecycle::export_lifecycle!(Lifecycle with_types_in $crate::export::lifecycle);
        };
    };
}
