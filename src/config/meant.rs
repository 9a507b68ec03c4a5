//! `Config`: what the values mean together, sorted by who is told.

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf, time::Duration};

use super::{
    env::Env,
    shares::{MARGIN, Shares},
};
use crate::{admin, cache, proxy, server, target::Target, tls, tls::Source, upstream};

/// What every wing was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The front server's.
    pub server: server::Settings,
    /// Whether there is HTTPS, and where its certificates come from.
    pub tls: Option<tls::Settings>,
    /// The request path's.
    pub proxy: proxy::Settings,
    /// The cache's.
    pub cache: cache::Settings,
    /// Whether there is a status port, and what it shows.
    pub admin: Option<admin::Settings>,
    /// The child's.
    pub upstream: upstream::Settings,
    /// The order and the clocks of start and stop.
    pub lifecycle: Lifecycle,
    /// What is logged.
    pub log: Log,
    /// `CONTROL_SOCKET`: where commands are taken, if anywhere.
    pub control_socket: Option<PathBuf>,
    /// What is odd in the environment but no reason to refuse it: one line each, to be logged.
    pub warnings: Vec<String>,
}

/// How the service starts and stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifecycle {
    /// `HTTP_DRAIN_TIMEOUT`, or what `SHUTDOWN_TIMEOUT` leaves of it: how long the requests in flight may take, at most;
    /// zero does not wait.
    pub drain_timeout: Duration,
    /// `HTTP_DRAIN_DELAY`: how long we serve on after the signal.
    pub drain_delay: Duration,
    /// `UPSTREAM_STOP_TIMEOUT`: when the child is killed that does not stop; none is never.
    pub stop_timeout: Option<Duration>,
    /// `SHUTDOWN_TIMEOUT`, less a second for our own exit: when, counted from its signal, a stop ends with a kill.
    pub kill_after: Option<Duration>,
    /// `STOP_SIGNAL`: the number of the signal relayed instead of the one that came.
    pub stop_signal: Option<i32>,
    /// `EXIT_CODE_REMAP`: what we exit with, by what we would have.
    pub exit_code_remap: BTreeMap<u8, u8>,
    /// `WAIT_FOR_TARGET_PORT`: listen only once the app is ready.
    pub wait_for_target_port: bool,
    /// `WAIT_FOR_TARGET_PORT_TIMEOUT`; none is no limit.
    pub wait_for_target_port_timeout: Option<Duration>,
}

/// What is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// `DEBUG`: more about ourselves.
    pub debug: bool,
    /// `LOG_FORMAT`.
    pub format: proxy::LogFormat,
}

impl Config {
    pub(super) fn new(
        command: Vec<OsString>,
        env: Env,
        variables: Vec<admin::Variable>,
        warnings: Vec<String>,
    ) -> Self {
        let tls = tls(&env);
        Self {
            server: server(&env, tls.is_some()),
            tls,
            cache: cache(&env),
            admin: admin(&env, variables),
            lifecycle: lifecycle(&env),
            control_socket: env.control_socket.as_ref().map(|path| path.0.clone()),
            log: Log {
                debug: env.debug.0,
                format: env.log_format.0,
            },
            upstream: upstream::Settings {
                command,
                target: target(&env),
            },
            proxy: proxy(env),
            warnings,
        }
    }
}

fn server(env: &Env, tls: bool) -> server::Settings {
    server::Settings {
        http_port: env.http_port.0,
        https_port: tls.then_some(env.https_port.0),
        h2c: env.h2c_enabled.0,
        idle_timeout: env.http_idle_timeout.0,
        read_timeout: env.http_read_timeout.0,
        write_timeout: env.http_write_timeout.0,
        max_connections: env.max_connections.0,
        log_refused: env.log_requests.0,
    }
}

