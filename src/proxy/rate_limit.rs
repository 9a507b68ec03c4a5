//! `RATE_LIMIT`: so many requests a second from each client, and no more.

use std::{
    net::IpAddr,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};
use http::{HeaderValue, StatusCode, header};
use ipnet::IpNet;

use super::{headers::X_FORWARDED_FOR, health::is_health_check};
use crate::{
    drain::{Stage, Watch},
    handler::{Cause, Handler, Request, Response, answer},
    networks::household,
};

/// How often clients are forgotten who have been quiet for so long that they may do anything again.
const TIDY: Duration = Duration::from_secs(1);

/// With more clients than these, whole networks are counted as one: an attacker's addresses are not to fill our memory.
const CROWD: usize = 100_000;

/// What each client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimitSettings {
    /// `RATE_LIMIT`: requests per second.
    pub rate: NonZeroU32,
    /// `RATE_LIMIT_BURST`: how many at once, after a pause.
    pub burst: NonZeroU32,
}

/// What each client has done, one for all cores.
#[derive(Clone, Debug)]
pub(super) struct Rates(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limiter: DefaultKeyedRateLimiter<IpAddr>,
    clock: DefaultClock,
    crowded: AtomicBool,
    /// How many clients there was room made for.
    most: AtomicUsize,
    /// Whether it was said that a proxy was turned away.
    said: AtomicBool,
}

impl Rates {
    /// Nobody has done anything yet.
    pub(super) fn new(settings: RateLimitSettings) -> Self {
        let quota = Quota::per_second(settings.rate).allow_burst(settings.burst);
        Self(Arc::new(Shared {
            limiter: RateLimiter::keyed(quota),
            clock: DefaultClock::default(),
            crowded: AtomicBool::new(false),
            most: AtomicUsize::new(0),
            said: AtomicBool::new(false),
        }))
    }

    /// Forgets those who could make a whole burst again; ends with the drain.
    pub(super) async fn keep_tidy(self, watch: Watch) {
        let keep_tidy = async {
            loop {
                tokio::time::sleep(TIDY).await;
                self.tidy();
            }
        };
        tokio::select! {
            () = keep_tidy => {}
            () = watch.reached(Stage::Draining) => {}
        }
    }

    fn tidy(&self) {
        let Shared {
            limiter,
            crowded,
            most,
            ..
        } = &*self.0;
        let before = most.load(Ordering::Relaxed).max(limiter.len());
        limiter.retain_recent();
        let left = limiter.len();
        // Not at every ebb: room that is given back is soon made again.
        let ebbs = left < before / 4;
        if ebbs {
            limiter.shrink_to_fit();
        }
        most.store(if ebbs { left } else { before }, Ordering::Relaxed);
        crowded.store(left > CROWD, Ordering::Relaxed);
    }

    /// Counts a request of `client`; how long it is to wait if that is one too many.
    fn count(&self, client: IpAddr) -> Result<(), Duration> {
        let counted = match self.0.crowded.load(Ordering::Relaxed) {
            false => household(client),
            true => neighbourhood(client),
        };
        let checked = self.0.limiter.check_key(&counted);
        checked.map_err(|until| until.wait_time_from(self.0.clock.now()))
    }

    /// Says once that one who speaks for others was turned away.
    fn say_if_proxy(&self, request: &Request) {
        let forwards = request.head.headers.contains_key(X_FORWARDED_FOR);
        if forwards
            && !request.client.is_vouched_for()
            && !self.0.said.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                remote_addr = %request.client.address,
                "RATE_LIMIT has turned away a proxy, whose clients it takes for one; TRUSTED_PROXIES would tell them apart"
            );
        }
    }
}

/// The larger network that a client is part of.
fn neighbourhood(client: IpAddr) -> IpAddr {
    let client = client.to_canonical();
    let bits = if client.is_ipv4() { 16 } else { 32 };
    IpNet::new(client, bits).map_or(client, |network| network.network())
}

/// Turns away who asks too often, but no health check; without rates it costs nothing.
#[derive(Debug)]
pub(super) struct RateLimit<H> {
    rates: Option<Rates>,
    health_path: Option<String>,
    next: H,
}

impl<H> RateLimit<H> {
    pub(super) fn new(rates: Option<Rates>, health_path: Option<String>, next: H) -> Self {
        Self {
            rates,
            health_path,
            next,
        }
    }

