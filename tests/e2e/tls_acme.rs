//! ACME with Pebble, strict, with one nonce in five refused.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::Instant,
};

use nix::sys::signal::Signal::{SIGKILL, SIGTERM};
use rustls::pki_types::{CertificateDer, pem::PemObject};

use crate::support::{
    Client, PATIENCE, QUIET, Thrust, eventually, millis,
    pebble::{BINDING_KEY, Pebble, Wishes, connect, names_in, run, shake_hands},
    seconds,
    secure::https_port,
};

/// How long renewals are awaited, which come with the certificates' end.
const RENEWALS: std::time::Duration = seconds(60);

fn mode(path: &Path) -> u32 {
    let metadata = fs::metadata(path).expect("it is there");
    metadata.permissions().mode() & 0o777
}

/// GET over HTTP/1.1, encrypted.
fn get(pebble: &Pebble, name: &str, path: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = connect(pebble.https_port(), name, pebble.root()).expect("a handshake");
    let request = format!("GET {path} HTTP/1.1\r\nhost: {name}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an orderly end");
    answer
}

fn host(client: &mut Client, host: &str) -> u16 {
    client.send(format!("GET /x HTTP/1.1\r\nhost: {host}\r\n\r\n"));
    client.response().status
}

#[test]
fn a_certificate_is_obtained_kept_and_not_asked_for_again() {
    let Some(mut pebble) = Pebble::start(Wishes {
        slow: 3,
        ..Wishes::default()
    }) else {
        return;
    };
    let mut thrust = pebble.thrust("a.test, b.test").start();
    // The validation takes a while; until then:
    pebble.wait_for("Sleeping for");
    let refused = pebble.handshake("a.test").expect_err("no certificate yet");
    assert!(
        refused.to_string().contains("UnrecognisedName"),
        "{refused}"
    );
    assert_eq!(
        host(&mut Client::connect(pebble.http_port()), "a.test"),
        301
    );

    let first = thrust.wait_for("certificate obtained").field("domain");
    let second = thrust
        .wait_for_nth(1, "certificate obtained", PATIENCE)
        .field("domain");
    assert_ne!(first, second);
    let [a, b] = ["a.test", "b.test"].map(|name| pebble.handshake(name).expect("verified"));
    assert_ne!(a, b, "one order for each");
    assert!(get(&pebble, "a.test", "/hello").contains("hello from"));
    let stranger = pebble.handshake("c.test").expect_err("nobody's");
    assert!(
        stranger.to_string().contains("UnrecognisedName"),
        "{stranger}"
    );

    assert_eq!(mode(&pebble.volume()), 0o700);
    for name in ["a.test", "b.test", "acme_account+key", "a.test+thrust"] {
        assert_eq!(mode(&pebble.volume().join(name)), 0o600, "{name}");
    }
    assert_eq!(thrust.stop(), 143);

    let (orders, root) = (pebble.orders(), pebble.root());
    pebble.end();
    let thrust = pebble.thrust("a.test,b.test").start();
    thrust.wait_for_nth(1, "certificate loaded", PATIENCE);
    let shown = shake_hands(pebble.https_port(), "a.test", root);
    assert_eq!(shown.expect("without the CA"), a);
    assert_eq!((orders, pebble.orders()), (2, 2));
}

#[test]
fn where_http_01_fails_tls_alpn_01_does_not() {
    let Some(pebble) = Pebble::start(Wishes {
        no_http: true,
        ..Wishes::default()
    }) else {
        return;
    };
    let thrust = pebble.thrust("a.test").start();
    let failed = thrust.wait_for("validation failed").field("error");
    assert!(failed.starts_with("HTTP-01 failed: "), "{failed}");
    thrust.wait_for("certificate obtained");
    assert!(get(&pebble, "a.test", "/hello").contains("hello from"));
}

