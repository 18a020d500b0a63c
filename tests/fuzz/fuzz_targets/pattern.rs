//! Feeds nonsense to the parser `pattern`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fanfare_fuzz::outside::pattern(bytes));
