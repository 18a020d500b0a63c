//! Feeds nonsense to the parser `mapping`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fanfare_fuzz::outside::mapping(bytes));