#[test]
fn a_domain_that_fails_keeps_no_other_from_its_certificate_and_is_left_alone_over_restarts() {
    let Some(pebble) = Pebble::start(Wishes::default()) else {
        return;
    };
    pebble.lose("bad.test");
    let mut thrust = pebble.thrust("bad.test,good.test").start();
    let obtained = thrust.wait_for("certificate obtained");
    assert_eq!(obtained.field("domain"), "good.test");
    let failed = thrust.wait_for("no certificate");
    assert_eq!(failed.field("domain"), "bad.test");
    assert!(
        failed.field("error").contains("TLS-ALPN-01 failed"),
        "{}",
        failed.text
    );
    assert!((240..=300).contains(&failed.number("retry_in_s")));
    assert!(pebble.handshake("good.test").is_ok());
    assert!(pebble.handshake("bad.test").is_err());
    assert_eq!(thrust.stop(), 143);
    // HTTP-01 and TLS-ALPN-01 of the one, and the other's.
    assert_eq!(pebble.orders(), 3);

    pebble.find_again("bad.test");
    let record = || fs::read(pebble.volume().join("bad.test+thrust")).expect("a record");
    let before = record();
    for _ in 0..3 {
        let mut thrust = pebble.thrust("bad.test,good.test").start();
        thrust.wait_for("certificate loaded");
        assert!(pebble.handshake("good.test").is_ok());
        assert_eq!(thrust.stop(), 143);
    }
    assert_eq!(
        (record(), pebble.orders()),
        (before, 3),
        "it is not asked yet"
    );
}

#[test]
fn an_account_is_bound_where_that_is_asked_for() {
    let Some(pebble) = Pebble::start(Wishes {
        binding: true,
        ..Wishes::default()
    }) else {
        return;
    };
    let mut thrust = pebble.thrust("a.test").start();
    let refused = thrust.wait_for("no certificate").field("error");
    assert!(refused.contains("externalAccountRequired"), "{refused}");
    assert_eq!(thrust.stop(), 143);
    fs::remove_dir_all(pebble.volume()).expect("it is there");
    let mut thrust = pebble
        .thrust("a.test")
        .env("EAB_KID", "kid-1")
        .env("EAB_HMAC_KEY", BINDING_KEY)
        .env("DEBUG", "1")
        .start();
    thrust.wait_for("certificate obtained");
    assert_eq!(thrust.stop(), 143);
    assert!(!thrust.logs().contains(BINDING_KEY), "a secret in the log");
}

#[test]
fn renewals_under_traffic_fail_no_handshake() {
    let Some(pebble) = Pebble::start(Wishes {
        validity: 9,
        ..Wishes::default()
    }) else {
        return;
    };
    let thrust = pebble.thrust("a.test").start();
    thrust.wait_for("certificate obtained");
    let (over, made) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let (port, root) = (pebble.https_port(), pebble.root());
    let clients: Vec<_> = (0..2)
        .map(|_| {
            let (over, made, root) = (over.clone(), made.clone(), root.clone());
            thread::spawn(move || {
                let mut leaves = Vec::new();
                while !over.load(SeqCst) {
                    let leaf = shake_hands(port, "a.test", root.clone());
                    leaves.push(leaf.expect("a verified handshake").to_vec());
                    leaves.dedup();
                    made.fetch_add(1, SeqCst);
                    thread::sleep(millis(5));
                }
                leaves
            })
        })
        .collect();
    // Both are renewals.
    thrust.wait_for_nth(2, "certificate obtained", RENEWALS);
    let so_far = made.load(SeqCst);
    assert!(eventually(PATIENCE, || made.load(SeqCst) > so_far + 4));
    over.store(true, SeqCst);
    for client in clients {
        let leaves = client.join().expect("no failed handshake");
        assert!(leaves.len() >= 3, "{} certificates seen", leaves.len());
    }
    assert!(made.load(SeqCst) > 100, "that was no traffic");
}

