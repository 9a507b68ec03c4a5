//! One request at the app for many clients, and nobody who waits in vain.

use std::time::Instant;

use crate::{
    cache::{FRESH, answer, asked, asked_with, cache_status, cached, played, x_cache},
    support::{Client, PATIENCE, Thrust, eventually, seconds, unread},
};

/// A client whose GET has been read by Thrust, so that it waits for whatever it waits for.
fn waiting(thrust: &Thrust, target: &str, lines: &str) -> Client {
    let mut client = thrust.connect();
    client.send_head("GET", target, lines);
    assert_read(thrust, &client);
    client
}

/// The same for many at once.
fn all_waiting(thrust: &Thrust, count: usize, target: &str) -> Vec<Client> {
    let mut clients: Vec<_> = (0..count).map(|_| thrust.connect()).collect();
    for client in &mut clients {
        client.send_get(target);
    }
    // The last one is read last on its core; more than that would take longer than anybody waits.
    for client in clients.iter().rev().take(2) {
        assert_read(thrust, client);
    }
    clients
}

fn assert_read(thrust: &Thrust, client: &Client) {
    let peer = client.stream().local_addr().expect("connected").port();
    let port = thrust.port();
    assert!(eventually(PATIENCE, || unread(port, peer) == Some(0)));
}

#[test]
fn a_hundred_clients_ask_the_app_once_for_a_cold_asset() {
    let thrust = played();
    let mut clients = all_waiting(&thrust, 100, "/assets/a.js");
    let (mut app, _) = thrust.app().request();
    answer(&mut app, "200 OK", FRESH, "asset");
    let mut misses = 0;
    for client in &mut clients {
        let response = client.response();
        assert_eq!(response.text(), "asset");
        misses += usize::from(x_cache(&response) == "miss");
    }
    assert_eq!(misses, 1);
    thrust.app().assert_no_request();
}

#[test]
fn who_waited_is_answered_for_his_own_conditions() {
    let thrust = played();
    let mut leader = waiting(&thrust, "/a.js", "");
    let (mut app, _) = thrust.app().request();
    let mut knows = waiting(&thrust, "/a.js", "if-none-match: \"a\"\r\n");
    let mut part = waiting(&thrust, "/a.js", "range: bytes=0-1\r\n");
    let mut head = thrust.connect();
    head.send_head("HEAD", "/a.js", "");
    answer(
        &mut app,
        "200 OK",
        &format!("{FRESH}etag: \"a\"\r\n"),
        "asset",
    );
    assert_eq!(leader.response().text(), "asset");
    assert_eq!(knows.response().status, 304);
    assert_eq!(part.response().text(), "as");
    let head = head.response();
    assert_eq!(
        (head.status, head.field("content-length").unwrap().as_str()),
        (200, "5")
    );
}

#[test]
fn what_turns_out_to_be_uncacheable_lets_everybody_go_at_once() {
    let thrust = played();
    let mut clients = all_waiting(&thrust, 8, "/a.js");
    let (mut app, _) = thrust.app().request();
    answer(&mut app, "200 OK", "cache-control: private\r\n", "1");
    // All the others are at the app before any of them is answered.
    let mut apps: Vec<_> = (1..8).map(|_| thrust.app().request().0).collect();
    for app in &mut apps {
        answer(app, "200 OK", "cache-control: private\r\n", "2");
    }
    for client in &mut clients {
        assert_eq!(client.response().status, 200);
    }
    // And from now on nobody waits for anybody.
    let mut clients = all_waiting(&thrust, 3, "/a.js");
    let mut apps: Vec<_> = (0..3).map(|_| thrust.app().request().0).collect();
    for app in &mut apps {
        answer(app, "200 OK", "cache-control: private\r\n", "3");
    }
    for client in &mut clients {
        assert_eq!(client.response().text(), "3");
    }
}

#[test]
fn what_is_not_known_to_be_storable_is_not_waited_for() {
    let thrust = played();
    let mut clients = all_waiting(&thrust, 3, "/page");
    let mut apps: Vec<_> = (0..3).map(|_| thrust.app().request().0).collect();
    for app in &mut apps {
        answer(app, "200 OK", "", "page");
    }
    for client in &mut clients {
        assert_eq!(client.response().text(), "page");
    }
}

#[test]
fn a_head_that_promises_to_be_stored_is_waited_for() {
    let thrust = played();
    let mut leader = waiting(&thrust, "/page", "");
    let (mut app, _) = thrust.app().request();
    app.send(format!(
        "HTTP/1.1 200 OK\r\n{FRESH}content-length: 10\r\n\r\nfirst"
    ));
    assert!(leader.read_until("first").contains("stored"));
    let mut follower = waiting(&thrust, "/page", "");
    thrust.app().assert_no_request();
    app.send("other");
    leader.read_until("other");
    let response = follower.response();
    assert_eq!(response.text(), "firstother");
    assert!(
        cache_status(&response).ends_with("; collapsed"),
        "{response:?}"
    );
}

