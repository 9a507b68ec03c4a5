//! What is said on the control socket: one [`Command`] as a line of JSON, then [`Reply`]s, a line each.
//!
//! Pure, and shared with `thrustctl`, which links nothing else of ours but what stands in here.

mod command;
mod reply;

pub use self::{
    command::{Command, LogLevel, Purge},
    reply::Reply,
};
