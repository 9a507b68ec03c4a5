//! The places at the app: how many requests it works on at once, over all cores, and who gets the next one.
//!
//! A place goes from hand to hand: whoever gives one back gives it to the next in turn, so that nobody who comes later can
//! take it. Turns go round by client, not by request: one that asks for a thousand things at once waits behind itself.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use crate::networks::household;

/// How many requests may wait.
const MOST: usize = 1_000;

/// How many requests the app is handed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concurrency {
    /// So many.
    Fixed(NonZeroUsize),
    /// As many as it says that it has threads, and any number until it says so.
    Reported,
}

/// All places, those that are taken and those that are not.
#[derive(Clone, Debug)]
pub(super) struct Places(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    limit: usize,
    taken: usize,
    waiting: usize,
    tickets: u64,
    /// Who waits, by client, the first to come at the front.
    lines: HashMap<IpAddr, VecDeque<Waiter>>,
    /// Whose turn it is; each client that waits stands here once.
    turns: VecDeque<IpAddr>,
}

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    place: oneshot::Sender<Place>,
}

/// A place at the app, until it is dropped.
#[derive(Debug)]
pub(super) struct Place(Option<Places>);

/// What one gets who wants a place.
#[derive(Debug)]
pub(super) enum Admission {
    Place(Place),
    Waits(Waiting),
    /// Too many wait already.
    Full,
}

/// One who waits for a place, until it is dropped.
#[derive(Debug)]
pub(super) struct Waiting {
    places: Places,
    client: IpAddr,
    ticket: u64,
    place: oneshot::Receiver<Place>,
}

impl Places {
    /// As many as `concurrency` says.
    pub(super) fn new(concurrency: Concurrency) -> Self {
        let limit = match concurrency {
            Concurrency::Fixed(limit) => limit.get(),
            Concurrency::Reported => usize::MAX,
        };
        Self(Arc::new(Mutex::new(State {
            limit,
            taken: 0,
            waiting: 0,
            tickets: 0,
            lines: HashMap::new(),
            turns: VecDeque::new(),
        })))
    }

    /// From here on there are `limit`. Those that are too many are gone once they are given back. Whether there were not so
    /// many before.
    pub(super) fn resize(&self, limit: usize) -> bool {
        let mut state = self.lock();
        let before = std::mem::replace(&mut state.limit, limit);
        let mut next = Vec::new();
        while state.taken < limit
            && let Some(waiter) = state.call()
        {
            state.taken += 1;
            next.push(waiter);
        }
        drop(state);
        for waiter in next {
            // Whoever does not wait any more has given it back by that.
            drop(waiter.place.send(Place(Some(self.clone()))));
        }
        limit != before
    }

