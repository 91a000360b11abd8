//! The contract's Rust side, made from the WIT at compile time.
//!
//! What a guest is given is borrowed, so that a body is copied once, into the guest. What reads the state waits for the store, and what sends a request for its answer; the
//! other imports are plain functions.

pub(crate) mod plugin {
    wasmtime::component::bindgen!({
        // The file, since a released version lies below the folder.
        path: "../../plugin-sdk/wit/hookweir.wit",
        // All exports in one world, so that they share their types. No plugin has to have them all:
        // each is looked for by itself, see `interfaces`.
        inline: "
            package hookweir:host;
            world plugin {
                include hookweir:plugin/plugin@1.0.0;
                include hookweir:plugin/with-lifecycle@1.0.0;
                include hookweir:plugin/with-api@1.0.0;
                include hookweir:plugin/with-verifier@1.0.0;
            }
        ",
        world: "hookweir:host/plugin",
        ownership: Borrowing { duplicate_if_necessary: true },
        // More bytes than allowed end the attempt.
        imports: {
            "hookweir:plugin/random.bytes": trappable,
            "hookweir:plugin/state.get": async,
            "hookweir:plugin/state.set": async,
            "hookweir:plugin/state.set-if-absent": async,
            "hookweir:plugin/state.increment": async,
            "hookweir:plugin/state.delete": async,
            "hookweir:plugin/state.list-keys": async,
            "hookweir:plugin/http.send": async,
            "hookweir:plugin/http.send-all": async,
        },
        exports: { default: async },
    });
}
