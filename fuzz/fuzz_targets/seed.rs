//! What happens to a seed: see `tidings_sim::fuzz::seed`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    tidings_sim::fuzz::seed(bytes);
});
