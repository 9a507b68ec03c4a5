//! What is stale: validated, refreshed, or used all the same while there is no app.

use std::fs;

use crate::{
    cache::{FRESH, answer, asked, asked_with, cache_status, cached, played, x_cache},
    support::{PATIENCE, Thrust, eventually},
};

/// Stale from the first moment on: `Age` says so.
const STALE: &str = "cache-control: public, max-age=60\r\nage: 60\r\netag: \"a\"\r\nlast-modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n";

/// The same with more to say of it.
fn stale(more: &str) -> String {
    STALE.replace("max-age=60", &format!("max-age=60, {more}"))
}

#[test]
fn the_app_is_asked_whether_it_still_holds_and_its_304_makes_it_fresh() {
    let thrust = played();
    asked(&thrust, "/a", "", STALE, "hello");
    let (request, response) = asked_with(
        &thrust,
        "GET",
        "/a",
        "",
        "304 Not Modified",
        "cache-control: public, max-age=600\r\nx-new: 1\r\n",
        "",
    );
    assert_eq!(request.field("if-none-match"), Some("\"a\""));
    assert_eq!(
        request.field("if-modified-since"),
        Some("Sun, 06 Nov 1994 08:49:37 GMT")
    );
    assert_eq!((response.status, response.text().as_str()), (200, "hello"));
    assert_eq!(x_cache(&response), "revalidated");
    assert!(cache_status(&response).starts_with("Thrust; fwd=stale; fwd-status=304; ttl="));
    let hit = cached(&thrust, "/a", "");
    assert_eq!(
        (x_cache(&hit).as_str(), hit.text().as_str()),
        ("hit", "hello")
    );
    assert_eq!(hit.field("x-new").unwrap(), "1");
}

#[test]
fn the_clients_own_conditions_are_answered_afterwards() {
    let thrust = played();
    for (lines, status, body) in [
        ("if-none-match: \"a\"\r\n", 304, ""),
        ("if-none-match: \"b\"\r\n", 200, "hello"),
        ("range: bytes=1-2\r\n", 206, "el"),
        ("range: bytes=1-2\r\nif-range: \"b\"\r\n", 200, "hello"),
    ] {
        asked(&thrust, "/a", "", STALE, "hello");
        let (request, response) =
            asked_with(&thrust, "GET", "/a", lines, "304 Not Modified", "", "");
        assert_eq!(request.values("if-none-match"), ["\"a\""]);
        assert_eq!(
            (request.field("range"), request.field("if-range")),
            (None, None)
        );
        assert_eq!(
            (response.status, response.text().as_str()),
            (status, body),
            "{lines}"
        );
        asked_with(&thrust, "DELETE", "/a", "", "204 No Content", "", "");
        // Forgotten, so that the next round begins anew.
        let (_, gone) = asked(&thrust, "/a", "", "", "");
        assert_eq!(x_cache(&gone), "miss");
    }
}

#[test]
fn a_cookie_beside_the_304_is_for_its_client_alone() {
    let thrust = played();
    asked(&thrust, "/a", "", STALE, "hello");
    let lines = format!("{FRESH}set-cookie: a=b\r\n");
    let (_, response) = asked_with(&thrust, "GET", "/a", "", "304 Not Modified", &lines, "");
    assert_eq!(response.field("set-cookie").unwrap(), "a=b");
    assert!(cached(&thrust, "/a", "").field("set-cookie").is_none());
}

#[test]
fn a_304_about_something_else_is_not_believed() {
    let thrust = played();
    asked(&thrust, "/a", "", STALE, "hello");
    let mut client = thrust.connect();
    client.send_get("/a");
    let (mut app, _) = thrust.app().request();
    answer(&mut app, "304 Not Modified", "etag: \"b\"\r\n", "");
    let (mut app, request) = thrust.app().request();
    assert_eq!(request.field("if-none-match"), None);
    answer(&mut app, "200 OK", FRESH, "other");
    assert_eq!(client.response().text(), "other");
    assert_eq!(cached(&thrust, "/a", "").text(), "other");
}

#[test]
fn any_other_answer_takes_its_place() {
    let thrust = played();
    asked(&thrust, "/a", "", STALE, "old");
    let (_, response) = asked(&thrust, "/a", "", FRESH, "new");
    assert_eq!(
        (response.text().as_str(), cache_status(&response).as_str()),
        ("new", "Thrust; fwd=stale; stored")
    );
    assert_eq!(cached(&thrust, "/a", "").text(), "new");
    asked(&thrust, "/b", "", STALE, "old");
    asked_with(&thrust, "GET", "/b", "", "404 Not Found", "", "gone");
    let (request, _) = asked(&thrust, "/b", "", "", "again");
    assert_eq!(request.field("if-none-match"), None, "forgotten");
}

#[test]
fn the_client_may_want_it_asked_for_and_may_take_it_stale() {
    let thrust = played();
    asked(
        &thrust,
        "/a",
        "",
        &format!("{FRESH}etag: \"a\"\r\n"),
        "hello",
    );
    for lines in [
        "cache-control: no-cache\r\n",
        "pragma: no-cache\r\n",
        "cache-control: min-fresh=9999\r\n",
    ] {
        let (request, response) =
            asked_with(&thrust, "GET", "/a", lines, "304 Not Modified", FRESH, "");
        assert_eq!(request.field("if-none-match"), Some("\"a\""));
        assert_eq!(x_cache(&response), "revalidated");
        assert!(cache_status(&response).starts_with("Thrust; fwd=request; fwd-status=304"));
    }
    asked(&thrust, "/b", "", STALE, "hello");
    let response = cached(&thrust, "/b", "cache-control: max-stale\r\n");
    assert_eq!(
        (x_cache(&response).as_str(), response.text().as_str()),
        ("stale", "hello")
    );
}

