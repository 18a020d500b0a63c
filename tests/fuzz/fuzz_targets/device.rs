//! Feeds nonsense to the parser `device`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fanfare_fuzz::outside::device(bytes));
