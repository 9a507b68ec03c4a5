//! A real Rails app behind the real Thrust: Debian's `ruby-rails` and `puma`, and `examples/rails`.

use std::{
    env,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

use crate::support::{Client, Response, Thrust, is_here};

/// Rails, Puma and Thrust, and a directory of downloads.
struct Rails {
    thrust: Thrust,
    downloads: PathBuf,
}

/// Started with these variables; none, with the reason printed, where there is no Rails.
fn rails(variables: &[(&str, &str)]) -> Option<Rails> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let requires = ["-e", "require 'action_controller/railtie'"];
    if !is_here("ruby", &requires, "ruby-rails") || !is_here("puma", &["--version"], "puma") {
        return None;
    }
    let name = format!(
        "thrust-rails-{}-{}",
        process::id(),
        COUNT.fetch_add(1, SeqCst)
    );
    let downloads = env::temp_dir().join(name);
    fs::create_dir_all(&downloads).expect("a temporary directory");
    let config = directory().join("puma.rb");
    let mut builder = Thrust::builder()
        .tcp()
        .command(["puma", "-C", config.to_str().expect("plain")])
        .env("DOWNLOADS", &downloads);
    for (name, value) in variables {
        builder = builder.env(name, value);
    }
    let thrust = builder.start();
    thrust.wait_for_child_line("Use Ctrl-C to stop");
    Some(Rails { thrust, downloads })
}

impl Rails {
    /// A GET with these complete lines of fields.
    fn get(&self, target: &str, fields: &str) -> Response {
        let mut client = self.thrust.connect();
        client.send_head("GET", target, fields);
        client.response()
    }

    fn download(&self, name: &str, contents: &[u8]) {
        fs::write(self.downloads.join(name), contents).expect("the directory is ours");
    }
}

impl Drop for Rails {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.downloads);
    }
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/rails")
}

/// The only asset: its target and its contents.
fn asset() -> (String, Vec<u8>) {
    let files = fs::read_dir(directory().join("public/assets")).expect("assets");
    let paths: Vec<_> = files.map(|file| file.expect("readable").path()).collect();
    let [path] = &paths[..] else {
        panic!("more than one asset: {paths:?}");
    };
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .expect("plain");
    (format!("/assets/{name}"), fs::read(path).expect("readable"))
}

/// Bytes that do not repeat where a buffer ends.
fn bytes(length: usize) -> Vec<u8> {
    (0..=250).cycle().take(length).collect()
}

/// The text between two others.
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let rest = text.split_once(before).map(|(_, rest)| rest);
    let found = rest.and_then(|rest| rest.split_once(after));
    found.unwrap_or_else(|| panic!("no {before:?} in {text}")).0
}

#[test]
fn an_asset_is_asked_for_once_and_is_the_same_in_every_coding() {
    let Some(mut rails) = rails(&[]) else {
        return;
    };
    let (target, contents) = asset();
    let mut cached = "miss";
    for coding in ["", "gzip", "br", "zstd", "gzip, deflate, br, zstd", ""] {
        let response = rails.get(&target, &format!("accept-encoding: {coding}\r\n"));
        assert_eq!(response.status, 200, "{coding}");
        assert_eq!(
            response.field("x-cache").as_deref(),
            Some(cached),
            "{coding}"
        );
        assert_eq!(response.decoded().as_ref(), Ok(&contents), "{coding}");
        assert_eq!(
            response.field("content-encoding").is_some(),
            !coding.is_empty(),
            "{coding}"
        );
        assert_eq!(response.field("x-sendfile"), None, "{coding}");
        let vary = response.field("vary").unwrap_or_default();
        assert!(vary.to_lowercase().contains("accept-encoding"), "{vary}");
        cached = "hit";
    }
    let head = rails.get(&target, "");
    assert_eq!(
        head.field("cache-control").as_deref(),
        Some("public, max-age=31536000, immutable")
    );
    assert_eq!(head.field("content-type").as_deref(), Some("text/css"));
    assert_eq!(rails.thrust.stop(), 143);
}

#[test]
fn a_page_for_all_is_stored_and_coded() {
    let Some(rails) = rails(&[]) else {
        return;
    };
    let first = rails.get("/about", "accept-encoding: gzip\r\n");
    let second = rails.get("/about", "accept-encoding: gzip\r\n");
    for (response, cached) in [(&first, "miss"), (&second, "hit")] {
        assert_eq!(response.field("x-cache").as_deref(), Some(cached));
        assert_eq!(response.field("content-encoding").as_deref(), Some("gzip"));
        assert_eq!(response.decoded(), first.decoded());
    }
    let tag = second.field("etag").expect("Rails tags its pages");
    let same = rails.get(
        "/about",
        &format!("if-none-match: {tag}\r\naccept-encoding: gzip\r\n"),
    );
    assert_eq!(
        (same.status, same.field("x-cache").as_deref()),
        (304, Some("hit"))
    );
}

#[test]
fn each_visitor_has_a_session_of_its_own() {
    let Some(rails) = rails(&[]) else {
        return;
    };
    let mut cookies = Vec::new();
    for _ in 0..2 {
        let response = rails.get("/", "");
        assert_ne!(response.field("x-cache").as_deref(), Some("hit"));
        assert!(
            response.text().contains("Visit 1 of somebody."),
            "{}",
            response.text()
        );
        cookies.push(cookie(&response));
    }
    assert_ne!(cookies[0], cookies[1]);
    let again = rails.get("/", &format!("cookie: {}\r\n", cookies[0]));
    assert!(
        again.text().contains("Visit 2 of somebody."),
        "{}",
        again.text()
    );
}

