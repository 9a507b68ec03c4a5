//! HTTP to the directory: a connection for each request, by the roots that we have.
//!
//! Not instant-acme's own client, which needs the image's CA certificates, waits for ever, and keeps `Retry-After` to
//! itself.

use std::{
    io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{net::TcpStream, task::JoinSet};
use tokio_rustls::TlsConnector;

use crate::tls::pair::provider;

/// How long one request may take, from the name's resolution to the last byte.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long one of several addresses may take to answer.
const CONNECT: Duration = Duration::from_secs(5);

/// The longest answer, in bytes; a chain is a few thousand.
const LONGEST: usize = 1024 * 1024;

/// Whom to trust.
#[derive(Clone, Debug)]
pub(super) struct Roots(Option<Arc<RootCertStore>>);

/// Why `ACME_CA_BUNDLE` is of no use.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// It cannot be read.
    #[error("cannot read ACME_CA_BUNDLE={path}: {source}")]
    Unreadable {
        /// Where it should be.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is nothing to trust in it.
    #[error("there is no certificate in PEM in ACME_CA_BUNDLE={0}")]
    Empty(PathBuf),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum ClientError {
    #[error("{0} is no https URL")]
    Url(Uri),
    #[error("cannot connect to {host}: {source}")]
    Connect { host: String, source: io::Error },
    #[error("cannot speak TLS with {host}: {source}")]
    Handshake { host: String, source: io::Error },
    #[error("no HTTP from {host}: {source}")]
    Exchange { host: String, source: hyper::Error },
    #[error("the answer of {0} is broken or endless")]
    Body(String),
    #[error("no answer within {} s", PATIENCE.as_secs())]
    TimedOut,
}

impl Roots {
    /// Those in `bundle`, or the image's.
    pub(super) fn open(bundle: Option<&Path>) -> Result<Self, RootsError> {
        let Some(path) = bundle else {
            return Ok(Self(None));
        };
        let text = std::fs::read(path).map_err(|source| RootsError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&text).flatten());
        if roots.is_empty() {
            return Err(RootsError::Empty(path.to_owned()));
        }
        Ok(Self(Some(Arc::new(roots))))
    }

    /// The image's are read only when they are needed, and an image without any gets Mozilla's.
    fn load(&self) -> Arc<RootCertStore> {
        if let Some(roots) = &self.0 {
            return roots.clone();
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            tracing::debug!("no CA certificates in this image; Mozilla's are used");
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        Arc::new(roots)
    }
}

/// When the directory wants to be asked again, as it said last.
#[derive(Clone, Debug, Default)]
pub(super) struct RetryAfter(Arc<Mutex<Option<SystemTime>>>);

impl RetryAfter {
    pub(super) fn take(&self) -> Option<SystemTime> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// RFC 9110 section 10.2.3.
    fn hear(&self, status: StatusCode, headers: &HeaderMap) {
        let refused = [
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::SERVICE_UNAVAILABLE,
        ];
        let value = headers
            .get(header::RETRY_AFTER)
            .filter(|_| refused.contains(&status));
        let Some(value) = value.and_then(|value| value.to_str().ok()) else {
            return;
        };
        let at = match value.trim().parse::<u32>() {
            Ok(seconds) => Some(SystemTime::now() + Duration::from_secs(seconds.into())),
            Err(_) => httpdate::parse_http_date(value).ok(),
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }
}

/// Asks a directory.
pub(super) struct Client {
    tls: TlsConnector,
    retry_after: RetryAfter,
}

impl Client {
    pub(super) fn new(roots: &Roots, retry_after: RetryAfter) -> Result<Self, rustls::Error> {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots.load())
            .with_no_client_auth();
        // A session is remembered by the host alone, and two servers on one host are taken for one.
        config.resumption = Resumption::disabled();
        Ok(Self {
            tls: Arc::new(config).into(),
            retry_after,
        })
    }
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let (tls, retry_after) = (self.tls.clone(), self.retry_after.clone());
        Box::pin(async move {
            let answer = tokio::time::timeout(PATIENCE, exchange(&tls, request)).await;
            let answer = answer.unwrap_or(Err(ClientError::TimedOut));
            let answer = answer.map_err(|error| Error::Other(Box::new(error)))?;
            retry_after.hear(answer.status(), answer.headers());
            Ok(BytesResponse::from(answer))
        })
    }
}

async fn exchange(
    tls: &TlsConnector,
    mut request: Request<BodyWrapper<Bytes>>,
) -> Result<Response<Full<Bytes>>, ClientError> {
    let (host, port) = origin(request.uri())?;
    prepare(&mut request)?;
    let stream = connect(&host, port).await;
    let stream = stream.map_err(|source| ClientError::Connect {
        host: host.clone(),
        source,
    })?;
    let name = ServerName::try_from(host.clone());
    let name = name.map_err(|_| ClientError::Url(request.uri().clone()))?;
    let stream = tls.connect(name, stream).await;
    let stream = stream.map_err(|source| ClientError::Handshake {
        host: host.clone(),
        source,
    })?;
    let failed = |source| ClientError::Exchange {
        host: host.clone(),
        source,
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(failed)?;
    // Dropped with us, whenever that is.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let (head, body) = sender
        .send_request(request)
        .await
        .map_err(failed)?
        .into_parts();
    let body = Limited::new(body, LONGEST).collect().await;
    let body = body.map_err(|_| ClientError::Body(host.clone()))?;
    Ok(Response::from_parts(head, Full::new(body.to_bytes())))
}

fn origin(url: &Uri) -> Result<(String, u16), ClientError> {
    let host = url.host().filter(|_| url.scheme_str() == Some("https"));
    let host = host.ok_or_else(|| ClientError::Url(url.clone()))?;
    let host = host.trim_matches(['[', ']']).to_owned();
    Ok((host, url.port_u16().unwrap_or(443)))
}

/// Host, and a target in origin-form (RFC 9112 section 3.2).
fn prepare(request: &mut Request<BodyWrapper<Bytes>>) -> Result<(), ClientError> {
    let url = request.uri().clone();
    let refused = || ClientError::Url(url.clone());
    let host = url.authority().ok_or_else(refused)?.as_str();
    let host = HeaderValue::from_str(host).map_err(|_| refused())?;
    let target = url.path_and_query().map_or("/", |target| target.as_str());
    *request.uri_mut() = target.parse().map_err(|_| refused())?;
    let headers = request.headers_mut();
    headers.insert(header::HOST, host);
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    headers.insert(
        header::USER_AGENT,
        HeaderValue::from_static(concat!("thrust/", env!("CARGO_PKG_VERSION"))),
    );
    Ok(())
}

async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut error = io::Error::from(io::ErrorKind::NotFound);
    for address in tokio::net::lookup_host((host, port)).await? {
        match tokio::time::timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(failed)) => error = failed,
            Err(_) => error = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_counts_with_a_refusal() {
        let heard = |status: StatusCode, value: &str| {
            let retry_after = RetryAfter::default();
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, HeaderValue::from_str(value).unwrap());
            retry_after.hear(status, &headers);
            let at = retry_after.take();
            assert_eq!(retry_after.take(), None);
            at.map(|at| {
                at.duration_since(SystemTime::now())
                    .unwrap_or_default()
                    .as_secs()
            })
        };
        assert_eq!(heard(StatusCode::OK, "100"), None);
        let left = heard(StatusCode::TOO_MANY_REQUESTS, "100").unwrap();
        assert!((98..=100).contains(&left));
        let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(100));
        let left = heard(StatusCode::SERVICE_UNAVAILABLE, &date).unwrap();
        assert!((97..=100).contains(&left));
        assert_eq!(heard(StatusCode::SERVICE_UNAVAILABLE, "soon"), None);
    }

    #[test]
    fn only_https_is_spoken() {
        let origin = |url: &str| origin(&url.parse().unwrap()).ok();
        assert_eq!(
            origin("https://a.example/x"),
            Some(("a.example".into(), 443))
        );
        assert_eq!(origin("https://[::1]:8443/"), Some(("::1".into(), 8443)));
        assert_eq!(origin("http://a.example/"), None);
        assert_eq!(origin("/x"), None);
    }
}
