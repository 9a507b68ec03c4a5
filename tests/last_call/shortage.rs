use std::{
    fs::File,
    net::TcpStream,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use nix::sys::{
    resource::{Resource, UsageWho, getrusage, setrlimit},
    time::TimeValLike,
};
use thrust::server::{
    last_call::{Patience, last_call},
    listener::{Bound, Listener},
};
use tokio::time::timeout;
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
};

/// Tells the test that it is the process whose descriptors may run out.
const ALONE: &str = "LAST_CALL_SHORTAGE";

#[derive(Clone, Default)]
struct Lines(Arc<AtomicUsize>);

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target().starts_with("thrust::") {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn without_descriptors_it_waits_says_so_once_and_goes_on_when_there_are_some() {
    if std::env::var_os(ALONE).is_some() {
        return run_out();
    }
    let name =
        "shortage::without_descriptors_it_waits_says_so_once_and_goes_on_when_there_are_some";
    let alone = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&alone.stdout) + String::from_utf8_lossy(&alone.stderr);
    assert!(
        alone.status.success() && said.contains("1 passed"),
        "{said}"
    );
}

fn run_out() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::registry().with(lines.clone());
    let _guard = tracing::subscriber::set_default(subscriber);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let listener = Bound::at(([127, 0, 0, 1], 0).into())
            .unwrap()
            .listen()
            .unwrap();
        let _clients = [(); 2].map(|()| TcpStream::connect(listener.local_addr()).unwrap());
        let hoard = hoard();
        waits_and_gives_up_in_time(&listener).await;
        assert_eq!(lines.0.load(Ordering::Relaxed), 1, "one line in 10 s");
        drop(hoard);
        let accepted = timeout(Duration::from_secs(5), listener.accept()).await;
        accepted.expect("there are descriptors again");
        closes_in_time(listener).await;
    });
}

/// Takes all descriptors that there are.
fn hoard() -> Vec<File> {
    setrlimit(Resource::RLIMIT_NOFILE, 64, 64).unwrap();
    let hoard = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    let error = File::open("/dev/null").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
    hoard
}

/// A stop is another branch of the caller's select: here, a timeout.
async fn waits_and_gives_up_in_time(listener: &Listener) {
    let (stop, start) = (Duration::from_millis(500), Instant::now());
    let cpu = cpu_time();
    // Cancelled over and over, as by a busy event loop: the wait goes on instead of starting anew.
    while start.elapsed() < stop {
        let accepted = timeout(Duration::from_millis(10), listener.accept()).await;
        assert!(accepted.is_err());
    }
    assert!(start.elapsed() < stop + Duration::from_millis(100));
    assert!(cpu_time() - cpu < Duration::from_millis(100), "it spins");
}

async fn closes_in_time(listener: Listener) {
    let hoard = hoard();
    let (start, deadline) = (Instant::now(), Instant::now() + Duration::from_millis(300));
    let outcome = last_call(listener, deadline, Patience::RoundTrip, |_, _| {}).await;
    assert_eq!(outcome.accepted_late, 0);
    assert!(start.elapsed() < Duration::from_secs(1));
    drop(hoard);
}

fn cpu_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let used = usage.user_time() + usage.system_time();
    Duration::from_micros(used.num_microseconds().try_into().unwrap())
}
