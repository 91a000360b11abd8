//! The fuzzer: libFuzzer's loop around [`hookweir_verify_fuzz::one`].
#![forbid(unsafe_code)]
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| hookweir_verify_fuzz::one(input));
