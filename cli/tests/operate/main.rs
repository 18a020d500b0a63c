//! The executable as operators use it: real processes against a real broker and doubles of the
//! providers.
#![expect(clippy::indexing_slicing, reason = "support functions of tests")]

mod backup;
mod stage;
mod stop;
mod topology;