/// A pair of files, the local CA, or ACME: what is set beside the names decides, and nothing set is no TLS.
fn tls(env: &Env) -> Option<tls::Settings> {
    let domains = env.tls_domain.as_ref().map(|domains| domains.0.clone());
    let files = (&env.tls_certificate_path, &env.tls_private_key_path);
    let source = match files {
        (Some(certificate), Some(key)) => Source::Files {
            certificate: certificate.0.clone(),
            key: key.0.clone(),
        },
        _ if env.tls_local.0 => Source::Local,
        _ if domains.is_some() => Source::Acme(acme(env)),
        _ => return None,
    };
    Some(tls::Settings {
        source,
        domains: domains.unwrap_or_default(),
        storage: env.storage_path.0.clone(),
        min_version: env.tls_min_version.0,
    })
}

fn acme(env: &Env) -> tls::AcmeSettings {
    let kid = env.eab_kid.as_ref();
    let key = env.eab_hmac_key.as_ref();
    tls::AcmeSettings {
        directory: env.acme_directory.0.clone(),
        eab: kid.zip(key).map(|(kid, key)| tls::Eab {
            kid: kid.0.clone(),
            key: key.0.clone(),
        }),
        ca_bundle: env.acme_ca_bundle.as_ref().map(|path| path.0.clone()),
    }
}

fn lifecycle(env: &Env) -> Lifecycle {
    let shares = env.shutdown_timeout.as_ref().and_then(|total| {
        Some(Shares {
            total: total.0?,
            delay: env.http_drain_delay.0,
            stop: env.upstream_stop_timeout.0,
        })
    });
    let left = shares.map(|shares| shares.drain().unwrap_or_default());
    Lifecycle {
        drain_timeout: env.http_drain_timeout.0.min(left.unwrap_or(Duration::MAX)),
        kill_after: shares.map(|shares| shares.total.saturating_sub(MARGIN)),
        drain_delay: env.http_drain_delay.0,
        stop_timeout: env.upstream_stop_timeout.0,
        stop_signal: env.stop_signal.as_ref().map(|signal| signal.0),
        exit_code_remap: env
            .exit_code_remap
            .as_ref()
            .map(|remap| remap.0.clone())
            .unwrap_or_default(),
        wait_for_target_port: env.wait_for_target_port.0,
        wait_for_target_port_timeout: env.wait_for_target_port_timeout.0,
    }
}

/// The socket when there is one: the port has a default, so it cannot say that nobody wants it.
fn target(env: &Env) -> Target {
    match &env.target_socket {
        Some(path) => Target::Socket(path.0.clone()),
        None => Target::Port(env.target_port.0),
    }
}

fn admin(env: &Env, variables: Vec<admin::Variable>) -> Option<admin::Settings> {
    Some(admin::Settings {
        port: env.status_port.as_ref()?.0,
        bind: env.status_bind.as_ref().map(|address| address.0),
        variables,
    })
}

fn cache(env: &Env) -> cache::Settings {
    cache::Settings {
        size: env.cache_size.0,
        max_item_size: env.max_cache_item_size.0,
        require_public: env.cache_require_public.0,
    }
}

fn proxy(env: Env) -> proxy::Settings {
    let compression = proxy::CompressionSettings {
        codings: env.compression_encodings.0,
        except: env
            .gzip_compression_except_content_types
            .map(|types| types.0)
            .unwrap_or_default(),
        disable_on_auth: env.gzip_compression_disable_on_auth.0,
        jitter: env.gzip_compression_jitter.0,
    };
    let files = proxy::FileSettings {
        x_sendfile: env.x_sendfile_enabled.0,
        root: env.sendfile_root.map(|root| root.0),
        accel: env
            .accel_mapping
            .map(|mapping| mapping.0)
            .unwrap_or_default(),
        public: env.public_files_enabled.0.then_some(env.public_path.0),
    };
    let access_log = proxy::AccessLogSettings {
        format: env.log_format.0,
        skip: env.log_skip_paths.map(|paths| paths.0).unwrap_or_default(),
    };
    proxy::Settings {
        access_log: env.log_requests.0.then_some(access_log),
        compression: env.gzip_compression_enabled.0.then_some(compression),
        files,
        forward_headers: env.forward_headers.0,
        max_request_body: env.max_request_body.0,
        bad_gateway_page: env.bad_gateway_page.0,
        maintenance_page: env.maintenance_page.0,
        boot_hold_timeout: env.boot_hold_timeout.0,
        health_path: env.http_health_path.map(|path| path.0),
        health_host: env.http_health_host.map(|host| host.0),
        connect_timeout: env.upstream_connect_timeout.0,
        response_timeout: env.upstream_response_timeout.0,
        idle_timeout: env.upstream_idle_timeout.0,
    }
}

