//! Whether the app answers, and at which address.
//!
//! [`find`] asks once. [`Readiness`] keeps asking: often while the app starts, so that the first request waits for nobody,
//! once a second while it answers, and at once when the proxy says that it has been refused. An app that speaks for itself
//! ([`Notify`]) is believed from its first word on, but has to have its port open all the same.

use std::{fmt, pin::Pin, rc::Rc, sync::Arc, time::Duration};

use tokio::{
    sync,
    time::{Instant, sleep_until, timeout},
};

pub use super::probe::find;
use super::{
    notify::{AppSays, Message, Notify},
    probe::{connects, first},
};

use crate::target::{Address, Target};

/// How long a check of one address may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause between probes while the app answers.
const STEADY: Duration = Duration::from_secs(1);
/// The shortest and the longest pause while it does not.
const EAGER: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));
/// The least pause before a suspicion probes again: a thousand refused requests are one reason to look, not a thousand.
const SUSPICION_GAP: Duration = Duration::from_millis(10);

/// What there is to say about the app's port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It answers at this address, after it did not, or did at another.
    Ready(Address),
    /// It does not answer any more.
    NotAccepting,
    /// It says itself that it reloads, or stops.
    Away(AppSays),
    /// It says how it is, for people (`STATUS`).
    Status(String),
}

/// The news about the app's port, for one listener on one thread.
///
/// It starts as not accepting.
pub struct Readiness {
    ask: Box<dyn Fn(Option<Address>) -> Probe>,
    /// Kept here, so that a caller who stops waiting for [`changed`](Self::changed) does not start it anew.
    probe: Option<Probe>,
    address: Option<Address>,
    notify: Option<Rc<Notify>>,
    /// The app's last word, if it ever spoke.
    said: Option<AppSays>,
    /// What it said for people and nobody was told yet.
    status: Option<String>,
    /// When it began to be as it is.
    since: Instant,
    /// When the last probe ended, and the next one starts.
    probed: Option<Instant>,
    next: Instant,
    suspicion: Suspicion,
}

type Probe = Pin<Box<dyn Future<Output = Option<Address>>>>;

/// A doubt about the app's port, for those who connect to it; cheap to clone and to send to other threads.
#[derive(Clone, Debug, Default)]
pub struct Suspicion(Arc<sync::Notify>);

impl Suspicion {
    /// Asks for a probe at once. Repeated, or while the app is known not to accept, it does nothing more.
    pub fn raise(&self) {
        self.0.notify_one();
    }
}

impl Readiness {
    /// Whether a connection is accepted.
    pub fn new(target: Target) -> Self {
        Self::with_check(target, connects)
    }

    /// Whether `check` says yes to one of the target's addresses.
    ///
    /// It stands in for the bare connect; an answer later than 5 s counts as no.
    pub fn with_check<C, F>(target: Target, check: C) -> Self
    where
        C: Fn(Address) -> F + 'static,
        F: Future<Output = bool> + 'static,
    {
        let room = Rc::new((target, check));
        let ask = move |preferred: Option<Address>| -> Probe {
            let room = Rc::clone(&room);
            Box::pin(async move {
                let (target, check) = &*room;
                let bounded = async |address| {
                    matches!(timeout(CHECK_TIMEOUT, check(address)).await, Ok(true))
                };
                first(target, preferred.as_ref(), bounded).await
            })
        };
        let now = Instant::now();
        Self {
            ask: Box::new(ask),
            probe: None,
            address: None,
            notify: None,
            said: None,
            status: None,
            since: now,
            probed: None,
            next: now,
            suspicion: Suspicion::default(),
        }
    }

    /// Listens to the app as well.
    #[must_use]
    pub fn listening(mut self, notify: Option<Notify>) -> Self {
        self.notify = notify.map(Rc::new);
        self
    }

    /// Where the app answers, as far as we know, unless it says that it is not ready.
    pub fn address(&self) -> Option<&Address> {
        let ready = matches!(self.said, None | Some(AppSays::Ready));
        self.address.as_ref().filter(|_| ready)
    }

    /// The handle through which others say that the app has refused them.
    pub fn suspicion(&self) -> Suspicion {
        self.suspicion.clone()
    }

