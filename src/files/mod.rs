//! Files: opened inside of their directories and kept open for a moment, read without making a core wait, left to the kernel
//! to send.
//!
//! Whoever has found out which file a client is to get comes in with its path, and leaves with [`Pieces`]: the bytes of a
//! body, or what stands in for them until the connection hands the file to sendfile(2) (see [`stand_in`]).

mod jail;
mod open;
mod open_files;
mod pieces;
mod read;
pub mod stand_in;

pub use open::{OpenError, OpenFile};
pub use open_files::OpenFiles;
pub use pieces::{Pieces, Way};
