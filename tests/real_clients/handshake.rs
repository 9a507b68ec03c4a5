//! rustls as a client, for what OpenSSL's does not know or not do.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
};

use rustls::{
    ClientConfig, ClientConnection, Stream,
    crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs},
};

use crate::{openssl::REQUEST, site::Site, support::seconds};

#[test]
fn a_key_exchange_against_quantum_computers_is_offered() {
    let site = Site::start();
    let only = |group| {
        let provider = aws_lc_rs::default_provider();
        CryptoProvider {
            kx_groups: vec![group],
            ..provider
        }
    };
    for group in [
        aws_lc_rs::kx_group::X25519MLKEM768,
        aws_lc_rs::kx_group::X25519,
    ] {
        let builder = ClientConfig::builder_with_provider(Arc::new(only(group)));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let mut config = builder
            .with_root_certificates(site.authority.roots())
            .with_no_client_auth();
        config.alpn_protocols = vec!["http/1.1".into()];
        let mut tls =
            ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
        let mut tcp = TcpStream::connect(("127.0.0.1", site.port)).unwrap();
        let mut stream = Stream::new(&mut tls, &mut tcp);
        stream.write_all(REQUEST.as_bytes()).unwrap();
        let mut answer = String::new();
        // Ends well only with close_notify.
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("hello from "), "{answer}");
        let used = tls
            .negotiated_key_exchange_group()
            .map(SupportedKxGroup::name);
        assert_eq!(used, Some(group.name()));
    }
}

#[test]
fn a_request_that_comes_with_the_end_of_the_handshake_is_answered() {
    let site = Site::start();
    let (mut tls, mut tcp) = almost_shaken(&site);
    tls.writer().write_all(REQUEST.as_bytes()).unwrap();
    tls.write_tls(&mut tcp).unwrap();
    let mut answer = String::new();
    Stream::new(&mut tls, &mut tcp)
        .read_to_string(&mut answer)
        .unwrap();
    assert!(answer.contains("hello from "), "{answer}");
}

#[test]
fn a_goodbye_that_comes_with_the_end_of_the_handshake_is_heard() {
    let site = Site::start();
    let (mut tls, mut tcp) = almost_shaken(&site);
    tls.send_close_notify();
    tls.write_tls(&mut tcp).unwrap();
    // Ours is answered with the server's, and nobody waits for a clock.
    let read = Stream::new(&mut tls, &mut tcp).read(&mut [0]);
    assert_eq!(read.map_err(|error| error.kind()), Ok(0));
}

/// A connection on which the client has all but sent the last of the handshake.
fn almost_shaken(site: &Site) -> (ClientConnection, TcpStream) {
    let name = "localhost".try_into().unwrap();
    let mut tls = ClientConnection::new(site.authority.client("http/1.1"), name).unwrap();
    let mut tcp = TcpStream::connect(("127.0.0.1", site.port)).unwrap();
    tcp.set_read_timeout(Some(seconds(10))).unwrap();
    while tls.is_handshaking() {
        while tls.wants_write() {
            tls.write_tls(&mut tcp).unwrap();
        }
        tls.read_tls(&mut tcp).unwrap();
        tls.process_new_packets().unwrap();
    }
    (tls, tcp)
}
