//! The app's readiness by HTTP: `HTTP_HEALTH_PATH` asked as a load balancer behind TLS would.

use std::time::Duration;

use http::{HeaderMap, Method};

use super::Settings;
use crate::{
    drain::Watch,
    handler::RequestBody,
    http1::{Connection, Exchange},
    target::Address,
};

/// How long the app may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks the app whether it is well.
#[derive(Clone, Debug)]
pub struct Probe {
    head: Vec<u8>,
}

impl Probe {
    /// A probe, if `HTTP_HEALTH_PATH` is set.
    pub fn new(settings: &Settings) -> Option<Self> {
        let path = settings.health_path.as_ref()?;
        let host = settings.health_host.as_deref().unwrap_or("localhost");
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: thrust\r\naccept: */*\r\nx-forwarded-proto: https\r\nconnection: close\r\n\r\n"
        );
        Some(Self {
            head: head.into_bytes(),
        })
    }

    /// Whether the app at `address` answers with a status below 400.
    pub async fn ask(self, address: Address, watch: Watch) -> bool {
        let asked = async {
            let connection = Connection::connect(&address).await.ok()?;
            let mut exchange: Exchange<RequestBody> = Exchange::new(
                connection,
                Method::GET,
                self.head,
                None,
                false,
                HeaderMap::new(),
                watch,
            );
            let status = exchange.run(None, |_| {}).await.ok()?.status;
            Some(status.as_u16() < 400)
        };
        matches!(tokio::time::timeout(PATIENCE, asked).await, Ok(Some(true)))
    }
}
