//! What we were told.
