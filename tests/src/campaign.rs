//! The long campaign: processes under load, one kind of fault again and again, and an audit by what
//! arrived at the providers.
//!
//! A slice is one run of one kind with one seed, well under ten minutes. Its result is one row of a
//! table; the next slice reads there how far the campaign is.

mod book;
mod broker;
mod fanout;
mod faults;
mod kills;
mod lanes;
mod load;
mod options;
mod report;
mod rolling;
mod seat;
mod slice;
mod table;
mod verdict;
mod witness;

pub use book::{Book, Debts};
pub use options::{Kind, Options, USAGE};
pub use seat::{How, Life, Role, Seat};
pub use slice::run;
pub use table::Row;
pub use witness::{Sender, Witness};
