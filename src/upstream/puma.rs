//! What Puma says of its threads in the `STATUS` that it sends every second.
//!
//! `Puma 6.4.2: worker: { 3/5 threads, 2 available, 0 backlog }`, or, of a cluster,
//! `Puma 6.4.2: cluster: 2/2, worker_status: [{ 5/5 threads, 4 available, 0 backlog },{ ... }]`. A worker that boots leaves
//! its numbers out.

/// How many threads all of its workers have together at most; none if this is not Puma, or none of them is up yet.
pub(super) fn threads(status: &str) -> Option<usize> {
    let workers = status.strip_prefix("Puma ")?.split(" threads,");
    let threads = |worker: &str| {
        let (_, most) = worker.rsplit_once(' ')?.1.split_once('/')?;
        most.parse::<usize>().ok()
    };
    let sum = workers.filter_map(threads).try_fold(0, usize::checked_add);
    sum.filter(|sum| *sum > 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_threads_of_all_workers_count() {
        for (status, expected) in [
            (
                "Puma 6.4.2: worker: { 3/5 threads, 2 available, 0 backlog }",
                Some(5),
            ),
            (
                "Puma 7.0.0: cluster: 2/2, worker_status: [{ 5/5 threads, 5 available, 0 backlog },{ 1/3 threads, 0 available, 9 backlog }]",
                Some(8),
            ),
            (
                "Puma 6.4.2: cluster: 1/2, worker_status: [{ / threads,  available,  backlog },{ 0/3 threads, 3 available, 0 backlog }]",
                Some(3),
            ),
            (
                "Puma 6.4.2: cluster: 0/1, worker_status: [{ / threads,  available,  backlog }]",
                None,
            ),
            (
                "Puma 6.4.2: worker: { 0/0 threads, 0 available, 0 backlog }",
                None,
            ),
            ("Puma is starting", None),
            ("ready: 3/5 threads, and so on", None),
            ("", None),
        ] {
            assert_eq!(threads(status), expected, "{status}");
        }
    }

    proptest! {
        #[test]
        fn no_status_makes_it_panic(status in "Puma [0-9/ {}a-z,]{0,60}( threads,[0-9/ {}]{0,30}){0,4}|\\PC*") {
            let _ = threads(&status);
        }
    }
}
