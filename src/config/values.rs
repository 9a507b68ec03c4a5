//! The kinds of value that a variable may hold: how each is written, and what it means.
//!
//! A kind is read twice from the same text: once by its variable's row, so that every bad value is found before any
//! is used, and once by envy, which fills [`Env`](super::env::Env). Where 0 means "no limit", the kind says `None`.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    net::IpAddr,
    num::{NonZeroU64, NonZeroUsize},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{Uri, uri::Authority};
use nix::sys::signal;
use serde::{Deserialize, Deserializer, de::Error};

use crate::{
    content::Coding,
    proxy::LogFormat,
    tls::{Domain, MinVersion, Secret},
};

/// A manner of writing a value.
pub(super) trait Kind {
    /// What is meant by it.
    type Value: Debug;

    /// Completes the sentence "expected ...".
    const EXPECTS: &'static str;

    /// The value meant, or none when the text is not of this kind.
    fn parse(text: &str) -> Option<Self::Value>;
}

/// A field of [`Env`](super::env::Env): a value as the kind `K` reads it.
#[derive(Debug)]
pub(super) struct Var<K: Kind>(pub(super) K::Value);

impl<'de, K: Kind> Deserialize<'de> for Var<K> {
    // Always from a string: envy's own numbers and booleans are not ours (it takes neither `1` for true nor `KB`).
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        K::parse(&text)
            .map(Self)
            .ok_or_else(|| D::Error::custom(format_args!("expected {}", K::EXPECTS)))
    }
}

/// A yes or no.
#[derive(Debug)]
pub(super) struct Switch;

impl Kind for Switch {
    type Value = bool;
    const EXPECTS: &'static str = "1 or 0 (or true, false, t, f)";

    fn parse(text: &str) -> Option<bool> {
        match text.to_ascii_lowercase().as_str() {
            "1" | "t" | "true" => Some(true),
            "0" | "f" | "false" => Some(false),
            _ => None,
        }
    }
}

/// A duration in which 0 means none of it.
#[derive(Debug)]
pub(super) struct Seconds;

impl Kind for Seconds {
    type Value = Duration;
    // 32 bits are 136 years, and a sum of a few with an `Instant` still cannot overflow.
    const EXPECTS: &'static str = "whole seconds, from 0 to 4294967295";

    fn parse(text: &str) -> Option<Duration> {
        let seconds: u32 = number(text)?;
        Some(Duration::from_secs(seconds.into()))
    }
}

/// A duration in which 0 means no limit.
#[derive(Debug)]
pub(super) struct Limit;

impl Kind for Limit {
    type Value = Option<Duration>;
    const EXPECTS: &'static str = "whole seconds, from 0 (no limit) to 4294967295";

    fn parse(text: &str) -> Option<Option<Duration>> {
        let limit = Seconds::parse(text)?;
        Some((!limit.is_zero()).then_some(limit))
    }
}

/// A number of bytes, in which 0 means no limit.
#[derive(Debug)]
pub(super) struct Size;

impl Kind for Size {
    type Value = Option<NonZeroU64>;
    const EXPECTS: &'static str = "bytes, or a number with KB, MB or GB (0: no limit)";

    fn parse(text: &str) -> Option<Option<NonZeroU64>> {
        let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
        let count = &text[..text.len() - unit.len()];
        let bytes: u64 = match unit.to_ascii_uppercase().as_str() {
            "" => 1,
            "KB" | " KB" => 1 << 10,
            "MB" | " MB" => 1 << 20,
            "GB" | " GB" => 1 << 30,
            _ => return None,
        };
        Some(NonZeroU64::new(number::<u64>(count)?.checked_mul(bytes)?))
    }
}

/// A number of bytes, in which 0 is none of them.
#[derive(Debug)]
pub(super) struct Bytes;

impl Kind for Bytes {
    type Value = u64;
    const EXPECTS: &'static str = "bytes, or a number with KB, MB or GB";

    fn parse(text: &str) -> Option<u64> {
        Size::parse(text).map(|size| size.map_or(0, NonZeroU64::get))
    }
}

/// A small number of bytes, in which 0 is none of them.
#[derive(Debug)]
pub(super) struct Amount;

