//! The way to a provider and back (`OpenID` Connect, code flow with PKCE, state and nonce), by the crate
//! `openidconnect`. Knows no database.

use super::http::Client;
use super::{Provider, Secret};
use crate::clock::Timestamp;
use crate::error::Error;
use axum::http::{Request, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::core::{
    CoreAuthPrompt, CoreAuthenticationFlow, CoreClient, CoreJsonWebKeySet, CoreJwsSigningAlgorithm,
    CoreResponseType, CoreSubjectIdentifierType,
};
use openidconnect::{
    AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, EmptyAdditionalProviderMetadata,
    EndSessionUrl, IssuerUrl, JsonWebKeySetUrl, LogoutProviderMetadata, Nonce, OAuth2TokenResponse as _,
    PkceCodeChallenge, PkceCodeVerifier, ProviderMetadataWithLogout, RedirectUrl, ResponseTypes, Scope,
    TokenResponse as _, TokenUrl, UserInfoUrl,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::time::Duration;
use uuid::Uuid;

/// What is remembered between the way there and the way back, sealed in a cookie of the browser that went.
#[derive(Serialize, Deserialize)]
pub struct Trip {
    /// To which provider.
    pub provider: Uuid,
    /// Comes back in the address: the answer is to this question.
    pub state: String,
    /// Comes back in the signed token: it was made for this question.
    pub nonce: String,
    /// Shows the provider that who brings the code is who began.
    pub verifier: String,
    /// The page to go on to.
    pub next: String,
    /// When it began.
    pub began: Timestamp,
    /// When it is too late.
    pub until: Timestamp,
    /// The session whose user is to show that it is still they; none: a sign-in.
    pub proves: Option<String>,
}

/// What a browser sets out for.
pub struct Errand {
    /// Where the provider sends it back to.
    pub back: String,
    /// The page to go on to.
    pub next: String,
    /// When it sets out.
    pub began: Timestamp,
    /// When it is too late.
    pub until: Timestamp,
    /// The session whose user is to show that it is still they; none: a sign-in.
    pub proves: Option<String>,
}

/// What a provider said of whoever came back.
pub struct Said {
    /// The claims, proved.
    pub claims: Map<String, Value>,
    /// The token that it signed, as it came.
    pub id_token: String,
    /// How many seconds before that the person signed in there, if the token says so.
    pub ago_s: Option<i64>,
}

/// How much later a provider may say that somebody signed in than it can have been: clocks tick in seconds.
const ROUNDING: i64 = 5;

/// How many seconds before the token was issued its person signed in at the provider, by the provider's own clock: it may
/// differ from ours.
fn signed_in_ago(claims: &Map<String, Value>) -> Option<i64> {
    let time = |name: &str| claims.get(name).and_then(Value::as_i64);
    time("iat")?.checked_sub(time("auth_time")?)
}

/// Whether somebody signed in at the provider in the course of a trip that took this many seconds.
#[must_use]
pub fn is_fresh(ago_s: Option<i64>, took_s: i64) -> bool {
    ago_s.is_some_and(|ago| (-ROUNDING..=took_s.saturating_add(ROUNDING)).contains(&ago))
}

/// The signatures that are taken: none with a shared secret.
const SIGNATURES: [CoreJwsSigningAlgorithm; 8] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

fn down(provider: &Provider, why: &dyn std::fmt::Display) -> Error {
    let name = &provider.name;
    Error::Unavailable(format!(
        "the provider “{name}” does not answer as it should: {why}. Try again, or sign in here"
    ))
}

/// The whole of an error, with its causes.
fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text.chars().take(400).collect()
}

/// Where the provider's ends are: asked from it, or as they were typed. Its keys are asked for each time.
pub async fn metadata(provider: &Provider, client: &Client) -> Result<ProviderMetadataWithLogout, Error> {
    let settings = &provider.settings;
    let issuer = IssuerUrl::new(settings.issuer.clone()).map_err(Error::internal)?;
    if settings.discovery {
        let found = ProviderMetadataWithLogout::discover_async(issuer, client).await;
        return found.map_err(|error| down(provider, &whole(&error)));
    }
    let keys = JsonWebKeySetUrl::new(settings.jwks_uri.clone()).map_err(Error::internal)?;
    let url = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let end =
        url(&settings.end_session_endpoint).map(EndSessionUrl::new).transpose().map_err(Error::internal)?;
    let user = url(&settings.userinfo_endpoint).map(UserInfoUrl::new).transpose().map_err(Error::internal)?;
    let made = ProviderMetadataWithLogout::new(
        issuer,
        AuthUrl::new(settings.authorization_endpoint.clone()).map_err(Error::internal)?,
        keys.clone(),
        vec![ResponseTypes::new(vec![CoreResponseType::Code])],
        vec![CoreSubjectIdentifierType::Public],
        SIGNATURES.to_vec(),
        LogoutProviderMetadata {
            end_session_endpoint: end,
            additional_metadata: EmptyAdditionalProviderMetadata {},
        },
    );
    let token = TokenUrl::new(settings.token_endpoint.clone()).map_err(Error::internal)?;
    let keys = CoreJsonWebKeySet::fetch_async(&keys, client)
        .await
        .map_err(|error| down(provider, &whole(&error)))?;
    Ok(made.set_token_endpoint(Some(token)).set_userinfo_endpoint(user).set_jwks(keys))
}

/// The address that leads to the provider, and what must be remembered. For a proof the provider asks who it is even of
/// one whom it knows, and says when it did.
pub async fn there(provider: &Provider, client: &Client, errand: Errand) -> Result<(String, Trip), Error> {
    let Errand { back, next, began, until, proves } = errand;
    let metadata = metadata(provider, client).await?;
    let core = CoreClient::from_provider_metadata(
        metadata,
        ClientId::new(provider.settings.client_id.clone()),
        None,
    )
    .set_redirect_uri(RedirectUrl::new(back).map_err(Error::internal)?);
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let mut asked = core
        .authorize_url(CoreAuthenticationFlow::AuthorizationCode, CsrfToken::new_random, Nonce::new_random)
        .set_pkce_challenge(challenge);
    for scope in provider.settings.scopes.split_whitespace().filter(|scope| *scope != "openid") {
        asked = asked.add_scope(Scope::new(scope.to_owned()));
    }
    if proves.is_some() {
        asked = asked.add_prompt(CoreAuthPrompt::Login).set_max_age(Duration::ZERO);
    }
    let (url, state, nonce) = asked.url();
    let trip = Trip {
        provider: provider.id,
        state: state.secret().clone(),
        nonce: nonce.secret().clone(),
        verifier: verifier.secret().clone(),
        next,
        began,
        until,
        proves,
    };
    Ok((url.to_string(), trip))
}

/// What the provider says of whoever came back with `code`: the claims of its signed token, checked, and where it has
/// more of them, those; with the token itself.
///
/// # Errors
/// `Unavailable` when it cannot be reached; `Conflict` when what it says is not taken.
pub async fn back(
    provider: &Provider,
    client: &Client,
    secret: Option<&Secret>,
    (back, code): (&str, String),
    trip: &Trip,
    now: Timestamp,
) -> Result<Said, Error> {
    let metadata = metadata(provider, client).await?;
    let more = metadata.userinfo_endpoint().cloned();
    let secret = secret.map(|secret| ClientSecret::new(String::from_utf8_lossy(secret).into_owned()));
    let id = ClientId::new(provider.settings.client_id.clone());
    let core = CoreClient::from_provider_metadata(metadata, id, secret)
        .set_redirect_uri(RedirectUrl::new(back.to_owned()).map_err(Error::internal)?);
    let refused = |why: String| Error::Conflict(format!("what “{}” says is not taken: {why}", provider.name));
    let tokens = core
        .exchange_code(AuthorizationCode::new(code))
        .map_err(|error| down(provider, &whole(&error)))?
        .set_pkce_verifier(PkceCodeVerifier::new(trip.verifier.clone()))
        .request_async(client)
        .await
        .map_err(|error| match error {
            openidconnect::RequestTokenError::ServerResponse(said) => {
                refused(format!("it refused the code: {said}").chars().take(300).collect())
            }
            other => down(provider, &whole(&other)),
        })?;
    let token = tokens.id_token().ok_or_else(|| refused("there is no id token".to_owned()))?;
    let at = chrono::DateTime::from_timestamp_micros(now.micros()).unwrap_or_default();
    let verifier = core.id_token_verifier().set_allowed_algs(SIGNATURES).set_time_fn(move || at);
    token.claims(&verifier, &Nonce::new(trip.nonce.clone())).map_err(|error| refused(whole(&error)))?;
    // The token is proved; its claims, whatever their names, are read from the same bytes.
    let text = token.to_string();
    let payload = text.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let claims: Option<Map<String, Value>> = payload.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let mut claims = claims.ok_or_else(|| refused("its token cannot be read".to_owned()))?;
    let ago_s = signed_in_ago(&claims);
    let wanted = ["email", "email_verified", "preferred_username", "name", provider.settings.claim.as_str()];
    let missing = wanted.iter().any(|name| !claims.contains_key(*name));
    if let (Some(url), true) = (more, missing) {
        let bearer = format!("Bearer {}", tokens.access_token().secret());
        let request = Request::get(url.as_str()).header(header::AUTHORIZATION, bearer).body(vec![]);
        let answer = client.send(request.map_err(Error::internal)?).await;
        let answer = answer.map_err(|error| down(provider, &whole(&error)))?;
        let said: Map<String, Value> = serde_json::from_slice(answer.body()).unwrap_or_default();
        // Only of the same person, and (in `joined`) nothing that the signed token says already.
        if said.get("sub") == claims.get("sub") {
            claims = joined(claims, said);
        }
    }
    Ok(Said { claims, id_token: text, ago_s })
}

/// What is said in two places of one person: what the token says counts, and what it is silent of is taken from the other.
/// An address and whether it is verified come from the same place: one that was verified does not vouch for another.
fn joined(mut token: Map<String, Value>, mut other: Map<String, Value>) -> Map<String, Value> {
    let pair = ["email", "email_verified"];
    let whole = |claims: &Map<String, Value>| pair.iter().all(|name| claims.contains_key(*name));
    let poorer = if whole(&token) || !whole(&other) { &mut other } else { &mut token };
    for name in pair {
        poorer.remove(name);
    }
    for (name, value) in other {
        token.entry(name).or_insert(value);
    }
    token
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_address_and_whether_it_is_verified_come_from_the_same_place() {
        let object = |value: Value| value.as_object().unwrap().clone();
        let said = |token: Value, other: Value| {
            let joined = joined(object(token), object(other));
            (joined.get("email").cloned(), joined.get("email_verified").cloned())
        };
        let verified = json!({ "email": "other@x.test", "email_verified": true, "name": "N" });
        let (email, yes) = (|text: &str| Some(json!(text)), Some(json!(true)));
        let silent = said(json!({ "email": "boss@x.test" }), verified.clone());
        assert_eq!(silent, (email("other@x.test"), yes.clone()), "not the one that nobody verified");
        assert_eq!(said(json!({ "email_verified": true }), json!({ "email": "boss@x.test" })).0, None);
        let own = json!({ "email": "own@x.test", "email_verified": false });
        assert_eq!(said(own, verified.clone()), (email("own@x.test"), Some(json!(false))));
        assert_eq!(said(json!({}), verified), (email("other@x.test"), yes));
        let only = said(json!({ "email": "own@x.test" }), json!({ "email_verified": true }));
        assert_eq!(only, (email("own@x.test"), None));
    }

    #[test]
    fn a_sign_in_is_fresh_that_came_after_the_trip_began_by_the_providers_own_clock() {
        let fresh = |claims: Value, took| is_fresh(signed_in_ago(claims.as_object().unwrap()), took);
        for (signed_in, took, is) in [
            (1_000, 0, true),
            (990, 10, true),
            (985, 10, true),
            (984, 10, false),
            (0, 600, false),
            (1_006, 10, false),
        ] {
            let claims = json!({ "iat": 1_000, "auth_time": signed_in });
            assert_eq!(fresh(claims, took), is, "{signed_in} {took}");
        }
        for silent in
            [json!({ "iat": 1_000 }), json!({ "auth_time": 1_000 }), json!({ "iat": 1, "auth_time": "1" })]
        {
            assert!(!fresh(silent, 600), "who does not say when has not shown it");
        }
        assert!(!fresh(json!({ "iat": i64::MAX, "auth_time": i64::MIN }), 600));
    }
}
