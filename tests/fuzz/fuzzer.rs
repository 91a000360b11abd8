//! The fuzzer: libFuzzer's loop around the target that `HOOKWEIR_FUZZ` names; it begins with the target's seeds, which
//! it puts into the folder `HOOKWEIR_FUZZ_CORPUS`. One program for all targets, since each holds the whole gateway.
#![forbid(unsafe_code)]
#![no_main]
#![allow(clippy::unwrap_used, reason = "a fuzzer that can't begin says why")]

use std::{env, fs, path::PathBuf, sync::LazyLock};

use hookweir_fuzz::Target;

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = env::var("HOOKWEIR_FUZZ").unwrap_or_default();
    name.parse().unwrap_or_else(|reason: String| panic!("HOOKWEIR_FUZZ: {reason}"))
});

libfuzzer_sys::fuzz_target!(
    init: {
        if let Some(corpus) = env::var_os("HOOKWEIR_FUZZ_CORPUS").map(PathBuf::from) {
            fs::create_dir_all(&corpus).unwrap();
            for (number, seed) in TARGET.seeds().iter().enumerate() {
                fs::write(corpus.join(format!("seed-{number}")), seed).unwrap();
            }
        }
    },
    |input: &[u8]| TARGET.one(input)
);
