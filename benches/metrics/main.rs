//! What it costs a core to count one request: `cargo bench --bench metrics`.
//!
//! A request is counted as the path does it, clocks included: how long the app took, when the head was there, class and
//! result of the cache, bytes both ways. The figure to beat is 100 ns; where nothing is counted, nothing is to be seen.

use std::{
    hint::black_box,
    process::ExitCode,
    time::{Duration, Instant},
};

use thrust::metrics::{CacheResult, Class, Metrics, Recorder};

/// What one request may cost, in nanoseconds.
const LIMIT: f64 = 100.0;

const REQUESTS: usize = 1_000_000;

/// The fastest of so many rounds: whatever else the machine does only adds.
const ROUNDS: u32 = 10;

fn main() -> ExitCode {
    let on = measure(&Metrics::new(1).seed(0).plant());
    let off = measure(&Metrics::off().seed(0).plant());
    println!("one request counted      {on:7.1} ns (at most {LIMIT})");
    println!("where nothing is counted {off:7.1} ns");
    match on < LIMIT {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Nanoseconds for a request, in the fastest round.
fn measure(recorder: &Recorder) -> f64 {
    let start = Instant::now();
    // Known before: the moment of its first byte is each request's own.
    let arrivals: Vec<_> = (0..4_096)
        .map(|number| start - Duration::from_micros(number))
        .collect();
    let rounds = (0..ROUNDS).map(|_| {
        let began = Instant::now();
        for arrived in arrivals.iter().cycle().take(REQUESTS) {
            request(black_box(recorder), *arrived, began);
        }
        began.elapsed()
    });
    let fastest = rounds.min().unwrap_or(Duration::ZERO);
    fastest.as_nanos() as f64 / REQUESTS as f64
}

fn request(recorder: &Recorder, arrived: Instant, ended: Instant) {
    recorder.received(black_box(300));
    let lap = recorder.lap();
    // When the app's connection is free again, and when a response has ended, others look at the clock for.
    if let Some(lap) = lap {
        black_box(lap).end(arrived);
    }
    let took = black_box(ended).saturating_duration_since(arrived);
    recorder.first_byte_took(took);
    recorder.request_took(took);
    recorder.request(black_box(Class::Success), black_box(CacheResult::Miss));
    recorder.sent(black_box(5_000));
}
