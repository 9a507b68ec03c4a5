//! Log lines: their shape, and the one thread that writes them.
//!
//! A line is JSON with `time`, `level` and `msg` first, as Thruster writes it, or the same in logfmt. Nobody who logs ever waits for the reader of
//! stdout: whole buffers go through a bounded queue to a writer thread, and what does not fit is counted and said.

mod line;
mod stdout;
mod time;

pub use line::{Line, Shape, escape};
pub use stdout::Stdout;
pub use time::Timestamp;
