//! What happens to a peer: see `tidings_sim::fuzz::peer`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    tidings_sim::fuzz::peer(bytes);
});
