//! The cache under load: racing clients, little room, and never a wrong byte.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Barrier, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use crate::support::{
    Builder, Client, PATIENCE, Response, Thrust, eventually, millis, seconds, unread,
};

/// What the app is asked.
struct Question {
    /// From 0.
    number: usize,
    head: Vec<String>,
}

impl Question {
    fn target(&self) -> &str {
        self.head[0].split(' ').nth(1).expect("a request line")
    }

    /// The value of a field, or nothing.
    fn field(&self, name: &str) -> &str {
        let fields = self.head.iter().filter_map(|line| line.split_once(": "));
        let mut values = fields.filter(|(found, _)| *found == name);
        values.next().map_or("", |(_, value)| value)
    }
}

type Answer = dyn Fn(&Question) -> Vec<u8> + Send + Sync;

/// Thrust in front of an app that is a closure, and how often the app has been asked.
fn started(
    builder: Builder,
    answer: impl Fn(&Question) -> Vec<u8> + Send + Sync + 'static,
) -> (Thrust, Arc<AtomicUsize>) {
    let builder = builder
        .tcp()
        .command(["sleep", "600"])
        .env("LOG_REQUESTS", "0");
    let port = builder.target_port().number();
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is reserved");
    let asked = Arc::new(AtomicUsize::new(0));
    let (count, answer): (_, Arc<Answer>) = (Arc::clone(&asked), Arc::new(answer));
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let (count, answer) = (Arc::clone(&count), Arc::clone(&answer));
            thread::spawn(move || serve(&stream, &count, &*answer));
        }
    });
    (builder.start(), asked)
}

/// Answers one request after the other.
fn serve(mut stream: &TcpStream, count: &AtomicUsize, answer: &Answer) -> Option<()> {
    let mut lines = BufReader::new(stream).lines();
    loop {
        let head: Vec<_> = lines
            .by_ref()
            .map_while(Result::ok)
            .take_while(|line| !line.is_empty())
            .collect();
        if head.is_empty() {
            return None;
        }
        let number = count.fetch_add(1, SeqCst);
        stream.write_all(&answer(&Question { number, head })).ok()?;
    }
}