#[cfg(test)]
mod tests {
    use std::num::{NonZeroU64, NonZeroUsize};

    use super::{super::given, *};
    use crate::{
        content::Coding,
        proxy::LogFormat,
        tls::{Domain, MinVersion, Secret},
    };

    fn config(vars: &[(&str, &str)]) -> Config {
        let vars = vars.iter().map(|(name, value)| (name.into(), value.into()));
        let env = Env::read(&given::all(&vars.collect()).unwrap()).unwrap();
        let command = vec!["rails".into(), "server".into()];
        Config::new(command, env, Vec::new(), Vec::new())
    }

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn runs_with_nothing_set() {
        let expected = Config {
            cache: cache::Settings {
                size: 64 << 20,
                max_item_size: 1 << 20,
                require_public: true,
            },
            server: server::Settings {
                http_port: 80,
                https_port: None,
                h2c: false,
                idle_timeout: Some(seconds(60)),
                read_timeout: Some(seconds(30)),
                write_timeout: Some(seconds(30)),
                max_connections: None,
                log_refused: true,
            },
            tls: None,
            admin: None,
            proxy: proxy::Settings {
                compression: Some(proxy::CompressionSettings {
                    codings: vec![Coding::Zstd, Coding::Br, Coding::Gzip],
                    except: Vec::new(),
                    disable_on_auth: false,
                    jitter: 32,
                }),
                files: proxy::FileSettings {
                    x_sendfile: true,
                    root: None,
                    accel: Vec::new(),
                    public: None,
                },
                forward_headers: true,
                max_request_body: None,
                bad_gateway_page: Some(PathBuf::from("./public/502.html")),
                maintenance_page: Some(PathBuf::from("./public/503.html")),
                access_log: Some(proxy::AccessLogSettings {
                    format: LogFormat::Json,
                    skip: Vec::new(),
                }),
                boot_hold_timeout: seconds(10),
                health_path: None,
                health_host: None,
                connect_timeout: Some(seconds(5)),
                response_timeout: None,
                idle_timeout: seconds(4),
            },
            upstream: upstream::Settings {
                command: vec!["rails".into(), "server".into()],
                target: Target::Port(3000),
            },
            lifecycle: Lifecycle {
                drain_timeout: seconds(30),
                drain_delay: Duration::ZERO,
                stop_timeout: None,
                kill_after: None,
                stop_signal: None,
                exit_code_remap: BTreeMap::new(),
                wait_for_target_port: false,
                wait_for_target_port_timeout: Some(seconds(60)),
            },
            log: Log {
                debug: false,
                format: LogFormat::Json,
            },
            control_socket: None,
            warnings: Vec::new(),
        };
        assert_eq!(config(&[]), expected);
    }