    /// Says that the app has refused us: it is probed at once, if it was thought to be ready.
    pub fn suspect(&mut self) {
        self.suspicion.raise();
    }

    /// Waits for news. Cancel safe: a probe under way goes on in the next call, nothing is lost or repeated.
    pub async fn changed(&mut self) -> Change {
        let notify = self.notify.clone();
        loop {
            if let Some(status) = self.status.take() {
                return Change::Status(status);
            }
            let before = self.state();
            tokio::select! {
                biased;
                message = heard(notify.as_deref()) => self.hear(message),
                found = self.probed() => self.learn(found),
            }
            let now = self.state();
            if now != before {
                return now;
            }
        }
    }

    /// As [`changed`](Self::changed), but the port is left alone: what is told is what the app says for people. Cancel safe.
    ///
    /// An app whose words nobody takes in has soon to wait with them, even with its goodbye.
    pub async fn said(&mut self) -> Change {
        loop {
            if let Some(status) = self.status.take() {
                return Change::Status(status);
            }
            let message = heard(self.notify.as_deref()).await;
            self.hear(message);
        }
    }

    fn hear(&mut self, message: Message) {
        self.said = message.state.or(self.said);
        self.status = message.status.or_else(|| self.status.take());
    }

    fn state(&self) -> Change {
        match (self.address(), self.said) {
            (Some(address), _) => Change::Ready(address.clone()),
            (None, Some(said @ (AppSays::Reloading | AppSays::Stopping))) => Change::Away(said),
            (None, _) => Change::NotAccepting,
        }
    }

    /// The result of the next probe, when its time has come.
    async fn probed(&mut self) -> Option<Address> {
        if self.probe.is_none() {
            self.due().await;
        }
        // No await between the two: the due moment is either spent on a probe or still to come.
        let probe = self
            .probe
            .get_or_insert_with(|| (self.ask)(self.address.clone()));
        let found = probe.await;
        self.probe = None;
        found
    }

    /// Waits until it is time to probe.
    async fn due(&mut self) {
        while self.next > Instant::now() {
            tokio::select! {
                () = sleep_until(self.next) => {}
                () = self.suspicion.0.notified(), if self.address.is_some() => self.hasten(),
            }
        }
    }

    fn hasten(&mut self) {
        let soonest = self
            .probed
            .map_or_else(Instant::now, |last| last + SUSPICION_GAP);
        self.next = self.next.min(soonest);
    }

    fn learn(&mut self, found: Option<Address>) {
        let now = Instant::now();
        if found != self.address {
            self.address = found;
            self.since = now;
        }
        self.probed = Some(now);
        self.next = now + self.pause(now);
    }

    /// While the app does not answer, a tenth of the time that it has not: found early at any speed of starting.
    fn pause(&self, now: Instant) -> Duration {
        let (shortest, longest) = EAGER;
        match self.address {
            Some(_) => STEADY,
            None => ((now - self.since) / 10).clamp(shortest, longest),
        }
    }
}

