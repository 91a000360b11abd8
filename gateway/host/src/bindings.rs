//! The contract's Rust side, made from the WIT at compile time.
//!
//! The whole contract is generated, also what this gateway does not offer yet, so that offering it is
//! a matter of implementing a trait. The event is borrowed, so that a body is copied once, into the
//! guest. What reads the state waits for the store, and what sends a request for its answer; the other
//! imports are plain functions.

pub(crate) mod plugin {
    wasmtime::component::bindgen!({
        // The file, since a released version lies below the folder.
        path: "../../plugin-sdk/wit/hookweir.wit",
        // The generator takes borrowed records only where something uses them. The gateway's own
        // world therefore names what no plugin imports; nothing of it is ever linked.
        inline: "
            package hookweir:host;
            world plugin {
                include hookweir:plugin/plugin@1.0.0;
                import hookweir:plugin/api@1.0.0;
                import hookweir:plugin/verifier@1.0.0;
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

/// A world of its own, since WIT has no optional exports.
pub(crate) mod lifecycle {
    wasmtime::component::bindgen!({
        path: "../../plugin-sdk/wit/hookweir.wit",
        world: "with-lifecycle",
        exports: { default: async },
    });
}
