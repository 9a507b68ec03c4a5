//! The cache: what is stored and what is not, for whom, and what its answers say.

use std::{
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    thread,
};

use crate::support::{AppConnection, AppRequest, Client, Response, Thrust};

pub(crate) fn played() -> Thrust {
    Thrust::builder().played().start()
}

/// Without Thruster's gate.
pub(crate) fn open() -> Thrust {
    Thrust::builder()
        .played()
        .env("THRUSTER_CACHE_REQUIRE_PUBLIC", "0")
        .start()
}

/// An answer of the app's with these lines; no connection is used twice.
pub(crate) fn answer(app: &mut AppConnection, status: &str, lines: &str, body: &str) {
    let length = body.len();
    app.send(format!(
        "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n{lines}\r\n{body}"
    ));
}

/// A GET that the app is asked, and answers.
pub(crate) fn asked(
    thrust: &Thrust,
    target: &str,
    lines: &str,
    answer_lines: &str,
    body: &str,
) -> (AppRequest, Response) {
    asked_with(thrust, "GET", target, lines, "200 OK", answer_lines, body)
}

pub(crate) fn asked_with(
    thrust: &Thrust,
    method: &str,
    target: &str,
    lines: &str,
    status: &str,
    answer_lines: &str,
    body: &str,
) -> (AppRequest, Response) {
    let mut client = thrust.connect();
    client.send_head(method, target, lines);
    let (mut app, request) = thrust.app().request();
    answer(&mut app, status, answer_lines, body);
    (request, client.response())
}

/// A GET that the cache answers: nobody plays the app.
pub(crate) fn cached(thrust: &Thrust, target: &str, lines: &str) -> Response {
    let mut client = thrust.connect();
    client.send_head("GET", target, lines);
    let response = client.response();
    assert_ne!(x_cache(&response), "miss");
    response
}

pub(crate) fn x_cache(response: &Response) -> String {
    response.field("x-cache").unwrap_or_default()
}

pub(crate) fn cache_status(response: &Response) -> String {
    response.field("cache-status").unwrap_or_default()
}

pub(crate) const FRESH: &str = "cache-control: public, max-age=600\r\n";

#[test]
fn what_says_public_is_stored_and_answers_from_then_on() {
    let thrust = played();
    let (_, first) = asked(&thrust, "/a", "", &format!("{FRESH}x-mine: 1\r\n"), "hello");
    assert_eq!(x_cache(&first), "miss");
    assert_eq!(cache_status(&first), "Thrust; fwd=uri-miss; stored");
    for _ in 0..3 {
        let hit = cached(&thrust, "/a", "");
        assert_eq!((hit.status, hit.text().as_str()), (200, "hello"));
        assert_eq!(x_cache(&hit), "hit");
        assert!(
            cache_status(&hit).starts_with("Thrust; hit; ttl="),
            "{hit:?}"
        );
        assert_eq!(hit.field("x-mine").unwrap(), "1");
        assert_eq!(hit.field("content-length").unwrap(), "5");
        assert!(hit.field("age").unwrap().parse::<u64>().unwrap() < 60);
        assert!(hit.field("date").is_some());
    }
}

#[test]
fn the_log_says_what_the_cache_did() {
    let thrust = played();
    asked(&thrust, "/a", "", FRESH, "a");
    cached(&thrust, "/a", "");
    // Two connections, whose cores do not wait for each other's lines.
    for word in ["miss", "hit"] {
        let said = thrust.find(crate::support::PATIENCE, |record| {
            record.message() == "Request" && record.field("cache") == word
        });
        assert!(said.is_some(), "{word}");
    }
    assert_eq!(thrust.count("Request"), 2);
}