    #[test]
    fn every_variable_reaches_its_wing() {
        let config = config(&[
            ("TARGET_PORT", "1"),
            ("HTTP_PORT", "2"),
            ("HTTP_IDLE_TIMEOUT", "3"),
            ("HTTP_READ_TIMEOUT", "4"),
            ("HTTP_WRITE_TIMEOUT", "0"),
            ("MAX_REQUEST_BODY", "5MB"),
            ("BAD_GATEWAY_PAGE", ""),
            ("THRUSTER_MAINTENANCE_PAGE", ""),
            ("THRUSTER_CONTROL_SOCKET", "/run/c"),
            ("FORWARD_HEADERS", "0"),
            ("LOG_REQUESTS", "false"),
            ("DEBUG", "1"),
            ("HTTP_DRAIN_TIMEOUT", "6"),
            ("HTTP_DRAIN_DELAY", "7"),
            ("THRUSTER_UPSTREAM_STOP_TIMEOUT", "8"),
            ("THRUSTER_SHUTDOWN_TIMEOUT", "21"),
            ("THRUSTER_STOP_SIGNAL", "INT"),
            ("THRUSTER_EXIT_CODE_REMAP", "143:0"),
            ("THRUSTER_WAIT_FOR_TARGET_PORT", "t"),
            ("THRUSTER_WAIT_FOR_TARGET_PORT_TIMEOUT", "0"),
            ("THRUSTER_BOOT_HOLD_TIMEOUT", "0"),
            ("THRUSTER_HTTP_HEALTH_PATH", "/up"),
            ("THRUSTER_HTTP_HEALTH_HOST", "example.com"),
            ("THRUSTER_UPSTREAM_CONNECT_TIMEOUT", "0"),
            ("THRUSTER_UPSTREAM_RESPONSE_TIMEOUT", "9"),
            ("THRUSTER_UPSTREAM_IDLE_TIMEOUT", "10"),
            ("THRUSTER_MAX_CONNECTIONS", "11"),
            ("THRUSTER_STATUS_PORT", "16"),
            ("THRUSTER_STATUS_BIND", "::1"),
            ("THRUSTER_LOG_FORMAT", "logfmt"),
            ("CACHE_SIZE", "12KB"),
            ("MAX_CACHE_ITEM_SIZE", "13"),
            ("THRUSTER_CACHE_REQUIRE_PUBLIC", "0"),
            ("GZIP_COMPRESSION_DISABLE_ON_AUTH", "1"),
            ("GZIP_COMPRESSION_JITTER", "14"),
            ("X_SENDFILE_ENABLED", "0"),
            ("THRUSTER_COMPRESSION_ENCODINGS", "gzip, br"),
            (
                "THRUSTER_GZIP_COMPRESSION_EXCEPT_CONTENT_TYPES",
                "Text/CSV, image/",
            ),
            ("THRUSTER_SENDFILE_ROOT", "/srv"),
            ("THRUSTER_ACCEL_MAPPING", "/a/=/srv/a/, /b=/srv/b"),
            ("THRUSTER_PUBLIC_FILES_ENABLED", "1"),
            ("THRUSTER_PUBLIC_PATH", "/public"),
            ("HTTPS_PORT", "15"),
            ("H2C_ENABLED", "1"),
            ("TLS_DOMAIN", "A.example, b.example,,a.example"),
            ("STORAGE_PATH", "/storage"),
            ("ACME_DIRECTORY", "https://ca.example/acme"),
            ("EAB_KID", "kid"),
            ("EAB_HMAC_KEY", "_-8="),
            ("THRUSTER_TLS_MIN_VERSION", "1.3"),
            ("THRUSTER_ACME_CA_BUNDLE", "/ca.pem"),
        ]);
        let tls = tls::Settings {
            source: Source::Acme(tls::AcmeSettings {
                directory: "https://ca.example/acme".into(),
                eab: Some(tls::Eab {
                    kid: "kid".into(),
                    key: Secret::new(vec![0xff, 0xef]),
                }),
                ca_bundle: Some("/ca.pem".into()),
            }),
            domains: ["a.example", "b.example"]
                .map(|name| Domain::parse(name).unwrap())
                .into(),
            storage: "/storage".into(),
            min_version: MinVersion::Tls13,
        };
        let server = server::Settings {
            http_port: 2,
            https_port: Some(15),
            h2c: true,
            idle_timeout: Some(seconds(3)),
            read_timeout: Some(seconds(4)),
            write_timeout: None,
            max_connections: NonZeroUsize::new(11),
            log_refused: false,
        };
        let cache = cache::Settings {
            size: 12 << 10,
            max_item_size: 13,
            require_public: false,
        };
        let proxy = proxy::Settings {
            compression: Some(proxy::CompressionSettings {
                codings: vec![Coding::Gzip, Coding::Br],
                except: vec!["text/csv".into(), "image/".into()],
                disable_on_auth: true,
                jitter: 14,
            }),
            files: proxy::FileSettings {
                x_sendfile: false,
                root: Some("/srv".into()),
                accel: vec![
                    ("/a/".into(), "/srv/a/".into()),
                    ("/b".into(), "/srv/b".into()),
                ],
                public: Some("/public".into()),
            },
            forward_headers: false,
            max_request_body: NonZeroU64::new(5 << 20),
            bad_gateway_page: None,
            maintenance_page: None,
            access_log: None,
            boot_hold_timeout: Duration::ZERO,
            health_path: Some("/up".into()),
            health_host: Some("example.com".into()),
            connect_timeout: None,
            response_timeout: Some(seconds(9)),
            idle_timeout: seconds(10),
        };
        let lifecycle = Lifecycle {
            drain_timeout: seconds(5),
            drain_delay: seconds(7),
            stop_timeout: Some(seconds(8)),
            kill_after: Some(seconds(20)),
            stop_signal: Some(2),
            exit_code_remap: BTreeMap::from([(143, 0)]),
            wait_for_target_port: true,
            wait_for_target_port_timeout: None,
        };
        assert_eq!(config.cache, cache);
        assert_eq!(config.server, server);
        assert_eq!(config.tls, Some(tls));
        assert_eq!(config.proxy, proxy);
        assert_eq!(config.lifecycle, lifecycle);
        let admin = admin::Settings {
            port: 16,
            bind: Some(std::net::Ipv6Addr::LOCALHOST.into()),
            variables: Vec::new(),
        };
        assert_eq!(config.admin, Some(admin));
        assert_eq!(
            config.log,
            Log {
                debug: true,
                format: LogFormat::Logfmt,
            }
        );
        assert_eq!(config.upstream.target, Target::Port(1));
        assert_eq!(config.control_socket, Some("/run/c".into()));
    }

