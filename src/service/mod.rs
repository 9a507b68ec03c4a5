//! The life: owns the front and the child, and stops them in the right order.

pub mod repeats;
pub mod signals;