#[test]
fn nothing_else_is_stored_and_the_status_says_why() {
    let thrust = played();
    for (status, lines, reason) in [
        ("200 OK", "", "not-public"),
        ("200 OK", "cache-control: max-age=600\r\n", "not-public"),
        ("200 OK", "cache-control: public\r\n", "not-fresh"),
        (
            "200 OK",
            "cache-control: public, no-store, max-age=600\r\n",
            "no-store",
        ),
        (
            "200 OK",
            "cache-control: public, max-age=600, private\r\n",
            "private",
        ),
        (
            "200 OK",
            "cache-control: public, max-age=600\r\nvary: *\r\n",
            "vary",
        ),
        (
            "200 OK",
            "cache-control: public, max-age=600\r\nage: 600\r\n",
            "not-fresh",
        ),
        ("206 Partial Content", FRESH, "status"),
        ("429 Too Many Requests", FRESH, "status"),
    ] {
        for _ in 0..2 {
            let (_, response) = asked_with(&thrust, "GET", "/a", "", status, lines, "x");
            assert_eq!(
                cache_status(&response),
                format!("Thrust; fwd=uri-miss; detail={reason}")
            );
        }
    }
    for (lines, reason) in [
        ("cache-control: no-store\r\n", "request-no-store"),
        ("range: bytes=0-0\r\n", "range"),
    ] {
        let (_, response) = asked(&thrust, "/a", lines, FRESH, "x");
        assert!(cache_status(&response).ends_with(reason), "{response:?}");
    }
}

#[test]
fn a_cookie_is_delivered_and_never_stored() {
    let thrust = played();
    let lines = format!("{FRESH}set-cookie: a=b\r\nset-cookie: c=d\r\n");
    for _ in 0..2 {
        let (_, response) = asked(&thrust, "/a", "", &lines, "x");
        assert_eq!(response.field("set-cookie").unwrap(), "a=b, c=d");
        assert_eq!(
            cache_status(&response),
            "Thrust; fwd=uri-miss; detail=set-cookie"
        );
    }
    let (_, response) = asked(&thrust, "/a", "", FRESH, "x");
    assert!(response.field("set-cookie").is_none());
    assert!(cached(&thrust, "/a", "").field("set-cookie").is_none());
}

#[test]
fn without_the_gate_freshness_is_guessed() {
    let thrust = open();
    let old = "last-modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    asked(&thrust, "/a", "", old, "x");
    assert_eq!(x_cache(&cached(&thrust, "/a", "")), "hit");
    let (_, first) = asked(&thrust, "/a?b", "", old, "x");
    assert_eq!(x_cache(&first), "miss");
    let (request, _) = asked(&thrust, "/a?b", "", old, "x");
    assert!(
        request.field("if-modified-since").is_some(),
        "a query is validated"
    );
}

#[test]
fn authorized_answers_are_for_others_only_when_they_say_so() {
    let thrust = open();
    let authorized = "authorization: Basic x\r\n";
    let (_, one) = asked(
        &thrust,
        "/a",
        authorized,
        "cache-control: max-age=600\r\n",
        "x",
    );
    assert_eq!(
        cache_status(&one),
        "Thrust; fwd=uri-miss; detail=authorization"
    );
    asked(
        &thrust,
        "/a",
        authorized,
        "cache-control: max-age=600, must-revalidate\r\n",
        "x",
    );
    assert_eq!(x_cache(&cached(&thrust, "/a", "")), "hit");
}

#[test]
fn head_is_answered_from_a_stored_get_and_fills_nothing() {
    let thrust = played();
    let mut client = thrust.connect();
    client.send_head("HEAD", "/a", "");
    let (mut app, request) = thrust.app().request();
    assert!(request.line.starts_with("HEAD "));
    app.send(format!(
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n{FRESH}\r\n"
    ));
    assert_eq!(
        cache_status(&client.response()),
        "Thrust; fwd=uri-miss; detail=method"
    );
    asked(&thrust, "/a", "", FRESH, "hello");
    client.send_head("HEAD", "/a", "");
    let hit = client.response();
    assert_eq!(
        (
            hit.field("content-length").unwrap().as_str(),
            hit.body.len()
        ),
        ("5", 0)
    );
    assert_eq!(x_cache(&hit), "hit");
    // And the connection goes on.
    assert_eq!(client.get("/a").text(), "hello");
}

