//! Every protocol on three servers at once, each with a ledger of what was acknowledged, while
//! leaders are killed and frozen; in the end the ledgers are compared with what the streams hold.
//!
//! The test runs it briefly, the example of the same name for as long as it is told to.

mod account;
mod batches;
mod chains;
mod churn;
mod control;
mod events;
mod faults;
mod in_flight;
mod leases;
mod load;
mod plans;
mod reading;
mod rig;
mod tap;
mod trap;
mod values;
mod wakeups;
mod witness;

pub(crate) use account::{COLUMNS, Report};
pub(crate) use batches::hand_over;
pub(crate) use faults::{Fault, Order};
pub(crate) use in_flight::in_flight;
pub(crate) use load::run;
