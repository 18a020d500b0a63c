//! The long campaign: processes under load, one kind of fault again and again, and an audit by what
//! arrived at the providers.
//!
//! A slice is one run of one kind with one seed, well under ten minutes. Its result is one row of a
//! table; the next slice reads there how far the campaign is.

mod before;
mod book;
mod broker;
mod estate;
mod fanout;
mod faults;
mod kills;
mod lanes;
mod load;
mod machines;
mod options;
mod report;
mod rolling;
mod seat;
mod slice;
mod stalls;
mod table;
mod upgrade;
mod verdict;
mod witness;

pub use book::{Book, Debts};
pub use estate::{Estate, HOSTS, MACHINES};
pub use load::Size;
pub use machines::{Course, Outcome, run as run_course};
pub use options::{Kind, Options, USAGE};
pub use seat::{How, Life, Role, Seat};
pub use slice::run;
pub use stalls::{Fault, Stall};
pub use table::Row;
pub use witness::{Sender, Witness};