#[test]
fn conditions_are_answered_from_the_store() {
    let thrust = played();
    let lines = format!(
        "{FRESH}etag: \"a\"\r\nlast-modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nx-mine: 1\r\n"
    );
    asked(&thrust, "/a", "", &lines, "hello");
    for (condition, status) in [
        ("if-none-match: \"a\"\r\n", 304),
        ("if-none-match: W/\"a\"\r\n", 304),
        ("if-none-match: \"b\", \"a\"\r\n", 304),
        ("if-none-match: *\r\n", 304),
        ("if-none-match: \"b\"\r\n", 200),
        ("if-modified-since: Sun, 06 Nov 1994 08:49:37 GMT\r\n", 304),
        ("if-modified-since: Sun, 06 Nov 1994 08:49:36 GMT\r\n", 200),
        (
            "if-none-match: \"b\"\r\nif-modified-since: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
            200,
        ),
    ] {
        let response = cached(&thrust, "/a", condition);
        assert_eq!(response.status, status, "{condition}");
        assert_eq!(response.field("etag").unwrap(), "\"a\"");
        assert_eq!(response.field("x-mine").unwrap(), "1");
        assert_eq!(response.field("content-length").is_some(), status == 200);
        assert_eq!(x_cache(&response), "hit");
    }
}

#[test]
fn if_match_is_for_the_app() {
    let thrust = played();
    asked(
        &thrust,
        "/a",
        "",
        &format!("{FRESH}etag: \"a\"\r\n"),
        "hello",
    );
    let (request, response) = asked(&thrust, "/a", "if-match: \"b\"\r\n", "", "x");
    assert_eq!(request.field("if-match"), Some("\"b\""));
    assert_eq!(cache_status(&response), "Thrust; fwd=request");
}

#[test]
fn ranges_are_cut_from_what_is_stored() {
    let thrust = played();
    let lines = format!("{FRESH}etag: \"a\"\r\ncontent-type: text/plain\r\n");
    asked(&thrust, "/a", "", &lines, "0123456789");
    let part = cached(&thrust, "/a", "range: bytes=2-4\r\n");
    assert_eq!((part.status, part.text().as_str()), (206, "234"));
    assert_eq!(part.field("content-range").unwrap(), "bytes 2-4/10");
    assert_eq!(part.field("content-length").unwrap(), "3");
    let last = cached(&thrust, "/a", "range: bytes=-2\r\nif-range: \"a\"\r\n");
    assert_eq!((last.status, last.text().as_str()), (206, "89"));
    for whole in [
        "range: bytes=2-4\r\nif-range: \"b\"\r\n",
        "range: bytes=2-4\r\nif-range: W/\"a\"\r\n",
        "range: x=1\r\n",
    ] {
        let whole = cached(&thrust, "/a", whole);
        assert_eq!((whole.status, whole.body.len()), (200, 10));
    }
    let beyond = cached(&thrust, "/a", "range: bytes=10-\r\n");
    assert_eq!((beyond.status, beyond.body.len()), (416, 0));
    assert_eq!(beyond.field("content-range").unwrap(), "bytes */10");
    let both = cached(&thrust, "/a", "range: bytes=0-1, 7-9\r\n");
    assert_eq!(both.status, 206);
    let kind = both.field("content-type").unwrap();
    let boundary = kind
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap();
    let text = both.text();
    let parts: Vec<_> = text.split(&format!("--{boundary}")).collect();
    assert!(
        parts[1].ends_with("Content-Range: bytes 0-1/10\r\n\r\n01\r\n"),
        "{text}"
    );
    assert!(
        parts[2].ends_with("Content-Range: bytes 7-9/10\r\n\r\n789\r\n"),
        "{text}"
    );
    assert_eq!(parts[3], "--\r\n");
}

