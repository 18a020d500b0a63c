//! What operators do, through a connection of their own.

mod dead_letters;
mod lanes;
mod sources;
