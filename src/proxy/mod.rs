//! Requests: knows neither sockets nor pids.
//!
//! The path from the client to the app, outermost first:
//!
//! ```text
//! measure -> request id -> access log -> refuse -> health -> maintenance -> body limit -> compression -> public files ->
//! sendfile -> caching -> hold -> reverse proxy -> the app
//! ```

mod accel;
mod access_log;
mod app;
mod asked;
mod bad_gateway;
mod body_limit;
mod caching;
mod compression;
mod digest;
mod file_answer;
mod headers;
mod health;
mod hold;
mod kept;
mod maintenance;
mod measure;
mod page;
mod pause;
mod percent;
mod pool;
mod probe;
mod public_files;
mod refuse;
mod request_id;
mod reverse_proxy;
mod sendfile;
mod tunnel;

use std::{num::NonZeroU64, path::PathBuf, time::Duration};

pub use access_log::LogFormat;
pub use app::{App, AppState};
pub use pause::Pause;
pub use probe::Probe;

use self::{
    access_log::AccessLog,
    body_limit::BodyLimit,
    caching::Caching,
    compression::{Compression, Policy},
    health::Health,
    maintenance::Maintenance,
    measure::Measure,
    public_files::PublicFiles,
    refuse::Refuse,
    request_id::RequestIds,
    reverse_proxy::ReverseProxy,
    sendfile::Sendfile,
};
use crate::{
    cache::Cache, content::Coding, drain::Watch, handler::Handler, journal::Stdout,
    metrics::Recorder,
};

/// What the request path was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Compression, unless `GZIP_COMPRESSION_ENABLED` turns it off.
    pub compression: Option<CompressionSettings>,
    /// Which files are sent without the app's help.
    pub files: FileSettings,
    /// `FORWARD_HEADERS`: keep the client's `X-Forwarded-*`.
    pub forward_headers: bool,
    /// `MAX_REQUEST_BODY` in bytes; none is no limit.
    pub max_request_body: Option<NonZeroU64>,
    /// `BAD_GATEWAY_PAGE`; none when set empty.
    pub bad_gateway_page: Option<PathBuf>,
    /// `MAINTENANCE_PAGE`; none when set empty.
    pub maintenance_page: Option<PathBuf>,
    /// `LOG_REQUESTS` and how, or none.
    pub access_log: Option<AccessLogSettings>,
    /// `BOOT_HOLD_TIMEOUT`: how long a request waits for an app that boots; zero does not hold.
    pub boot_hold_timeout: Duration,
    /// `HTTP_HEALTH_PATH`.
    pub health_path: Option<String>,
    /// `HTTP_HEALTH_HOST`: the Host of our own readiness probe.
    pub health_host: Option<String>,
    /// `UPSTREAM_CONNECT_TIMEOUT`; none is no limit.
    pub connect_timeout: Option<Duration>,
    /// `UPSTREAM_RESPONSE_TIMEOUT`, to the first byte of the response; none is no limit.
    pub response_timeout: Option<Duration>,
    /// `UPSTREAM_IDLE_TIMEOUT`; zero keeps no connection.
    pub idle_timeout: Duration,
}

/// How requests are logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLogSettings {
    /// `LOG_FORMAT`.
    pub format: LogFormat,
    /// `LOG_SKIP_PATHS`: these paths are not logged.
    pub skip: Vec<String>,
}

/// How responses are compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompressionSettings {
    /// `COMPRESSION_ENCODINGS`: which codings, the preferred one first; at least one.
    pub codings: Vec<Coding>,
    /// `GZIP_COMPRESSION_EXCEPT_CONTENT_TYPES`: beginnings of media types that are left alone, in lower case.
    pub except: Vec<String>,
    /// `GZIP_COMPRESSION_DISABLE_ON_AUTH`: leave alone what belongs to one user.
    pub disable_on_auth: bool,
    /// `GZIP_COMPRESSION_JITTER`: by how many bytes a length may vary; 0 is not at all.
    pub jitter: u16,
}

/// Which files are sent without the app's help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSettings {
    /// `X_SENDFILE_ENABLED`: the app may answer with the name of a file.
    pub x_sendfile: bool,
    /// `SENDFILE_ROOT`: the directory that such files must be in; none is anywhere.
    pub root: Option<PathBuf>,
    /// `ACCEL_MAPPING`: which directory stands behind which beginning of a URI.
    pub accel: Vec<(String, PathBuf)>,
    /// `PUBLIC_PATH`, where `PUBLIC_FILES_ENABLED` is on.
    pub public: Option<PathBuf>,
}

/// The request path of one core, on the thread of that core. `stdout` takes the access log.
pub fn stack(
    settings: &Settings,
    app: App,
    cache: &Cache,
    stdout: Stdout,
    watch: Watch,
    recorder: Recorder,
) -> impl Handler + use<> {
    let compression = settings.compression.as_ref();
    let compression = compression.map(|settings| Policy::new(settings, recorder.clone()));
    let path = ReverseProxy::new(settings, app.clone(), watch.clone(), recorder.clone());
    let path = Caching::new(
        cache.clone(),
        app.clone(),
        watch.clone(),
        settings.forward_headers,
        path,
    );
    let path = Sendfile::new(&settings.files, path);
    let path = PublicFiles::new(settings.files.public.as_deref(), path);
    let path = Compression::new(compression, cache.clone(), path);
    let path = BodyLimit::new(settings.max_request_body, path);
    let health_path = settings.health_path.clone();
    let path = Maintenance::new(app, settings.maintenance_page.clone(), health_path, path);
    let path = Health::new(settings.health_path.clone(), watch, path);
    let path = Refuse::new(path);
    let path = AccessLog::new(
        settings.access_log.as_ref().map(|log| (log, stdout)),
        settings.forward_headers,
        path,
    );
    let path = RequestIds::new(path);
    Measure::new(recorder, cache.settings().size > 0, path)
}
