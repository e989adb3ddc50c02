//! Who may see which device: nobody is asked, or a bearer token or a signed link has to say so.
//!
//! | file | owns |
//! |---|---|
//! | [`tokens`] | the file of tokens and what each opens (pure) |
//! | [`token_file`] | that file read again when it changes |
//! | [`signed`] | links that open a client's or a device's streams for a while (pure) |
//!
//! Architecture invariant: a handler gets a [`DeviceKey`] from [`Viewed`] alone, which asks the
//! gate before anything is read, so that an answer cannot tell whether a foreign device exists.
//! No token and no signature is ever logged or part of an error.

pub mod signed;
pub mod token_file;
pub mod tokens;

use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::{FromRef, FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use crate::model::{Clock, DeviceKey, SessionId, UtcMillis};
use signed::{LinkFault, Scope, Signer};
use tokens::{Clients, Tokens};

/// What a request is allowed, and for how long.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Whose devices.
    pub clients: Clients,
    /// Until when; none is for ever.
    pub expires_at: Option<UtcMillis>,
}

/// Why a request is turned away.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// No token where one is needed.
    #[error("a token is needed: send it as Authorization: Bearer TOKEN")]
    Missing,
    /// A token that is unknown or has expired; which of the two is not told.
    #[error("the token is not known or has expired")]
    Unknown,
    /// A device of somebody else, or none at all: the same to who may not know.
    #[error("there is no such file")]
    Foreign,
    /// A link that does not open this.
    #[error("the link {0}")]
    Link(#[from] LinkFault),
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Missing | Self::Unknown => StatusCode::UNAUTHORIZED,
            Self::Foreign => StatusCode::NOT_FOUND,
            Self::Link(_) => StatusCode::FORBIDDEN,
        };
        let text = format!("{self}\n");
        let mut response = (status, [(header::CACHE_CONTROL, "no-store")], text).into_response();
        // RFC 6750 section 3.
        let challenge = match self {
            Self::Missing => Some("Bearer"),
            Self::Unknown => Some("Bearer error=\"invalid_token\""),
            Self::Foreign | Self::Link(_) => None,
        };
        if let Some(challenge) = challenge {
            let value = axum::http::HeaderValue::from_static(challenge);
            response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
        }
        response
    }
}

/// Decides who may see what. Cheap to clone.
#[derive(Clone)]
pub struct Gate(Arc<Inner>);

struct Inner {
    /// None: everybody may see everything.
    tokens: Option<RwLock<Tokens>>,
    signer: Option<Signer>,
    clock: Arc<dyn Clock>,
}

impl Gate {
    /// Everybody may see everything; links signed by `signer` work all the same.
    pub fn open(signer: Option<Signer>, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner { tokens: None, signer, clock }))
    }

    /// Who has one of these tokens, or a link signed by `signer`, may see what it opens.
    pub fn locked(tokens: Tokens, signer: Signer, clock: Arc<dyn Clock>) -> Self {
        let tokens = Some(RwLock::new(tokens));
        Self(Arc::new(Inner { tokens, signer: Some(signer), clock }))
    }

    /// Whether tokens are asked for.
    pub fn is_locked(&self) -> bool {
        self.0.tokens.is_some()
    }

    /// Goes by other tokens from now on.
    pub fn replace_tokens(&self, new: Tokens) {
        if let Some(tokens) = &self.0.tokens {
            *tokens.write().unwrap_or_else(PoisonError::into_inner) = new;
        }
    }

    /// What the token of a request opens.
    ///
    /// # Errors
    /// [`Refusal::Missing`] and [`Refusal::Unknown`].
    pub fn grant(&self, headers: &HeaderMap) -> Result<Grant, Refusal> {
        let Some(tokens) = &self.0.tokens else {
            return Ok(Grant { clients: Clients::All, expires_at: None });
        };
        let token = bearer(headers).ok_or(Refusal::Missing)?;
        let tokens = tokens.read().unwrap_or_else(PoisonError::into_inner);
        tokens.grant(token, self.0.clock.now()).ok_or(Refusal::Unknown)
    }

    /// Whether a request may see a device: by the signature in its path if there is one, else by
    /// its token.
    ///
    /// # Errors
    /// Any [`Refusal`].
    pub fn admit(
        &self,
        key: &DeviceKey,
        signature: Option<&str>,
        headers: &HeaderMap,
    ) -> Result<(), Refusal> {
        if let Some(signature) = signature {
            // Without a key no link can be right.
            let signer = self.0.signer.as_ref().ok_or(Refusal::Link(LinkFault::Wrong))?;
            return Ok(signer.verify(signature, key, self.0.clock.now())?);
        }
        match self.grant(headers)?.clients.contain(&key.client) {
            true => Ok(()),
            false => Err(Refusal::Foreign),
        }
    }

    /// What to put before the path of a device so that it works without a token, for about
    /// an hour: nothing where none is needed. To be given only to who may see the device.
    pub fn link_prefix(&self, key: &DeviceKey, grant: &Grant) -> String {
        let Some(signer) = self.0.signer.as_ref().filter(|_| self.is_locked()) else {
            return String::new();
        };
        let until = signed::page_link_until(self.0.clock.now());
        let until = grant.expires_at.map_or(until, |expires| until.min(expires));
        signer.prefix(&Scope::Device(key.clone()), until)
    }
}

/// The token of `Authorization: Bearer` (RFC 6750 section 2.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// A device that this request may see, and what else its path names.
#[derive(Clone, Debug)]
pub struct Viewed {
    /// The device.
    pub key: DeviceKey,
    /// The archive, where the path names one.
    pub session: Option<SessionId>,
    /// The file, where the path names one; not checked.
    pub file: String,
}

/// What a path may name.
#[derive(Deserialize)]
struct Named {
    signature: Option<String>,
    client: String,
    device: String,
    session: Option<String>,
    #[serde(default)]
    file: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Viewed
where
    Gate: FromRef<S>,
{
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let Path(named) = Path::<Named>::from_request_parts(parts, state)
            .await
            .map_err(IntoResponse::into_response)?;
        let foreign = || Refusal::Foreign.into_response();
        let gate = Gate::from_ref(state);
        let Ok(key) = DeviceKey::new(&named.client, &named.device) else {
            // A name that no device can have tells nothing, but only to who is let in at all.
            let refused = match named.signature {
                Some(_) => Refusal::Foreign,
                None => gate.grant(&parts.headers).err().unwrap_or(Refusal::Foreign),
            };
            return Err(refused.into_response());
        };
        gate.admit(&key, named.signature.as_deref(), &parts.headers)
            .map_err(IntoResponse::into_response)?;
        let session = named.session.map(|id| SessionId::new(&id)).transpose();
        let session = session.map_err(|_| foreign())?;
        Ok(Self { key, session, file: named.file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_token_is_found_whatever_the_case_of_its_scheme() {
        let of = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(of("Bearer abc"), Some("abc".into()));
        assert_eq!(of("bearer  abc "), Some("abc".into()));
        for other in ["Basic abc", "Bearer", "Bearer ", "abc", ""] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