/// What a browser would send back.
fn cookie(response: &Response) -> String {
    let set = response.field("set-cookie").expect("a session");
    set.split(';').next().expect("its first part").to_owned()
}

#[test]
fn a_form_with_its_token_comes_through_and_one_without_does_not() {
    let Some(rails) = rails(&[]) else {
        return;
    };
    let page = rails.get("/", "accept-encoding: gzip, br\r\n");
    assert!(page.field("content-encoding").is_some());
    let text = String::from_utf8(page.decoded().expect("coded as it says")).expect("text");
    let token = between(&text, "name=\"authenticity_token\" value=\"", "\"");
    let mut escaped = String::new();
    for byte in token.bytes() {
        let _ = write!(escaped, "%{byte:02X}");
    }
    let cookie = cookie(&page);
    let refused = post(&rails, &cookie, "name=Eve");
    assert_eq!(refused.status, 422);
    let taken = post(
        &rails,
        &cookie,
        &format!("name=Ann&authenticity_token={escaped}"),
    );
    assert_eq!(taken.status, 302, "{}", taken.text());
    let location = taken.field("location");
    assert_eq!(location.as_deref(), Some("http://test.example/"));
    let page = rails.get("/", &format!("cookie: {}\r\n", self::cookie(&taken)));
    assert!(page.text().contains("Visit 2 of Ann."), "{}", page.text());
}

fn post(rails: &Rails, cookie: &str, form: &str) -> Response {
    let mut client = rails.thrust.connect();
    let fields = format!(
        "cookie: {cookie}\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n",
        form.len()
    );
    client.send_head("POST", "/notes", &fields);
    client.send(form);
    client.response()
}

#[test]
fn a_download_is_sent_by_thrust_whole_and_in_parts() {
    let Some(rails) = rails(&[]) else {
        return;
    };
    let contents = bytes(3_000_000);
    rails.download("big.bin", &contents);
    let whole = rails.get("/downloads/big.bin", "");
    assert_eq!((whole.status, whole.body == contents), (200, true));
    assert_eq!(whole.field("x-sendfile"), None);
    assert_eq!(whole.field("cache-control").as_deref(), Some("private"));
    let disposition = whole.field("content-disposition").unwrap_or_default();
    assert!(
        disposition.starts_with("attachment; filename=\"big.bin\""),
        "{disposition}"
    );

    let part = rails.get("/downloads/big.bin", "range: bytes=1000000-2000000\r\n");
    assert_eq!(part.status, 206);
    assert!(part.body == contents[1_000_000..=2_000_000]);
    let range = part.field("content-range");
    assert_eq!(range.as_deref(), Some("bytes 1000000-2000000/3000000"));
    let none = rails.get("/downloads/big.bin", "range: bytes=3000000-\r\n");
    assert_eq!(none.status, 416);

    let tag = whole.field("etag").expect("a tag, the app's or ours");
    let same = rails.get("/downloads/big.bin", &format!("if-none-match: {tag}\r\n"));
    assert_eq!((same.status, same.body.len()), (304, 0));
    let modified = whole.field("last-modified").expect("a file's time");
    let same = rails.get(
        "/downloads/big.bin",
        &format!("if-modified-since: {modified}\r\n"),
    );
    assert_eq!(same.status, 304);
    let missing = rails.get("/downloads/none.bin", "");
    assert_eq!(missing.status, 404);
}

#[test]
fn a_download_outside_of_sendfile_root_is_not_found() {
    let Some(rails) = rails(&[("THRUSTER_SENDFILE_ROOT", "/usr/share")]) else {
        return;
    };
    rails.download("secret.txt", b"secret");
    let response = rails.get("/downloads/secret.txt", "");
    assert_eq!(response.status, 404);
    assert!(!response.text().contains("secret"), "{}", response.text());
}

#[test]
fn events_come_one_by_one_though_they_are_coded() {
    let Some(mut rails) = rails(&[]) else {
        return;
    };
    let mut client = rails.thrust.connect();
    client.send_head("GET", "/events", "accept-encoding: gzip\r\n");
    let head = client.head();
    assert_eq!(head.field("content-encoding").as_deref(), Some("gzip"));
    let mut text = flate2::write::GzDecoder::new(Vec::new());
    // They never end: whoever gathers them sends nothing.
    while !contains(text.get_ref(), "data: event 3\n") {
        take_chunk(&mut client, &mut text).expect("gzip");
    }
    drop(client);
    assert_eq!(rails.thrust.stop(), 143);
}

fn take_chunk(client: &mut Client, text: &mut impl io::Write) -> io::Result<()> {
    let chunk = client.chunk().expect("well formed").expect("more to come");
    text.write_all(&chunk)?;
    text.flush()
}

fn contains(text: &[u8], needle: &str) -> bool {
    text.windows(needle.len())
        .any(|window| window == needle.as_bytes())
}

#[test]
fn public_files_do_without_rails() {
    let public = directory().join("public");
    let public = public.to_str().expect("plain");
    let variables = [
        ("THRUSTER_PUBLIC_FILES_ENABLED", "1"),
        ("THRUSTER_PUBLIC_PATH", public),
    ];
    let Some(rails) = rails(&variables) else {
        return;
    };
    let (target, contents) = asset();
    let response = rails.get(&target, "");
    assert_eq!((response.status, response.body), (200, contents));
    let robots = rails.get("/robots.txt", "");
    assert_eq!(robots.status, 200);
    // Rails says how long it took, and who it was.
    let page = rails.get("/about", "");
    assert!(page.field("x-runtime").is_some());
    assert_eq!(robots.field("x-runtime"), None);
    let missing = rails.get("/none.txt", "");
    assert_eq!(missing.status, 404);
    assert!(missing.text().contains("There is no such page."));
}
