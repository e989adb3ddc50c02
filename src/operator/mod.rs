//! The operator: one `StreamProcessor` object → everything that runs for it.

pub mod crd;
