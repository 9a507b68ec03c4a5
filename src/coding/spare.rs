//! What encoders of this thread leave behind for the next ones.

use std::cell::RefCell;

use flate2::Compress;
use zstd::zstd_safe::CCtx;

/// How many of a kind are kept: few are in use at once, and each takes 300 to 600 KiB.
const MOST: usize = 4;

/// Encoders' state, to be reset and used again.
struct Spare {
    gzip: Vec<Compress>,
    zstd: Vec<CCtx<'static>>,
}

thread_local! {
    static SPARE: RefCell<Spare> = const {
        RefCell::new(Spare { gzip: Vec::new(), zstd: Vec::new() })
    };
}

/// A kind of state that is kept.
pub(super) trait Kept: Sized {
    /// One that was used before; as it was left.
    fn take() -> Option<Self> {
        Self::with(Vec::pop).flatten()
    }

    /// Keeps it, if there is room.
    fn keep(self) {
        Self::with(|kept| {
            if kept.len() < MOST {
                kept.push(self);
            }
        });
    }

    /// None while the thread ends.
    fn with<T>(action: impl FnOnce(&mut Vec<Self>) -> T) -> Option<T>;
}

impl Kept for Compress {
    fn with<T>(action: impl FnOnce(&mut Vec<Self>) -> T) -> Option<T> {
        SPARE
            .try_with(|spare| action(&mut spare.borrow_mut().gzip))
            .ok()
    }
}

impl Kept for CCtx<'static> {
    fn with<T>(action: impl FnOnce(&mut Vec<Self>) -> T) -> Option<T> {
        SPARE
            .try_with(|spare| action(&mut spare.borrow_mut().zstd))
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;

    use super::*;

    #[test]
    fn no_more_than_a_few_are_kept() {
        for _ in 0..2 * MOST {
            Compress::new(Compression::fast(), false).keep();
        }
        assert_eq!(std::iter::from_fn(Compress::take).count(), MOST);
    }
}
