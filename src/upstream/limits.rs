//! How many files may be open: many for us, as it was for the child.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// `RLIMIT_NOFILE`, in descriptors ([getrlimit(2)]).
///
/// [getrlimit(2)]: https://man7.org/linux/man-pages/man2/getrlimit.2.html
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nofile {
    /// What is enforced.
    pub soft: u64,
    /// How far it may be raised without a privilege.
    pub hard: u64,
}

/// Raises our own limit as far as it goes and returns the one we were started with, for the child.
///
/// Every connection costs a descriptor or two, while programs that use `select` break above 1,024: hence a limit for each.
/// None where the limit cannot be read; one that cannot be raised stays, and is no failure.
pub fn raise_nofile() -> Option<Nofile> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    if let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        tracing::debug!(soft, hard, %error, "open files limit not raised");
    }
    Some(Nofile { soft, hard })
}

impl Nofile {
    /// Puts it in force for this process; called between fork and exec, so it may neither allocate nor log.
    pub(super) fn restore(self) {
        // Going down needs no privilege, and a child with a higher limit is better than none.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, self.soft, self.hard);
    }
}