/// A 200 with these complete lines of fields.
fn ok(fields: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\n{fields}content-length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// What each of `count` clients gets that ask for `/` at the same instant.
fn race(thrust: &Thrust, count: usize) -> Vec<Response> {
    let (port, start) = (thrust.port(), Arc::new(Barrier::new(count)));
    let clients = (0..count).map(|_| {
        let start = Arc::clone(&start);
        thread::spawn(move || {
            let mut client = Client::connect(port);
            start.wait();
            client.get("/")
        })
    });
    let clients: Vec<_> = clients.collect();
    let responses = clients
        .into_iter()
        .map(|client| client.join().expect("clients do not panic"));
    responses.collect()
}

#[test]
fn a_hundred_clients_race_on_a_cold_key_and_all_get_it_whole() {
    let body = b"0123456789".repeat(10_000);
    let expected = body.clone();
    let (mut thrust, asked) = started(Thrust::builder(), move |_| {
        thread::sleep(millis(20));
        ok("cache-control: public, max-age=60\r\n", &body)
    });
    for response in race(&thrust, 100) {
        assert_eq!((response.status, response.body == expected), (200, true));
    }
    let cold = asked.load(SeqCst);
    for response in race(&thrust, 100) {
        assert_eq!(response.field("x-cache").as_deref(), Some("hit"));
        assert!(response.body == expected);
    }
    assert_eq!(asked.load(SeqCst), cold);
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn a_hundred_clients_race_on_a_stale_key_and_the_app_is_asked_once() {
    let (mut thrust, asked) = started(Thrust::builder(), |question| {
        if question.number == 0 {
            return ok(
                "cache-control: public, max-age=60\r\nage: 100\r\netag: \"1\"\r\n",
                b"old",
            );
        }
        // Time enough for all to ask who would.
        thread::sleep(millis(500));
        ok("cache-control: public, max-age=60\r\n", b"new")
    });
    assert_eq!(thrust.get("/").text(), "old");
    for response in race(&thrust, 100) {
        assert_eq!((response.status, response.text().as_str()), (200, "new"));
    }
    assert_eq!(asked.load(SeqCst), 2);
    assert_eq!(thrust.stop(), 143);
}

/// Open once `target` have come; says whether they have in time.
#[derive(Default)]
struct Turnstile(Mutex<usize>, Condvar);

impl Turnstile {
    fn pass(&self, target: usize, patience: Duration) -> bool {
        let mut come = self.0.lock().expect("nobody panics here");
        *come += 1;
        self.1.notify_all();
        let few = |come: &mut usize| *come < target;
        let waited = self.1.wait_timeout_while(come, patience, few);
        !waited.expect("nobody panics here").1.timed_out()
    }
}

#[test]
fn who_asks_for_what_is_not_stored_does_not_wait_for_others() {
    for fields in [
        "",
        "cache-control: no-store\r\n",
        "cache-control: private, max-age=60\r\n",
        "cache-control: public, max-age=60\r\nset-cookie: id=1\r\n",
    ] {
        let turnstile = Turnstile::default();
        let (mut thrust, _) = started(Thrust::builder(), move |question| {
            // Once it is known what it is, all must be here before one is answered.
            let met = question.number == 0 || turnstile.pass(20, PATIENCE);
            ok(fields, if met { b"met" } else { b"alone" })
        });
        assert_eq!(thrust.get("/").text(), "met");
        let begin = Instant::now();
        for response in race(&thrust, 20) {
            assert_eq!(response.text(), "met", "{fields:?}");
        }
        assert!(begin.elapsed() < PATIENCE, "{fields:?}");
        assert_eq!(thrust.stop(), 143);
    }
}

/// A key that is known to be stored, and is stale: `first` has been given out for it.
const STALE: &str = "cache-control: public, max-age=60\r\nage: 100\r\netag: \"1\"\r\n";

#[test]
fn who_waits_for_another_does_not_get_what_was_for_that_one_alone() {
    for fields in [
        "cache-control: public, max-age=60\r\nset-cookie: id=1\r\n",
        "cache-control: private, max-age=60\r\n",
        "cache-control: no-store\r\n",
        "cache-control: public, max-age=60\r\nvary: *\r\n",
    ] {
        let (mut thrust, asked) = started(Thrust::builder(), move |question| {
            if question.number == 0 {
                return ok(STALE, b"first");
            }
            thread::sleep(millis(200));
            ok(fields, format!("for number {}", question.number).as_bytes())
        });
        assert_eq!(thrust.get("/").text(), "first");
        let texts: BTreeSet<_> = race(&thrust, 20).iter().map(Response::text).collect();
        assert_eq!(texts.len(), 20, "{fields:?}: each its own");
        assert_eq!(asked.load(SeqCst), 21);
        assert_eq!(thrust.stop(), 143);
    }
}

#[test]
fn who_waits_for_another_gets_its_own_variant() {
    let (mut thrust, _) = started(Thrust::builder(), |question| {
        let vary = "vary: accept-language\r\n";
        if question.number == 0 {
            return ok(&format!("{STALE}{vary}"), b"first");
        }
        thread::sleep(millis(100));
        ok(
            &format!("cache-control: public, max-age=60\r\n{vary}"),
            question.field("accept-language").as_bytes(),
        )
    });
    assert_eq!(thrust.get("/").text(), "first");
    let (port, start) = (thrust.port(), Arc::new(Barrier::new(20)));
    let clients = (0..20).map(|number| {
        let start = Arc::clone(&start);
        thread::spawn(move || {
            let mut client = Client::connect(port);
            start.wait();
            let fields = format!("accept-language: l{}\r\n", number % 4);
            client.send_head("GET", "/", &fields);
            (number % 4, client.response())
        })
    });
    let clients: Vec<_> = clients.collect();
    for client in clients {
        let (language, response) = client.join().expect("clients do not panic");
        assert_eq!(response.text(), format!("l{language}"));
    }
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn a_change_ends_what_is_still_on_its_way() {
    let gate = Arc::new(Turnstile::default());
    let opened = Arc::clone(&gate);
    let (mut thrust, asked) = started(Thrust::builder(), move |question| {
        match question.number {
            0 => drop(gate.pass(2, PATIENCE)),
            _ => return ok("cache-control: public, max-age=60\r\n", b"after"),
        }
        ok("cache-control: public, max-age=60\r\n", b"before")
    });
    let mut reader = thrust.connect();
    reader.send_get("/");
    assert!(eventually(PATIENCE, || asked.load(SeqCst) == 1));
    assert_eq!(thrust.connect().post("/", b"").status, 200);
    opened.pass(2, PATIENCE);
    assert_eq!(reader.response().text(), "before");
    assert_eq!(thrust.get("/").text(), "after");
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn the_fill_goes_on_when_the_client_that_caused_it_leaves() {
    let gate = Arc::new(Turnstile::default());
    let opened = Arc::clone(&gate);
    let (mut thrust, asked) = started(Thrust::builder(), move |question| {
        if question.number == 0 {
            return ok(
                "cache-control: public, max-age=60\r\nage: 100\r\netag: \"1\"\r\n",
                b"old",
            );
        }
        gate.pass(2, PATIENCE);
        ok("cache-control: public, max-age=60\r\n", b"new")
    });
    assert_eq!(thrust.get("/").text(), "old");
    let mut leader = thrust.connect();
    leader.send_get("/");
    assert!(eventually(PATIENCE, || asked.load(SeqCst) == 2));
    let mut follower = thrust.connect();
    follower.send_get("/");
    let peer = follower.stream().local_addr().expect("connected").port();
    let is_read = || unread(thrust.port(), peer) == Some(0);
    assert!(eventually(PATIENCE, is_read), "the follower waits");
    drop(leader);
    opened.pass(2, PATIENCE);
    assert_eq!(follower.response().text(), "new");
    let last = thrust.get("/");
    assert_eq!(last.field("x-cache").as_deref(), Some("hit"));
    assert_eq!(last.text(), "new");
    assert_eq!(asked.load(SeqCst), 2);
    assert_eq!(thrust.stop(), 143);
}

/// Numbers by chance that are the same in each run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// The one right body of a host and a target: a checksum of both, spun out into letters, up to 4 KB of them.
fn page(host: &str, target: &str) -> Vec<u8> {
    let sum = host.bytes().chain(target.bytes());
    let sum = sum.fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut chance = Chance(sum | 1);
    let length = chance.below(4_000);
    let name = format!("{host}{target} ").into_bytes();
    let letters = (0..length).map(|_| b"abcdefghijklmnop"[chance.below(16) as usize]);
    name.into_iter().chain(letters).collect()
}

/// What came of the requests of one client, by X-Cache.
type Account = BTreeMap<String, usize>;

/// Asks for pages by chance, more often for some than for others, in all codings and ranges, and looks at each byte.
fn reader(port: u16, seed: u64, end: Instant) -> Account {
    let mut chance = Chance(seed);
    let mut account = Account::new();
    let mut client = Client::connect(port);
    while Instant::now() < end {
        let most = [20, 200, 2_000][chance.below(3) as usize];
        let target = format!("/{}", chance.below(most));
        let host = ["a.example", "b.example"][chance.below(2) as usize];
        let coding = ["", "", "", "", "", "gzip", "br", "zstd"][chance.below(8) as usize];
        let whole = page(host, &target);
        let first = chance.below(whole.len() as u64) as usize;
        let range = match chance.below(8) {
            0 => format!("range: bytes={first}-\r\n"),
            _ => String::new(),
        };
        let fields = format!("host: {host}\r\naccept-encoding: {coding}\r\n{range}");
        client.send_bare_head("GET", &target, &fields);
        let response = client.response();
        let body = response.decoded().expect("coded as it says");
        let right = match response.status {
            206 => body == whole[first..],
            status => status == 200 && body == whole,
        };
        assert!(
            right,
            "{host}{target} {coding} {range}: {:?}",
            response.fields
        );
        let cache = response.field("x-cache").unwrap_or_default();
        *account.entry(cache).or_default() += 1;
    }
    account
}

#[test]
fn under_pressure_nobody_gets_a_wrong_byte_or_another_hosts_page() {
    let builder = Thrust::builder().env("CACHE_SIZE", "1MB");
    let (mut thrust, asked) = started(builder, |question| {
        let fields =
            "cache-control: public, max-age=60\r\ncontent-type: text/css\r\netag: \"1\"\r\n";
        ok(fields, &page(question.field("host"), question.target()))
    });
    let (port, end) = (thrust.port(), Instant::now() + seconds(3));
    let readers = (1..=8).map(|seed| thread::spawn(move || reader(port, seed * 7919, end)));
    let readers: Vec<_> = readers.collect();
    let mut all = Account::new();
    for reader in readers {
        for (cache, count) in reader.join().expect("every byte is right") {
            *all.entry(cache).or_default() += count;
        }
    }
    // 4,000 pages of 2 KB do not fit: the store was full, and things left it.
    let (hits, asked) = (all.get("hit").copied().unwrap_or(0), asked.load(SeqCst));
    assert!(hits > 200 && asked > 400, "{all:?}, asked {asked} times");
    assert_eq!(thrust.stop(), 143);
}
