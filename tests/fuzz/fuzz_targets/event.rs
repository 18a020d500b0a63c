//! Feeds nonsense to the parser `event`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fanfare_fuzz::outside::event(bytes));
