use std::{ffi::OsStr, fs, os::unix::fs::symlink, process::Command};

use crate::support::{Builder, Client, Place, QUIET, Response, Thrust};

/// The response to an answer of the app's with these fields (`name: value | name: value`).
fn ask(client: &mut Client, method: &str, target: &str, answer: &str) -> Response {
    client.send_head(method, target, &format!("answer: {answer}\r\n"));
    client.response()
}

fn named(thrust: &Thrust, answer: &str) -> Response {
    ask(&mut thrust.connect(), "GET", "/named", answer)
}

fn with_root(root: impl AsRef<OsStr>) -> Builder {
    Thrust::builder().env("THRUSTER_SENDFILE_ROOT", root)
}

/// A 404 that does not say where it looked.
#[track_caller]
fn assert_none(response: &Response, path: &str) {
    assert_eq!(response.status, 404, "{path}");
    assert_eq!(response.text(), "There is no such file.\n");
    assert!(
        response
            .fields
            .iter()
            .all(|(_, value)| !value.contains(path))
    );
}

#[test]
fn the_app_s_status_and_fields_stay_and_the_length_is_the_file_s() {
    let place = Place::new();
    let path = place.file("report.pdf", "%PDF-");
    let thrust = Thrust::builder().start();
    let fields = [
        ("content-type", "application/x-report"),
        ("content-disposition", "attachment; filename=\"r.pdf\""),
        ("cache-control", "private, max-age=5"),
        ("etag", "W/\"of-the-app\""),
        ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("set-cookie", "a=b"),
    ];
    let lines = fields.map(|(name, value)| format!("{name}: {value}"));
    let answer = format!("X-Sendfile: {path} | {}", lines.join(" | "));
    let response = named(&thrust, &answer);
    assert_eq!((response.status, response.text()), (200, "%PDF-".into()));
    for (name, value) in fields {
        assert_eq!(response.field(name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(response.field("content-length").as_deref(), Some("5"));
    assert_eq!(response.field("x-sendfile"), None);
}

#[test]
fn what_the_app_leaves_open_comes_from_the_file() {
    let place = Place::new();
    let path = place.file("page.html", "one");
    let thrust = Thrust::builder().start();
    let answer = format!("x-sendfile: {path}");
    let first = named(&thrust, &answer);
    let kind = first.field("content-type");
    assert_eq!(kind.as_deref(), Some("text/html; charset=utf-8"));
    assert_eq!(first.field("accept-ranges").as_deref(), Some("bytes"));
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    let modified = httpdate::fmt_http_date(modified);
    assert_eq!(first.field("last-modified"), Some(modified));
    let tag = first.field("etag").unwrap();
    assert!(
        tag.starts_with('"') && tag.ends_with('"'),
        "{tag} is strong"
    );
    assert_eq!(named(&thrust, &answer).field("etag"), Some(tag.clone()));
    place.file("page.html", "two.");
    let second = named(&thrust, &answer);
    assert_eq!(second.text(), "two.");
    assert_ne!(second.field("etag"), Some(tag));
    for (name, expected) in [
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.woff2", "font/woff2"),
        ("a.svg", "image/svg+xml"),
        ("a", "application/octet-stream"),
    ] {
        let path = place.file(name, "");
        let response = named(&thrust, &format!("x-sendfile: {path}"));
        assert_eq!(response.field("content-type").as_deref(), Some(expected));
        assert_eq!(response.field("content-length").as_deref(), Some("0"));
    }
}

#[test]
fn each_coding_of_a_file_has_a_tag_of_its_own() {
    let place = Place::new();
    let path = place.file("a.js.gz", "not really");
    let thrust = Thrust::builder().start();
    let coded =
        format!("x-sendfile: {path} | content-encoding: gzip | content-type: text/javascript");
    let coded = named(&thrust, &coded);
    assert_eq!(coded.field("content-encoding").as_deref(), Some("gzip"));
    assert_eq!(coded.field("content-length").as_deref(), Some("10"));
    let plain = named(&thrust, &format!("x-sendfile: {path}"));
    assert_ne!(coded.field("etag"), plain.field("etag"));
}

#[test]
fn other_statuses_and_methods_get_the_whole_file() {
    let place = Place::new();
    let path = place.file("gone.html", "not here any more");
    let thrust = Thrust::builder().start();
    let mut client = thrust.connect();
    let answer = format!("{path}\r\nrange: bytes=0-1\r\nif-none-match: *");
    for (method, status) in [("GET", 410), ("POST", 200), ("DELETE", 200), ("GET", 500)] {
        let target = format!("/named?status={status}");
        let response = ask(
            &mut client,
            method,
            &target,
            &format!("x-sendfile: {answer}"),
        );
        assert_eq!(
            (response.status, response.text().as_str()),
            (status, "not here any more")
        );
    }
    for status in [204, 304] {
        let target = format!("/named?status={status}");
        let response = ask(&mut client, "GET", &target, &format!("x-sendfile: {path}"));
        assert_eq!(
            (response.status, response.field("x-sendfile")),
            (status, None)
        );
    }
    // What the app took for a part is ours to choose.
    let part = format!("x-sendfile: {path} | content-range: bytes 5-6/17");
    let response = ask(&mut client, "GET", "/named?status=206", &part);
    assert_eq!((response.status, response.body.len()), (200, 17));
    assert_eq!(response.field("content-range"), None);
}

#[test]
fn what_the_app_sends_beside_the_name_is_dropped_and_its_connection_used_again() {
    let place = Place::new();
    let path = place.file("a.txt", "the file");
    let thrust = Thrust::builder().start();
    let accepted = thrust.count_child_lines("accepted");
    let mut client = thrust.connect();
    for beside in [0, 10, 300_000, 1_000].into_iter().cycle().take(40) {
        let target = format!("/named?beside={beside}");
        let response = ask(&mut client, "GET", &target, &format!("x-sendfile: {path}"));
        assert_eq!(response.text(), "the file");
    }
    // It takes a moment until what came beside has been read; meanwhile the next request needs another connection.
    let connections = thrust.count_child_lines("accepted") - accepted;
    assert!(connections < 10, "{connections} for 40 requests");
}

#[test]
fn a_file_that_is_not_there_is_404_and_only_the_log_says_which() {
    let place = Place::new();
    let path = place.at("missing.txt");
    let thrust = Thrust::builder().start();
    let answer = format!("x-sendfile: {path} | cache-control: public, max-age=600 | etag: \"a\"");
    let response = named(&thrust, &answer);
    assert_none(&response, &path);
    assert_eq!(
        (response.field("cache-control"), response.field("etag")),
        (None, None)
    );
    assert_eq!(
        thrust.wait_for_request("/named").field("cause"),
        "file_missing"
    );
    let record = thrust.wait_for("cannot send the file that the app named");
    assert_eq!((record.field("file"), record.level()), (path, "WARN"));
}

#[test]
fn only_regular_files_are_sent() {
    let place = Place::new();
    let fifo = place.at("fifo");
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    fs::create_dir(place.at("directory")).unwrap();
    let long = format!("/{}", "a/".repeat(4_000));
    for builder in [Thrust::builder(), with_root("/")] {
        let thrust = builder.start();
        for path in [
            &fifo,
            &place.at("directory"),
            "/dev/null",
            "/dev/zero",
            &long,
            "etc/passwd",
        ] {
            assert_none(&named(&thrust, &format!("x-sendfile: {path}")), path);
        }
        assert_eq!(
            thrust.wait_for_request("/named").field("cause"),
            "file_refused"
        );
    }
}

#[test]
fn nothing_leads_out_of_the_root() {
    let place = Place::new();
    let secret = place.file("secret", "secret");
    place.file("root/deep/file", "inside");
    place.file("root-not/file", "secret");
    let root = place.path().join("root");
    for (name, target) in [
        ("out", "../secret".into()),
        ("far", place.path().join("secret")),
        ("up", "..".into()),
        ("in", "deep/../deep/file".into()),
        ("round", root.join("deep/file")),
        ("proc", "/proc/self/root".into()),
    ] {
        symlink(target, root.join(name)).unwrap();
    }
    let thrust = with_root(&root).start();
    for inside in [
        "deep/file",
        "in",
        "round",
        "deep/../in",
        "./deep//file",
        "up/root/in",
    ] {
        let response = named(&thrust, &format!("x-sendfile: {}/{inside}", root.display()));
        assert_eq!(response.text(), "inside", "{inside}");
    }
    for outside in [
        "out",
        "far",
        "up/secret",
        "../secret",
        "deep/../../secret",
        "../root-not/file",
        "proc/etc/passwd",
    ] {
        let path = format!("{}/{outside}", root.display());
        assert_none(&named(&thrust, &format!("x-sendfile: {path}")), &path);
    }
    for outside in [
        &*secret,
        "/etc/passwd",
        "/proc/self/cwd/Cargo.toml",
        "deep/file",
    ] {
        assert_none(&named(&thrust, &format!("x-sendfile: {outside}")), outside);
    }
}

#[test]
fn a_root_behind_a_symlink_is_known_by_both_names() {
    let place = Place::new();
    place.file("releases/1/a", "first");
    place.file("releases/2/a", "second");
    symlink("releases/1", place.path().join("current")).unwrap();
    let thrust = with_root(place.at("current")).start();
    let by = |name: &str| named(&thrust, &format!("x-sendfile: {}", place.at(name)));
    assert_eq!(by("current/a").text(), "first");
    assert_eq!(by("releases/1/a").text(), "first");
    assert_none(&by("releases/2/a"), "releases");
    symlink("releases/2", place.path().join("next")).unwrap();
    fs::rename(place.at("next"), place.at("current")).unwrap();
    let moved = || by("current/a").text() == "second" && by("releases/2/a").text() == "second";
    assert!(crate::support::eventually(crate::support::PATIENCE, moved));
}

#[test]
fn without_a_root_the_app_s_paths_are_trusted() {
    let place = Place::new();
    place.file("store/a", "stored");
    symlink("store", place.path().join("link")).unwrap();
    let thrust = Thrust::builder().start();
    for path in ["store/a", "link/a", "store/../link/a"] {
        let response = named(&thrust, &format!("x-sendfile: {}", place.at(path)));
        assert_eq!(response.text(), "stored");
    }
}

#[test]
fn x_accel_redirect_reaches_mapped_directories_only() {
    let place = Place::new();
    place.file("files/a b.txt", "mapped");
    place.file("files/100%.txt", "percent");
    place.file("more/c.css", "more");
    let secret = place.file("secret", "secret");
    let mapping = format!(
        "/protected/={}/, /protected/more={}",
        place.at("files"),
        place.at("more")
    );
    let thrust = Thrust::builder()
        .env("THRUSTER_ACCEL_MAPPING", mapping)
        .start();
    for (uri, expected) in [
        ("/protected/a%20b.txt", "mapped"),
        ("/protected/a b.txt", "mapped"),
        ("/protected/100%25.txt", "percent"),
        ("/protected/more/c.css?v=1", "more"),
    ] {
        let response = named(
            &thrust,
            &format!("X-Accel-Redirect: {uri} | x-accel-expires: 5"),
        );
        assert_eq!(response.text(), expected, "{uri}");
        assert_eq!(
            (
                response.field("x-accel-redirect"),
                response.field("x-accel-expires")
            ),
            (None, None)
        );
    }
    let css = named(&thrust, "x-accel-redirect: /protected/more/c.css?v=1");
    assert_eq!(
        css.field("content-type").as_deref(),
        Some("text/css; charset=utf-8")
    );
    for uri in [
        &*secret,
        &place.at("files/a b.txt"),
        "/protected/../secret",
        "/protected/%2e%2e/secret",
        "/protected/..%2Fsecret",
        "/protected/a%20b.txt%00",
        "/protected",
        "/protectedfiles/a%20b.txt",
        "@named",
        "",
    ] {
        assert_none(
            &named(&thrust, &format!("x-accel-redirect: {uri}")),
            "secret",
        );
    }
    // The other way is open, too.
    let path = place.at("more/c.css");
    assert_eq!(
        named(&thrust, &format!("x-sendfile: {path}")).text(),
        "more"
    );
}

#[test]
fn the_app_is_told_which_way_it_may_name_files() {
    let lines = |thrust: &Thrust, fields: &str| -> Vec<String> {
        let mut client = thrust.connect();
        client.send_head("GET", "/headers", fields);
        let seen = client.response().text().to_lowercase();
        let ours = |line: &&str| line.contains("sendfile") || line.contains("accel");
        seen.lines().filter(ours).map(str::to_owned).collect()
    };
    let forged = "X-Sendfile-Type: X-Accel-Redirect\r\nx_sendfile_type: a\r\nX-Sendfile: /a\r\nX-Accel-Mapping: /=/\r\n\
        X_Accel-Mapping: /=/\r\nx-accel_redirect: /a\r\nX-Accel-Buffering: no\r\n";
    for fields in ["", forged] {
        let on = Thrust::builder().start();
        assert_eq!(lines(&on, fields), ["x-sendfile-type: x-sendfile"]);
        let off = Thrust::builder().env("X_SENDFILE_ENABLED", "0").start();
        assert_eq!(lines(&off, fields), [""; 0]);
        let mapping = "/private/=/srv/files/,/other=/srv/other";
        let accel = Thrust::builder()
            .env("THRUSTER_ACCEL_MAPPING", mapping)
            .start();
        assert_eq!(
            lines(&accel, fields),
            [
                "x-sendfile-type: x-accel-redirect",
                "x-accel-mapping: /srv/files/=/private/,/srv/other/=/other/"
            ]
        );
    }
}

#[test]
fn no_name_of_a_file_reaches_the_client() {
    let place = Place::new();
    let path = place.file("a", "file");
    let answer = format!(
        "X-Sendfile: {path} | X-Accel-Redirect: {path} | X-Accel-Buffering: no | X-Accel-Limit-Rate: 1"
    );
    for (enabled, expected) in [("1", "file"), ("0", "abcde")] {
        let thrust = Thrust::builder().env("X_SENDFILE_ENABLED", enabled).start();
        let response = ask(&mut thrust.connect(), "GET", "/named?beside=5", &answer);
        assert_eq!((response.status, response.text().as_str()), (200, expected));
        let tells = |(name, value): &(String, String)| {
            name.starts_with("x-sendfile") || name.starts_with("x-accel") || value.contains(&path)
        };
        assert!(!response.fields.iter().any(tells), "{:?}", response.fields);
    }
}

#[test]
fn the_log_says_once_whether_the_app_names_files() {
    let place = Place::new();
    let path = place.file("a", "file");
    let thrust = Thrust::builder().start();
    let on = "X-Sendfile is on; no response has used it yet";
    let rails = thrust.wait_for(on).field("rails");
    assert_eq!(
        rails,
        "config.action_dispatch.x_sendfile_header = \"X-Sendfile\""
    );
    let used = "the app names files with X-Sendfile";
    thrust.get("/hello");
    thrust.assert_no(used, QUIET);
    for _ in 0..5 {
        named(&thrust, &format!("x-sendfile: {path}"));
    }
    thrust.wait_for(used);
    assert_eq!((thrust.count(on), thrust.count(used)), (1, 1));
    let off = Thrust::builder().env("X_SENDFILE_ENABLED", "0").start();
    off.assert_no(on, QUIET);
}