impl Kind for Amount {
    type Value = u16;
    const EXPECTS: &'static str = "a whole number of bytes, from 0 to 65535";

    fn parse(text: &str) -> Option<u16> {
        number(text)
    }
}

/// Content codings in the order of preference.
#[derive(Debug)]
pub(super) struct Codings;

impl Kind for Codings {
    type Value = Vec<Coding>;
    const EXPECTS: &'static str = "zstd, br and gzip, or some of them, as a comma list, each once";

    fn parse(text: &str) -> Option<Vec<Coding>> {
        let mut codings = Vec::new();
        for name in text.split(',') {
            let coding = Coding::named(name.trim())?;
            if codings.contains(&coding) {
                return None;
            }
            codings.push(coding);
        }
        Some(codings)
    }
}

/// Beginnings of media types, in lower case.
#[derive(Debug)]
pub(super) struct MediaTypes;

impl Kind for MediaTypes {
    type Value = Vec<String>;
    const EXPECTS: &'static str =
        "media types or their beginnings, as a comma list: text/csv, application/x-";

    fn parse(text: &str) -> Option<Vec<String>> {
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"\"(),:;<=>?@[\\]{}".contains(&byte);
        let one = |name: &str| {
            let name = name.trim().to_ascii_lowercase();
            (!name.is_empty() && name.bytes().all(plain)).then_some(name)
        };
        text.split(',').map(one).collect()
    }
}

/// A directory, there already or not.
#[derive(Debug)]
pub(super) struct Directory;

impl Kind for Directory {
    type Value = PathBuf;
    const EXPECTS: &'static str = "the path of a directory";

    fn parse(text: &str) -> Option<PathBuf> {
        let path = !text.is_empty() && !text.contains('\0');
        path.then(|| PathBuf::from(text))
    }
}

/// Which directory stands behind which beginning of a URI.
#[derive(Debug)]
pub(super) struct AccelMapping;

impl Kind for AccelMapping {
    type Value = Vec<(String, PathBuf)>;
    const EXPECTS: &'static str =
        "/uri/=/directory/, or a comma list of these, each URI once, both starting with /";

    fn parse(text: &str) -> Option<Vec<(String, PathBuf)>> {
        let mut mapping: Vec<(String, PathBuf)> = Vec::new();
        for pair in text.split(',') {
            let (uri, directory) = pair.trim().split_once('=')?;
            let uri = UrlPath::parse(uri)?;
            let absolute = directory.starts_with('/') && !directory.contains('\0');
            if !absolute || mapping.iter().any(|(known, _)| *known == uri) {
                return None;
            }
            mapping.push((uri, PathBuf::from(directory)));
        }
        Some(mapping)
    }
}

/// How many of something, in which 0 means no limit.
#[derive(Debug)]
pub(super) struct Count;

impl Kind for Count {
    type Value = Option<NonZeroUsize>;
    const EXPECTS: &'static str = "a whole number (0: no limit)";

    fn parse(text: &str) -> Option<Option<NonZeroUsize>> {
        number(text).map(NonZeroUsize::new)
    }
}

/// A port to listen on.
#[derive(Debug)]
pub(super) struct ListenPort;

impl Kind for ListenPort {
    type Value = u16;
    const EXPECTS: &'static str = "a port, from 0 (any that is free) to 65535";

    fn parse(text: &str) -> Option<u16> {
        number(text)
    }
}

/// A port to connect to.
#[derive(Debug)]
pub(super) struct ConnectPort;

impl Kind for ConnectPort {
    type Value = u16;
    const EXPECTS: &'static str = "a port, from 1 to 65535";

    fn parse(text: &str) -> Option<u16> {
        number(text).filter(|port| *port != 0)
    }
}

/// An address of this machine's.
#[derive(Debug)]
pub(super) struct Address;

impl Kind for Address {
    type Value = IpAddr;
    const EXPECTS: &'static str = "an IP address, such as 127.0.0.1 or ::1";

    fn parse(text: &str) -> Option<IpAddr> {
        text.parse().ok()
    }
}

/// A file that may be missing, or be wanted not at all: the only kind in which empty is a value.
#[derive(Debug)]
pub(super) struct Page;

impl Kind for Page {
    type Value = Option<PathBuf>;
    const EXPECTS: &'static str = "the path of a file (empty: no page)";