/// What the app says; nothing ever where it cannot.
async fn heard(notify: Option<&Notify>) -> Message {
    match notify {
        Some(notify) => notify.heard().await,
        None => std::future::pending().await,
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness")
            .field("address", &self.address)
            .field("probing", &self.probe.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, net::SocketAddr};

    use tokio::task::yield_now;

    use super::{super::probe::tests::bound, *};

    fn monitor(address: SocketAddr) -> Readiness {
        Readiness::new(Target::Port(address.port()))
    }

    /// Far less than the second that a steady probe would take.
    async fn soon<T>(news: impl Future<Output = T>) -> T {
        timeout(Duration::from_millis(500), news)
            .await
            .expect("news, at once")
    }

    #[tokio::test]
    async fn tells_when_the_port_opens_closes_and_opens_again() {
        let (socket, address) = bound("127.0.0.1:0").unwrap();
        // Keeps the port ours while it is closed.
        let (again, _) = bound(&address.to_string()).unwrap();
        let mut readiness = monitor(address);
        socket.listen(8).unwrap();
        let ready = Change::Ready(Address::Tcp(address));
        assert_eq!(soon(readiness.changed()).await, ready);
        assert_eq!(readiness.address(), Some(&Address::Tcp(address)));

        drop(socket);
        readiness.suspicion().raise();
        assert_eq!(soon(readiness.changed()).await, Change::NotAccepting);
        assert_eq!(readiness.address(), None);

        again.listen(8).unwrap();
        assert_eq!(soon(readiness.changed()).await, ready);
    }

    #[tokio::test]
    async fn looks_again_without_being_asked() {
        let (socket, address) = bound("127.0.0.1:0").unwrap();
        let mut readiness = monitor(address);
        socket.listen(8).unwrap();
        soon(readiness.changed()).await;
        drop(socket);
        let news = timeout(5 * STEADY, readiness.changed()).await;
        assert_eq!(news, Ok(Change::NotAccepting));
    }

    #[tokio::test]
    async fn a_probe_outlives_a_caller_who_stops_waiting() {
        let started = Rc::new(Cell::new(0));
        let count = Rc::clone(&started);
        let mut readiness = Readiness::with_check(Target::Port(1), move |_| {
            count.set(count.get() + 1);
            async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                true
            }
        });
        let change = soon(async {
            loop {
                tokio::select! {
                    biased;
                    change = readiness.changed() => return change,
                    () = yield_now() => {}
                }
            }
        });
        assert!(matches!(change.await, Change::Ready(_)));
        assert_eq!(started.get(), 1);
    }

    #[tokio::test]
    async fn many_suspicions_are_few_probes() {
        let asked = Rc::new(Cell::new(0_u32));
        let count = Rc::clone(&asked);
        let mut readiness = Readiness::with_check(Target::Port(1), move |_| {
            count.set(count.get() + 1);
            async { true }
        });
        soon(readiness.changed()).await;
        let storm = async {
            loop {
                readiness.suspect();
                tokio::select! {
                    biased;
                    _ = readiness.changed() => unreachable!("nothing changes"),
                    () = yield_now() => {}
                }
            }
        };
        let _ = timeout(Duration::from_millis(100), storm).await;
        assert!(
            (2..=12).contains(&asked.get()),
            "{asked:?} probes in 100 ms"
        );
    }

    #[tokio::test]
    async fn an_app_that_speaks_is_believed_as_long_as_its_port_is_open() {
        let (socket, address) = bound("127.0.0.1:0").unwrap();
        let notify = Notify::open().unwrap();
        let app = std::os::unix::net::UnixDatagram::unbound().unwrap();
        app.connect(notify.path()).unwrap();
        let mut readiness = monitor(address).listening(Some(notify));
        app.send(b"READY=1").unwrap();
        let closed = timeout(Duration::from_millis(100), readiness.changed()).await;
        assert!(closed.is_err(), "the port is not open: {closed:?}");
        socket.listen(8).unwrap();
        let ready = Change::Ready(Address::Tcp(address));
        assert_eq!(soon(readiness.changed()).await, ready);
        app.send(b"STATUS=fine").unwrap();
        let status = Change::Status("fine".to_owned());
        assert_eq!(soon(readiness.changed()).await, status);
        app.send(b"STATUS=busy\nRELOADING=1").unwrap();
        assert_eq!(
            soon(readiness.changed()).await,
            Change::Away(AppSays::Reloading)
        );
        let status = Change::Status("busy".to_owned());
        assert_eq!(soon(readiness.changed()).await, status);
        app.send(b"READY=1").unwrap();
        assert_eq!(soon(readiness.changed()).await, ready);
        app.send(b"STOPPING=1").unwrap();
        assert_eq!(
            soon(readiness.changed()).await,
            Change::Away(AppSays::Stopping)
        );
    }

    #[test]
    fn polls_often_at_first_and_never_seldom() {
        let mut readiness = monitor(SocketAddr::from(([127, 0, 0, 1], 1)));
        let start = readiness.since;
        for (waited, pause) in [(0, 1), (10, 1), (100, 10), (500, 50), (60_000, 50)] {
            let now = start + Duration::from_millis(waited);
            assert_eq!(
                readiness.pause(now),
                Duration::from_millis(pause),
                "{waited} ms"
            );
        }
        readiness.address = Target::Port(1).addresses().pop();
        assert_eq!(readiness.pause(start), STEADY);
    }
}
