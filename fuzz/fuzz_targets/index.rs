#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lanewise_fuzz::index::run(data));