    fn parse(text: &str) -> Option<Option<PathBuf>> {
        let page = (!text.is_empty()).then(|| PathBuf::from(text));
        (!text.contains('\0')).then_some(page)
    }
}

/// The path of a unix socket.
#[derive(Debug)]
pub(super) struct SocketPath;

impl Kind for SocketPath {
    type Value = PathBuf;
    // What fits into `sockaddr_un` with its closing NUL.
    const EXPECTS: &'static str = "the path of a unix socket, at most 107 bytes long";

    fn parse(text: &str) -> Option<PathBuf> {
        let fits = (1..=107).contains(&text.len()) && !text.contains('\0');
        fits.then(|| PathBuf::from(text))
    }
}

/// The path part of a URL.
#[derive(Debug)]
pub(super) struct UrlPath;

impl Kind for UrlPath {
    type Value = String;
    // Compared with a request's path, which never holds a query: one that does would silently never match.
    const EXPECTS: &'static str = "a path that starts with /, without spaces, ? or #";

    fn parse(text: &str) -> Option<String> {
        let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'?' && byte != b'#';
        (text.starts_with('/') && text.bytes().all(plain)).then(|| text.to_owned())
    }
}

/// Exact paths.
#[derive(Debug)]
pub(super) struct Paths;

impl Kind for Paths {
    type Value = Vec<String>;
    const EXPECTS: &'static str =
        "paths that start with /, without spaces, ? or #, as a comma list";

    fn parse(text: &str) -> Option<Vec<String>> {
        text.split(',')
            .map(|path| UrlPath::parse(path.trim()))
            .collect()
    }
}

/// How lines are written.
#[derive(Debug)]
pub(super) struct Format;

impl Kind for Format {
    type Value = LogFormat;
    const EXPECTS: &'static str = "json, logfmt or combined";

    fn parse(text: &str) -> Option<LogFormat> {
        match text.to_ascii_lowercase().as_str() {
            "json" => Some(LogFormat::Json),
            "logfmt" => Some(LogFormat::Logfmt),
            "combined" => Some(LogFormat::Combined),
            _ => None,
        }
    }
}

/// What a `Host` header may say.
#[derive(Debug)]
pub(super) struct Host;

impl Kind for Host {
    type Value = String;
    const EXPECTS: &'static str = "a host name, with or without a port";

    fn parse(text: &str) -> Option<String> {
        let authority = Authority::from_str(text).ok()?;
        let host = !authority.host().is_empty() && !text.contains('@');
        host.then(|| text.to_owned())
    }
}

/// Names to have certificates for; a list without any is none.
#[derive(Debug)]
pub(super) struct Domains;

impl Kind for Domains {
    type Value = Vec<Domain>;
    const EXPECTS: &'static str =
        "host names, as a comma list: example.com,www.example.com (international ones as xn--...)";

    fn parse(text: &str) -> Option<Vec<Domain>> {
        let mut domains = Vec::new();
        for name in text
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
        {
            let domain = Domain::parse(name)?;
            if !domains.contains(&domain) {
                domains.push(domain);
            }
        }
        (!domains.is_empty()).then_some(domains)
    }
}

/// A file that has to be there.
#[derive(Debug)]
pub(super) struct FilePath;

impl Kind for FilePath {
    type Value = PathBuf;
    const EXPECTS: &'static str = "the path of a file";

    fn parse(text: &str) -> Option<PathBuf> {
        Directory::parse(text)
    }
}

/// Where something is to be had, encrypted.
#[derive(Debug)]
pub(super) struct HttpsUrl;

impl Kind for HttpsUrl {
    type Value = String;
    // RFC 8555 section 6.1.
    const EXPECTS: &'static str = "a URL that starts with https://";

    fn parse(text: &str) -> Option<String> {
        let url = Uri::from_str(text).ok()?;
        let host = url.host().is_some_and(|host| !host.is_empty());
        let https = url.scheme_str() == Some("https") && host && !text.contains('@');
        https.then(|| text.to_owned())
    }
}

/// Any text that fits on a line.
#[derive(Debug)]
pub(super) struct Text;

impl Kind for Text {
    type Value = String;
    const EXPECTS: &'static str = "text on one line";