#[test]
fn variants_are_kept_apart_and_beside_each_other() {
    let thrust = played();
    let varies = format!("{FRESH}vary: Accept-Language\r\n");
    for language in ["de", "en"] {
        let lines = format!("accept-language: {language}\r\n");
        let (_, response) = asked(&thrust, "/a", &lines, &varies, language);
        let reason = if language == "de" {
            "uri-miss"
        } else {
            "vary-miss"
        };
        assert_eq!(
            cache_status(&response),
            format!("Thrust; fwd={reason}; stored")
        );
    }
    for language in ["de", "en", "de"] {
        let hit = cached(&thrust, "/a", &format!("accept-language: {language}\r\n"));
        assert_eq!(hit.text(), language);
    }
    let (_, none) = asked(&thrust, "/a", "", &varies, "none");
    assert_eq!(none.text(), "none");
    assert_eq!(cached(&thrust, "/a", "").text(), "none");
}

#[test]
fn codings_that_mean_the_same_are_one_variant() {
    let thrust = played();
    let lines = format!("{FRESH}vary: accept-encoding\r\n");
    asked(&thrust, "/a", "accept-encoding: gzip, br\r\n", &lines, "x");
    for same in ["br,gzip", "BR;q=1.0, GZIP"] {
        let hit = cached(&thrust, "/a", &format!("accept-encoding: {same}\r\n"));
        assert_eq!(x_cache(&hit), "hit");
    }
    let (_, other) = asked(&thrust, "/a", "accept-encoding: gzip;q=0\r\n", &lines, "y");
    assert_eq!(other.text(), "y");
}

#[test]
fn a_new_name_in_vary_never_gives_one_the_page_of_another() {
    let thrust = played();
    let first = format!("{FRESH}vary: accept\r\n");
    let second = format!("{FRESH}vary: x-kind\r\n");
    asked(&thrust, "/a", "accept: 1\r\n", &first, "one");
    asked(&thrust, "/a", "accept: 2\r\nx-kind: 2\r\n", &second, "two");
    let (_, third) = asked(
        &thrust,
        "/a",
        "accept: 2\r\nx-kind: 3\r\n",
        &second,
        "three",
    );
    assert_eq!(third.text(), "three");
    assert_eq!(
        cached(&thrust, "/a", "accept: 2\r\nx-kind: 2\r\n").text(),
        "two"
    );
    assert_eq!(
        cached(&thrust, "/a", "accept: 2\r\nx-kind: 3\r\n").text(),
        "three"
    );
}

#[test]
fn each_host_has_its_own() {
    let thrust = played();
    let ask = |host: &str| {
        let mut client = thrust.connect();
        client.send(format!("GET /a HTTP/1.1\r\nhost: {host}\r\n\r\n"));
        client
    };
    for host in ["a.example", "b.example", "a.example:81"] {
        let mut client = ask(host);
        let (mut app, _) = thrust.app().request();
        answer(&mut app, "200 OK", FRESH, host);
        assert_eq!(client.response().text(), host);
    }
    for (host, body) in [
        ("a.example", "a.example"),
        ("A.example:80", "a.example"),
        ("b.example", "b.example"),
        ("a.example:81", "a.example:81"),
    ] {
        let hit = ask(host).response();
        assert_eq!((x_cache(&hit).as_str(), hit.text().as_str()), ("hit", body));
    }
    // The target's authority is the Host.
    let mut client = thrust.connect();
    client.send("GET http://b.example/a HTTP/1.1\r\nhost: a.example\r\n\r\n");
    assert_eq!(client.response().text(), "b.example");
}