#[test]
fn a_stop_in_the_midst_of_an_order_takes_no_time_and_the_next_start_goes_on() {
    let Some(pebble) = Pebble::start(Wishes {
        slow: 15,
        ..Wishes::default()
    }) else {
        return;
    };
    for signal in [SIGTERM, SIGKILL] {
        let mut thrust = pebble.thrust("a.test").start();
        let validations = if signal == SIGTERM { 1 } else { 2 };
        let validates = || pebble.count("Pulled a task from the Tasks queue") >= validations;
        assert!(eventually(PATIENCE, validates));
        let began = Instant::now();
        thrust.signal(signal);
        let status = thrust.wait_status(PATIENCE);
        if signal == SIGTERM {
            assert_eq!(status.code(), Some(143));
            assert!(began.elapsed() < seconds(2), "{:?}", began.elapsed());
        }
        let names = names_in(&pebble.volume());
        let half = |name: &String| name.ends_with(".tmp") || name == "a.test";
        assert!(!names.iter().any(half), "{names:?}");
        // The first interruption is forgiven, the second is not.
        let left = fs::read_to_string(pebble.volume().join("a.test+thrust")).expect("a record");
        assert!(
            left.contains(&format!("\"failures\": {validations}")),
            "{left}"
        );
    }
    let orders = pebble.orders();
    let mut thrust = pebble.thrust("a.test").start();
    assert!(pebble.handshake("a.test").is_err());
    assert_eq!(thrust.stop(), 143);
    assert_eq!((orders, pebble.orders()), (2, 2), "now it waits");
}

#[test]
fn a_directory_that_is_down_keeps_nobody_from_serving_and_is_asked_again() {
    let Some(mut pebble) = Pebble::prepare(Wishes::default()) else {
        return;
    };
    let thrust = pebble.thrust("a.test").start();
    let silent = thrust.wait_for("the ACME directory does not answer as it should");
    assert!(
        silent.field("error").contains("cannot connect"),
        "{}",
        silent.text
    );
    assert_eq!(
        host(&mut Client::connect(pebble.http_port()), "a.test"),
        301
    );
    pebble.serve();
    thrust.wait_for_within("certificate obtained", seconds(30));
    assert!(get(&pebble, "a.test", "/hello").contains("hello from"));
}

#[test]
fn what_cannot_be_stored_is_served_from_memory_and_that_is_said_once() {
    let Some(pebble) = Pebble::start(Wishes::default()) else {
        return;
    };
    // Nobody, not even root, makes a directory there.
    let thrust = pebble
        .thrust("a.test,b.test")
        .env("STORAGE_PATH", "/proc/storage")
        .start();
    thrust.wait_for_nth(1, "certificate obtained", PATIENCE);
    assert!(get(&pebble, "a.test", "/hello").contains("hello from"));
    let complaints = |thrust: &Thrust| {
        let all = thrust.records();
        all.iter()
            .filter(|record| record.message().starts_with("cannot write to STORAGE_PATH"))
            .count()
    };
    assert_eq!(complaints(&thrust), 1);
}

#[test]
fn a_full_disk_stores_nothing_half() {
    let Some(pebble) = Pebble::start(Wishes::default()) else {
        return;
    };
    fs::create_dir_all(pebble.volume()).expect("ours");
    let volume = pebble.volume();
    let path = volume.to_str().expect("UTF-8");
    if !run(
        "mount",
        &["-t", "tmpfs", "-o", "size=16k,mode=700", "tmpfs", path],
    ) {
        assert!(std::env::var_os("CI").is_none(), "no tmpfs here");
        eprintln!("skipped: a tmpfs cannot be mounted here");
        return;
    }
    let filler = volume.join("filler");
    let _ = fs::write(&filler, vec![0; 64 * 1024]);
    let mut thrust = pebble.thrust("a.test").start();
    thrust.wait_for("certificate obtained");
    assert!(get(&pebble, "a.test", "/hello").contains("hello from"));
    assert_eq!(thrust.stop(), 143);
    let names = names_in(&volume);
    let halves: Vec<_> = names
        .iter()
        .filter(|name| !name.ends_with(".lock") && *name != "filler")
        .collect();
    assert!(run("umount", &[path]));
    assert!(halves.is_empty(), "{halves:?}");
    let said = thrust.records();
    assert!(
        said.iter()
            .any(|record| record.text.contains("No space left on device"))
    );
}

