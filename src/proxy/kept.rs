//! The mark on an answer that comes from the cache: which content it is, so that what is made of it can be kept as well.

use std::sync::Arc;

use crate::cache::Stored;

/// In the extensions of a response: what it was made from.
#[derive(Clone, Debug)]
pub(super) struct Kept(pub(super) Arc<Stored>);
