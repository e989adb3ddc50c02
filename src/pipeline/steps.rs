//! The named instants of an attempt, around its commit, at which a test can have the process
//! killed.

/// The segments are made, and nothing of them is on disk.
pub const ENCODED: &str = "attempt.encoded";
/// The commit is durable, and nothing is settled.
pub const COMMITTED: &str = "attempt.committed";
/// One more of its frames is settled.
pub const PART_SETTLED: &str = "attempt.part_settled";
/// Every frame is settled; the acknowledgements may be on their way.
pub const SETTLED: &str = "attempt.settled";

/// All of them, in their order.
pub const ALL: [&str; 4] = [ENCODED, COMMITTED, PART_SETTLED, SETTLED];
