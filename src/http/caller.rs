//! Who calls: the API key that a request brings, and whether it may call at all.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use url::form_urlencoded;

use crate::definitions::ApiKey;

/// The key of an `Authorization: Bearer` header.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = text.split_once(' ')?;
    let key = key.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !key.is_empty()).then_some(key)
}

/// The value of a query parameter.
pub fn query(uri: &axum::http::Uri, name: &str) -> Option<String> {
    let pairs = form_urlencoded::parse(uri.query()?.as_bytes());
    let mut found = pairs.filter(|(key, value)| key == name && !value.is_empty());
    found.next().map(|(_, value)| value.into_owned())
}

/// The API key of a request: the header's, else the body's.
pub fn api_key(headers: &HeaderMap, from_headers: bool, body: Option<&str>) -> Option<ApiKey> {
    let header = from_headers.then(|| bearer(headers)).flatten();
    header
        .or(body.filter(|key| !key.is_empty()))
        .map(ApiKey::new)
}

/// Whether two secrets are equal, in a time that does not tell where they differ.
pub fn same_secret(left: &str, right: &str) -> bool {
    left.len() == right.len()
        && left
            .bytes()
            .zip(right.bytes())
            .fold(0, |differs, (a, b)| differs | (a ^ b))
            == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_the_header_wins() {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, "bearer  H ".parse().unwrap());
        let key = |headers, allowed, body| {
            api_key(headers, allowed, body).map(|key| key.expose().to_owned())
        };
        assert_eq!(key(&headers, true, Some("B")).as_deref(), Some("H"));
        assert_eq!(key(&headers, false, Some("B")).as_deref(), Some("B"));
        assert_eq!(key(&HeaderMap::new(), true, Some("")), None);
        let uri = "/tiny/1?api_key=a%20b&x=1".parse().unwrap();
        assert_eq!(query(&uri, "api_key").as_deref(), Some("a b"));
        assert_eq!(query(&uri, "y"), None);
    }

    #[test]
    fn secrets_are_compared_whole() {
        assert!(same_secret("abc", "abc"));
        assert!(!same_secret("abc", "abd"));
        assert!(!same_secret("abc", "ab"));
    }
}
