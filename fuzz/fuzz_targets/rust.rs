#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nixl_retrofit::fuzzing::rust(data));
