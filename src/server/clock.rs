//! One timer for all the clocks of a connection.
//!
//! It is armed at the earliest deadline it was shown and not moved when deadlines move away, so a busy connection touches
//! the timer wheel about once a second, not once a request.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use tokio::time::Sleep;

#[derive(Debug, Default)]
pub(super) struct Clock {
    sleep: Option<Pin<Box<Sleep>>>,
    /// Whether the timer knows our task; it is polled from no other.
    registered: bool,
}

impl Clock {
    /// Ready once `deadline` has passed; without one, never.
    pub(super) fn poll(&mut self, deadline: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = deadline else {
            return Poll::Pending;
        };
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
        if sleep.is_elapsed() && deadline <= Instant::now() {
            return Poll::Ready(());
        }
        let armed = !sleep.is_elapsed() && sleep.deadline().into_std() <= deadline;
        if armed && self.registered {
            return Poll::Pending;
        }
        if !armed {
            sleep.as_mut().reset(deadline.into());
        }
        self.registered = true;
        sleep.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use super::*;

    const SHORT: Duration = Duration::from_millis(20);

    /// Shows it `deadline` once, whatever it says.
    async fn show(clock: &mut Clock, deadline: Instant) {
        poll_fn(|cx| Poll::Ready(clock.poll(Some(deadline), cx).is_ready())).await;
    }

    #[tokio::test]
    async fn it_rings_at_the_deadline_it_is_shown_last() {
        let mut clock = Clock::default();
        for (first, last) in [(1, 1), (1, 4), (100, 2)] {
            let start = Instant::now();
            show(&mut clock, start + first * SHORT).await;
            poll_fn(|cx| clock.poll(Some(start + last * SHORT), cx)).await;
            assert!(start.elapsed() >= last * SHORT, "{first} {last}");
            assert!(start.elapsed() < 100 * SHORT, "{first} {last}");
        }
    }

    #[tokio::test]
    async fn without_a_deadline_it_never_rings() {
        let mut clock = Clock::default();
        let rings = poll_fn(|cx| clock.poll(None, cx));
        assert!(tokio::time::timeout(SHORT, rings).await.is_err());
    }
}
