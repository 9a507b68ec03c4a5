//! Certificates of the user's own.

use std::{
    fs,
    io::{self, Read, Write},
    net::TcpStream,
    os::unix::fs::symlink,
    path::Path,
    sync::Arc,
};

use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned,
    pki_types::CertificateDer,
};

use crate::support::{
    Builder, Thrust, eventually, pebble::shake_hands, seconds, secure::https_port,
};

type Made = CertifiedKey<KeyPair>;

fn made() -> Made {
    generate_simple_self_signed(["files.test".to_owned()]).expect("a name")
}

/// Writes a pair as Kubernetes mounts a secret: in a directory of its own, with `..data` leading to it.
fn mount(volume: &Path, number: u32, certificate: &Made, key: &Made) {
    let directory = volume.join(format!("..{number}"));
    fs::create_dir_all(&directory).expect("ours");
    fs::write(directory.join("tls.crt"), certificate.cert.pem()).expect("ours");
    fs::write(directory.join("tls.key"), key.signing_key.serialize_pem()).expect("ours");
    let next = volume.join("..data_tmp");
    symlink(&directory, &next).expect("ours");
    fs::rename(next, volume.join("..data")).expect("ours");
    for name in ["tls.crt", "tls.key"] {
        let _ = symlink(Path::new("..data").join(name), volume.join(name));
    }
}

fn builder(volume: &Path) -> Builder {
    Thrust::builder()
        .env("HTTPS_PORT", "0")
        .env("THRUSTER_TLS_CERTIFICATE_PATH", volume.join("tls.crt"))
        .env("THRUSTER_TLS_PRIVATE_KEY_PATH", volume.join("tls.key"))
}

/// A directory that goes with the test.
struct Volume(std::path::PathBuf);

impl Volume {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("thrust-volume-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary directory");
        Self(path)
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn shown(thrust: &Thrust, trusted: &Made) -> io::Result<CertificateDer<'static>> {
    shake_hands(https_port(thrust), "files.test", trusted.cert.der().clone())
}

#[test]
fn a_swapped_pair_is_served_and_of_a_bad_one_the_good_one_before() {
    let volume = Volume::new("swap");
    let (first, second, third) = (made(), made(), made());
    mount(&volume.0, 1, &first, &first);
    let thrust = builder(&volume.0).start();
    assert_eq!(&shown(&thrust, &first).expect("verified"), first.cert.der());

    mount(&volume.0, 2, &second, &second);
    thrust.wait_for_nth(1, "certificate loaded", seconds(15));
    assert_eq!(
        &shown(&thrust, &second).expect("verified"),
        second.cert.der()
    );

    // One of another: said once, however often it is found.
    mount(&volume.0, 3, &third, &second);
    let fault = thrust.wait_for("the certificate before is served on");
    assert!(
        fault
            .field("error")
            .contains("the private key does not belong to the certificate"),
        "{}",
        fault.text
    );
    assert_eq!(
        &shown(&thrust, &second).expect("verified"),
        second.cert.der()
    );

    fs::remove_file(volume.0.join("..data")).expect("ours");
    let fault = thrust.wait_for_nth(1, "the certificate before is served on", seconds(15));
    assert!(
        fault.field("error").contains("cannot read"),
        "{}",
        fault.text
    );
    assert!(shown(&thrust, &second).is_ok());

    mount(&volume.0, 4, &third, &third);
    assert!(eventually(seconds(15), || shown(&thrust, &third).is_ok()));
    assert_eq!(thrust.count("the certificate before is served on"), 2);
}

#[test]
fn a_ticket_outlives_its_certificate() {
    let volume = Volume::new("ticket");
    let (first, second) = (made(), made());
    mount(&volume.0, 1, &first, &first);
    let thrust = builder(&volume.0).start();
    let mut roots = RootCertStore::empty();
    for made in [&first, &second] {
        roots.add(made.cert.der().clone()).expect("a root");
    }
    let client = ClientConfig::builder().with_root_certificates(roots);
    // It keeps the tickets that it is given.
    let client = Arc::new(client.with_no_client_auth());
    assert_eq!(visit(&thrust, &client), HandshakeKind::Full);
    assert_eq!(visit(&thrust, &client), HandshakeKind::Resumed);

    mount(&volume.0, 2, &second, &second);
    thrust.wait_for_nth(1, "certificate loaded", seconds(15));
    assert_eq!(visit(&thrust, &client), HandshakeKind::Resumed);
}

/// Asks once, on a connection of its own; how that began.
fn visit(thrust: &Thrust, client: &Arc<ClientConfig>) -> HandshakeKind {
    let tcp = TcpStream::connect(("127.0.0.1", https_port(thrust))).expect("it listens");
    let name = "files.test".try_into().expect("a name");
    let tls = ClientConnection::new(client.clone(), name).expect("a configuration");
    let mut stream = StreamOwned::new(tls, tcp);
    let request = b"GET /hello HTTP/1.1\r\nhost: files.test\r\nconnection: close\r\n\r\n";
    stream.write_all(request).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("close_notify");
    assert!(answer.contains("hello from"), "{answer}");
    stream.conn.handshake_kind().expect("it is done")
}

#[test]
fn a_bad_pair_at_the_start_is_an_error_before_anything_runs() {
    let volume = Volume::new("bad");
    let (one, other) = (made(), made());
    mount(&volume.0, 1, &one, &other);
    let mut thrust = builder(&volume.0).spawn();
    assert_eq!(thrust.wait_exit(seconds(5)), 1);
    assert!(
        thrust
            .logs()
            .contains("the private key does not belong to the certificate")
    );
    assert!(!thrust.has("app started") && !thrust.has("listening"));

    fs::remove_dir_all(&volume.0).expect("ours");
    let mut thrust = builder(&volume.0).spawn();
    assert_eq!(thrust.wait_exit(seconds(5)), 1);
    assert!(thrust.logs().contains("cannot read"));
}

#[test]
fn without_a_domain_the_certificate_says_who_we_are() {
    let volume = Volume::new("names");
    let pair = made();
    mount(&volume.0, 1, &pair, &pair);
    let thrust = builder(&volume.0).start();
    let status = |host: &str| {
        let mut client = thrust.connect();
        client.send(format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n"));
        client.response().status
    };
    assert_eq!((status("files.test"), status("other.test")), (301, 421));
}
