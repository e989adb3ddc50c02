//! The order of the stages, and the decisions between them.
//!
//! | file | owns |
//! |---|---|
//! | [`accumulator`] | which frames go together, and how many are held (pure) |
//! | [`scheduling`] | which group is next (pure) |
//! | [`lanes`] | what is live, and whose turn it is (pure) |
//! | [`captions`] | what is written on a picture (pure) |
//! | [`attempt`] | one group's way through the stages |
//! | [`worker`] | the loop that wires them |
//! | [`ports`] | what a test or a simulation may replace |
//! | [`steps`] | where a test can have the process killed |
//! | [`report`] | metrics, the log and the board of devices |
//! | [`observers`] | who else is told what happened |
//!
//! Architecture invariant: only this room knows more than one stage.

pub mod accumulator;
pub mod attempt;
pub mod captions;
pub mod lanes;
pub mod observers;
pub mod ports;
pub mod report;
pub mod scheduling;
pub mod steps;
mod trouble;
pub mod worker;
