//! `thrustctl purge`: what is forgotten, and what is not.

use crate::support::{Response, Thrust};

fn caching() -> Thrust {
    Thrust::builder().controlled().start()
}

/// Asks for a response of an hour that has these fields.
fn get(thrust: &Thrust, path: &str, fields: &str) -> Response {
    let mut client = thrust.connect();
    let answer = format!("answer: cache-control: public, max-age=3600{fields}\r\n");
    client.send_head("GET", path, &answer);
    client.response()
}

#[track_caller]
fn assert_cached(thrust: &Thrust, path: &str, cached: bool) {
    let response = get(thrust, path, "");
    let said = response.field("x-cache").unwrap_or_default();
    assert_eq!(said == "hit", cached, "{path}: {:?}", response.fields);
}

fn store(thrust: &Thrust, path: &str, fields: &str) -> Response {
    let response = get(thrust, path, fields);
    assert_eq!(response.status, 200);
    assert_cached(thrust, path, true);
    response
}

#[test]
fn a_tag_takes_all_that_have_it_and_nothing_else() {
    let mut thrust = caching();
    let tagged = store(&thrust, "/named?1", " | surrogate-key: post-1 posts");
    store(&thrust, "/named?2", " | surrogate-key: post-2 posts");
    store(&thrust, "/named?3", " | cache-tag: post-1,home page");
    store(&thrust, "/named?4", " | surrogate-key: POST-1 post-11");
    store(&thrust, "/named?5", "");
    // A CDN before us may need it.
    assert_eq!(tagged.field("surrogate-key"), Some("post-1 posts".into()));

    assert_eq!(
        thrust.do_control(&["purge", "tag", "post-1"]),
        "2 responses purged\n"
    );
    for (path, cached) in [
        ("1", false),
        ("2", true),
        ("3", false),
        ("4", true),
        ("5", true),
    ] {
        assert_cached(&thrust, &format!("/named?{path}"), cached);
    }
    store(&thrust, "/named?6", " | cache-tag: post-1,home page");
    let purged = thrust.do_control(&["purge", "tag", "posts", "home page", "nothing"]);
    assert_eq!(purged, "2 responses purged\n");
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn variants_are_purged_one_by_one() {
    let mut thrust = caching();
    for (language, tag) in [("de", "a"), ("en", "b")] {
        let mut client = thrust.connect();
        let fields = format!(
            "accept-language: {language}\r\nanswer: cache-control: public, max-age=3600 | vary: accept-language | cache-tag: {tag}\r\n"
        );
        client.send_head("GET", "/named", &fields);
        assert_eq!(client.response().status, 200);
    }
    assert_eq!(
        thrust.do_control(&["purge", "tag", "a"]),
        "1 responses purged\n"
    );
    for (language, cached) in [("de", "miss"), ("en", "hit")] {
        let mut client = thrust.connect();
        client.send_head("GET", "/named", &format!("accept-language: {language}\r\n"));
        assert_eq!(
            client.response().field("x-cache"),
            Some(cached.into()),
            "{language}"
        );
    }
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn a_url_is_purged_with_its_query_and_nothing_beside_it() {
    let mut thrust = caching();
    store(&thrust, "/named?a", "");
    store(&thrust, "/named?ab", "");
    store(&thrust, "/named", "");
    let purge = |url: &str| thrust.do_control(&["purge", "url", url]);
    assert_eq!(
        purge("http://other.example/named?a"),
        "0 responses purged\n"
    );
    assert_eq!(purge("http://test.example/named?a"), "1 responses purged\n");
    for (path, cached) in [("/named?ab", true), ("/named", true), ("/named?a", false)] {
        assert_cached(&thrust, path, cached);
    }
    for bad in ["/named?a", "test.example", "http://", "a b"] {
        let said = thrust.control(&["purge", "url", bad]);
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.err.contains("is no absolute URL"), "{said:?}");
    }
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn all_is_all() {
    let mut thrust = caching();
    store(&thrust, "/named?1", "");
    store(&thrust, "/named?2", " | surrogate-key: a");
    assert_eq!(thrust.do_control(&["purge", "all"]), "2 responses purged\n");
    assert_cached(&thrust, "/named?1", false);
    assert_cached(&thrust, "/named?2", false);
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn what_was_asked_for_before_a_purge_is_not_stored_after_it() {
    for purge in [
        &["purge", "tag", "a"][..],
        &["purge", "url", "http://test.example/named?gate=g"],
        &["purge", "all"],
    ] {
        let mut thrust = caching();
        // Known to be storable, so that it is kept as it passes.
        let mut client = thrust.connect();
        client.send_head(
            "GET",
            "/named?gate=g",
            "answer: cache-control: public, max-age=3600 | surrogate-key: b a\r\n",
        );
        thrust.wait_for_child_line("waiting g");
        thrust.do_control(purge);
        thrust.open_gate("g");
        assert_eq!(client.response().status, 200);
        assert_cached(&thrust, "/named?gate=g", false);
        assert_cached(&thrust, "/named?gate=g", true);
        assert_eq!(thrust.stop(), 143);
    }
}

#[test]
fn a_purge_of_another_tag_is_nothing_to_what_is_on_its_way() {
    let mut thrust = caching();
    let mut client = thrust.connect();
    client.send_head(
        "GET",
        "/named?gate=g",
        "answer: cache-control: public, max-age=3600 | surrogate-key: a\r\n",
    );
    thrust.wait_for_child_line("waiting g");
    thrust.do_control(&["purge", "tag", "b"]);
    thrust.open_gate("g");
    assert_eq!(client.response().status, 200);
    assert_cached(&thrust, "/named?gate=g", true);
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn where_there_is_no_cache_there_is_nothing_to_purge() {
    let mut thrust = Thrust::builder()
        .controlled()
        .env("CACHE_SIZE", "0")
        .start();
    let said = thrust.control(&["purge", "all"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("there is no cache"), "{said:?}");
    assert_eq!(thrust.stop(), 143);
}
