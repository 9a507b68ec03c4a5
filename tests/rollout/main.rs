//! A rolling update, as Kubernetes does one: a new pod is up, an old one is sent SIGTERM, and only some seconds later does
//! the Service know that it is going.
//!
//! A node is a network namespace with a bridge, a pod one with an address on it and Thrust inside, and the Service is an
//! HAProxy that passes connections on and never tries twice, as kube-proxy does not. Needs root, iproute2 and haproxy;
//! without them the tests say why they skip, and fail with CI set.
//!
//! `ROLLOUTS=20 cargo test --test rollout` is the whole of it, with more than 100,000 requests, and takes four minutes; in
//! passing it is one.

#![expect(clippy::unwrap_used, reason = "all of this is test code, helpers too")]

/// Who asks, and what became of it.
mod clients;
#[path = "../e2e/support/lock.rs"]
#[expect(dead_code, reason = "written for tests that run beside others too")]
mod lock;
/// Network namespaces.
mod network;
/// Thrust and its app, with an address of their own.
mod pod;
/// The one address of all pods.
mod service;

use std::{
    env, thread,
    time::{Duration, Instant},
};

use clients::{Clients, Tally};
use network::Node;
use pod::Pod;
use service::Service;

/// How long after SIGTERM the Service still knows the pod.
const KNOWN_ON: Duration = Duration::from_secs(3);

/// How many pods there are but for the time of a rollout.
const REPLICAS: usize = 2;

/// A node with its Service, and the pods of the moment in their places there.
struct Cluster {
    node: Node,
    service: Service,
    pods: Vec<(usize, Pod)>,
    delay: Duration,
    /// The address of the newest pod; none is used twice.
    newest: u8,
}

impl Cluster {
    /// One with its pods up; none where that cannot be. The pods have this HTTP_DRAIN_DELAY.
    fn or_skip(delay: Duration) -> Option<Self> {
        let node = Node::or_skip()?;
        let service = Service::or_skip(&node)?;
        let mut cluster = Self {
            node,
            service,
            pods: Vec::new(),
            delay,
            newest: Node::OWN,
        };
        (0..REPLICAS).for_each(|_| cluster.start_pod());
        Some(cluster)
    }

    /// Starts a pod, and has the Service know it once it is ready.
    fn start_pod(&mut self) {
        self.newest += 1;
        let pod = Pod::start(&self.node, self.newest, self.delay);
        let is_taken = |place: &usize| self.pods.iter().any(|(taken, _)| taken == place);
        let place = (0..).find(|place| !is_taken(place)).unwrap();
        self.service.add(place, &pod.address());
        self.pods.push((place, pod));
    }

    /// Ends the oldest pod; the Service hears of it late.
    fn end_pod(&mut self) {
        let (place, mut pod) = self.pods.remove(0);
        let told = Instant::now();
        pod.terminate();
        thread::sleep(KNOWN_ON.saturating_sub(told.elapsed()));
        self.service.remove(place);
        assert_eq!(pod.wait(), Some(143));
    }

    fn roll_out(&mut self) {
        for _ in 0..REPLICAS {
            self.start_pod();
            self.end_pod();
        }
    }
}

fn rollouts() -> u32 {
    env::var("ROLLOUTS").map_or(1, |count| count.parse().expect("ROLLOUTS is a number"))
}

/// So many rollouts under load: what the clients saw, and how many connections the pods refused.
fn under_load(cluster: &mut Cluster, rollouts: u32) -> (Tally, u64) {
    let clients = Clients::start(&cluster.node, &cluster.service.address());
    clients.warm_up();
    let began = Instant::now();
    (0..rollouts).for_each(|_| cluster.roll_out());
    let tally = clients.end();
    let refused = cluster.service.refused();
    eprintln!(
        "delay {:?}: {rollouts} rollouts in {:?}: {tally:?}, {refused} refused",
        cluster.delay,
        began.elapsed()
    );
    (tally, refused)
}

#[test]
fn with_a_delay_that_outlasts_the_endpoint_a_rollout_fails_nobody() {
    let _alone = lock::alone();
    let Some(mut cluster) = Cluster::or_skip(KNOWN_ON + Duration::from_secs(1)) else {
        return;
    };
    let rollouts = rollouts();
    let (tally, refused) = under_load(&mut cluster, rollouts);
    assert_eq!(tally.failed, [""; 0]);
    assert_eq!((tally.turned_away, refused), (0, 0));
    assert!(
        tally.answered > 2_000 * u64::from(rollouts),
        "hardly a load"
    );
}

#[test]
fn without_a_delay_late_connections_are_refused_and_nothing_else_fails() {
    let _alone = lock::alone();
    let Some(mut cluster) = Cluster::or_skip(Duration::ZERO) else {
        return;
    };
    let (tally, refused) = under_load(&mut cluster, 1);
    assert_eq!(tally.failed, [""; 0]);
    assert!(refused > 0, "the endpoint was gone too early");
    assert_eq!(tally.turned_away, refused, "each was refused, and no other");
}
