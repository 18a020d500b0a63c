//! The parsers that the fuzz targets feed, as the test suite has them.

#[path = "../src/outside.rs"]
pub mod outside;
