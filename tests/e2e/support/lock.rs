//! Tests that measure time run alone, whether `cargo test` runs the others as threads or nextest as processes.

use std::{
    cell::RefCell,
    fs::File,
    path::Path,
    rc::{Rc, Weak},
};

use nix::fcntl::{Flock, FlockArg};

/// Held while a test runs: shared by most, exclusive for those that measure.
pub(crate) struct Turn(#[expect(dead_code, reason = "unlocks when dropped")] Flock<File>);

thread_local! {
    // The turn of the test on this thread, so that a second Thrust in it does not wait for the first.
    static TURN: RefCell<Weak<Turn>> = const { RefCell::new(Weak::new()) };
}

/// Runs the rest of the test alone. To be called before the test starts its first Thrust.
#[must_use]
pub(crate) fn alone() -> Rc<Turn> {
    take(FlockArg::LockExclusive)
}

/// Runs beside other tests, but beside none that measures.
pub(super) fn shared() -> Rc<Turn> {
    TURN.with_borrow(Weak::upgrade)
        .unwrap_or_else(|| take(FlockArg::LockShared))
}

fn take(how: FlockArg) -> Rc<Turn> {
    // Whoever waits for its turn holds the gate: else a stream of sharers would keep a lone one out for ever.
    let gate = lock("e2e-gate.lock", FlockArg::LockExclusive);
    let turn = Rc::new(Turn(lock("e2e.lock", how)));
    drop(gate);
    TURN.set(Rc::downgrade(&turn));
    turn
}

fn lock(name: &str, how: FlockArg) -> Flock<File> {
    let path = Path::new(env!("CARGO_BIN_EXE_thrust")).with_file_name(name);
    let file = File::create(path).expect("the target directory is ours");
    Flock::lock(file, how)
        .map_err(|(_, error)| error)
        .expect("nothing interrupts flock for good")
}
