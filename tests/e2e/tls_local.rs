//! TLS_LOCAL: a CA of our own.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use rustls::pki_types::{CertificateDer, pem::PemObject};

use crate::support::{
    Builder, Thrust,
    pebble::{run, shake_hands},
    secure::https_port,
};

fn local(storage: &std::path::Path) -> Builder {
    Thrust::builder()
        .env("HTTPS_PORT", "0")
        .env("THRUSTER_TLS_LOCAL", "1")
        .env("STORAGE_PATH", storage)
}

fn root(thrust: &Thrust) -> (PathBuf, CertificateDer<'static>) {
    let said = thrust.find(crate::support::PATIENCE, |record| record.has("ca"));
    let path = PathBuf::from(said.expect("the path of the CA").field("ca"));
    let text = fs::read(&path).expect("the CA's certificate");
    (path, CertificateDer::from_pem_slice(&text).expect("PEM"))
}

#[test]
fn whoever_trusts_the_local_ca_is_not_warned_after_a_restart_either() {
    let storage = std::env::temp_dir().join(format!("thrust-local-{}", std::process::id()));
    let _ = fs::remove_dir_all(&storage);
    let mut thrust = local(&storage).start();
    let (path, trusted) = root(&thrust);
    for name in ["localhost", "127.0.0.1", "::1"] {
        let shown = shake_hands(https_port(&thrust), name, trusted.clone());
        assert!(shown.is_ok(), "{name}: {shown:?}");
    }
    let mode = |name: &str| {
        fs::metadata(storage.join(name))
            .expect("stored")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!((mode("local_ca+key"), mode("local_ca.pem")), (0o600, 0o644));
    assert!(run(
        "openssl",
        &[
            "verify",
            "-CAfile",
            path.to_str().expect("UTF-8"),
            path.to_str().expect("UTF-8")
        ]
    ));
    assert_eq!(thrust.stop(), 143);

    let mut thrust = local(&storage)
        .env("TLS_DOMAIN", "dev.test,*.dev.test")
        .start();
    assert_eq!(root(&thrust).1, trusted);
    for name in ["dev.test", "a.dev.test"] {
        let shown = shake_hands(https_port(&thrust), name, trusted.clone());
        assert!(shown.is_ok(), "{name}: {shown:?}");
    }
    assert_eq!(thrust.stop(), 143);
    let _ = fs::remove_dir_all(&storage);
}
