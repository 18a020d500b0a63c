//! Feeds nonsense to the parser `receipt`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fanfare_fuzz::outside::receipt(bytes));
