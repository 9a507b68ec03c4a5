//! `Env`: the variables as they were written, one field each, filled by envy.
//!
//! What they mean together is `Config`'s to say.

use serde::Deserialize;

use super::{
    given::{Given, Source},
    values::{
        AccelMapping, Address, Amount, Bytes, Codings, ConnectPort, Count, Directory, Domains,
        FilePath, Format, Host, HttpsUrl, Limit, ListenPort, MediaTypes, Page, Paths, Remap,
        Seconds, SecretKey, Signal, Size, SocketPath, Switch, Text, TlsVersion, UrlPath, Var,
    },
};

/// The environment, raw. Each field is the variable of the same name; optional ones have no default.
#[derive(Debug, Deserialize)]
pub(super) struct Env {
    pub(super) target_port: Var<ConnectPort>,
    pub(super) tls_domain: Option<Var<Domains>>,
    pub(super) http_port: Var<ListenPort>,
    pub(super) https_port: Var<ListenPort>,
    pub(super) http_idle_timeout: Var<Limit>,
    pub(super) http_read_timeout: Var<Limit>,
    pub(super) http_write_timeout: Var<Limit>,
    pub(super) max_request_body: Var<Size>,
    pub(super) bad_gateway_page: Var<Page>,
    pub(super) cache_size: Var<Bytes>,
    pub(super) max_cache_item_size: Var<Bytes>,
    pub(super) gzip_compression_enabled: Var<Switch>,
    pub(super) gzip_compression_disable_on_auth: Var<Switch>,
    pub(super) gzip_compression_jitter: Var<Amount>,
    pub(super) x_sendfile_enabled: Var<Switch>,
    pub(super) storage_path: Var<Directory>,
    pub(super) acme_directory: Var<HttpsUrl>,
    pub(super) eab_kid: Option<Var<Text>>,
    pub(super) eab_hmac_key: Option<Var<SecretKey>>,
    pub(super) h2c_enabled: Var<Switch>,
    pub(super) forward_headers: Var<Switch>,
    pub(super) log_requests: Var<Switch>,
    pub(super) debug: Var<Switch>,
    pub(super) http_drain_timeout: Var<Seconds>,
    pub(super) http_drain_delay: Var<Seconds>,
    pub(super) upstream_stop_timeout: Var<Limit>,
    pub(super) shutdown_timeout: Option<Var<Limit>>,
    pub(super) stop_signal: Option<Var<Signal>>,
    pub(super) exit_code_remap: Option<Var<Remap>>,
    pub(super) wait_for_target_port: Var<Switch>,
    pub(super) wait_for_target_port_timeout: Var<Limit>,
    pub(super) boot_hold_timeout: Var<Seconds>,
    pub(super) http_health_path: Option<Var<UrlPath>>,
    pub(super) http_health_host: Option<Var<Host>>,
    pub(super) target_socket: Option<Var<SocketPath>>,
    pub(super) upstream_connect_timeout: Var<Limit>,
    pub(super) upstream_response_timeout: Var<Limit>,
    pub(super) upstream_idle_timeout: Var<Seconds>,
    pub(super) tls_certificate_path: Option<Var<FilePath>>,
    pub(super) tls_private_key_path: Option<Var<FilePath>>,
    pub(super) tls_local: Var<Switch>,
    pub(super) tls_min_version: Var<TlsVersion>,
    pub(super) acme_ca_bundle: Option<Var<FilePath>>,
    pub(super) cache_require_public: Var<Switch>,
    pub(super) compression_encodings: Var<Codings>,
    pub(super) gzip_compression_except_content_types: Option<Var<MediaTypes>>,
    pub(super) sendfile_root: Option<Var<Directory>>,
    pub(super) accel_mapping: Option<Var<AccelMapping>>,
    pub(super) public_files_enabled: Var<Switch>,
    pub(super) public_path: Var<Directory>,
    pub(super) max_connections: Var<Count>,
    pub(super) status_port: Option<Var<ListenPort>>,
    pub(super) status_bind: Option<Var<Address>>,
    pub(super) log_format: Var<Format>,
    pub(super) log_skip_paths: Option<Var<Paths>>,
    pub(super) control_socket: Option<Var<SocketPath>>,
    pub(super) maintenance_page: Var<Page>,
}

impl Env {
    /// Reads what was given, defaults included.
    ///
    /// # Errors
    ///
    /// None, unless the table of variables and this type disagree.
    pub(super) fn read(given: &[Given]) -> Result<Self, envy::Error> {
        // An empty default is none; an empty value that somebody set has been found to be one.
        let known = |one: &&Given| one.source != Source::Default || !one.value.is_empty();
        let pair = |one: &Given| (one.row.name.to_owned(), one.value.clone());
        envy::from_iter(given.iter().filter(known).map(pair))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use serde::{Deserializer, de::Visitor, forward_to_deserialize_any};

    use super::{
        super::{given, variables::rows},
        *,
    };

    /// Asks a type for the names of its fields, and gives it none.
    struct Fields<'a>(&'a mut BTreeSet<String>);

    impl<'de> Deserializer<'de> for Fields<'_> {
        type Error = serde::de::value::Error;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
            Err(serde::de::Error::custom("has no fields"))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            visitor: V,
        ) -> Result<V::Value, Self::Error> {
            self.0
                .extend(fields.iter().map(|field| field.to_uppercase()));
            self.deserialize_any(visitor)
        }

        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
            newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }

    #[test]
    fn every_field_has_a_row_and_every_row_a_field() {
        let mut fields = BTreeSet::new();
        assert!(Env::deserialize(Fields(&mut fields)).is_err());
        assert_eq!(fields, rows().map(|row| row.name.to_owned()).collect());
    }

    #[test]
    fn every_field_has_a_default_or_is_optional() {
        let given = given::all(&given::Vars::new()).unwrap();
        assert!(Env::read(&given).is_ok());
    }

    proptest! {
        /// A row and its field that differ in kind would differ in some of these.
        #[test]
        fn what_a_row_accepts_its_field_reads(
            value in prop_oneof![
                Just(String::new()), "[0-9]{1,20}", "[0-9]{1,5} ?[kmg]b", "[tf01]", "(sig)?term", "[0-9]{1,3}:[0-9]{1,3}",
                "/[a-z]{0,120}", "[a-z.]{1,9}", "(zstd|br|gzip)(,(zstd|br|gzip))?", "[a-z]/[a-z](, [a-z]/)?",
                "/[a-z]?/?=/[a-z]/?", "[a-z*.]{1,6}(,[a-z0-9.:]{1,6})?", "https://[a-z/]{1,9}", "1.[0-9]", "\\PC*"
            ],
        ) {
            for row in rows().filter(|row| (row.accepts)(&value)) {
                let mut given = given::all(&given::Vars::new()).unwrap();
                let one = given.iter_mut().find(|one| one.row.name == row.name).unwrap();
                one.value = value.clone();
                one.source = Source::Prefixed;
                prop_assert!(Env::read(&given).is_ok(), "{}={value:?}", row.name);
            }
        }
    }
}
