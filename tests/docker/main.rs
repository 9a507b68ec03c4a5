//! The image: built by a real engine from the Dockerfile, started, and stopped by `docker stop` under load.
//!
//! The engine is our own: a `dockerd` with no network, whose data goes with the test. It needs root, docker.io and
//! debootstrap; without them the tests say why they skip, and fail with CI set. Base images cannot be pulled in every place
//! where tests run, so both are given as the Dockerfile's build arguments: the runtime is made by debootstrap once (and
//! kept in target/), and the build stage gets a `cargo` that installs the executable under test.

#![expect(clippy::unwrap_used, reason = "all of this is test code, helpers too")]

/// A docker daemon for as long as a test runs.
mod engine;
/// The images, from the base up.
mod image;
/// Clients inside the container's network.
mod load;
#[path = "../e2e/support/lock.rs"]
#[expect(dead_code, reason = "written for tests that run beside others too")]
mod lock;

use std::time::{Duration, Instant};

use engine::Engine;
use load::Load;

#[test]
fn docker_stop_under_load_costs_no_request() {
    // Daemon, images and load keep all cores busy for a while.
    let _alone = lock::alone();
    let Some(engine) = Engine::or_skip() else {
        return;
    };
    image::build(&engine);

    let app = [
        "upstream",
        "--log",
        "-",
        "--on-term",
        "close-port-then-exit-after=1",
    ];
    let container = engine.run(image::PRODUCT, &app);
    container.wait_for_log("\"app ready\"");
    assert_eq!(
        container.user(),
        "1000",
        "Thrust and the app have no privileges"
    );

    // No socket, no status port: it asks the front, as whoever runs the image as it is.
    container.wait_for_health("healthy");

    let load = Load::start(container.network());
    load.warm_up();
    let stop = Instant::now();
    container.stop(Duration::from_secs(30));
    let took = stop.elapsed();
    let tally = load.end();

    eprintln!("docker stop took {took:?}: {tally:?}");
    assert_eq!(tally.failed, Vec::<String>::new());
    assert_eq!(
        tally.slow, 1,
        "the request that was in flight has its answer"
    );
    assert!(tally.refused > 0, "nobody came after the port was closed");
    assert_eq!(container.inspect("{{.State.ExitCode}}"), "143");
    assert!(took < Duration::from_secs(15), "docker had to kill it");
    container.assert_log_order(&[
        "\"signal received\"",
        "\"listener closed\"",
        "\"drain finished\"",
        "\"relaying signal\"",
        "\"child exited\"",
        "\"stopped\"",
    ]);

    // What else the Dockerfile promises.
    let config =
        |field: &str| engine.inspect(image::PRODUCT, &format!("{{{{json .Config.{field}}}}}"));
    assert_eq!(config("Entrypoint"), "[\"/usr/local/bin/thrust\"]");
    assert_eq!(config("StopSignal"), "\"SIGTERM\"");
    assert_eq!(config("User"), "\"1000:1000\"");
    let files = engine.docker(&["history", "--format", "{{.CreatedBy}}", image::EMPTY]);
    assert_eq!(
        files.matches("COPY").count(),
        1,
        "the default image is the executables: {files}"
    );
    let health = config("Healthcheck.Test");
    assert_eq!(
        health,
        "[\"CMD\",\"/usr/local/bin/thrustctl\",\"healthcheck\"]"
    );
}
