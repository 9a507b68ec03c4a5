//! The table of variables: each name once, with all that is to be known about it.
//!
//! Reading, the error messages, `--help`, `--print-config` and the guesses for a mistyped name all come from here, and
//! the tests of [`Env`](super::env::Env) hold it against this table.

use super::values::{
    AccelMapping, Address, Amount, Bytes, Codings, ConnectPort, Count, Directory, Domains,
    FilePath, Format, Host, HttpsUrl, Kind, Limit, ListenPort, MediaTypes, Page, Paths, Remap,
    Seconds, SecretKey, Signal, Size, SocketPath, Switch, Text, TlsVersion, UrlPath,
};

/// Comes before a name that is meant for us alone.
pub(super) const PREFIX: &str = "THRUSTER_";

/// One variable.
#[derive(Debug)]
pub(super) struct Row {
    /// Its name without the prefix.
    pub(super) name: &'static str,
    /// Whether it is read without the prefix too.
    pub(super) bare: bool,
    /// The value when it is not set; empty is none.
    pub(super) default: &'static str,
    /// Completes the sentence "expected ...".
    pub(super) expects: &'static str,
    /// Whether a value can be read.
    pub(super) accepts: fn(&str) -> bool,
    /// What it does, with its unit.
    pub(super) help: &'static str,
    /// Whether its value is nobody's business: it is never printed.
    pub(super) secret: bool,
}

impl Row {
    /// The name that a user sets: bare where that is read.
    pub(super) fn label(&self) -> String {
        if self.bare {
            self.name.to_owned()
        } else {
            self.prefixed()
        }
    }

    /// The name with the prefix, which is always read.
    pub(super) fn prefixed(&self) -> String {
        format!("{PREFIX}{}", self.name)
    }
}

/// Variables that belong together, with their heading in `--help`.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) title: &'static str,
    pub(super) rows: &'static [Row],
}

/// All variables of this version, in the order of `--help`.
pub(super) const GROUPS: &[Group] = &[
    Group {
        title: "Thruster's own",
        rows: THRUSTER,
    },
    Group {
        title: "Lifecycle",
        rows: LIFECYCLE,
    },
    Group {
        title: "Towards the app",
        rows: UPSTREAM,
    },
    Group {
        title: "TLS",
        rows: TLS,
    },
    Group {
        title: "Content",
        rows: CONTENT,
    },
    Group {
        title: "Protection",
        rows: PROTECTION,
    },
    Group {
        title: "Operation",
        rows: OPERATION,
    },
];

/// All variables of this version.
pub(super) fn rows() -> impl Iterator<Item = &'static Row> {
    GROUPS.iter().flat_map(|group| group.rows)
}

