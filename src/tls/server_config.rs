//! What is spoken with clients: TLS 1.2 and 1.3 by aws-lc-rs, X25519MLKEM768 first, no 0-RTT.

use std::sync::Arc;

use rustls::{
    ServerConfig, SupportedProtocolVersion,
    crypto::aws_lc_rs::Ticketer,
    server::{NoServerSessionStorage, ResolvesServerCert},
    version::{TLS12, TLS13},
};

use super::{
    certificates::Certificates,
    challenges::{ACME_TLS, Challenges},
    pair::provider,
    settings::MinVersion,
};

/// For clients. There is one for as long as we live: the keys of its tickets outlive every certificate.
pub(super) fn for_clients(
    min_version: MinVersion,
    certificates: Certificates,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = config(versions(min_version), Arc::new(certificates))?;
    // Who offers HTTP/1.0 alone would be turned away otherwise.
    config.alpn_protocols = [&b"h2"[..], b"http/1.1", b"http/1.0"].map(Vec::from).into();
    // The order is ours, the best first, and not that of a client that knows no better.
    config.ignore_client_order = true;
    // Whoever comes back says by its ticket who it is. Without one rustls would keep 256 sessions, which is next to none.
    config.ticketer = Ticketer::new()?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    // A request that may be replayed is none that an app can take (RFC 8446 section 8).
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

/// For a CA that validates a name by TLS-ALPN-01.
pub(super) fn for_validation(challenges: Challenges) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = config(versions(MinVersion::Tls12), Arc::new(challenges))?;
    config.alpn_protocols = vec![ACME_TLS.to_vec()];
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

fn config(
    versions: &[&'static SupportedProtocolVersion],
    certificates: Arc<dyn ResolvesServerCert>,
) -> Result<ServerConfig, rustls::Error> {
    let config =
        ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions)?;
    Ok(config
        .with_no_client_auth()
        .with_cert_resolver(certificates))
}

fn versions(min: MinVersion) -> &'static [&'static SupportedProtocolVersion] {
    static BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
    match min {
        MinVersion::Tls12 => &BOTH,
        MinVersion::Tls13 => &BOTH[..1],
    }
}