#[test]
fn stale_answers_while_one_fresh_one_is_fetched() {
    let thrust = played();
    asked(
        &thrust,
        "/a",
        "",
        &stale("stale-while-revalidate=600"),
        "old",
    );
    let response = cached(
        &thrust,
        "/a",
        "if-none-match: \"x\"\r\nrange: bytes=0-0\r\n",
    );
    assert_eq!(
        (x_cache(&response).as_str(), response.text().as_str()),
        ("stale", "o")
    );
    let (mut app, request) = thrust.app().request();
    assert_eq!(request.field("if-none-match"), Some("\"a\""));
    assert_eq!(request.field("range"), None);
    for _ in 0..5 {
        assert_eq!(cached(&thrust, "/a", "").text(), "old");
    }
    answer(&mut app, "200 OK", FRESH, "new");
    assert!(eventually(PATIENCE, || cached(&thrust, "/a", "").text() == "new"));
    thrust.app().assert_no_request();
}

#[test]
fn a_refresh_does_not_hold_up_a_stop() {
    let mut thrust = played();
    asked(
        &thrust,
        "/a",
        "",
        &stale("stale-while-revalidate=600"),
        "old",
    );
    assert_eq!(cached(&thrust, "/a", "").text(), "old");
    let _unanswered = thrust.app().request();
    let began = std::time::Instant::now();
    thrust.stop();
    assert!(
        began.elapsed() < crate::support::seconds(10),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn an_error_of_the_apps_is_bridged_where_that_is_allowed() {
    let thrust = played();
    asked(&thrust, "/a", "", &stale("stale-if-error=600"), "old");
    for status in ["500 Oops", "502 Bad Gateway", "503 Busy", "504 Late"] {
        let (_, response) = asked_with(&thrust, "GET", "/a", "", status, "", "error");
        assert_eq!(
            (response.status, response.text().as_str()),
            (200, "old"),
            "{status}"
        );
        assert_eq!(x_cache(&response), "stale");
    }
    let (_, response) = asked_with(&thrust, "GET", "/a", "", "501 No", "", "error");
    assert_eq!(response.status, 501);
    for lines in [
        STALE.to_owned(),
        stale("stale-if-error=600, must-revalidate"),
    ] {
        asked(&thrust, "/b", "", &lines, "old");
        let (_, response) = asked_with(&thrust, "GET", "/b", "", "500 Oops", "", "error");
        assert_eq!((response.status, response.text().as_str()), (500, "error"));
    }
    let lines = "cache-control: stale-if-error=600\r\n";
    asked(&thrust, "/c", "", STALE, "old");
    let (_, response) = asked_with(&thrust, "GET", "/c", lines, "500 Oops", "", "error");
    assert_eq!(response.text(), "old");
}

/// Nobody will find the app any more.
fn remove_app(thrust: &Thrust) {
    fs::remove_file(thrust.target_socket()).expect("the app was there");
}

#[test]
fn stale_answers_instead_of_502_while_the_app_is_gone() {
    let thrust = played();
    asked(&thrust, "/a", "", STALE, "old");
    asked(&thrust, "/fresh", "", FRESH, "fresh");
    remove_app(&thrust);
    for lines in [
        "",
        "cache-control: no-cache\r\n",
        "cache-control: max-age=0\r\n",
    ] {
        let response = cached(&thrust, "/a", lines);
        assert_eq!((response.status, response.text().as_str()), (200, "old"));
        assert_eq!(x_cache(&response), "stale");
    }
    assert_eq!(
        cached(&thrust, "/fresh", "cache-control: no-cache\r\n").text(),
        "fresh"
    );
    assert_eq!(thrust.get("/never-seen").status, 502);
}

#[test]
fn what_must_be_validated_is_502_while_the_app_is_gone() {
    let thrust = played();
    let forbidden = [
        "must-revalidate",
        "proxy-revalidate",
        "s-maxage=60",
        "no-cache",
    ];
    for (number, directive) in forbidden.iter().enumerate() {
        asked(&thrust, &format!("/{number}"), "", &stale(directive), "old");
    }
    remove_app(&thrust);
    for (number, directive) in forbidden.iter().enumerate() {
        assert_eq!(thrust.get(&format!("/{number}")).status, 502, "{directive}");
    }
}

#[test]
fn stale_answers_instead_of_502_when_the_app_hangs_up_or_has_died() {
    let thrust = played();
    asked(&thrust, "/a", "", STALE, "old");
    for nonsense in ["", "HTTP/1.1 2", "nonsense\r\n\r\n"] {
        let mut client = thrust.connect();
        client.send_get("/a");
        let (mut app, _) = thrust.app().request();
        app.send(nonsense);
        drop(app);
        let response = client.response();
        assert_eq!(
            (response.status, response.text().as_str()),
            (200, "old"),
            "{nonsense}"
        );
    }
}

#[test]
fn an_app_that_says_nothing_is_bridged_too() {
    let thrust = Thrust::builder()
        .played()
        .env("THRUSTER_UPSTREAM_RESPONSE_TIMEOUT", "1")
        .start();
    asked(&thrust, "/a", "", STALE, "old");
    let mut client = thrust.connect();
    client.send_get("/a");
    let _silent = thrust.app().request();
    let response = client.response();
    assert_eq!(
        (response.status, x_cache(&response).as_str()),
        (200, "stale")
    );
}