    fn parse(text: &str) -> Option<String> {
        let line = !text.is_empty() && !text.chars().any(char::is_control);
        line.then(|| text.to_owned())
    }
}

/// The bytes of a key; some who hand them out pad them, some do not.
#[derive(Debug)]
pub(super) struct SecretKey;

impl Kind for SecretKey {
    type Value = Secret;
    const EXPECTS: &'static str = "a key in base64url";

    fn parse(text: &str) -> Option<Secret> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text.trim_end_matches('='));
        bytes
            .ok()
            .filter(|bytes| !bytes.is_empty())
            .map(Secret::new)
    }
}

/// A version of TLS.
#[derive(Debug)]
pub(super) struct TlsVersion;

impl Kind for TlsVersion {
    type Value = MinVersion;
    const EXPECTS: &'static str = "1.2 or 1.3";

    fn parse(text: &str) -> Option<MinVersion> {
        match text {
            "1.2" => Some(MinVersion::Tls12),
            "1.3" => Some(MinVersion::Tls13),
            _ => None,
        }
    }
}

/// A signal's number.
#[derive(Debug)]
pub(super) struct Signal;

impl Kind for Signal {
    type Value = i32;
    const EXPECTS: &'static str = "a signal, such as TERM, SIGTERM or 15";

    fn parse(text: &str) -> Option<i32> {
        if let Some(signal) = number(text) {
            // Real-time signals have a number but no name in nix.
            let real_time = (libc::SIGRTMIN()..=libc::SIGRTMAX()).contains(&signal);
            return (real_time || signal::Signal::try_from(signal).is_ok()).then_some(signal);
        }
        let name = text.to_ascii_uppercase();
        let name = name.strip_prefix("SIG").unwrap_or(&name);
        let signal = signal::Signal::from_str(&format!("SIG{name}")).ok()?;
        Some(signal as i32)
    }
}

/// Exit codes to be replaced: from, to.
#[derive(Debug)]
pub(super) struct Remap;

impl Kind for Remap {
    type Value = BTreeMap<u8, u8>;
    const EXPECTS: &'static str =
        "from:to with codes from 0 to 255, or a comma list of these, each code once";

    fn parse(text: &str) -> Option<BTreeMap<u8, u8>> {
        let mut remap = BTreeMap::new();
        for pair in text.split(',') {
            let (from, to) = pair.trim().split_once(':')?;
            let contradiction = remap.insert(number(from)?, number(to)?);
            if contradiction.is_some() {
                return None;
            }
        }
        Some(remap)
    }
}

