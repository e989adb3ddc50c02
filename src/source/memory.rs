//! (being built)
use super::*;
