#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| host_program::fuzz::ipc_frames(bytes));