#[test]
fn nobody_poisons_the_page_of_another() {
    let thrust = Thrust::builder()
        .played()
        .env("THRUSTER_FORWARD_HEADERS", "1")
        .start();
    for (number, evil) in [
        "x-forwarded-host: evil.example",
        "x-forwarded-proto: https",
        "x-forwarded-port: 1",
        "x-forwarded-ssl: on",
        "x-forwarded-scheme: nothttps",
        "x-forwarded-prefix: /evil",
        "x-original-url: /evil",
        "x-rewrite-url: /evil",
        "x-http-method-override: DELETE",
        "X_Original_URL: /evil",
    ]
    .into_iter()
    .enumerate()
    {
        let target = format!("/{number}");
        let (_, response) = asked(&thrust, &target, &format!("{evil}\r\n"), FRESH, "evil");
        assert_eq!(response.text(), "evil");
        let (_, response) = asked(&thrust, &target, "", FRESH, "good");
        assert_eq!(response.text(), "good", "{evil}");
        assert_eq!(cached(&thrust, &target, "").text(), "good", "{evil}");
    }
}

#[test]
fn without_forward_headers_a_forged_host_changes_nothing() {
    let thrust = Thrust::builder()
        .played()
        .env("THRUSTER_FORWARD_HEADERS", "0")
        .start();
    asked(
        &thrust,
        "/a",
        "x-forwarded-host: evil.example\r\nx-forwarded-proto: https\r\n",
        FRESH,
        "x",
    );
    assert_eq!(x_cache(&cached(&thrust, "/a", "")), "hit");
}

#[test]
fn the_body_of_a_get_is_never_the_key_to_a_page() {
    let thrust = played();
    let mut client = thrust.connect();
    client.send_head("GET", "/a", "content-length: 4\r\n");
    client.send("evil");
    let (mut app, _) = thrust.app().request();
    assert_eq!(app.read(4), b"evil");
    answer(&mut app, "200 OK", FRESH, "evil");
    assert_eq!(cache_status(&client.response()), "Thrust; fwd=bypass");
    let (_, response) = asked(&thrust, "/a", "", FRESH, "good");
    assert_eq!(response.text(), "good");
}

#[test]
fn what_the_app_says_to_us_is_obeyed_and_goes_no_further() {
    let thrust = played();
    let lines = "cache-control: private, no-store\r\ncdn-cache-control: max-age=600\r\n";
    let (_, first) = asked(&thrust, "/a", "", lines, "x");
    let hit = cached(&thrust, "/a", "");
    for response in [&first, &hit] {
        assert!(response.field("cdn-cache-control").is_none());
        assert_eq!(
            response.field("cache-control").unwrap(),
            "private, no-store"
        );
    }
    let lines = format!("{FRESH}cdn-cache-control: no-store\r\n");
    for _ in 0..2 {
        let (_, response) = asked(&thrust, "/b", "", &lines, "x");
        assert!(response.field("cdn-cache-control").is_none());
    }
}

#[test]
fn fields_that_are_private_reach_the_first_client_only() {
    let thrust = played();
    let lines = "cache-control: public, max-age=600, private=\"x-user\"\r\nx-user: me\r\n";
    let (_, first) = asked(&thrust, "/a", "", lines, "x");
    assert_eq!(first.field("x-user").unwrap(), "me");
    assert!(cached(&thrust, "/a", "").field("x-user").is_none());
}

#[test]
fn only_if_cached_never_reaches_the_app() {
    let thrust = played();
    let mut client = thrust.connect();
    client.send_head("GET", "/a", "cache-control: only-if-cached\r\n");
    assert_eq!(client.response().status, 504);
    asked(&thrust, "/a", "", FRESH, "x");
    assert_eq!(
        cached(&thrust, "/a", "cache-control: only-if-cached\r\n").text(),
        "x"
    );
}