    /// How long the client is to wait, if it must.
    fn wait(&self, request: &Request) -> Option<Duration> {
        let rates = self.rates.as_ref()?;
        if is_health_check(&request.head, self.health_path.as_deref()) {
            return None;
        }
        let wait = rates.count(request.client.ip).err()?;
        rates.say_if_proxy(request);
        Some(wait)
    }
}

/// 429 (RFC 6585 section 4), and when to come again in whole seconds.
fn too_many(wait: Duration) -> Response {
    let mut response = answer(
        StatusCode::TOO_MANY_REQUESTS,
        Cause::RateLimited,
        "Too many requests. Try again later.\n",
    );
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let value = HeaderValue::from(seconds.max(1));
    response.headers_mut().insert(header::RETRY_AFTER, value);
    response
}

impl<H: Handler> Handler for RateLimit<H> {
    async fn handle(&self, request: Box<Request>) -> Response {
        match self.wait(&request) {
            Some(wait) => too_many(wait),
            None => self.next.handle(request).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drain::Drain;

    fn rates(rate: u32, burst: u32) -> Rates {
        Rates::new(RateLimitSettings {
            rate: NonZeroU32::new(rate).unwrap(),
            burst: NonZeroU32::new(burst).unwrap(),
        })
    }

    fn passes(rates: &Rates, client: &str) -> bool {
        rates.count(client.parse().unwrap()).is_ok()
    }

    #[test]
    fn a_burst_passes_and_then_the_rate_counts() {
        let rates = rates(1, 3);
        let passed = (0..10).filter(|_| passes(&rates, "192.0.2.1")).count();
        assert_eq!(passed, 3);
        assert!(passes(&rates, "192.0.2.2"), "another client");
        let wait = rates.count([192, 0, 2, 1].into()).unwrap_err();
        assert!(wait <= Duration::from_secs(1), "{wait:?}");
    }

    #[test]
    fn a_household_is_counted_together() {
        let rates = rates(1, 1);
        assert!(passes(&rates, "2001:db8::1"));
        assert!(!passes(&rates, "2001:db8::ffff:2"));
        assert!(passes(&rates, "2001:db8:0:1::1"));
        assert!(passes(&rates, "192.0.2.1"));
        assert!(!passes(&rates, "::ffff:192.0.2.1"));
    }

    #[test]
    fn who_has_been_quiet_is_forgotten() {
        let rates = rates(1_000_000_000, 1);
        for client in 0..1_000_u32 {
            let _ = rates.count(client.to_be_bytes().into());
        }
        rates.tidy();
        assert_eq!(rates.0.limiter.len(), 0);
        assert_eq!(rates.0.most.load(Ordering::Relaxed), 0, "and the room too");
    }

    #[test]
    fn a_crowd_is_counted_by_its_networks_until_it_is_gone() {
        let rates = rates(1, 1);
        let strangers = u32::try_from(CROWD).unwrap() + 1;
        for client in 0..strangers {
            assert!(rates.count(client.to_be_bytes().into()).is_ok());
        }
        rates.tidy();
        assert_eq!(rates.0.limiter.len(), CROWD + 1, "they are remembered");
        for client in 0..strangers {
            let _ = rates.count((client + 0x0100_0000).to_be_bytes().into());
        }
        assert!(rates.0.limiter.len() <= CROWD + 3, "and no more of them");
        assert!(!passes(&rates, "1.0.255.255"), "a neighbour");
        assert!(passes(&rates, "1.255.0.1"));
    }

    #[tokio::test]
    async fn nobody_tidies_once_the_drain_has_begun() {
        let (drain, mut seeds) = Drain::new(1);
        let watch = seeds.remove(0).plant();
        let mut tidying = Box::pin(rates(1, 1).keep_tidy(watch));
        let (moment, minute) = (Duration::from_millis(10), Duration::from_secs(60));
        assert!(tokio::time::timeout(moment, &mut tidying).await.is_err());
        drain.enter(Stage::Draining);
        assert!(tokio::time::timeout(minute, tidying).await.is_ok());
    }

    #[test]
    fn an_answer_says_when_to_come_again() {
        for (wait, seconds) in [(0, "1"), (1, "1"), (1_000, "1"), (1_001, "2")] {
            let response = too_many(Duration::from_millis(wait));
            assert_eq!(response.status(), 429);
            assert_eq!(response.headers()["retry-after"], seconds, "{wait} ms");
        }
    }
}
