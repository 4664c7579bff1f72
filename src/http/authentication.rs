//! Bearer tokens of the publisher listener (RFC 6750, header form only) and what they may do.
//!
//! Tokens come from the settings and the data directory, so authentication needs no database. Only SHA-256 digests
//! are kept, compared in constant time.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

use axum::{
    extract::{ConnectInfo, FromRef, FromRequestParts},
    http::{header, request::Parts},
};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::problem::HttpError;
use crate::{
    catalogue::Actor,
    config::{Scope, TokenSettings},
    domain::ProductName,
    error::{Error, Kind, Result},
};

/// The name of the first token in the audit log.
pub const FIRST_TOKEN: &str = "publisher";

/// All tokens that are accepted.
pub struct Tokens(Vec<([u8; 32], Arc<Caller>)>);

/// Who is calling: a token that was presented and is known. An extractor: a handler that takes it is reached only with
/// a valid token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The token's name.
    pub name: String,
    /// The other end of the connection.
    remote: Option<SocketAddr>,
    scopes: Vec<Scope>,
    products: BTreeSet<ProductName>,
}

impl Tokens {
    /// The first token, which may do everything, and the named ones.
    pub fn new<'a>(
        first: &SecretString,
        named: impl IntoIterator<Item = (&'a String, &'a TokenSettings)>,
    ) -> Self {
        let all = Caller {
            name: FIRST_TOKEN.into(),
            remote: None,
            scopes: vec![Scope::Admin],
            products: BTreeSet::new(),
        };
        let named = named.into_iter().map(|(name, token)| {
            let products = token.products.iter().cloned().collect();
            (
                digest(&token.token),
                Arc::new(Caller { name: name.clone(), remote: None, scopes: token.scopes.clone(), products }),
            )
        });
        Self(std::iter::once((digest(first), Arc::new(all))).chain(named).collect())
    }

    fn caller(&self, presented: &str) -> Option<Arc<Caller>> {
        let presented: [u8; 32] = Sha256::digest(presented.as_bytes()).into();
        self.0
            .iter()
            .find(|(known, _)| bool::from(known.ct_eq(&presented)))
            .map(|(_, caller)| Arc::clone(caller))
    }
}

fn digest(token: &SecretString) -> [u8; 32] {
    Sha256::digest(token.expose_secret().as_bytes()).into()
}

impl Caller {
    /// Whether it may do this to that product (`None` = to no particular one).
    ///
    /// # Errors
    /// Kind `Forbidden` with what is lacking.
    pub fn authorize(&self, scope: Scope, product: Option<&ProductName>) -> Result<()> {
        let name = &self.name;
        if !self.scopes.contains(&scope) && !self.scopes.contains(&Scope::Admin) {
            let scope = format!("{scope:?}").to_lowercase();
            let message = format!(
                "token {name:?} lacks the scope {scope:?}: add it to publisher.tokens.{name}.scopes or use another token"
            );
            return Err(Error::new(Kind::Forbidden, "scope-missing", message));
        }
        match product {
            Some(product) if !self.sees(product) => {
                let message = format!(
                    "token {name:?} may not touch product {product}: add it to publisher.tokens.{name}.products or use another token"
                );
                Err(Error::new(Kind::Forbidden, "product-forbidden", message))
            }
            _ => Ok(()),
        }
    }

    /// Whether it may do this to all products at once.
    ///
    /// # Errors
    /// Kind `Forbidden` with what is lacking.
    pub fn authorize_everywhere(&self, scope: Scope) -> Result<()> {
        self.authorize(scope, None)?;
        if self.products.is_empty() {
            return Ok(());
        }
        let name = &self.name;
        let message = format!(
            "token {name:?} may touch some products only, and this is about all: use another token, or ask for one product"
        );
        Err(Error::new(Kind::Forbidden, "product-forbidden", message))
    }

    /// Who and from where, for the audit log.
    pub fn actor(&self) -> Actor {
        Actor { name: self.name.clone(), remote: self.remote }
    }

    /// Whether the product is among the token's.
    pub fn sees(&self, product: &ProductName) -> bool {
        self.products.is_empty() || self.products.contains(product)
    }
}

/// The extractor's output.
pub struct Authenticated(pub Caller);

impl<S> FromRequestParts<S> for Authenticated
where
    Arc<Tokens>: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        let unauthenticated = |message: &str| HttpError(Error::new(Kind::Unauthenticated, "token", message));
        let mut headers = parts.headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (headers.next(), headers.next()) else {
            return Err(unauthenticated(
                "send the header `Authorization: Bearer TOKEN`, once; the first token is in DATA_DIR/publisher.token",
            ));
        };
        let token = value.to_str().ok().and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        let Some(token) = token else {
            return Err(unauthenticated("the Authorization header is not of the form `Bearer TOKEN`"));
        };
        let tokens = Arc::<Tokens>::from_ref(state);
        let caller = tokens.caller(token);
        let Some(caller) = caller else {
            return Err(unauthenticated(
                "this token is not known: compare it with DATA_DIR/publisher.token or the settings",
            ));
        };
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        // A listener for both families sees IPv4 peers as ::ffff:a.b.c.d.
        let remote = peer.map(|ConnectInfo(peer)| SocketAddr::new(peer.ip().to_canonical(), peer.port()));
        tracing::Span::current().record("actor", &caller.name);
        Ok(Self(Caller { remote, ..(*caller).clone() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_may_do_what_its_scopes_and_products_say() {
        let product = ProductName::parse("a").expect("valid");
        let other = ProductName::parse("b").expect("valid");
        let ci = TokenSettings {
            token: "0123456789abcdef".to_owned().into(),
            scopes: vec![Scope::Publish],
            products: vec![product.clone()],
        };
        let name = "ci".to_owned();
        let tokens = Tokens::new(&"first-first-first".to_owned().into(), [(&name, &ci)]);
        let first = tokens.caller("first-first-first").expect("known");
        assert!(first.authorize(Scope::Admin, Some(&other)).is_ok());
        let ci = tokens.caller("0123456789abcdef").expect("known");
        assert!(ci.authorize(Scope::Publish, Some(&product)).is_ok());
        for (scope, product) in
            [(Scope::Publish, Some(&other)), (Scope::Admin, Some(&product)), (Scope::Read, None)]
        {
            assert_eq!(ci.authorize(scope, product).expect_err("forbidden").kind(), Kind::Forbidden);
        }
        assert!(tokens.caller("0123456789abcdeg").is_none() && tokens.caller("").is_none());
    }
}