#[test]
fn what_changes_something_makes_us_forget_it() {
    let thrust = played();
    let fill = |target: &str| asked(&thrust, target, "", FRESH, "old");
    let change = |status: &str, lines: &str| {
        let mut client = thrust.connect();
        client.send_post("/x/a", b"");
        let (mut app, _) = thrust.app().request();
        answer(&mut app, status, lines, "");
        let response = client.response();
        assert_eq!(cache_status(&response), "Thrust; fwd=method");
        assert_eq!(x_cache(&response), "bypass");
    };
    for target in ["/x/a", "/x/b", "/c", "/d"] {
        fill(target);
    }
    change("500 Oops", "location: /c\r\n");
    assert_eq!(x_cache(&cached(&thrust, "/x/a", "")), "hit");
    change(
        "201 Created",
        "location: b\r\ncontent-location: http://test.example/c\r\n",
    );
    for target in ["/x/a", "/x/b", "/c"] {
        assert_eq!(x_cache(&fill(target).1), "miss", "{target}");
    }
    change("201 Created", "location: http://other.example/d\r\n");
    assert_eq!(x_cache(&cached(&thrust, "/d", "")), "hit");
}

#[test]
fn what_was_on_its_way_during_a_change_is_not_stored() {
    let thrust = played();
    let mut reader = thrust.connect();
    reader.send_get("/a");
    let (mut app, _) = thrust.app().request();
    let mut writer = thrust.connect();
    writer.send_post("/a", b"");
    let (mut other, _) = thrust.app().request();
    answer(&mut other, "204 No Content", "", "");
    writer.response();
    answer(&mut app, "200 OK", FRESH, "old");
    assert_eq!(reader.response().text(), "old");
    let (_, response) = asked(&thrust, "/a", "", FRESH, "new");
    assert_eq!(response.text(), "new");
    assert_eq!(cached(&thrust, "/a", "").text(), "new");
}

/// Sends what `send` sends and closes; nothing of it may be stored.
#[track_caller]
fn assert_not_stored(thrust: &Thrust, send: &str) {
    let mut client = thrust.connect();
    client.send_get("/a");
    let (mut app, _) = thrust.app().request();
    app.send(send);
    drop(app);
    let _ = client.try_response();
    let (_, response) = asked(thrust, "/a", "", "", "asked again");
    assert_eq!(response.text(), "asked again");
}

#[test]
fn what_was_cut_short_is_never_stored() {
    let thrust = played();
    assert_not_stored(
        &thrust,
        &format!("HTTP/1.1 200 OK\r\n{FRESH}content-length: 10\r\n\r\nhalf"),
    );
    assert_not_stored(
        &thrust,
        &format!("HTTP/1.1 200 OK\r\n{FRESH}transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"),
    );
    // Nobody knows whether this was all.
    assert_not_stored(
        &thrust,
        &format!("HTTP/1.1 200 OK\r\n{FRESH}\r\nall or half"),
    );
    // And what the app never said, least of all.
    assert_not_stored(&thrust, "HTTP/1.1 20");
    assert_not_stored(&thrust, "");
}

#[test]
fn what_came_in_chunks_is_stored_as_one() {
    let thrust = played();
    let mut client = thrust.connect();
    client.send_get("/a");
    let (mut app, _) = thrust.app().request();
    app.send(format!(
        "HTTP/1.1 200 OK\r\n{FRESH}transfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n4\r\nhalf\r\n"
    ));
    app.send("5\r\nwhole\r\n0\r\nx-sum: 1\r\n\r\n");
    assert_eq!(client.response().text(), "halfwhole");
    let hit = cached(&thrust, "/a", "");
    assert_eq!(hit.text(), "halfwhole");
    assert_eq!(hit.field("content-length").unwrap(), "9");
    assert!(hit.field("trailer").is_none());
}

#[test]
fn interim_answers_are_not_taken_for_the_final_one() {
    let thrust = played();
    let mut client = thrust.connect();
    client.send_get("/a");
    let (mut app, _) = thrust.app().request();
    app.send(format!(
        "HTTP/1.1 103 Early Hints\r\n{FRESH}link: </b>\r\n\r\n"
    ));
    answer(&mut app, "200 OK", FRESH, "final");
    let response = client.response();
    assert_eq!(
        (response.interim.len(), response.text().as_str()),
        (1, "final")
    );
    let hit = cached(&thrust, "/a", "");
    assert_eq!((hit.text().as_str(), hit.field("link")), ("final", None));
}

