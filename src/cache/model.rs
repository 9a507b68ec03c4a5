//! The cache held against a model of it: a list of all that was ever stored.
//!
//! The model knows what may be answered, not what must be kept: of what is stored it only demands what came last.

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use proptest::{collection::vec, prelude::*, sample::select};

use super::{
    Asked, Cache, Found, Keys, Question, Reuse, Settings, Stored, Target, Times, decide, judge,
};

/// A request, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Get {
    host: &'static str,
    path: &'static str,
    a: &'static str,
    b: &'static str,
}

/// An answer of the app's.
#[derive(Clone, Debug)]
struct Answer {
    control: &'static str,
    lifetime: u64,
    vary: &'static [&'static str],
    tags: &'static str,
}

#[derive(Clone, Debug)]
enum Step {
    /// Asks the cache, and the app if there is nothing.
    Ask(Get, Answer),
    /// The app is asked whatever there is.
    Fetch(Get, Answer),
    Invalidate(Get),
    PurgeUri(Get),
    Purge(&'static str),
    /// A tag is purged while the app is being asked.
    PurgeMeanwhile(&'static str, Get, Answer),
    Pass(u64),
}

/// What the model remembers of a response.
struct Entry {
    to: Get,
    vary: &'static [&'static str],
    tags: &'static str,
    body: Bytes,
    until: Instant,
}

impl Answer {
    fn has_tag(&self, tag: &str) -> bool {
        has_tag(self.tags, tag)
    }
}

fn has_tag(tags: &str, tag: &str) -> bool {
    tags.split(' ').any(|one| one == tag)
}

impl Get {
    fn headers(&self) -> HeaderMap {
        [("x-a", self.a), ("x-b", self.b)]
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .into_iter()
            .collect()
    }

    fn target(&self) -> Target<'_> {
        Target {
            scheme: b"http",
            host: self.host.as_bytes(),
            forwarded_host: None,
            path: self.path,
        }
    }

    fn same_uri(&self, other: &Self) -> bool {
        (self.host, self.path) == (other.host, other.path)
    }

    fn field(&self, name: &str) -> &str {
        if name == "x-a" { self.a } else { self.b }
    }
}

impl Entry {
    /// RFC 9111 section 4.1.
    fn answers(&self, get: &Get) -> bool {
        let same = |name: &&str| self.to.field(name) == get.field(name);
        self.to.same_uri(get) && self.vary.iter().all(same)
    }
}

fn get() -> impl Strategy<Value = Get> {
    let hosts = select(vec!["a.example", "b.example"]);
    let paths = select(vec!["/", "/p", "/p?q"]);
    let values = || select(vec!["1", "2"]);
    (hosts, paths, values(), values()).prop_map(|(host, path, a, b)| Get { host, path, a, b })
}

fn answer() -> impl Strategy<Value = Answer> {
    let controls = select(vec![
        ("max-age=5", 5),
        ("max-age=60, s-maxage=20", 20),
        ("public, max-age=60", 60),
        ("no-store", 0),
        ("private, max-age=60", 0),
    ]);
    let varies: Vec<&'static [&'static str]> = vec![&[], &[], &["x-a"], &["x-b"], &["x-a", "x-b"]];
    let tags = select(vec!["", "t", "t u", "u"]);
    (controls, select(varies), tags).prop_map(|((control, lifetime), vary, tags)| Answer {
        control,
        lifetime,
        vary,
        tags,
    })
}

fn tag() -> impl Strategy<Value = &'static str> {
    select(vec!["t", "u", "T"])
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (get(), answer()).prop_map(|(get, answer)| Step::Ask(get, answer)),
        2 => (get(), answer()).prop_map(|(get, answer)| Step::Fetch(get, answer)),
        1 => get().prop_map(Step::Invalidate),
        1 => get().prop_map(Step::PurgeUri),
        1 => tag().prop_map(Step::Purge),
        1 => (tag(), get(), answer()).prop_map(|(tag, get, answer)| Step::PurgeMeanwhile(tag, get, answer)),
        2 => (0u64..30).prop_map(Step::Pass),
    ]
}

/// The cache and its model, side by side.
struct Pair {
    cache: Cache,
    entries: Vec<Entry>,
    now: Instant,
    date: SystemTime,
    count: u32,
}

impl Pair {
    fn new() -> Self {
        Self {
            cache: Cache::new(Settings {
                size: 1 << 20,
                max_item_size: 1 << 10,
                require_public: false,
            }),
            entries: Vec::new(),
            now: Instant::now(),
            date: SystemTime::now(),
            count: 0,
        }
    }

