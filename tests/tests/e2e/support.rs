//! What several tests begin with.

pub(crate) use fanfare_tests::crowd::{many, sends_in_flight, token};