#[test]
fn what_is_too_large_passes_by() {
    let thrust = Thrust::builder()
        .played()
        .env("MAX_CACHE_ITEM_SIZE", "10")
        .start();
    for (lines, body) in [("", "12345678901".to_owned()), ("", "x".repeat(100_000))] {
        for _ in 0..2 {
            let (_, response) = asked(&thrust, "/a", "", &format!("{FRESH}{lines}"), &body);
            assert_eq!(
                cache_status(&response),
                "Thrust; fwd=uri-miss; detail=too-large"
            );
        }
    }
    asked(&thrust, "/a", "", FRESH, "1234567890");
    assert_eq!(cached(&thrust, "/a", "").text(), "1234567890");
}

#[test]
fn the_status_of_caches_before_us_stays_and_their_word_does_not() {
    let thrust = played();
    let lines = format!("{FRESH}cache-status: Origin; hit\r\nx-cache: theirs\r\n");
    let (_, first) = asked(&thrust, "/a", "", &lines, "x");
    assert_eq!(
        cache_status(&first),
        "Origin; hit, Thrust; fwd=uri-miss; stored"
    );
    assert_eq!(x_cache(&first), "miss");
    let hit = cached(&thrust, "/a", "");
    assert!(cache_status(&hit).starts_with("Origin; hit, Thrust; hit; ttl="));
}

#[test]
fn age_counts_on_from_what_the_app_says() {
    let thrust = played();
    asked(&thrust, "/a", "", &format!("{FRESH}age: 100\r\n"), "x");
    let hit = cached(&thrust, "/a", "");
    let age: i64 = hit.field("age").unwrap().parse().unwrap();
    assert!((100..150).contains(&age));
    assert_eq!(
        cache_status(&hit),
        format!("Thrust; hit; ttl={}", 600 - age)
    );
}

#[test]
fn without_a_size_there_is_no_cache() {
    let thrust = Thrust::builder().played().env("CACHE_SIZE", "0").start();
    for _ in 0..2 {
        let (_, response) = asked(
            &thrust,
            "/a",
            "",
            &format!("{FRESH}cdn-cache-control: max-age=9\r\n"),
            "x",
        );
        assert_eq!(
            (response.field("x-cache"), response.field("cache-status")),
            (None, None)
        );
        assert!(
            response.field("cdn-cache-control").is_some(),
            "for the cache that is before us"
        );
    }
}

#[test]
fn under_pressure_nobody_gets_a_byte_of_anybody_elses() {
    let thrust = Thrust::builder()
        .env("CACHE_SIZE", "1MB")
        .env("MAX_CACHE_ITEM_SIZE", "64KB")
        .start();
    let (port, hits) = (thrust.port(), AtomicUsize::new(0));
    thread::scope(|scope| {
        for seed in 0..6_u32 {
            let hits = &hits;
            scope.spawn(move || {
                let (mut client, mut random) = (Client::connect(port), seed);
                for _ in 0..400 {
                    random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let (host, number) = (random >> 8 & 3, (random >> 12 & 0xff).isqrt());
                    let target = format!("/own?n={}&number={number}", 1 + number * 1_777);
                    client.send(format!(
                        "GET {target} HTTP/1.1\r\nhost: h{host}.example\r\n\r\n"
                    ));
                    let response = client.response();
                    let own = format!("h{host}.example {target}\n");
                    assert_eq!(response.body.len(), 1 + number as usize * 1_777);
                    let expected = own.bytes().cycle();
                    assert!(
                        response
                            .body
                            .iter()
                            .copied()
                            .zip(expected)
                            .all(|(one, other)| one == other),
                        "{target}"
                    );
                    hits.fetch_add(usize::from(x_cache(&response) == "hit"), SeqCst);
                }
            });
        }
    });
    assert!(hits.load(SeqCst) > 100, "{hits:?}");
}
