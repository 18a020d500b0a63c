//! Many clients that register, change and remove the same devices through several API nodes, while an
//! API node and the leader of the devices' stream are killed.
//!
//! Each client writes down what it asked, on what condition, and what it was told (`ledger.rs`). At
//! the end what is stored must be what these notes allow (`verdict.rs`), and every node must say the
//! same. Kills that nobody noticed make the run void.

mod client;
mod ledger;
mod nodes;
mod run;
mod verdict;

pub use nodes::Nodes;
pub use run::{Crowd, Figures, edit};
