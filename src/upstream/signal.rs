//! Signals by number: nix has no names for the real-time ones.

use std::fmt;

use nix::sys::signal;

/// A signal number that shows itself by name: `SIGTERM`, `SIGRTMIN+3`, `signal 99`.
///
/// A plain number everywhere else, since `nix::sys::signal::Signal` cannot hold a real-time signal ([signal(7)]).
///
/// [signal(7)]: https://man7.org/linux/man-pages/man7/signal.7.html
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Name(pub i32);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = libc::SIGRTMIN();
        match signal::Signal::try_from(self.0) {
            Ok(signal) => f.write_str(signal.as_str()),
            Err(_) if self.0 == first => f.write_str("SIGRTMIN"),
            Err(_) if (first..=libc::SIGRTMAX()).contains(&self.0) => {
                write!(f, "SIGRTMIN+{}", self.0 - first)
            }
            Err(_) => write!(f, "signal {}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_a_name_for_every_signal() {
        for (number, name) in [
            (libc::SIGTERM, "SIGTERM"),
            (libc::SIGPWR, "SIGPWR"),
            (libc::SIGRTMIN(), "SIGRTMIN"),
            (libc::SIGRTMIN() + 3, "SIGRTMIN+3"),
            (libc::SIGRTMAX(), "SIGRTMIN+30"),
            (32, "signal 32"),
            (0, "signal 0"),
        ] {
            assert_eq!(Name(number).to_string(), name);
        }
    }
}
