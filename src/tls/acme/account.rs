//! Who we are at the directory: a key, and what the directory calls it.
//!
//! The key alone is stored, under the name and in the form in which Thruster has it: the directory tells whoever has the
//! key which account is his (RFC 8555 section 7.3.1).

use std::time::{Duration, SystemTime};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use instant_acme::{
    Account, AccountBuilder, CertificateIdentifier, Error, ExternalAccountKey, Key, NewAccount,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};
use tokio::sync::Mutex;

use super::client::{Client, RetryAfter, Roots};
use crate::tls::{
    chance, pem, schedule,
    settings::AcmeSettings,
    storage::{Lock, Readers, Storage},
};

/// autocert's name for it.
const KEY: &str = "acme_account+key";

/// An ACME directory, and our account there once it is needed.
pub(super) struct Directory {
    settings: AcmeSettings,
    roots: Roots,
    storage: Storage,
    account: Mutex<Option<Account>>,
    retry_after: RetryAfter,
}

impl Directory {
    pub(super) fn new(settings: AcmeSettings, roots: Roots, storage: Storage) -> Self {
        Self {
            settings,
            roots,
            storage,
            account: Mutex::default(),
            retry_after: RetryAfter::default(),
        }
    }

    pub(super) fn url(&self) -> &str {
        &self.settings.directory
    }

    /// Our account, found or registered.
    ///
    /// # Errors
    /// When the directory is not there, or does not want us.
    pub(super) async fn account(&self) -> Result<Account, Error> {
        let mut known = self.account.lock().await;
        if let Some(account) = &*known {
            return Ok(account.clone());
        }
        // A second container may register at the same time; each then keeps to the key that is stored last.
        let _lock: Lock = self.storage.lock(KEY);
        let account = match self.stored_key() {
            Some(key) => self.find(key).await?,
            None => self.register().await?,
        };
        *known = Some(account.clone());
        Ok(account)
    }

    /// Asks anew next time: the directory does not know the account any more.
    pub(super) async fn forget_account(&self) {
        *self.account.lock().await = None;
    }

    /// When the CA wants this certificate to be renewed, and how long not to ask again; none when it never says. RFC 9773.
    pub(super) async fn suggestion(
        &self,
        identifier: &CertificateIdentifier<'_>,
    ) -> Result<Option<(SystemTime, Duration)>, Error> {
        match self.account().await?.renewal_info(identifier).await {
            Ok((info, after)) => {
                let window = info.suggested_window;
                let chance = chance::fraction();
                let at = schedule::within(window.start.into(), window.end.into(), chance);
                Ok(Some((at, after)))
            }
            Err(Error::Unsupported(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How long the directory has asked to be left alone.
    pub(super) fn told_to_wait(&self) -> Duration {
        let until = self.retry_after.take();
        let left = until.and_then(|until| until.duration_since(SystemTime::now()).ok());
        left.unwrap_or_default()
    }

    fn builder(&self) -> Result<AccountBuilder, Error> {
        let client = Client::new(&self.roots, self.retry_after.clone());
        let client = client.map_err(|error| Error::Other(Box::new(error)))?;
        Ok(Account::builder_with_http(Box::new(client)))
    }

    fn stored_key(&self) -> Option<PrivatePkcs8KeyDer<'static>> {
        let key = PrivateKeyDer::from_pem_slice(&self.storage.read(KEY)?).ok()?;
        let key = to_pkcs8(&key);
        if key.is_none() {
            tracing::warn!(
                file = KEY,
                "the stored account key is no P-256 key; there will be a new one"
            );
        }
        key
    }

    /// The account of `key`, which is registered where it is not known: a key goes from one directory to another.
    async fn find(&self, key: PrivatePkcs8KeyDer<'static>) -> Result<Account, Error> {
        let pair = || -> Result<(Key, PrivateKeyDer<'static>), Error> {
            let parsed = Key::from_pkcs8_der(key.clone_key())?;
            Ok((parsed, PrivateKeyDer::Pkcs8(key.clone_key())))
        };
        let found = self
            .builder()?
            .from_key(pair()?, self.url().to_owned())
            .await;
        match found {
            Ok((account, _)) => Ok(account),
            Err(error) if !is(&error, "accountDoesNotExist") => Err(error),
            // A binding goes with a new key only.
            Err(_) if self.settings.eab.is_some() => self.register().await,
            Err(_) => {
                let made = self
                    .builder()?
                    .create_from_key(pair()?, self.url().to_owned());
                let (account, _) = made.await?;
                self.say_registered();
                Ok(account)
            }
        }
    }

    async fn register(&self) -> Result<Account, Error> {
        let eab = self.settings.eab.as_ref();
        let eab = eab.map(|eab| ExternalAccountKey::new(eab.kid.clone(), eab.key.bytes()));
        let terms = NewAccount {
            contact: &[],
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let made = self
            .builder()?
            .create(&terms, self.url().to_owned(), eab.as_ref());
        let (account, credentials) = made.await?;
        let key = pem::encode("PRIVATE KEY", credentials.private_key().secret_pkcs8_der());
        self.storage.write(KEY, key.as_bytes(), Readers::Owner);
        self.say_registered();
        Ok(account)
    }

    fn say_registered(&self) {
        tracing::info!(
            directory = self.url(),
            "registered; its terms of service are accepted"
        );
    }
}

/// Whether the directory answers with this kind of problem; RFC 8555 section 6.7.
pub(super) fn is(error: &Error, kind: &str) -> bool {
    let Error::Api(problem) = error else {
        return false;
    };
    let whole = problem.r#type.as_deref().unwrap_or_default();
    whole.strip_prefix("urn:ietf:params:acme:error:") == Some(kind)
}

/// autocert writes SEC1, and PKCS#8 is asked for.
fn to_pkcs8(key: &PrivateKeyDer<'_>) -> Option<PrivatePkcs8KeyDer<'static>> {
    let pair =
        EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_der());
    let der = pair.ok()?.to_pkcs8v1().ok()?;
    Some(PrivatePkcs8KeyDer::from(der.as_ref().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A P-256 key in SEC1, as Go's `x509.MarshalECPrivateKey` writes it.
    const SEC1: &str = "-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIDdk9MDQolsqymp919CfnR1XwdtaTmPlGazPmBJspeb6oAoGCCqGSM49
AwEHoUQDQgAEMHb5Hn9EGMeHLZf3eGRJWNFMWZNIgEzfIzvS1svHla1aB93YaGRy
vo1nv/FaQeyCNlQfI1Z1BB1nt4v8yIChpg==
-----END EC PRIVATE KEY-----
";

    #[test]
    fn keys_of_both_forms_are_taken() {
        let made = rcgen::KeyPair::generate().unwrap();
        let made = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.serialize_der()));
        let same = to_pkcs8(&made).unwrap();
        assert!(Key::from_pkcs8_der(same).is_ok());
        let sec1 = PrivateKeyDer::from_pem_slice(SEC1.as_bytes()).unwrap();
        assert!(matches!(sec1, PrivateKeyDer::Sec1(_)));
        assert!(Key::from_pkcs8_der(to_pkcs8(&sec1).unwrap()).is_ok());
    }
}
