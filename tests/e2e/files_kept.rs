//! Files stay open for a moment, and nobody can tell but by the clock.

use std::{
    fs,
    io::Write,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use crate::support::{Client, PATIENCE, Place, Response, Thrust, eventually, file_descriptors};

/// How many a core keeps.
const MOST: usize = 64;

fn ask(client: &mut Client, path: &str) -> Response {
    client.send_head("GET", "/named", &format!("answer: x-sendfile: {path}\r\n"));
    client.response()
}

/// What is sent for `path`, now that it was asked for before.
fn again(client: &mut Client, path: &str) -> (u16, String) {
    let response = ask(client, path);
    (response.status, response.text())
}

/// Root may read everything; without these capabilities it may not (capabilities(7)).
fn read_as_others_do() -> std::io::Result<()> {
    const DAC_OVERRIDE: libc::c_ulong = 1;
    const DAC_READ_SEARCH: libc::c_ulong = 2;
    for capability in [DAC_OVERRIDE, DAC_READ_SEARCH] {
        // SAFETY: prctl takes integers here. Who is not root has neither, and may not drop them.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
    }
    Ok(())
}

/// Thrust's descriptors of files in this place.
fn descriptors(thrust: &Thrust, place: &Place) -> usize {
    let open = file_descriptors(thrust.pid());
    let of_place = |path: &&std::path::PathBuf| path.starts_with(place.path());
    open.iter().filter(of_place).count()
}

#[test]
fn a_file_that_is_replaced_between_two_requests_is_the_new_one() {
    let place = Place::new();
    let thrust = Thrust::builder().start();
    let mut client = thrust.connect();
    let path = place.file("file", "old");
    let old = ask(&mut client, &path);
    assert_eq!(old.text(), "old");
    for number in 0..100 {
        let new = format!("number {number}");
        fs::rename(place.file("new", &new), &path).unwrap();
        assert_eq!(again(&mut client, &path), (200, new));
    }
    assert_ne!(ask(&mut client, &path).field("etag"), old.field("etag"));
}

#[test]
fn a_file_that_is_written_between_two_requests_has_its_new_length_and_tag() {
    let place = Place::new();
    let thrust = Thrust::builder().start();
    let mut client = thrust.connect();
    let path = place.file("file", "one");
    let mut known = ask(&mut client, &path);
    let mut contents = "one".to_owned();
    let mut file = fs::File::options().append(true).open(&path).unwrap();
    for number in 0..50 {
        let more = format!(", {number}");
        file.write_all(more.as_bytes()).unwrap();
        contents += &more;
        let response = ask(&mut client, &path);
        assert_eq!(response.text(), contents);
        assert_ne!(response.field("etag"), known.field("etag"));
        known = response;
    }
    // What was found to be short is whole again.
    file.set_len(3).unwrap();
    assert_eq!(again(&mut client, &path), (200, "one".into()));
    fs::write(&path, &contents).unwrap();
    assert_eq!(again(&mut client, &path), (200, contents));
}

#[test]
fn a_file_that_is_deleted_is_missing_at_once_and_gives_its_space_back() {
    let place = Place::new();
    let thrust = Thrust::builder().start();
    let mut client = thrust.connect();
    let paths = ["a", "b"].map(|name| place.file(name, name));
    for path in &paths {
        assert_eq!(again(&mut client, path).0, 200);
    }
    fs::remove_file(&paths[0]).unwrap();
    assert_eq!(again(&mut client, &paths[0]).0, 404);
    fs::remove_file(&paths[1]).unwrap();
    // Without another request.
    assert!(eventually(PATIENCE, || descriptors(&thrust, &place) == 0));
}

#[test]
fn what_takes_the_place_of_a_file_is_judged_anew() {
    let place = Place::new();
    let secret = place.file("secret", "secret");
    let thrust = Thrust::builder()
        .env("THRUSTER_SENDFILE_ROOT", place.at("root"))
        .start();
    let mut client = thrust.connect();
    let path = place.file("root/file", "open to all");
    let put = |make: &dyn Fn(&Path)| {
        let new = place.path().join("root/new");
        make(&new);
        fs::rename(new, &path).unwrap();
    };
    for _ in 0..20 {
        put(&|new| fs::write(new, "open to all").unwrap());
        assert_eq!(again(&mut client, &path), (200, "open to all".into()));
        put(&|new| symlink(&secret, new).unwrap());
        assert_eq!(again(&mut client, &path).0, 404);
        put(&|new| symlink("../secret", new).unwrap());
        assert_eq!(again(&mut client, &path).0, 404);
    }
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(again(&mut client, &path).0, 404);
    // The whole directory by another, which has it too.
    fs::remove_dir(&path).unwrap();
    place.file("root/file", "the first");
    assert_eq!(again(&mut client, &path), (200, "the first".into()));
    place.file("next/file", "the second");
    fs::rename(place.at("root"), place.at("gone")).unwrap();
    fs::rename(place.at("next"), place.at("root")).unwrap();
    let moved = || again(&mut client, &path) == (200, "the second".into());
    assert!(eventually(PATIENCE, moved));
}

#[test]
fn a_file_that_may_no_longer_be_read_is_not_sent() {
    let place = Place::new();
    let path = place.file("file", "for now");
    let thrust = Thrust::builder().before_exec(read_as_others_do).start();
    let mut client = thrust.connect();
    assert_eq!(again(&mut client, &path), (200, "for now".into()));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    assert_eq!(again(&mut client, &path).0, 404);
}

#[test]
fn no_more_are_kept_than_a_core_may() {
    let place = Place::new();
    let thrust = Thrust::builder().start();
    let mut client = thrust.connect();
    for number in 0..MOST * 2 {
        let path = place.file(&number.to_string(), "x");
        assert_eq!(again(&mut client, &path).0, 200);
        assert!(descriptors(&thrust, &place) <= MOST);
    }
}