/// Digits and nothing else; Rust's own parsers take `+1` too.
fn number<N: FromStr>(text: &str) -> Option<N> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use proptest::prelude::*;

    use super::*;

    /// Asserts what each of the texts means to `K`.
    fn table<K: Kind>(rows: &[(&str, Option<K::Value>)])
    where
        K::Value: PartialEq,
    {
        for (text, meant) in rows {
            assert_eq!(K::parse(text), *meant, "{text:?}");
        }
    }

    #[test]
    fn switches_read_what_go_reads_in_any_case() {
        for text in ["1", "t", "T", "true", "TRUE", "True", "tRuE"] {
            assert_eq!(Switch::parse(text), Some(true), "{text}");
        }
        for text in ["0", "f", "F", "false", "FALSE", "False"] {
            assert_eq!(Switch::parse(text), Some(false), "{text}");
        }
        for text in ["", "yes", "on", "2", " 1", "1 ", "app:*"] {
            assert_eq!(Switch::parse(text), None, "{text}");
        }
    }

    #[test]
    fn durations_are_whole_seconds() {
        table::<Seconds>(&[
            ("0", Some(Duration::ZERO)),
            ("30", Some(Duration::from_secs(30))),
            ("4294967295", Some(Duration::from_secs(4_294_967_295))),
            ("4294967296", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("30s", None),
            (" 30", None),
            ("", None),
        ]);
    }

    #[test]
    fn a_limit_of_zero_is_none() {
        table::<Limit>(&[
            ("0", Some(None)),
            ("00", Some(None)),
            ("5", Some(Some(Duration::from_secs(5)))),
            ("-5", None),
        ]);
        table::<Count>(&[
            ("0", Some(None)),
            ("2", Some(NonZeroUsize::new(2))),
            ("x", None),
        ]);
    }

    #[test]
    fn sizes_are_bytes_or_powers_of_1024() {
        table::<Size>(&[
            ("0", Some(None)),
            ("0MB", Some(None)),
            ("1", Some(NonZeroU64::new(1))),
            ("1KB", Some(NonZeroU64::new(1 << 10))),
            ("64mb", Some(NonZeroU64::new(64 << 20))),
            ("2 Gb", Some(NonZeroU64::new(2 << 30))),
            ("17179869183GB", Some(NonZeroU64::new(17_179_869_183 << 30))),
            ("17179869184GB", None),
            ("1  MB", None),
            ("1 ", None),
            ("MB", None),
            ("1M", None),
            ("1MiB", None),
            ("1.5MB", None),
            ("-1KB", None),
            ("1é", None),
        ]);
    }

    #[test]
    fn only_a_listener_takes_port_zero() {
        table::<ListenPort>(&[("0", Some(0)), ("65535", Some(65535)), ("65536", None)]);
        table::<ConnectPort>(&[
            ("0", None),
            ("1", Some(1)),
            ("65535", Some(65535)),
            ("-1", None),
        ]);
    }

    #[test]
    fn an_address_is_a_number_and_no_name() {
        table::<Address>(&[
            ("127.0.0.1", Some([127, 0, 0, 1].into())),
            ("::", Some(Ipv6Addr::UNSPECIFIED.into())),
            ("[::1]", None),
            ("localhost", None),
            ("127.0.0.1:80", None),
        ]);
    }

    #[test]
    fn an_empty_page_is_no_page() {
        table::<Page>(&[
            ("", Some(None)),
            ("./a b.html", Some(Some(PathBuf::from("./a b.html")))),
            ("a\0b", None),
        ]);
    }

    #[test]
    fn a_socket_path_fits_its_address() {
        let long = "s".repeat(108);
        table::<SocketPath>(&[
            (&long[..107], Some(PathBuf::from(&long[..107]))),
            (&long, None),
            ("", None),
            ("a\0b", None),
        ]);
    }

    #[test]
    fn health_paths_and_hosts_fit_into_a_request() {
        for good in ["/", "/up", "/health/z-1_2~%20"] {
            assert_eq!(UrlPath::parse(good).as_deref(), Some(good));
        }
        for bad in [
            "",
            "up",
            "/a b",
            "/a?b",
            "/a#b",
            "/\u{e9}",
            "/a\r\nb",
            "http://a/up",
        ] {
            assert_eq!(UrlPath::parse(bad), None, "{bad:?}");
        }
        for good in ["example.com", "localhost:3000", "[::1]:80", "127.0.0.1"] {
            assert_eq!(Host::parse(good).as_deref(), Some(good));
        }
        for bad in ["", "a b", "a/b", "user@host", "a\r\nb", ":80", "http://a"] {
            assert_eq!(Host::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn signals_are_named_or_numbered() {
        table::<Signal>(&[
            ("TERM", Some(15)),
            ("SIGTERM", Some(15)),
            ("sigquit", Some(3)),
            ("Int", Some(2)),
            ("15", Some(15)),
            ("64", Some(64)),
            ("0", None),
            ("65", None),
            ("-15", None),
            ("SIG", None),
            ("SIGSIGTERM", None),
            ("FOO", None),
        ]);
    }

    #[test]
    fn exit_codes_are_remapped_once_each() {
        table::<Remap>(&[
            ("143:0", Some(BTreeMap::from([(143, 0)]))),
            ("143:0, 130:0", Some(BTreeMap::from([(143, 0), (130, 0)]))),
            ("143:0,143:1", None),
            ("256:0", None),
            ("143", None),
            ("143:", None),
            ("143:0,", None),
            ("143:-1", None),
            ("", None),
        ]);
    }

    proptest! {
        #[test]
        fn sizes_never_wrap(count in any::<u64>(), unit in "(|KB|MB|GB)") {
            let bytes = Size::parse(&format!("{count}{unit}"));
            prop_assert!(bytes.is_none_or(|bytes| bytes.map_or(0, NonZeroU64::get) >= count));
        }
    }
}
