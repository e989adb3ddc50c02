//! How devices are, told to Kubernetes: device health → slices → one writer.
//!
//! | file | owns |
//! |---|---|
//! | [`health`] | what a device's numbers mean (pure) |
//! | [`board`] | the numbers, as the pipeline tells them |
//! | [`slices`] | which device is in which slice, and which slices are due (pure) |
//! | [`publish`] | the one task that writes them |
//!
//! Architecture invariant: the pipeline only tells; nothing here can hold it up, and a worker
//! outside of Kubernetes has none of it.

pub mod board;
pub mod health;
pub mod publish;
pub mod slices;
