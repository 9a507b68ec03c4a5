//! Life as a unit of systemd: its sockets taken over, and our state told to it.
//!
//! [`sockets`] are those of a socket unit (sd_listen_fds(3)), which stay systemd's: what arrives while we are gone waits in
//! their backlog for the next start. The [`Supervisor`] is told what sd_notify(3) has words for. Nothing of either reaches
//! the app: it gets a notify socket of ours, and what it says there comes back through the Service.
//!
//! Who comes in: the Service alone. Where nobody supervises us, every call does nothing.

mod address;
mod roles;
pub mod sockets;
mod supervisor;
mod sys;
mod watchdog;

pub use supervisor::Supervisor;
