use std::{
    net::SocketAddr,
    sync::mpsc,
    time::{Duration, Instant},
};

use thrust::server::{
    last_call::{LastCall, Patience, last_call},
    listener::{Bound, Listener},
};
use tokio::{net::TcpStream, sync::oneshot, task::JoinSet};

use crate::{
    delay_link::{DelayLink, FRONT},
    load::{Load, Tally, answer},
};

const ROUND_TRIP: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug)]
enum Closing {
    Plain,
    UntilEmpty,
    LastCall,
}

#[test]
fn ten_last_calls_reset_nobody_where_plain_closes_reset_dozens() {
    let Some(link) = DelayLink::or_skip(ROUND_TRIP) else {
        return;
    };
    let plain = stops(&link, Closing::Plain, 3);
    let emptied = stops(&link, Closing::UntilEmpty, 3);
    let ours = stops(&link, Closing::LastCall, 10);
    assert!(
        plain.reset > 0 && emptied.reset > 0,
        "this load proves nothing"
    );
    assert_eq!(ours.reset, 0);
    assert!(!ours.refused.is_empty(), "no client came after the close");
    for tally in [plain, emptied, ours] {
        assert_eq!(tally.other, [""; 0]);
    }
}

/// The sum over so many listeners, each closed under load.
fn stops(link: &DelayLink, closing: Closing, times: usize) -> Tally {
    let mut sum = Tally::default();
    for _ in 0..times {
        let (tally, late, took) = stop(link, closing);
        eprintln!("{closing:?}: {tally}, {late:?}, closed in {took:?}");
        sum.add(tally);
    }
    eprintln!("{closing:?}, {times} stops: {sum}");
    sum
}

fn stop(link: &DelayLink, closing: Closing) -> (Tally, Option<LastCall>, Duration) {
    let (sender, address) = mpsc::channel();
    let (stop, stopped) = oneshot::channel();
    let (closed, when_closed) = mpsc::channel();
    let front = link.front.spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(serve(closing, &sender, stopped, &closed))
    });
    let target = address.recv().unwrap();
    let load = Load::default();
    let clients = link.clients.spawn({
        let load = load.clone();
        move || load.run(target)
    });
    load.warm_up();
    let signal = Instant::now();
    stop.send(signal).unwrap();
    let took = when_closed.recv_timeout(Duration::from_secs(5)).unwrap();
    // Some more connections, which find the door closed.
    std::thread::sleep(ROUND_TRIP);
    load.end();
    let tally = clients.join().unwrap();
    assert!(
        tally.refused.iter().all(|at| *at > signal),
        "refused before the signal"
    );
    (tally, front.join().unwrap(), took)
}

/// Serves until told to stop, closes the listener in the given way, and ends with the last answer.
async fn serve(
    closing: Closing,
    address: &mpsc::Sender<SocketAddr>,
    mut stopped: oneshot::Receiver<Instant>,
    closed: &mpsc::Sender<Duration>,
) -> Option<LastCall> {
    let listener = Bound::at((FRONT, 0).into()).unwrap().listen().unwrap();
    address.send(listener.local_addr()).unwrap();
    let mut answers = JoinSet::new();
    let mut take = |socket: std::net::TcpStream, _| {
        answers.spawn(answer(TcpStream::from_std(socket).unwrap()));
    };
    let stopped_at = loop {
        tokio::select! {
            (socket, peer) = listener.accept() => take(socket, peer),
            at = &mut stopped => break at.unwrap(),
        }
    };
    let outcome = close(closing, listener, &mut take).await;
    closed.send(stopped_at.elapsed()).unwrap();
    answers.join_all().await;
    outcome
}

async fn close(
    closing: Closing,
    listener: Listener,
    take: impl FnMut(std::net::TcpStream, SocketAddr),
) -> Option<LastCall> {
    let deadline = Instant::now() + Duration::from_secs(30);
    match closing {
        Closing::Plain => {
            drop(listener);
            None
        }
        Closing::UntilEmpty => Some(last_call(listener, deadline, Patience::None, take).await),
        Closing::LastCall => Some(last_call(listener, deadline, Patience::RoundTrip, take).await),
    }
}
