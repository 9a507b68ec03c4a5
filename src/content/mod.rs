//! What HTTP says about content, whoever has it: codings, validators, preconditions, ranges (RFC 9110 sections 8, 12 to 14).
//!
//! Pure: heads in, decisions out. The cache, the files and the compression come in with the same questions.

mod coding;
pub mod etag;
pub mod multipart;
pub mod precondition;
pub mod range;

pub use coding::{Accepted, Coding};
