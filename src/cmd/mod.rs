//! (being built)
pub mod encode_helper;