    /// A place for a request of `client`, or one in the line.
    pub(super) fn enter(&self, client: IpAddr) -> Admission {
        let client = household(client);
        let mut state = self.lock();
        if state.taken < state.limit {
            state.taken += 1;
            drop(state);
            return Admission::Place(Place(Some(self.clone())));
        }
        let turned_away = match state.waiting < MOST {
            true => None,
            false => match state.last_of_a_longer_line(client) {
                None => return Admission::Full,
                last => last,
            },
        };
        let (ticket, place) = state.line_up(client);
        drop(state);
        drop(turned_away);
        Admission::Waits(Waiting {
            places: self.clone(),
            client,
            ticket,
            place,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics in between.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn line_up(&mut self, client: IpAddr) -> (u64, oneshot::Receiver<Place>) {
        let (place, taken) = oneshot::channel();
        let ticket = self.tickets;
        self.tickets += 1;
        self.waiting += 1;
        let line = self.lines.entry(client).or_default();
        if line.is_empty() {
            self.turns.push_back(client);
        }
        line.push_back(Waiter { ticket, place });
        (ticket, taken)
    }

    /// Whose turn it is.
    fn call(&mut self) -> Option<Waiter> {
        let client = self.turns.pop_front()?;
        let line = self.lines.get_mut(&client)?;
        let waiter = line.pop_front()?;
        if line.is_empty() {
            self.lines.remove(&client);
        } else {
            self.turns.push_back(client);
        }
        self.waiting -= 1;
        Some(waiter)
    }

    /// Takes the last out of the longest line, if that stays no shorter than `client`'s will be.
    fn last_of_a_longer_line(&mut self, client: IpAddr) -> Option<Waiter> {
        let own = self.lines.get(&client).map_or(0, VecDeque::len);
        let longest = self.lines.iter().max_by_key(|(_, line)| line.len());
        let (other, line) = longest.filter(|(_, line)| line.len() > own + 1)?;
        let (other, ticket) = (*other, line.back()?.ticket);
        self.leave(other, ticket)
    }

    fn leave(&mut self, client: IpAddr, ticket: u64) -> Option<Waiter> {
        let line = self.lines.get_mut(&client)?;
        let at = line.binary_search_by_key(&ticket, |waiter| waiter.ticket);
        let waiter = line.remove(at.ok()?)?;
        if line.is_empty() {
            self.lines.remove(&client);
            self.turns.retain(|turn| *turn != client);
        }
        self.waiting -= 1;
        Some(waiter)
    }
}

impl Waiting {
    /// The place, when it is one's turn; none if one was turned away for others.
    pub(super) async fn turn(mut self) -> Option<Place> {
        (&mut self.place).await.ok()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let left = self.places.lock().leave(self.client, self.ticket);
        // Only now, as it wakes somebody.
        drop(left);
    }
}

impl Drop for Place {
    /// Gives it to the next in turn.
    fn drop(&mut self) {
        while let Some(places) = self.0.take() {
            let mut state = places.lock();
            let is_wanted = state.taken <= state.limit;
            let Some(next) = is_wanted.then(|| state.call()).flatten() else {
                state.taken -= 1;
                return;
            };
            drop(state);
            if let Err(mut back) = next.place.send(Self(Some(places))) {
                // It has just left: the next one.
                self.0 = back.0.take();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use proptest::prelude::*;
    use tokio::runtime::Builder;

    use super::*;

    fn places(limit: usize) -> Places {
        Places::new(Concurrency::Fixed(NonZeroUsize::new(limit).unwrap()))
    }

    fn client(number: u8) -> IpAddr {
        [192, 0, 2, number].into()
    }

    fn takes(places: &Places, number: u8) -> Place {
        match places.enter(client(number)) {
            Admission::Place(place) => place,
            other => panic!("{other:?}"),
        }
    }

    fn waits(places: &Places, number: u8) -> Waiting {
        match places.enter(client(number)) {
            Admission::Waits(waiting) => waiting,
            other => panic!("{other:?}"),
        }
    }

    fn has(waiting: &mut Waiting) -> Option<Place> {
        waiting.place.try_recv().ok()
    }

    #[test]
    fn a_place_goes_round_by_client_and_then_by_age() {
        let places = places(1);
        let mut place = takes(&places, 1);
        let mut waiting: Vec<_> = [2, 2, 2, 3, 4, 3]
            .map(|number| waits(&places, number))
            .into();
        let mut order = Vec::new();
        for _ in 0..waiting.len() {
            drop(place);
            let called = waiting.iter_mut().enumerate();
            let mut called = called.filter_map(|(at, waiting)| Some((at, has(waiting)?)));
            let (at, next) = called.next().expect("somebody's turn");
            assert!(called.next().is_none(), "and nobody else's");
            order.push(at);
            place = next;
        }
        assert_eq!(order, [0, 3, 4, 1, 5, 2]);
    }

    #[test]
    fn who_leaves_is_passed_over() {
        let places = places(1);
        let place = takes(&places, 1);
        let first = waits(&places, 2);
        let mut second = waits(&places, 2);
        drop(first);
        drop(place);
        let place = has(&mut second).expect("its turn");
        drop(second);
        drop(place);
        assert_eq!(places.lock().taken, 0);
        takes(&places, 3);
    }

    #[test]
    fn who_leaves_with_a_place_on_its_way_gives_it_back() {
        let places = places(1);
        let place = takes(&places, 1);
        let called = waits(&places, 2);
        let mut next = waits(&places, 3);
        drop(place);
        drop(called);
        assert!(has(&mut next).is_some());
    }

    #[test]
    fn a_full_line_makes_room_for_those_who_wait_less_and_for_nobody_else() {
        let places = places(1);
        let _place = takes(&places, 1);
        let mut greedy: Vec<_> = (0..MOST).map(|_| waits(&places, 2)).collect();
        assert!(matches!(places.enter(client(2)), Admission::Full));
        let _modest = waits(&places, 3);
        let last = greedy.last_mut().unwrap();
        assert!(
            last.place
                .try_recv()
                .is_err_and(|error| error == oneshot::error::TryRecvError::Closed)
        );
        assert_eq!(places.lock().waiting, MOST);
        let _equal: Vec<_> = (0..MOST / 2 - 1).map(|_| waits(&places, 3)).collect();
        assert!(matches!(places.enter(client(3)), Admission::Full));
    }

    #[test]
    fn what_is_added_is_handed_out_and_what_is_too_much_is_not_given_back() {
        let places = places(1);
        let first = takes(&places, 1);
        let mut waiting: Vec<_> = (2..6).map(|number| waits(&places, number)).collect();
        places.resize(3);
        let mut held: Vec<_> = waiting.iter_mut().filter_map(has).collect();
        assert_eq!(held.len(), 2);
        places.resize(1);
        drop(held.pop());
        drop(first);
        assert!(
            waiting.iter_mut().all(|waiting| has(waiting).is_none()),
            "one is still out"
        );
        drop(held);
        let held: Vec<_> = waiting.iter_mut().filter_map(has).collect();
        assert_eq!(held.len(), 1);
    }

    #[test]
    fn places_are_without_number_until_the_app_reports() {
        let places = Places::new(Concurrency::Reported);
        let held: Vec<_> = (0..100).map(|_| takes(&places, 1)).collect();
        places.resize(2);
        let mut waiting = waits(&places, 2);
        drop(held);
        assert!(has(&mut waiting).is_some());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Enter(u8),
        Give(usize),
        Leave(usize),
        Resize(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..5_u8).prop_map(Step::Enter),
            2 => any::<usize>().prop_map(Step::Give),
            1 => any::<usize>().prop_map(Step::Leave),
            1 => (1..6_usize).prop_map(Step::Resize),
        ]
    }

    proptest! {
        #[test]
        fn nobody_waits_while_a_place_is_free_and_none_is_ever_lost(steps in prop::collection::vec(step(), 0..80)) {
            let places = places(2);
            let (mut held, mut waiting) = (Vec::new(), Vec::new());
            for step in steps {
                match step {
                    Step::Enter(number) => match places.enter(client(number)) {
                        Admission::Place(place) => held.push(place),
                        Admission::Waits(one) => waiting.push(one),
                        Admission::Full => unreachable!("fewer steps than room"),
                    },
                    Step::Give(at) if !held.is_empty() => drop(held.swap_remove(at % held.len())),
                    Step::Leave(at) if !waiting.is_empty() => drop(waiting.swap_remove(at % waiting.len())),
                    Step::Resize(limit) => {
                        let _ = places.resize(limit);
                    }
                    Step::Give(_) | Step::Leave(_) => {}
                }
                waiting.retain_mut(|one| match has(one) {
                    Some(place) => {
                        held.push(place);
                        false
                    }
                    None => true,
                });
                let state = places.lock();
                prop_assert_eq!((state.taken, state.waiting), (held.len(), waiting.len()));
                prop_assert!(waiting.is_empty() || state.taken >= state.limit);
                let lines: usize = state.lines.values().map(VecDeque::len).sum();
                prop_assert_eq!(lines, waiting.len());
                prop_assert_eq!(state.turns.len(), state.lines.len());
            }
            drop((held, waiting));
            let state = places.lock();
            prop_assert_eq!((state.taken, state.waiting, state.lines.len()), (0, 0, 0));
        }
    }

    #[test]
    fn threads_that_take_wait_and_leave_lose_no_place() {
        let places = places(3);
        let busy = |number| {
            let runtime = Builder::new_current_thread().build().unwrap();
            for round in 0..2_000 {
                match places.enter(client(number)) {
                    Admission::Place(_) | Admission::Full => {}
                    // Some leave in the moment in which it is their turn.
                    Admission::Waits(waiting) if round % 3 == 0 => drop(waiting),
                    Admission::Waits(waiting) => drop(runtime.block_on(waiting.turn())),
                }
            }
        };
        thread::scope(|scope| {
            for number in 0..8 {
                scope.spawn(move || busy(number));
            }
        });
        let state = places.lock();
        assert_eq!((state.taken, state.waiting, state.turns.len()), (0, 0, 0));
    }
}
