//! The commands, a file each: build the parts, hand them over, wait.

mod assembly;
pub mod consumer;
pub mod demo;
pub mod encode_helper;