#[test]
fn a_failed_leader_leaves_nobody_behind() {
    let thrust = played();
    let mut leader = waiting(&thrust, "/a.js", "");
    let (mut app, _) = thrust.app().request();
    let mut follower = waiting(&thrust, "/a.js", "");
    app.send(format!(
        "HTTP/1.1 200 OK\r\n{FRESH}content-length: 10\r\n\r\nhalf"
    ));
    drop(app);
    assert!(leader.try_response().is_err());
    let (mut app, _) = thrust.app().request();
    answer(&mut app, "200 OK", FRESH, "whole");
    assert_eq!(follower.response().text(), "whole");
    assert_eq!(cached(&thrust, "/a.js", "").text(), "whole");
}

#[test]
fn a_leader_that_leaves_does_not_abort_what_others_wait_for() {
    let thrust = played();
    // Before the head,
    let leader = waiting(&thrust, "/a.js", "");
    let (mut app, _) = thrust.app().request();
    let mut follower = waiting(&thrust, "/a.js", "");
    drop(leader);
    assert!(
        thrust
            .find(PATIENCE, |record| record.message() == "Request"
                && record.field("cause") == "client_gone")
            .is_some()
    );
    answer(&mut app, "200 OK", FRESH, "asset");
    assert_eq!(follower.response().text(), "asset");
    // and inside the body.
    let mut leader = waiting(&thrust, "/b.js", "");
    let (mut app, _) = thrust.app().request();
    app.send(format!(
        "HTTP/1.1 200 OK\r\n{FRESH}content-length: 10\r\n\r\nfirst"
    ));
    leader.read_until("first");
    let mut follower = waiting(&thrust, "/b.js", "");
    drop(leader);
    let gone = |record: &crate::support::Record| {
        record.message() == "Request" && record.field("path") == "/b.js"
    };
    assert!(thrust.find(PATIENCE, gone).is_some());
    app.send("other");
    assert_eq!(follower.response().text(), "firstother");
    thrust.app().assert_no_request();
}

#[test]
fn a_client_that_leaves_alone_takes_its_request_with_it() {
    let thrust = played();
    let leader = waiting(&thrust, "/a.js", "");
    let (mut app, _) = thrust.app().request();
    drop(leader);
    app.end();
}

#[test]
fn nobody_waits_longer_than_a_few_seconds() {
    let thrust = played();
    let _leader = waiting(&thrust, "/a.js", "");
    let _silent = thrust.app().request();
    let began = Instant::now();
    let mut follower = waiting(&thrust, "/a.js", "");
    let (mut app, _) = thrust.app().request();
    assert!(began.elapsed() > seconds(4), "{:?}", began.elapsed());
    answer(&mut app, "200 OK", FRESH, "asset");
    assert_eq!(follower.response().text(), "asset");
}

#[test]
fn what_is_stale_is_validated_once_for_all() {
    let thrust = played();
    let stale = "cache-control: public, max-age=60\r\nage: 60\r\netag: \"a\"\r\n";
    asked(&thrust, "/page", "", stale, "page");
    let mut clients = all_waiting(&thrust, 10, "/page");
    let (mut app, request) = thrust.app().request();
    assert_eq!(request.field("if-none-match"), Some("\"a\""));
    answer(&mut app, "304 Not Modified", FRESH, "");
    for client in &mut clients {
        assert_eq!(client.response().text(), "page");
    }
    thrust.app().assert_no_request();
}

#[test]
fn each_variant_has_its_own_leader() {
    let thrust = played();
    let varies = format!("{FRESH}vary: accept\r\n");
    let mut one = waiting(&thrust, "/a.js", "accept: 1\r\n");
    let (mut app, _) = thrust.app().request();
    let mut same = waiting(&thrust, "/a.js", "accept: 1\r\n");
    let mut other = waiting(&thrust, "/a.js", "accept: 2\r\n");
    app.send(format!(
        "HTTP/1.1 200 OK\r\n{varies}content-length: 10\r\n\r\nfirst"
    ));
    // As soon as it is known what it varies with, the other goes.
    let (mut second, request) = thrust.app().request();
    assert_eq!(request.field("accept"), Some("2"));
    app.send("other");
    answer(&mut second, "200 OK", &varies, "second");
    assert_eq!(one.response().text(), "firstother");
    assert_eq!(same.response().text(), "firstother");
    assert_eq!(other.response().text(), "second");
    thrust.app().assert_no_request();
}

#[test]
fn what_could_be_stored_once_is_asked_for_once_after_it_was_forgotten() {
    let thrust = played();
    asked(&thrust, "/page", "", FRESH, "page");
    asked_with(&thrust, "DELETE", "/page", "", "204 No Content", "", "");
    let mut clients = all_waiting(&thrust, 5, "/page");
    let (mut app, _) = thrust.app().request();
    answer(&mut app, "200 OK", FRESH, "new");
    for client in &mut clients {
        assert_eq!(client.response().text(), "new");
    }
    thrust.app().assert_no_request();
}