    fn keys(&self, get: &Get) -> Keys {
        let mut keys = Keys::default();
        self.cache
            .write_keys(&get.target(), &get.headers(), false, &mut keys);
        keys
    }

    /// What the cache has, found to be right; none where the app is to be asked.
    fn find(&self, get: &Get) -> Option<Bytes> {
        let mut keys = self.keys(get);
        let Found::Stored(stored) = self.cache.find(&mut keys, &get.headers()) else {
            return None;
        };
        let place = self
            .entries
            .iter()
            .position(|entry| entry.body == stored.body);
        let place = place.expect("it was stored, and not invalidated since");
        let entry = &self.entries[place];
        assert!(
            entry.answers(get),
            "{get:?} got the answer to {:?}",
            entry.to
        );
        let newer = self.entries[place + 1..]
            .iter()
            .find(|newer| newer.to == *get);
        assert!(newer.is_none(), "{get:?} has a newer answer");
        let fresh = decide(&stored.terms, &Asked::default(), self.now) == Reuse::Fresh;
        assert_eq!(fresh, self.now < entry.until, "{get:?}");
        fresh.then(|| stored.body.clone())
    }

    fn fetch(&mut self, get: &Get, answer: &Answer) {
        self.fetch_while(get, answer, |_| false);
    }

    /// What is done in between tells whether it is in the way of what comes.
    fn fetch_while(&mut self, get: &Get, answer: &Answer, between: impl FnOnce(&mut Self) -> bool) {
        self.count += 1;
        let body = Bytes::from(self.count.to_string());
        let mut headers = HeaderMap::new();
        headers.insert("cache-control", HeaderValue::from_static(answer.control));
        for name in answer.vary {
            headers.append("vary", HeaderValue::from_static(name));
        }
        if !answer.tags.is_empty() {
            headers.insert("surrogate-key", HeaderValue::from_static(answer.tags));
        }
        let times = || Times {
            asked: self.now,
            answered: self.now,
            date: self.date,
        };
        let (settings, question) = (self.cache.settings(), Question::default());
        let judged = judge(settings, &question, StatusCode::OK, &headers, times);
        assert_eq!(judged.is_ok(), answer.lifetime > 0, "{answer:?}");
        let Ok((_, terms)) = judged else { return };
        let keys = self.keys(get);
        let overtaken = between(self);
        let place = self.cache.place(&keys, Some(&get.headers()), &headers);
        let place = place.expect("it varies with little");
        let stored = Stored::of(&self.cache, StatusCode::OK, &headers, body.clone(), terms);
        self.cache.put(&place, &stored.into());
        if overtaken {
            assert_ne!(self.find(get), Some(body), "it was purged");
            return;
        }
        self.entries.push(Entry {
            to: get.clone(),
            vary: answer.vary,
            tags: answer.tags,
            body: body.clone(),
            until: self.now + Duration::from_secs(answer.lifetime),
        });
        assert_eq!(self.find(get), Some(body), "what came last is there");
    }

    fn purge(&mut self, tag: &str) {
        self.cache.purge_tags(&[tag]);
        self.entries.retain(|entry| !has_tag(entry.tags, tag));
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Ask(get, answer) => {
                if self.find(get).is_none() {
                    self.fetch(get, answer);
                }
            }
            Step::Fetch(get, answer) => self.fetch(get, answer),
            Step::Invalidate(get) => {
                self.cache.invalidate(&self.keys(get));
                self.entries.retain(|entry| !entry.to.same_uri(get));
                assert_eq!(self.find(get), None);
            }
            Step::PurgeUri(get) => {
                self.cache.purge_uri(&get.target());
                self.entries.retain(|entry| !entry.to.same_uri(get));
                assert_eq!(self.find(get), None);
            }
            Step::Purge(tag) => self.purge(tag),
            Step::PurgeMeanwhile(tag, get, answer) => {
                self.fetch_while(get, answer, |pair| {
                    pair.purge(tag);
                    answer.has_tag(tag)
                });
            }
            Step::Pass(seconds) => {
                self.now += Duration::from_secs(*seconds);
                self.date += Duration::from_secs(*seconds);
            }
        }
    }
}

proptest! {
    #[test]
    fn nothing_is_answered_that_the_model_does_not_allow(steps in vec(step(), 1..80)) {
        let mut pair = Pair::new();
        for step in &steps {
            pair.run(step);
        }
    }
}
