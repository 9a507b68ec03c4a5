//! One order: from the name to the chain (RFC 8555 section 7.4).

use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeHandle, ChallengeType, Error,
    Identifier, NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::{
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    sign::CertifiedKey,
};

use super::{account::is, stored::Stored};
use crate::tls::{
    challenges::{Answering, Challenges},
    pair::{Pair, PairError, provider},
    pem,
};

/// How long a CA may take to validate, and to issue.
const POLL: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(500))
    .backoff(1.5)
    .timeout(Duration::from_secs(120));

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(super) enum OrderError {
    /// Nothing was asked of the CA that it counts.
    #[error("{0}")]
    Unreachable(Error),
    /// It has said no, or got stuck.
    #[error("{0}")]
    Refused(Error),
    /// It does not believe that the name is ours.
    #[error("{kind} failed: {why}")]
    NotValidated { kind: &'static str, why: String },
    /// It offers no such challenge.
    #[error("the CA does not offer {0}")]
    NotOffered(&'static str),
    /// What it has issued is of no use.
    #[error("the certificate is of no use: {0}")]
    Unusable(#[from] PairError),
    /// No key; a mistake of ours.
    #[error("cannot make a key: {0}")]
    Key(#[from] rcgen::Error),
}

impl OrderError {
    /// Whether the directory has nothing to count: it was not asked, or says itself that it is not well.
    pub(super) fn is_silence(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Refused(error) => is(error, "badNonce") || is(error, "serverInternal"),
            _ => false,
        }
    }

    /// Whether the directory does not know us.
    pub(super) fn is_about_account(&self) -> bool {
        matches!(self, Self::Refused(error) if is(error, "accountDoesNotExist") || is(error, "unauthorized"))
    }

    /// What the directory, or the way to it, said before an order was made.
    pub(super) fn before(error: Error) -> Self {
        match error {
            Error::Api(_) => Self::Refused(error),
            error => Self::Unreachable(error),
        }
    }
}

/// A way to prove that a name is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    Http,
    Alpn,
}

impl Proof {
    fn name(self) -> &'static str {
        match self {
            Self::Http => "HTTP-01",
            Self::Alpn => "TLS-ALPN-01",
        }
    }

    fn kind(self) -> ChallengeType {
        match self {
            Self::Http => ChallengeType::Http01,
            Self::Alpn => ChallengeType::TlsAlpn01,
        }
    }
}

/// Gets a certificate for `domain`, proving it by `proof`.
pub(super) async fn place(
    account: &Account,
    domain: &str,
    proof: Proof,
    replaces: Option<CertificateIdentifier<'static>>,
    challenges: &Challenges,
) -> Result<Stored, OrderError> {
    let mut order = begin(account, domain, replaces).await?;
    validate(&mut order, domain, proof, challenges).await?;
    issue(&mut order, domain).await
}

/// Orders, and says what it is instead of; who does not understand that, or has heard it before, is asked without.
async fn begin(
    account: &Account,
    domain: &str,
    replaces: Option<CertificateIdentifier<'static>>,
) -> Result<Order, OrderError> {
    let identifiers = [Identifier::Dns(domain.to_owned())];
    if let Some(replaced) = replaces {
        let wanted = NewOrder::new(&identifiers).replaces(replaced);
        match account.new_order(&wanted).await {
            Ok(order) => return Ok(order),
            Err(error) if is(&error, "rateLimited") => return Err(OrderError::Refused(error)),
            Err(error) => tracing::debug!(%error, "ordering without what is replaced"),
        }
    }
    let order = account.new_order(&NewOrder::new(&identifiers)).await;
    order.map_err(OrderError::before)
}

async fn validate(
    order: &mut Order,
    domain: &str,
    proof: Proof,
    challenges: &Challenges,
) -> Result<(), OrderError> {
    // They answer until this is over.
    let mut answering: Vec<Answering> = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.map_err(OrderError::Refused)?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let challenge = authorization.challenge(proof.kind());
        let mut challenge = challenge.ok_or(OrderError::NotOffered(proof.name()))?;
        answering.push(answer(&challenge, domain, proof, challenges)?);
        challenge.set_ready().await.map_err(OrderError::Refused)?;
    }
    match order.poll_ready(&POLL).await {
        Ok(OrderStatus::Ready) => Ok(()),
        Ok(_) => Err(why(order, proof, "the order has become invalid".to_owned()).await),
        Err(Error::Api(problem)) => Err(why(order, proof, problem.to_string()).await),
        Err(error) => Err(OrderError::Refused(error)),
    }
}

fn answer(
    challenge: &ChallengeHandle<'_>,
    domain: &str,
    proof: Proof,
    challenges: &Challenges,
) -> Result<Answering, OrderError> {
    let key_authorization = challenge.key_authorization();
    Ok(match proof {
        Proof::Http => {
            let text = key_authorization.as_str().to_owned();
            challenges.answer_http(challenge.token.clone(), text)
        }
        Proof::Alpn => {
            let certificate = proving(domain, key_authorization.digest().as_ref())?;
            challenges.answer_alpn(domain.to_owned(), certificate)
        }
    })
}

/// A certificate that proves something to a CA and to nobody else; RFC 8737 section 3.
fn proving(domain: &str, digest: &[u8]) -> Result<CertifiedKey, OrderError> {
    let mut params = CertificateParams::new([domain.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?.der().clone();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let key = provider().key_provider.load_private_key(key);
    let key = key.map_err(|_| PairError::BadKey)?;
    Ok(CertifiedKey::new(vec![certificate], key))
}

/// What the CA saw instead of us; the order itself does not say.
async fn why(order: &mut Order, proof: Proof, else_this: String) -> OrderError {
    let mut why = None;
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        if let Ok(state) = authorization.refresh().await {
            let mut errors = state.challenges.iter().filter_map(|one| one.error.as_ref());
            why = why.or_else(|| errors.next().map(ToString::to_string));
        }
    }
    OrderError::NotValidated {
        kind: proof.name(),
        why: why.unwrap_or(else_this),
    }
}

async fn issue(order: &mut Order, domain: &str) -> Result<Stored, OrderError> {
    let mut params = CertificateParams::new([domain.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    let key = KeyPair::generate()?;
    let request = params.serialize_request(&key)?;
    order
        .finalize_csr(request.der())
        .await
        .map_err(OrderError::Refused)?;
    let chain = order.poll_certificate(&POLL).await;
    let chain = chain.map_err(OrderError::Refused)?;
    let text = pem::encode("PRIVATE KEY", key.serialized_der()) + &chain;
    let pair = Pair::read(text.as_bytes(), text.as_bytes())?;
    Ok(Stored::issued(pair, text))
}
