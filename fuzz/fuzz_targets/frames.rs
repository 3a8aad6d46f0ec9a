//! Bytes of a link: see `tidings_sim::fuzz::frames`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    tidings_sim::fuzz::frames(bytes);
});
