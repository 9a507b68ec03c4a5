//! Puma's own account of its threads, out of the `STATUS` that it sends each second.

/// Puma's threads, over all of its processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Puma {
    /// Of a cluster, how many of its processes have booted, and how many are wanted; none of a single process.
    pub workers: Option<(u64, u64)>,
    /// Threads that exist.
    pub running: u64,
    /// Threads that may exist.
    pub max_threads: u64,
    /// How many requests it would take at once.
    pub available: u64,
    /// Requests that it has taken in and no thread works on.
    pub backlog: u64,
}

impl Puma {
    /// Reads `Puma 6.4.2: worker: { 5/5 threads, 5 available, 0 backlog }` and what a cluster says, where the part in braces
    /// comes for each process; none if it is something else.
    pub fn parse(status: &str) -> Option<Self> {
        let rest = status.strip_prefix("Puma ")?;
        let mut sum = Self {
            workers: rest.split_once("cluster: ").and_then(|(_, of)| ratio(of)),
            ..Self::default()
        };
        let mut parts = rest.split(" threads, ").peekable();
        let mut found = false;
        while let (Some(before), Some(after)) = (parts.next(), parts.peek()) {
            let (running, max) = ratio(before.rsplit([' ', '{']).next()?)?;
            let (available, after) = after.split_once(" available, ")?;
            sum.running = sum.running.checked_add(running)?;
            sum.max_threads = sum.max_threads.checked_add(max)?;
            sum.available = sum.available.checked_add(available.parse().ok()?)?;
            sum.backlog = sum.backlog.checked_add(number(after)?)?;
            found = true;
        }
        found.then_some(sum)
    }

    /// How many of its threads are at work.
    pub fn busy(&self) -> u64 {
        self.max_threads.saturating_sub(self.available)
    }
}

/// `3/5`, whatever follows.
fn ratio(text: &str) -> Option<(u64, u64)> {
    let (of, all) = text.split_once('/')?;
    Some((of.parse().ok()?, number(all)?))
}

/// The number at the beginning.
fn number(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit());
    text[..end.unwrap_or(text.len())].parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_single_process_is_understood() {
        let puma = Puma::parse("Puma 6.4.2: worker: { 3/5 threads, 4 available, 2 backlog }");
        let expected = Puma {
            workers: None,
            running: 3,
            max_threads: 5,
            available: 4,
            backlog: 2,
        };
        assert_eq!(puma, Some(expected));
        assert_eq!(expected.busy(), 1);
    }

    #[test]
    fn the_processes_of_a_cluster_are_added_up() {
        let status = "Puma 7.0.1: cluster: 2/3, worker_status: [{ 5/5 threads, 0 available, 7 backlog },\
                      { 1/5 threads, 5 available, 0 backlog }]";
        let expected = Puma {
            workers: Some((2, 3)),
            running: 6,
            max_threads: 10,
            available: 5,
            backlog: 7,
        };
        assert_eq!(Puma::parse(status), Some(expected));
    }

    #[test]
    fn what_is_no_account_of_threads_is_none() {
        for status in [
            "",
            "fine",
            "Puma 6.1.0: workers: / threads,  available,  backlog",
            "Puma 6.4.2: worker: { 3/ threads, 4 available, 2 backlog }",
            "Puma 7.0.1: cluster: 0/2, worker_status: []",
            "Sidekiq: 3/5 threads, 4 available, 2 backlog",
        ] {
            assert_eq!(Puma::parse(status), None, "{status}");
        }
    }

    proptest! {
        #[test]
        fn no_status_makes_it_panic(status in "(Puma )?[0-9/ {}a-z,é]{0,40}( threads, )?[0-9]{0,25}( available, )?[0-9]{0,25}") {
            let _ = Puma::parse(&status);
        }
    }
}
