//! What is wrong with the settings of the CDN's tokens.

use std::time::Duration;

use secrecy::ExposeSecret;

use crate::config::{CdnToken, SigningKeyName, field::hex_key};

/// What a property takes (Akamai, behaviour `verifyTokenAuthorization`).
const SALT_LENGTH: usize = 16;
/// Below it, a link would have ended before a device follows it.
const SHORTEST_LIFETIME: Duration = Duration::from_secs(5);
/// Above it, a token would begin before the links of the day before have expired; no clock is that wrong.
const MOST_SKEW: Duration = Duration::from_secs(3600);

/// One sentence per problem.
pub(super) fn token_problems(token: &CdnToken, base_url: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let mut wrong = |is_wrong: bool, text: &str| {
        if is_wrong {
            problems.push(text.to_owned());
        }
    };
    let key = hex_key(token.key.expose_secret());
    wrong(key.is_none(), "cdn.token.key: use an even number of hex digits");
    let next_key = token.next_key.as_ref().map(|key| hex_key(key.expose_secret()));
    wrong(next_key == Some(None), "cdn.token.next_key: use an even number of hex digits");
    wrong(
        key.is_some() && next_key == Some(key),
        "cdn.token.next_key is the same as cdn.token.key: make a new one, such as `openssl rand -hex 32` prints",
    );
    wrong(
        token.sign_with == SigningKeyName::NextKey && token.next_key.is_none(),
        "cdn.token.sign_with is \"next_key\" and cdn.token.next_key is not there: set it, or sign with \"key\"",
    );
    let salt = token.salt.as_ref().map(|salt| salt.expose_secret());
    wrong(
        salt.is_some_and(|salt| {
            salt.chars().count() != SALT_LENGTH
                || !salt.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'~')
        }),
        "cdn.token.salt: use exactly 16 printable characters without spaces and '~', those of the property",
    );
    wrong(
        token.name.is_empty() || !token.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'),
        "cdn.token.name: use letters, digits and '_'",
    );
    wrong(token.lifetime < SHORTEST_LIFETIME, "cdn.token.lifetime: use at least 5s, better hours");
    wrong(
        token.clock_skew.is_some_and(|skew| skew > MOST_SKEW),
        "cdn.token.clock_skew: use at most 1h, better 5m; without it tokens have no beginning",
    );
    let path =
        base_url.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_, path)| path);
    wrong(
        !path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte)),
        "cdn.base_url: its path may have only letters, digits and / . _ - when links carry a token",
    );
    problems
}
