//! What operators do, through a connection of their own.

mod lanes;
