//! The live window and its rendering (pure).
//!
//! Architecture invariant: version N+1 is N less a prefix plus a suffix; MEDIA-SEQUENCE and
//! DISCONTINUITY-SEQUENCE never step back (RFC 8216 section 6.2.2).