    #[test]
    fn the_access_log_has_its_format_and_its_exceptions() {
        let config = config(&[
            ("THRUSTER_LOG_FORMAT", "combined"),
            ("THRUSTER_LOG_SKIP_PATHS", "/up, /livez"),
        ]);
        let expected = proxy::AccessLogSettings {
            format: LogFormat::Combined,
            skip: vec!["/up".into(), "/livez".into()],
        };
        assert_eq!(config.proxy.access_log, Some(expected));
    }

    #[test]
    fn files_and_a_local_ca_need_no_domain() {
        let source = |vars: &[(&str, &str)]| config(vars).tls.map(|tls| tls.source);
        let files = [
            ("THRUSTER_TLS_CERTIFICATE_PATH", "/c"),
            ("THRUSTER_TLS_PRIVATE_KEY_PATH", "/k"),
        ];
        let expected = Source::Files {
            certificate: "/c".into(),
            key: "/k".into(),
        };
        assert_eq!(source(&files), Some(expected));
        assert_eq!(source(&[("THRUSTER_TLS_LOCAL", "1")]), Some(Source::Local));
        assert_eq!(
            source(&[
                ("HTTPS_PORT", "1"),
                ("EAB_KID", "k"),
                ("EAB_HMAC_KEY", "AAAA")
            ]),
            None
        );
    }

    #[test]
    fn compression_that_is_off_has_no_settings() {
        assert_eq!(
            config(&[("GZIP_COMPRESSION_ENABLED", "0")])
                .proxy
                .compression,
            None
        );
    }

    #[test]
    fn a_socket_comes_before_a_port() {
        let both = [
            ("TARGET_PORT", "80"),
            ("THRUSTER_TARGET_SOCKET", "/run/app.sock"),
        ];
        assert_eq!(
            config(&both).upstream.target,
            Target::Socket("/run/app.sock".into())
        );
    }
}
