//! /metrics: names and units, and numbers that are what happened.

use std::collections::{BTreeMap, BTreeSet};

use nix::sys::signal::Signal;

use crate::support::{
    Client, End, PATIENCE,
    frames::{DATA, END_STREAM, Frames},
    seconds,
    secure::{HTTP_1, HTTP_2, Secure, https, https_port},
    status::{
        Metrics, ask, status_port, wait_for_metric, wait_for_metric_from, watched, with_status,
    },
};

#[test]
fn the_text_is_what_prometheus_reads_and_names_are_as_it_wants_them() {
    let mut thrust = with_status(https()).start();
    assert_eq!(thrust.get("/hello").status, 301, "to HTTPS");
    let answer = ask(&thrust, "/metrics");
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(answer.field("content-type").as_deref(), Some(kind));
    let text = answer.text();
    let mut families = BTreeMap::new();
    let mut current = "";
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').expect("a name and a help");
            assert!(!help.is_empty() && !families.contains_key(name), "{line}");
            families.insert(name, "");
            current = name;
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a name and a type");
            assert_eq!(name, current, "behind its help");
            families.insert(name, kind);
        } else {
            assert_series(line, current, families[current]);
        }
    }
    for (name, kind) in &families {
        assert_name(name, kind);
    }
    assert!(families.len() > 40, "{families:?}");
    Metrics::parse(&text);
    assert_eq!(thrust.stop(), 143);
}

/// `name{label="value",...} number`, of this family.
#[track_caller]
fn assert_series(line: &str, family: &str, kind: &str) {
    let (series, value) = line.rsplit_once(' ').expect("a value");
    let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
    assert!(value >= 0.0 && value.is_finite(), "{line}");
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let labels = labels.strip_suffix('}').expect("closed");
    for label in labels.split(',').filter(|label| !label.is_empty()) {
        let (name, value) = label.split_once('=').expect("name=value");
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase()), "{line}");
        let quoted = value.starts_with('"') && value.ends_with('"') && value.len() > 2;
        assert!(quoted, "{line}");
    }
    let suffix = name.strip_prefix(family).expect("of its family");
    let allowed: &[&str] = match kind {
        "histogram" => &["_bucket", "_sum", "_count"],
        "counter" | "gauge" => &[""],
        other => panic!("{family} is a {other}"),
    };
    assert!(allowed.contains(&suffix), "{line}");
}

/// What `promtool check metrics` looks at: counters end in `_total` and nothing else does, units are base units.
#[track_caller]
fn assert_name(name: &str, kind: &str) {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    assert!(name.bytes().all(legal), "{name}");
    assert!(
        name.starts_with("thrust_") || name.starts_with("process_"),
        "{name}"
    );
    assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
    let words: BTreeSet<_> = name.split('_').collect();
    for odd in [
        "milliseconds",
        "ms",
        "microseconds",
        "minutes",
        "kilobytes",
        "mb",
        "percent",
    ] {
        assert!(!words.contains(odd), "{name}");
    }
    let stem = name.trim_end_matches("_total");
    if words.contains("duration") {
        assert!(stem.ends_with("_seconds"), "{name}");
    }
    if words.contains("bytes") {
        assert!(stem.ends_with("_bytes"), "{name}");
    }
    for kind in ["bucket", "count", "sum"] {
        assert!(!name.ends_with(kind), "{name}");
    }
}

