//! The image: built by a real engine from the Dockerfile, with Puma in it, started, and stopped by `docker stop` under load.
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

use std::{
    thread,
    time::{Duration, Instant},
};

use engine::{Container, Engine};
use load::Load;

/// Thrust's default port: in a container it needs no privilege.
const PORT: u16 = 80;

/// How long `docker stop` waits if it is not told.
const GRACE: Duration = Duration::from_secs(10);

/// What the README suggests for that: the drain is over before.
const SHORT_DRAIN: &[&str] = &["--env", "HTTP_DRAIN_TIMEOUT=5"];

#[test]
fn docker_stop_under_load_costs_no_request() {
    // Daemon, images and load keep all cores busy for a while.
    let _alone = lock::alone();
    let Some(engine) = Engine::or_skip() else {
        return;
    };
    image::build(&engine);
    an_app_that_hangs_up_when_told_loses_nothing(&engine);
    puma_loses_nothing(&engine);
    orphans_are_reaped(&engine);
    the_exit_code_is_the_app_s(&engine);
    the_image_is_as_the_dockerfile_says(&engine);
}

fn an_app_that_hangs_up_when_told_loses_nothing(engine: &Engine) {
    let app = [
        "upstream",
        "--log",
        "-",
        "--on-term",
        "close-port-then-exit-after=1",
    ];
    let container = engine.run(SHORT_DRAIN, image::PRODUCT, &app);
    container.wait_for_log("\"app ready\"");
    assert_eq!(
        container.user(),
        "1000",
        "Thrust and the app have no privileges"
    );
    // No socket, no status port: it asks the front, as whoever runs the image as it is.
    container.wait_for_health("healthy");
    assert_stop_costs_nothing(&container);
}

fn puma_loses_nothing(engine: &Engine) {
    let container = engine.run(SHORT_DRAIN, image::PRODUCT, &["bin/rails", "server"]);
    container.wait_for_log("Use Ctrl-C to stop");
    assert_stop_costs_nothing(&container);
}

/// `docker stop`, as it comes, while clients come and go and one waits for a slow answer.
fn assert_stop_costs_nothing(container: &Container<'_>) {
    let load = Load::start(&container.network(), PORT);
    load.warm_up();
    let stop = Instant::now();
    container.stop();
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
    assert!(took < GRACE, "docker had to kill it");
    container.assert_log_order(&[
        "\"signal received\"",
        "\"listener closed\"",
        "\"drain finished\"",
        "\"relaying signal\"",
        "\"child exited\"",
        "\"stopped\"",
    ]);
}

fn orphans_are_reaped(engine: &Engine) {
    let container = engine.run(&[], image::PRODUCT, &["upstream", "--log", "-"]);
    container.wait_for_log("\"app ready\"");
    // Each loses its parent at once, and ends a moment later: PID 1 is its parent then.
    container.sh("for i in $(seq 100); do (sleep 0.3 &); done");
    let began = Instant::now();
    while container.children() != [1, 0] {
        let children = container.children();
        assert!(
            began.elapsed() < GRACE,
            "[alive, zombies]: {children:?} and not the app alone"
        );
        thread::sleep(Duration::from_millis(20));
    }
}

fn the_exit_code_is_the_app_s(engine: &Engine) {
    for (script, code) in [
        ("exit 7", "7"),
        ("kill -KILL $$", "137"),
        ("no-such-command", "127"),
    ] {
        let container = engine.run(&[], image::PRODUCT, &["sh", "-c", script]);
        assert_eq!(container.wait(), code, "{script}");
        assert_eq!(container.inspect("{{.State.ExitCode}}"), code, "{script}");
    }
    let refused = engine.run(&["--env", "HTTP_PORT=x"], image::PRODUCT, &["true"]);
    assert_eq!(refused.wait(), "64");
}

fn the_image_is_as_the_dockerfile_says(engine: &Engine) {
    let config =
        |field: &str| engine.inspect(image::PRODUCT, &format!("{{{{json .Config.{field}}}}}"));
    assert_eq!(config("Entrypoint"), "[\"/usr/local/bin/thrust\"]");
    assert_eq!(config("StopSignal"), "\"SIGTERM\"");
    assert_eq!(config("User"), "\"1000:1000\"");
    let files = engine.tell(&["history", "--format", "{{.CreatedBy}}", image::EMPTY]);
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
