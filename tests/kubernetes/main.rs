//! The pods of examples/kubernetes, played by Podman.
//!
//! Podman starts the containers as the manifests say. What else a kubelet does, and Podman does not, is done here as a
//! kubelet would: the probes, the preStop hook, and TERM with what that leaves of the grace period. Needs root, podman, runc,
//! catatonit and debootstrap, and Ruby to read the manifests; without them the test says why it skips, and fails with CI set.

#![expect(clippy::unwrap_used, reason = "all of this is test code, helpers too")]

/// Podman.
mod engine;
/// The images, from the base up.
#[path = "../docker/image.rs"]
mod image;
/// Clients inside of a pod's network.
#[path = "../docker/load.rs"]
mod load;
#[path = "../e2e/support/lock.rs"]
#[expect(dead_code, reason = "written for tests that run beside others too")]
mod lock;
/// What a Deployment says of its pods.
mod manifest;
/// A container of a pod.
mod pod;
#[path = "../examples/yaml.rs"]
mod yaml;

use std::{
    thread,
    time::{Duration, Instant},
};

use engine::Engine;
use load::Load;
use manifest::Manifest;
use pod::Pod;

/// By when a pod is ready.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn the_pods_of_the_examples_are_probed_as_they_live_and_end_without_a_loss() {
    // Images and load keep all cores busy for a while.
    let _alone = lock::alone();
    let Some(engine) = Engine::or_skip() else {
        return;
    };
    let manifests = [
        "examples/kubernetes/deployment.yaml",
        "examples/kubernetes/deployment-prestop.yaml",
    ];
    let manifests: Vec<_> = manifests.into_iter().filter_map(Manifest::read).collect();
    if manifests.is_empty() {
        return;
    }
    image::build(&engine);
    for manifest in &manifests {
        engine.tell(&["tag", image::PRODUCT, &manifest.image]);
        let played = engine.play(manifest);
        assert_eq!(played.pods().len(), manifest.replicas);
        for pod in played.pods() {
            live(&pod, manifest);
        }
        thread::scope(|scope| {
            for pod in played.pods() {
                scope.spawn(move || end(&pod, manifest));
            }
        });
    }
}

/// Up to readiness, by all three probes.
fn live(pod: &Pod<'_>, manifest: &Manifest) {
    let began = Instant::now();
    while pod.probe(&manifest.startup) != 200 {
        assert!(began.elapsed() < PATIENCE, "{}", pod.logs());
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(pod.probe(&manifest.readiness), 200);
    assert_eq!(pod.probe(&manifest.liveness), 200);
}

/// As a kubelet ends a pod: the hook, TERM, and KILL when the grace period is over.
fn end(pod: &Pod<'_>, manifest: &Manifest) {
    let load = Load::start(&pod.network(), manifest.port);
    load.warm_up();
    let began = Instant::now();
    thread::sleep(Duration::from_secs(manifest.pre_stop));
    assert_eq!(
        pod.probe(&manifest.readiness),
        200,
        "nobody has told it yet"
    );
    thread::scope(|scope| {
        let stopping = scope.spawn(|| pod.stop(manifest.grace - manifest.pre_stop));
        if manifest.delay > 0 {
            pod.wait_for_log("\"delaying\"");
            assert_eq!(pod.probe(&manifest.readiness), 503, "it is to be taken out");
            assert_eq!(
                pod.probe(&manifest.liveness),
                200,
                "and is not to be killed"
            );
        }
        stopping.join().unwrap();
    });
    let (took, tally) = (began.elapsed(), load.end());
    eprintln!("{}: {took:?}, {tally:?}", manifest.path);
    assert_eq!(tally.failed, Vec::<String>::new());
    assert_eq!(tally.slow, 1);
    assert!(tally.refused > 0, "nobody came after the port was closed");
    assert!(took >= Duration::from_secs(manifest.pre_stop + manifest.delay));
    assert!(took < Duration::from_secs(manifest.grace));
    assert_eq!(pod.inspect("{{.State.ExitCode}}"), "143");
}
