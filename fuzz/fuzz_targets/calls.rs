//! The calls of `tests/rust/calls`, with bytes that libFuzzer chooses by what they reach.
#![no_main]

#[path = "../../tests/rust/calls/mod.rs"]
mod calls;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Err(log) = calls::replay(bytes) {
        panic!("{log}");
    }
});