#[rustfmt::skip]
const THRUSTER: &[Row] = &[
    bare::<ConnectPort>("TARGET_PORT", "3000", "the app's port, given to the app as PORT"),
    bare::<Domains>("TLS_DOMAIN", "", "serve HTTPS for these names, a comma list; by ACME"),
    bare::<ListenPort>("HTTP_PORT", "80", "the port we listen on (0: any that is free)"),
    bare::<ListenPort>("HTTPS_PORT", "443", "the port for HTTPS (0: any that is free)"),
    bare::<Limit>("HTTP_IDLE_TIMEOUT", "60", "seconds between two requests (0: no limit)"),
    bare::<Limit>("HTTP_READ_TIMEOUT", "30", "seconds for a head, or for more body (0: no limit)"),
    bare::<Limit>("HTTP_WRITE_TIMEOUT", "30", "seconds in which a client takes no byte (0: no limit)"),
    bare::<Size>("MAX_REQUEST_BODY", "0", "bytes, or KB, MB, GB; 413 above (0: no limit)"),
    bare::<Page>("BAD_GATEWAY_PAGE", "./public/502.html", "sent with a 502 (empty: no page)"),
    bare::<Bytes>("CACHE_SIZE", "64MB", "memory for cached responses (0: no cache)"),
    bare::<Bytes>("MAX_CACHE_ITEM_SIZE", "1MB", "the largest response that is cached"),
    bare::<Switch>("GZIP_COMPRESSION_ENABLED", "1", "compress responses, in every encoding"),
    bare::<Switch>("GZIP_COMPRESSION_DISABLE_ON_AUTH", "0", "not where cookies or credentials are seen"),
    bare::<Amount>("GZIP_COMPRESSION_JITTER", "32", "bytes that a length varies by, at most (0: none)"),
    bare::<Switch>("X_SENDFILE_ENABLED", "1", "send the files that the app names"),
    bare::<Directory>("STORAGE_PATH", "./storage/thruster", "the directory of certificates and keys"),
    bare::<HttpsUrl>("ACME_DIRECTORY", LETS_ENCRYPT, "ACME CA"),
    bare::<Text>("EAB_KID", "", "external account binding: the key's id"),
    Row { secret: true, ..bare::<SecretKey>("EAB_HMAC_KEY", "", "external account binding: the key, in base64url") },
    bare::<Switch>("H2C_ENABLED", "0", "HTTP/2 on the plain port, by prior knowledge"),
    bare::<Switch>(FORWARD_HEADERS, "1", "keep the client's X-Forwarded-* (with TLS by default 0)"),
    bare::<Switch>("LOG_REQUESTS", "1", "log every request"),
    bare::<Switch>("DEBUG", "0", "log more about ourselves"),
];

#[rustfmt::skip]
const LIFECYCLE: &[Row] = &[
    bare::<Seconds>("HTTP_DRAIN_TIMEOUT", "30", "seconds for the requests in flight (0: do not wait)"),
    bare::<Seconds>("HTTP_DRAIN_DELAY", "0", "seconds of serving on after the signal"),
    prefixed::<Limit>("UPSTREAM_STOP_TIMEOUT", "0", "seconds until SIGKILL (0: wait for ever)"),
    prefixed::<Limit>("SHUTDOWN_TIMEOUT", "", "seconds for a whole stop, as the platform has it"),
    prefixed::<Signal>("STOP_SIGNAL", "", "relay this signal instead"),
    prefixed::<Remap>("EXIT_CODE_REMAP", "", "exit with another code: 143:0,130:0"),
    prefixed::<Switch>("WAIT_FOR_TARGET_PORT", "0", "listen only once the app does"),
    prefixed::<Limit>("WAIT_FOR_TARGET_PORT_TIMEOUT", "60", "seconds of that, at most (0: no limit)"),
    prefixed::<Seconds>("BOOT_HOLD_TIMEOUT", "10", "seconds a request waits for the app's boot"),
    prefixed::<UrlPath>("HTTP_HEALTH_PATH", "", "the app's health check; 503 once we stop"),
    prefixed::<Host>("HTTP_HEALTH_HOST", "", "the Host of our own readiness probe"),
];

#[rustfmt::skip]
const UPSTREAM: &[Row] = &[
    prefixed::<SocketPath>("TARGET_SOCKET", "", "the app's unix socket, instead of a port"),
    prefixed::<Limit>("UPSTREAM_CONNECT_TIMEOUT", "5", "seconds to connect (0: no limit)"),
    prefixed::<Limit>("UPSTREAM_RESPONSE_TIMEOUT", "0", "seconds to the first byte; 504 (0: no limit)"),
    prefixed::<Seconds>("UPSTREAM_IDLE_TIMEOUT", "4", "seconds an idle connection is kept"),
];

#[rustfmt::skip]
const TLS: &[Row] = &[
    prefixed::<FilePath>("TLS_CERTIFICATE_PATH", "", "a certificate chain of your own, reloaded on change"),
    prefixed::<FilePath>("TLS_PRIVATE_KEY_PATH", "", "its key"),
    prefixed::<Switch>("TLS_LOCAL", "0", "certificates by a local CA, for development"),
    prefixed::<TlsVersion>("TLS_MIN_VERSION", "1.2", "the oldest version of TLS: 1.2 or 1.3"),
    prefixed::<FilePath>("ACME_CA_BUNDLE", "", "the roots of a private ACME directory"),
];

