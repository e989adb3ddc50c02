//! The order of the stages, and the decisions between them.
//!
//! [`accumulator`] and [`scheduling`] decide and are pure; `worker` wires the stages.

pub mod accumulator;
pub mod attempt;
pub mod ports;
pub mod report;
pub mod scheduling;
pub mod worker;