#[test]
fn the_ca_says_when_to_renew() {
    let Some(pebble) = Pebble::start(Wishes::default()) else {
        return;
    };
    let (directory, asked) = pebble.with_renewal_info();
    let mut thrust = pebble
        .thrust("a.test")
        .env("ACME_DIRECTORY", directory)
        .start();
    // Both are good for years; the CA wants the first to be replaced at once.
    thrust.wait_for_nth(1, "certificate obtained", PATIENCE);
    let about = |nth| {
        let found = asked.find(nth, PATIENCE, |line| line.text.starts_with("/ari/"));
        found.expect("asked").text
    };
    assert_ne!(about(0), about(1));
    assert!(
        asked
            .find(2, QUIET, |line| line.text.starts_with("/ari/"))
            .is_none()
    );
    assert_eq!(thrust.stop(), 143);
    assert_eq!(thrust.count("certificate obtained"), 2);
}

#[test]
fn two_containers_on_one_volume_make_one_order() {
    let Some(pebble) = Pebble::start(Wishes {
        slow: 3,
        ..Wishes::default()
    }) else {
        return;
    };
    let first = pebble.thrust("a.test").start();
    pebble.wait_for("Sleeping for");
    let second = pebble.thrust_elsewhere("a.test").env("DEBUG", "1").start();
    second.wait_for("another container is at it");
    first.wait_for("certificate obtained");
    second.wait_for_within("certificate loaded", seconds(30));
    let port = https_port(&second);
    let shown = shake_hands(port, "a.test", pebble.root());
    assert_eq!(
        shown.expect("verified"),
        pebble.handshake("a.test").expect("verified")
    );
    assert_eq!(pebble.orders(), 1);
}

#[test]
fn what_thruster_has_stored_is_taken_over() {
    let Some(pebble) = Pebble::start(Wishes::default()) else {
        return;
    };
    let mut thrust = pebble.thrust("a.test").start();
    thrust.wait_for("certificate obtained");
    assert_eq!(thrust.stop(), 143);
    // As Go's autocert writes them: SEC1, the certificate's key in the same file before the chain, and nothing else.
    let volume = pebble.volume();
    let chain = fs::read(volume.join("a.test")).expect("stored");
    let leaf = CertificateDer::from_pem_slice(&chain).expect("a chain");
    for name in ["a.test", "acme_account+key"] {
        let file = volume.join(name);
        let path = file.to_str().expect("UTF-8");
        let key = format!("{path}.sec1");
        assert!(
            run("openssl", &["ec", "-in", path, "-out", &key]),
            "openssl"
        );
        let mut text = fs::read_to_string(&key).expect("written");
        assert!(text.contains("BEGIN EC PRIVATE KEY"));
        if name == "a.test" {
            let chain = String::from_utf8_lossy(&chain);
            text += chain
                .split_once("-----END PRIVATE KEY-----\n")
                .expect("ours")
                .1;
        }
        fs::write(&file, text).expect("ours");
        fs::remove_file(key).expect("ours");
    }
    fs::remove_file(volume.join("a.test+thrust")).expect("ours");
    let account = fs::read(volume.join("acme_account+key")).expect("stored");

    let mut thrust = pebble.thrust("a.test,b.test").start();
    thrust.wait_for("certificate loaded");
    assert_eq!(pebble.handshake("a.test").expect("verified"), leaf);
    let obtained = thrust.wait_for("certificate obtained").field("domain");
    assert_eq!(obtained, "b.test", "by the same account");
    assert!(!thrust.has("registered; its terms of service are accepted"));
    assert_eq!(thrust.stop(), 143);
    assert_eq!(
        fs::read(volume.join("acme_account+key")).expect("stored"),
        account
    );
    assert_eq!(pebble.orders(), 2);
}