#[rustfmt::skip]
const CONTENT: &[Row] = &[
    prefixed::<Switch>("CACHE_REQUIRE_PUBLIC", "1", "cache only public and s-maxage (0: all of RFC 9111)"),
    prefixed::<Codings>("COMPRESSION_ENCODINGS", "zstd,br,gzip", "encodings, the preferred one first"),
    prefixed::<MediaTypes>("GZIP_COMPRESSION_EXCEPT_CONTENT_TYPES", "", "leave these as they are: a comma list"),
    prefixed::<Directory>("SENDFILE_ROOT", "", "the only directory whose files are sent"),
    prefixed::<AccelMapping>("ACCEL_MAPPING", "", "X-Accel-Redirect: /protected/=/srv/files/, a comma list"),
    prefixed::<Switch>("PUBLIC_FILES_ENABLED", "0", "serve the files of PUBLIC_PATH without the app"),
    prefixed::<Directory>("PUBLIC_PATH", "./public", "the directory of public files"),
];

#[rustfmt::skip]
const PROTECTION: &[Row] = &[
    prefixed::<Count>("MAX_CONNECTIONS", "0", "client connections at once (0: no limit)"),
];

#[rustfmt::skip]
const OPERATION: &[Row] = &[
    prefixed::<ListenPort>("STATUS_PORT", "", "health, metrics, a status page (0: any free port)"),
    prefixed::<Address>("STATUS_BIND", "", "the address for these (not set: all)"),
    prefixed::<Format>("LOG_FORMAT", "json", "json, logfmt, or combined (requests as Apache does)"),
    prefixed::<Paths>("LOG_SKIP_PATHS", "", "do not log requests for these: a comma list"),
    prefixed::<SocketPath>("CONTROL_SOCKET", "", "a unix socket for thrustctl, ours alone"),
    prefixed::<Page>("MAINTENANCE_PAGE", "./public/503.html", "sent in maintenance (empty: our own)"),
];

/// Its default depends on whether there is TLS.
pub(super) const FORWARD_HEADERS: &str = "FORWARD_HEADERS";

/// The ACME directory of Let's Encrypt.
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// Names that are ours, but not supported by this version.
#[rustfmt::skip]
pub(super) const LATER: &[&str] = &[
    "MAX_UPSTREAM_REQUESTS", "UPSTREAM_QUEUE_TIMEOUT", "RATE_LIMIT", "RATE_LIMIT_BURST", "TRUSTED_PROXIES",
    "CLIENT_IP_HEADER", "PROXY_PROTOCOL",
];

/// A variable that is read with and without the prefix.
const fn bare<K: Kind>(name: &'static str, default: &'static str, help: &'static str) -> Row {
    Row {
        bare: true,
        ..prefixed::<K>(name, default, help)
    }
}

/// A variable that is read only with the prefix, since the name may be the app's.
const fn prefixed<K: Kind>(name: &'static str, default: &'static str, help: &'static str) -> Row {
    Row {
        name,
        bare: false,
        default,
        expects: K::EXPECTS,
        accepts: |text| K::parse(text).is_some(),
        help,
        secret: false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_stands_once_and_for_one_version() {
        let names: Vec<_> = rows()
            .map(|row| row.name)
            .chain(LATER.iter().copied())
            .collect();
        let unique: BTreeSet<_> = names.iter().collect();
        assert_eq!(unique.len(), names.len());
    }

    #[test]
    fn every_default_is_accepted() {
        for row in rows().filter(|row| !row.default.is_empty()) {
            assert!((row.accepts)(row.default), "{}", row.name);
        }
    }
}
