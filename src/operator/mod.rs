//! The operator: one `StreamProcessor` object → everything that runs for it.

pub mod build;
pub mod crd;
pub mod kinds;
pub mod names;
pub mod references;
pub mod validate;