#[test]
fn requests_are_counted_by_class_and_by_what_the_cache_did() {
    let mut thrust = watched().start();
    let mut client = thrust.connect();
    assert_eq!(client.get("/own?n=100").status, 200);
    assert_eq!(client.get("/own?n=100").status, 200);
    assert_eq!(client.get("/own?n=100").status, 200);
    assert_eq!(client.get("/status?code=404").status, 404);
    assert_eq!(client.post("/echo", b"body").status, 200);
    client.send_head("GET", "/hello", "host: twice\r\n");
    assert_eq!(client.response().status, 400);
    wait_for_metric(
        &thrust,
        r#"thrust_requests_total{class="4xx",cache="none"}"#,
        1.0,
    );
    let metrics = Metrics::of(&thrust);
    let requests = |class: &str, cache: &str| {
        metrics.get(&format!(
            r#"thrust_requests_total{{class="{class}",cache="{cache}"}}"#
        ))
    };
    assert_eq!(requests("2xx", "miss"), 1.0);
    assert_eq!(requests("2xx", "hit"), 2.0);
    assert_eq!(requests("2xx", "bypass"), 1.0);
    assert_eq!(requests("4xx", "miss"), 1.0);
    assert_eq!(metrics.get("thrust_request_duration_seconds_count"), 6.0);
    assert_eq!(metrics.get("thrust_first_byte_duration_seconds_count"), 6.0);
    assert_eq!(
        metrics.get("thrust_upstream_duration_seconds_count"),
        3.0,
        "hits are not asked for"
    );
    assert_eq!(
        metrics.get(r#"thrust_failures_total{cause="bad_request"}"#),
        1.0
    );
    assert_eq!(
        metrics.get(r#"thrust_connections_total{scheme="http"}"#),
        1.0
    );
    let entries = metrics.get("thrust_cache_entries");
    let size = metrics.get("thrust_cache_size_bytes");
    assert!(entries == 1.0 && size > 100.0, "{entries} of {size}");
    assert_eq!(
        metrics.get("thrust_cache_capacity_bytes"),
        64.0 * 1024.0 * 1024.0
    );
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn times_and_bytes_are_what_they_were() {
    let mut thrust = watched().start();
    let mut client = thrust.connect();
    assert_eq!(client.get("/slow?ms=300").status, 200);
    assert_eq!(client.get("/slow?ms=30").status, 200);
    assert_eq!(client.get("/bytes?n=200000").body.len(), 200_000);
    wait_for_metric(&thrust, "thrust_request_duration_seconds_count", 3.0);
    let metrics = Metrics::of(&thrust);
    for name in ["request", "upstream", "first_byte"] {
        // A machine under load makes them slower, never faster.
        let within = |end| {
            metrics.get(&format!(
                r#"thrust_{name}_duration_seconds_bucket{{le="{end}"}}"#
            ))
        };
        assert!(within("0.02") <= 1.0 && within("0.2") <= 2.0, "{name}");
        assert_eq!(within("50"), 3.0, "{name}");
        let sum = metrics.get(&format!("thrust_{name}_duration_seconds_sum"));
        assert!((0.33..30.0).contains(&sum), "{name}: {sum}");
    }
    wait_for_metric_from(&thrust, "thrust_sent_bytes_total", 200_000.0, 202_000.0);
    let received = metrics.get("thrust_received_bytes_total");
    assert!((60.0..1_000.0).contains(&received), "{received}");
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn bytes_are_counted_over_http_2_as_well() {
    let mut thrust = watched().env("H2C_ENABLED", "1").start();
    let mut client = Frames::h2c(thrust.port());
    client.head(1, "POST", "/upload", &[], false);
    for piece in 0..4 {
        let flags = if piece == 3 { END_STREAM } else { 0 };
        client.frame(DATA, flags, 1, &[b'x'; 10_000]);
    }
    assert!(client.response(1).text().starts_with("40000 "));
    client.get(3, "/bytes?n=60000");
    assert_eq!(client.response(3).body.len(), 60_000);
    for (direction, length) in [("received", 40_000.0), ("sent", 60_000.0)] {
        let series = format!("thrust_{direction}_bytes_total");
        wait_for_metric_from(&thrust, &series, length + 1.0, length + 2_000.0);
    }
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn a_stream_of_events_is_no_slow_request_and_a_tunnels_bytes_count() {
    let mut thrust = watched().start();
    let mut events = thrust.connect();
    events.send_get("/sse?every_ms=10&count=0");
    assert_eq!(events.head().status, 200);
    events.read_until("\n\n");
    wait_for_metric(&thrust, "thrust_open_streams", 1.0);
    drop(events);
    wait_for_metric(&thrust, "thrust_open_streams", 0.0);
    wait_for_metric(&thrust, "thrust_first_byte_duration_seconds_count", 1.0);
    let metrics = Metrics::of(&thrust);
    assert_eq!(metrics.get("thrust_request_duration_seconds_count"), 0.0);
    assert_eq!(
        metrics.get(r#"thrust_failures_total{cause="client_gone"}"#),
        0.0
    );

    let mut tunnel = thrust.connect();
    tunnel.send_head(
        "GET",
        "/upgrade",
        "connection: upgrade\r\nupgrade: echo\r\n",
    );
    assert_eq!(tunnel.head().status, 101);
    wait_for_metric(&thrust, "thrust_open_tunnels", 1.0);
    let before = Metrics::of(&thrust).get("thrust_sent_bytes_total");
    let message = "x".repeat(10_000) + "END";
    tunnel.send(&message);
    tunnel.read_until("END");
    let (least, most) = (before + 10_003.0, before + 10_500.0);
    wait_for_metric_from(&thrust, "thrust_sent_bytes_total", least, most);
    drop(tunnel);
    wait_for_metric(&thrust, "thrust_open_tunnels", 0.0);
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn what_goes_wrong_has_its_cause() {
    let mut thrust = watched().start();
    let mut client = thrust.connect();
    assert_eq!(client.get("/close-without-answer").status, 502);
    wait_for_metric(
        &thrust,
        r#"thrust_failures_total{cause="upstream_closed"}"#,
        1.0,
    );
    let mut broken = thrust.connect();
    broken.send_get("/abort?after=100");
    let cut = broken.try_response().expect_err("cut short").end;
    assert_ne!(cut, End::Timeout);
    wait_for_metric(
        &thrust,
        r#"thrust_failures_total{cause="upstream_closed"}"#,
        2.0,
    );
    let mut leaving = thrust.connect();
    leaving.send_get("/hang");
    thrust.wait_for_child_line("request GET /hang");
    drop(leaving);
    wait_for_metric(
        &thrust,
        r#"thrust_failures_total{cause="client_gone"}"#,
        1.0,
    );
    let metrics = Metrics::of(&thrust);
    assert_eq!(
        metrics.get(r#"thrust_requests_total{class="4xx",cache="none"}"#),
        1.0
    );
    assert_eq!(
        metrics.get("thrust_first_byte_duration_seconds_count"),
        2.0,
        "the third had no answer"
    );
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn a_response_that_we_gave_up_is_not_the_clients_doing() {
    let thrust = watched().env("HTTP_WRITE_TIMEOUT", "1").start();
    let mut stuck = thrust.connect();
    // More than there is room for on the way, and none of it is taken.
    stuck.send_get("/bytes?n=40000000");
    let failures = |cause| format!("thrust_failures_total{{cause=\"{cause}\"}}");
    wait_for_metric(&thrust, &failures("write_timeout"), 1.0);
    assert_eq!(Metrics::of(&thrust).get(&failures("client_gone")), 0.0);
    drop(stuck);
}

#[test]
fn handshakes_and_certificates_are_there() {
    let mut thrust = with_status(https()).start();
    let port = https_port(&thrust);
    let mut one = Secure::connect(port, HTTP_1);
    let answer = one.get("/hello");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop(Secure::connect(port, HTTP_2));
    let mut plain = Client::connect(port);
    plain.send("GET / HTTP/1.1\r\nhost: not-tls\r\n\r\n");
    plain.rest();
    wait_for_metric(
        &thrust,
        r#"thrust_tls_handshakes_total{result="failed"}"#,
        1.0,
    );
    let done = r#"thrust_tls_handshakes_total{result="done"}"#;
    wait_for_metric(&thrust, done, 2.0);
    let metrics = Metrics::of(&thrust);
    assert_eq!(
        metrics.get("thrust_tls_handshake_duration_seconds_count"),
        2.0
    );
    assert_eq!(
        metrics.get(r#"thrust_connections_total{scheme="https"}"#),
        3.0
    );
    let expiry = r#"thrust_certificate_expiry_timestamp_seconds{name="test.example"}"#;
    let expiry = metrics.get(expiry);
    let started = metrics.get("process_start_time_seconds");
    assert!(expiry > started + 86_400.0, "{expiry}, started {started}");
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn what_is_compressed_is_counted_once_and_by_coding() {
    let mut thrust = watched().start();
    let ask = |coding: &str, path: &str| {
        let mut client = thrust.connect();
        client.send_head("GET", path, &format!("accept-encoding: {coding}\r\n"));
        let answer = client.response();
        assert_eq!(
            answer.field("content-encoding").as_deref(),
            Some(coding),
            "{path}"
        );
    };
    ask("gzip", "/bytes?n=5000");
    ask("zstd", "/chunked?n=20&size=1000&delay_ms=0");
    let cached = "/own?n=6000";
    ask("br", cached);
    ask("br", cached);
    ask("br", cached);
    wait_for_metric(
        &thrust,
        r#"thrust_compressed_responses_total{coding="zstd"}"#,
        1.0,
    );
    let metrics = Metrics::of(&thrust);
    let coded = |what: &str, coding: &str| {
        metrics.get(&format!(r#"thrust_{what}_total{{coding="{coding}"}}"#))
    };
    for (coding, input) in [("gzip", 5_000.0), ("zstd", 20_000.0)] {
        assert_eq!(coded("compressed_responses", coding), 1.0);
        assert_eq!(coded("compression_input_bytes", coding), input);
        let output = coded("compression_output_bytes", coding);
        assert!(output > 0.0 && output < input, "{coding}: {output}");
    }
    assert!(
        coded("compressed_responses", "br") <= 2.0,
        "once on its way, once to be kept"
    );
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn requests_that_waited_for_the_boot_say_how_long() {
    let mut thrust = watched().app(["--start-when", "boot"]).spawn();
    thrust.wait_for("listening");
    let mut early = thrust.connect();
    early.send_get("/hello");
    wait_for_metric(&thrust, "thrust_requests_in_flight", 1.0);
    thrust.open_gate("boot");
    assert_eq!(early.response().status, 200);
    wait_for_metric(&thrust, "thrust_queue_duration_seconds_count", 1.0);
    assert!(Metrics::of(&thrust).get("thrust_queue_duration_seconds_sum") > 0.0);
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn pumas_threads_are_read_out_of_what_it_says() {
    let mut thrust = watched().start();
    let metrics = Metrics::of(&thrust);
    assert!(
        !metrics.0.keys().any(|name| name.contains("puma")),
        "nobody spoke of Puma"
    );
    let status = "STATUS=Puma%207.0.1:%20cluster:%202/3,%20worker_status:%20\
                  [{%205/5%20threads,%200%20available,%207%20backlog%20},\
                  {%201/5%20threads,%205%20available,%200%20backlog%20}]";
    assert_eq!(thrust.get(&format!("/notify?say={status}")).status, 200);
    let named = crate::support::eventually(PATIENCE, || {
        Metrics::of(&thrust).0.contains_key("thrust_puma_threads")
    });
    assert!(named, "{}", thrust.logs());
    let metrics = Metrics::of(&thrust);
    for (name, value) in [
        ("thrust_puma_workers", 3.0),
        ("thrust_puma_booted_workers", 2.0),
        ("thrust_puma_threads", 6.0),
        ("thrust_puma_max_threads", 10.0),
        ("thrust_puma_busy_threads", 5.0),
        ("thrust_puma_backlog_requests", 7.0),
    ] {
        assert_eq!(metrics.get(name), value, "{name}");
    }
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn a_drain_can_be_watched_as_long_as_it_lasts() {
    let mut thrust = watched().app(["--on-term", "exit-after=2"]).start();
    let metrics = Metrics::of(&thrust);
    assert_eq!(metrics.get("thrust_drains_total"), 0.0);
    assert_eq!(metrics.get(r#"thrust_state{state="serving"}"#), 1.0);
    assert_eq!(metrics.get("thrust_ready"), 1.0);
    let mut held = thrust.wait_at_gate("g");
    let mut probe = Client::connect(status_port(&thrust));
    let mut now = || Metrics::parse(&probe.get("/metrics").text());
    thrust.signal(Signal::SIGTERM);
    thrust.wait_for("draining");
    let draining = now();
    assert_eq!(draining.get(r#"thrust_state{state="draining"}"#), 1.0);
    assert_eq!(draining.get("thrust_drains_total"), 1.0);
    assert_eq!(draining.get("thrust_requests_in_flight"), 1.0);
    assert_eq!(
        draining.get("thrust_cut_requests_total"),
        0.0,
        "nothing yet"
    );
    thrust.open_gate("g");
    assert_eq!(held.response().status, 200);
    thrust.wait_for("relaying signal");
    let stopping = now();
    assert_eq!(stopping.get(r#"thrust_state{state="stopping"}"#), 1.0);
    assert_eq!(stopping.get("thrust_drained_requests_total"), 1.0);
    assert_eq!(stopping.get("thrust_ready"), 0.0);
    let took = stopping.get("thrust_drain_duration_seconds");
    assert!(took > 0.0 && took < 15.0, "{took}");
    assert_eq!(
        now().get("thrust_drain_duration_seconds"),
        took,
        "it has ended"
    );
    assert_eq!(thrust.wait_exit(seconds(15)), 143);
}

#[test]
fn how_the_app_ended_is_told_while_what_does_not_need_it_ends() {
    const LENGTH: usize = 40_000_000;
    let mut thrust = watched()
        .env("CACHE_SIZE", "200MB")
        .env("MAX_CACHE_ITEM_SIZE", "50MB")
        .app(["--exit-code", "7"])
        .start();
    let path = format!("/own?n={LENGTH}");
    assert_eq!(thrust.get(&path).body.len(), LENGTH);
    // From the cache, and more than what lies between us takes.
    let mut slow = thrust.connect();
    slow.send_get(&path);
    let mut head = slow.head();
    assert_eq!(head.field("x-cache").as_deref(), Some("hit"));
    let mut probe = Client::connect(status_port(&thrust));
    let mut now = || Metrics::parse(&probe.get("/metrics").text());
    assert_eq!(now().get("thrust_child_up"), 1.0);
    thrust.signal_child(Signal::SIGTERM);
    thrust.wait_for("child exited");
    let finishing = now();
    assert_eq!(finishing.get(r#"thrust_child_exits_total{code="7"}"#), 1.0);
    assert_eq!(finishing.get("thrust_child_up"), 0.0);
    assert_eq!(finishing.get(r#"thrust_state{state="finishing"}"#), 1.0);
    slow.try_body(&mut head).expect("all of it");
    assert_eq!(thrust.wait_exit(PATIENCE), 7);
}

#[test]
fn the_process_is_told_as_all_exporters_do() {
    let mut thrust = watched().start();
    let metrics = Metrics::of(&thrust);
    assert!(metrics.get("process_resident_memory_bytes") > 1e6);
    assert!(metrics.get("process_virtual_memory_bytes") > 1e6);
    assert!(metrics.get("process_open_fds") > 5.0);
    assert!(metrics.get("process_max_fds") >= metrics.get("process_open_fds"));
    assert!(metrics.get("process_threads") >= 2.0);
    assert!(metrics.0.contains_key("process_cpu_seconds_total"));
    assert_eq!(thrust.stop(), 143);
}
