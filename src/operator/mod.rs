//! The operator: one `StreamProcessor` object → everything that runs for it.
//!
//! A look at an object reads as a list: [`validate`] (pure) → [`dereference`] (fetches) →
//! [`scaling`] (pure) → [`build`] (pure) → [`apply`] (writes) → [`conditions`] (pure) →
//! [`status`] (writes). [`view`] says when to look, [`leader`] who looks.
//!
//! | file | owns |
//! |---|---|
//! | [`crd`] | the objects' fields, defaults and rules |
//! | [`validate`] | what a spec asks for, once it makes sense (pure) |
//! | [`references`] | which secrets and claims a spec names (pure) |
//! | [`dereference`] | whether those are there |
//! | [`claims`] | whether the claim can get its volume |
//! | [`build`] | the children, a file a kind (pure) |
//! | [`kinds`], [`names`] | what they are and how they are called (pure) |
//! | [`drift`] | whether what was applied still stands (pure) |
//! | [`apply`] | the writes |
//! | [`devices`] | from slices to counts and the worst devices (pure) |
//! | [`scaling`] | how many workers there should be (pure) |
//! | [`backlog`] | what waits at the broker |
//! | [`conditions`] | what is said of it all (pure) |
//! | [`status`] | the status and the events |
//! | [`view`] | what the API server has |
//! | [`api_server`] | the way to it: patience, pauses that it asks for, troubles told once |
//! | [`troubles`], [`rights`] | what of its answers is trouble, and which rights are missing (pure) |
//! | [`definitions`] | whether the installed definitions know every field |
//! | [`context`] | what is remembered between two looks |
//! | [`reconcile`] | the order of it |
//! | [`leader`], [`run`] | who looks, and for how long |
//! | [`metrics`] | its numbers |
//!
//! Architecture invariant: a child that stands as it was applied is not written again, and what
//! belongs to somebody else is never touched.

pub mod api_server;
pub mod apply;
pub mod backlog;
pub mod build;
pub mod claims;
pub mod conditions;
pub mod context;
pub mod crd;
pub mod definitions;
pub mod dereference;
pub mod devices;
pub mod drift;
pub mod kinds;
pub mod leader;
pub mod metrics;
pub mod names;
pub mod reconcile;
pub mod references;
pub mod rights;
pub mod run;
pub mod scaling;
pub mod status;
pub mod troubles;
pub mod validate;
pub mod view;
