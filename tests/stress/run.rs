//! One start, one stop, and what it cost whom.

use std::{
    env,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use nix::sys::signal::Signal::{self, SIGINT, SIGTERM};

use crate::{
    account::Account,
    chance::Chance,
    load::{Clients, Crowd, Ended, Front, Report},
    long::GOODBYE,
    secure_front::SecureFront,
    support::{PATIENCE, Thrust, seconds},
};

/// How long the app lives on after the signal, with its port closed.
const APP_LIVES_ON: Duration = Duration::from_secs(2);

/// How many runs overlap: each has a port and an app of its own.
const AT_A_TIME: usize = 2;

/// What is restarted how often.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) runs: usize,
    pub(crate) seed: u64,
    pub(crate) drain_timeout: String,
    pub(crate) is_secure: bool,
    pub(crate) crowd: Crowd,
}

impl Settings {
    /// `STRESS_SEED` repeats a run's choices, `STRESS_DRAIN_TIMEOUT` is Thrust's.
    pub(crate) fn from_env() -> Self {
        let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let seed = env::var("STRESS_SEED").ok().map_or_else(
            || u64::from(clock.unwrap_or_default().subsec_nanos()),
            |seed| seed.parse().expect("STRESS_SEED is a number"),
        );
        Settings {
            runs: 0,
            seed,
            drain_timeout: env::var("STRESS_DRAIN_TIMEOUT").unwrap_or_else(|_| "30".into()),
            is_secure: false,
            crowd: Crowd {
                fresh: 6,
                kept: 10,
                uploads: 3,
                slow: 4,
                event_streams: 3,
                web_sockets: 4,
                streams: 3,
                at_the_signal: 1,
            },
        }
    }
}

/// One line of the table.
#[derive(Debug)]
struct Outcome {
    run: usize,
    signal: Signal,
    after: Duration,
    drain_ms: u64,
    accepted_late: u64,
    drained: u64,
    cut: u64,
    account: Account,
}

/// Restarts Thrust over and over, says what came of it, and fails if anything was lost.
pub(crate) fn restart(settings: &Settings) {
    eprintln!("seed {} (STRESS_SEED repeats it)", settings.seed);
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let run = next.fetch_add(1, SeqCst);
                    if run >= settings.runs {
                        return;
                    }
                    let outcome = one(run, settings);
                    outcomes.lock().unwrap().push(outcome);
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().unwrap();
    outcomes.sort_by_key(|outcome| outcome.run);
    let all = print(&outcomes);
    assert_eq!(outcomes.len(), settings.runs);
    assert!(all.lost.is_empty(), "lost: {:#?}", all.lost);
    let most = 1 + all.served / 10_000;
    assert!(
        all.crossed <= most,
        "{} of {} requests crossed the FIN",
        all.crossed,
        all.served
    );
}

fn one(run: usize, settings: &Settings) -> Outcome {
    let mut chance = Chance::new(settings.seed.wrapping_add(run as u64));
    let signal = if run.is_multiple_of(2) {
        SIGTERM
    } else {
        SIGINT
    };
    let how = format!("close-port-then-exit-after={}", APP_LIVES_ON.as_secs());
    let builder = Thrust::builder().env("H2C_ENABLED", "1");
    let secure = settings.is_secure.then(|| SecureFront::new(run));
    let builder = secure
        .iter()
        .fold(builder, |builder, front| front.set_up(builder));
    let mut thrust = builder
        .env("HTTP_DRAIN_TIMEOUT", &settings.drain_timeout)
        .app([
            "--on-term",
            &how,
            "--goodbye",
            GOODBYE,
            "--log",
            "/dev/null",
        ])
        .start();
    let after = chance.millis(600, 1_400);
    let signal_at = Instant::now() + after;
    let mut crowd = settings.crowd;
    if chance.once_in(2) {
        // These hold a drain for up to half a second, in which others have found out.
        crowd.at_the_signal = 0;
    }
    let plain = || Front::Plain(thrust.port());
    let front = secure.as_ref().map_or_else(plain, SecureFront::front);
    let clients = Clients::start(front, signal_at, crowd, &mut chance);
    thread::sleep(signal_at.saturating_duration_since(Instant::now()));
    clients.expect_the_signal();
    thrust.signal(signal);
    let code = thrust.wait_exit(PATIENCE + seconds(30));
    let mut report = clients.finish();
    look_at(&thrust, code, signal, &mut report);
    let number = |message: &str, field: &str| thrust.wait_for(message).number(field);
    Outcome {
        run,
        signal,
        after,
        drain_ms: number("drain finished", "took_ms"),
        accepted_late: accepted_late(&thrust),
        drained: number("stopped", "drained"),
        cut: number("stopped", "cut"),
        account: report.account,
    }
}

/// By all listeners.
fn accepted_late(thrust: &Thrust) -> u64 {
    let records = thrust.records();
    let closed = records
        .iter()
        .filter(|record| record.message() == "listener closed");
    closed.map(|record| record.number("accepted_late")).sum()
}

/// Holds the log against what the clients saw.
fn look_at(thrust: &Thrust, code: i32, signal: Signal, report: &mut Report) {
    let account = &mut report.account;
    if code != 128 + signal as i32 {
        account.lose(format!("exit code {code} after {signal}"));
    }
    for record in thrust.records() {
        let bad = record.is_ours() && matches!(record.level(), "WARN" | "ERROR");
        if bad || record.is_childs("panicked") {
            account.lose(record.text);
        }
    }
    let relayed = thrust.wait_for("relaying signal").at;
    let closed = thrust.wait_for("listener closed").at;
    for ended in &report.ended {
        match *ended {
            // The line is read some time after it was written, and by another thread than the stream.
            Ended::EventStream(at) if at < closed => account.lose("an event stream cut early"),
            // Half a second for a machine on which that line took its time.
            Ended::WebSocket(at) if at + Duration::from_millis(500) < relayed + APP_LIVES_ON => {
                account.lose("a WebSocket that did not live until its app closed it");
            }
            Ended::EventStream(_) | Ended::WebSocket(_) => {}
        }
    }
}

/// The table; the sum of all accounts.
fn print(outcomes: &[Outcome]) -> Account {
    let mut all = Account::default();
    eprintln!(
        "run  signal   after  drain ms  late  drained  cut   served  reused  refused  closed idle  crossed  lost"
    );
    for outcome in outcomes {
        let Outcome { account, .. } = outcome;
        eprintln!(
            "{:>3}  {:<7} {:>4} ms  {:>8}  {:>4}  {:>7}  {:>3}  {:>7} {:>7}  {:>7}  {:>11}  {:>7}  {:>4}",
            outcome.run,
            outcome.signal.as_str(),
            outcome.after.as_millis(),
            outcome.drain_ms,
            outcome.accepted_late,
            outcome.drained,
            outcome.cut,
            account.served,
            account.reused,
            account.refused,
            account.closed_idle,
            account.crossed,
            account.losses(),
        );
        all += account.clone();
    }
    eprintln!(
        "{} requests served, {} crossed the FIN ({:.2} in 10,000), {} lost",
        all.served,
        all.crossed,
        all.crossed as f64 * 10_000.0 / all.served.max(1) as f64,
        all.losses()
    );
    for (what, count) in &all.lost {
        eprintln!("{count:>6} x {what}");
    }
    all
}
