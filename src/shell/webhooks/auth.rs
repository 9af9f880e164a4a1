//! Who may start a run by a webhook: basic, header and JWT authentication, by the credential that
//! the flow's author named.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Value, json};
use subtle::ConstantTimeEq as _;

use crate::flow::{self, Fault, Object};
use crate::shell::credentials::Credentials;
use crate::shell::webhooks::Reply;

/// What a request has to show.
pub(super) enum Auth {
    /// Nothing.
    None,
    /// `Authorization: Basic` with this, before it is coded.
    Basic(String),
    /// A header of this name, in lower case, with this value.
    Header(String, String),
    /// `Authorization: Bearer` with a token that this key verifies.
    Jwt(Box<DecodingKey>, Algorithm),
    /// Nobody gets in: the credential is not there, or says too little.
    Closed(Fault),
}

impl Auth {
    /// What the author of a webhook demands, with the credentials that the node names.
    pub(super) fn read(
        wanted: Option<&str>,
        named: &BTreeMap<String, String>,
        credentials: &Credentials,
    ) -> Self {
        let held = |kind: &str| match named.get(kind) {
            Some(name) => credentials.find(name),
            None => {
                let message = format!("the node has no credential of the type `{kind}`");
                Err(Fault::new("E-FLOW-CREDENTIALS", message))
            }
        };
        let read = match wanted.unwrap_or("none") {
            "none" => Ok(Self::None),
            "basicAuth" => held("httpBasicAuth").and_then(|held| {
                Ok(Self::Basic(format!("{}:{}", text(&held, "user")?, text(&held, "password")?)))
            }),
            "headerAuth" => held("httpHeaderAuth").and_then(|held| {
                let name = text(&held, "name")?.to_ascii_lowercase();
                Ok(Self::Header(name, text(&held, "value")?.to_owned()))
            }),
            "jwtAuth" => held("jwtAuth").and_then(|held| {
                let algorithm = algorithm(&held)?;
                Ok(Self::Jwt(Box::new(verifying_key(&held, algorithm)?), algorithm))
            }),
            other => Err(Fault::new(
                "E-FLOW-CREDENTIALS",
                format!("the authentication `{other}` is unknown"),
            )),
        };
        read.unwrap_or_else(Self::Closed)
    }

    /// What is wrong with what the author demands, if anything is.
    pub(super) const fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Closed(fault) => Some(fault),
            Self::None | Self::Basic(_) | Self::Header(..) | Self::Jwt(..) => None,
        }
    }

    /// Lets a request in, with the payload of its token if it has one, or says no.
    pub(super) fn judge(&self, headers: &Object) -> Result<Option<Value>, Reply> {
        let no = |status, message: &str| Reply::json(status, &json!({ "message": message }));
        let header = |name: &str| headers.get(name).and_then(Value::as_str);
        let authorization = |scheme: &str| {
            let (given, rest) = header("authorization")?.split_once(' ')?;
            given.eq_ignore_ascii_case(scheme).then_some(rest.trim())
        };
        match self {
            Self::None => Ok(None),
            Self::Basic(pair) => match authorization("basic") {
                Some(coded) if is_same(&flow::unbase64(coded), pair.as_bytes()) => Ok(None),
                Some(_) => Err(no(403, "Authorization data is wrong!")),
                None => {
                    let mut reply = no(401, "Authorization is required!");
                    let demand = "Basic realm=\"Webhook\"".to_owned();
                    reply.headers.push(("www-authenticate".to_owned(), demand));
                    Err(reply)
                }
            },
            Self::Header(name, value) => match header(name) {
                Some(given) if is_same(given.as_bytes(), value.as_bytes()) => Ok(None),
                Some(_) | None => Err(no(403, "Authorization data is wrong!")),
            },
            Self::Jwt(key, algorithm) => {
                let token = authorization("bearer").ok_or_else(|| no(401, "No token provided"))?;
                let mut validation = Validation::new(*algorithm);
                validation.required_spec_claims.clear();
                validation.validate_nbf = true;
                validation.validate_aud = false;
                let read = jsonwebtoken::decode::<Value>(token, key, &validation);
                read.map(|token| Some(token.claims)).map_err(|error| no(403, &error.to_string()))
            }
            Self::Closed(fault) => {
                tracing::warn!(%fault, "a webhook lets nobody in");
                Err(no(500, "No authentication data defined on node!"))
            }
        }
    }
}

/// A token of this payload, signed by the credential of a node.
pub(super) fn sign(payload: &Value, held: &Object) -> Result<String, Fault> {
    let algorithm = algorithm(held)?;
    let key = if is_pem(held) {
        let pem = text(held, "privateKey")?.as_bytes();
        match family(algorithm) {
            Family::Rsa => EncodingKey::from_rsa_pem(pem),
            Family::Ec => EncodingKey::from_ec_pem(pem),
            Family::Ed => EncodingKey::from_ed_pem(pem),
            Family::Hmac => return Err(wrong("a PEM key signs no HS algorithm")),
        }
    } else {
        Ok(EncodingKey::from_secret(text(held, "secret")?.as_bytes()))
    };
    let key = key.map_err(|error| wrong(&format!("the private key is none: {error}")))?;
    let signed = jsonwebtoken::encode(&Header::new(algorithm), payload, &key);
    signed.map_err(|error| wrong(&format!("the token cannot be signed: {error}")))
}

fn verifying_key(held: &Object, algorithm: Algorithm) -> Result<DecodingKey, Fault> {
    if !is_pem(held) {
        return match family(algorithm) {
            Family::Hmac => Ok(DecodingKey::from_secret(text(held, "secret")?.as_bytes())),
            Family::Rsa | Family::Ec | Family::Ed => {
                Err(wrong("a passphrase is the key of HS256, HS384 and HS512 only"))
            }
        };
    }
    let pem = text(held, "publicKey")?.as_bytes();
    let key = match family(algorithm) {
        Family::Rsa => DecodingKey::from_rsa_pem(pem),
        Family::Ec => DecodingKey::from_ec_pem(pem),
        Family::Ed => DecodingKey::from_ed_pem(pem),
        Family::Hmac => return Err(wrong("a PEM key verifies no HS algorithm")),
    };
    key.map_err(|error| wrong(&format!("the public key is none: {error}")))
}

enum Family {
    Hmac,
    Rsa,
    Ec,
    Ed,
}

const fn family(algorithm: Algorithm) -> Family {
    match algorithm {
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => Family::Hmac,
        Algorithm::ES256 | Algorithm::ES384 => Family::Ec,
        Algorithm::EdDSA => Family::Ed,
        Algorithm::RS256
        | Algorithm::RS384
        | Algorithm::RS512
        | Algorithm::PS256
        | Algorithm::PS384
        | Algorithm::PS512 => Family::Rsa,
    }
}

fn algorithm(held: &Object) -> Result<Algorithm, Fault> {
    let name = held.get("algorithm").and_then(Value::as_str).unwrap_or("HS256");
    name.parse().map_err(|_| wrong(&format!("the algorithm `{name}` is not known here")))
}

fn is_pem(held: &Object) -> bool {
    held.get("keyType").is_some_and(|kind| kind == "pemKey")
}

fn text<'a>(held: &'a Object, key: &str) -> Result<&'a str, Fault> {
    let value = held.get(key).and_then(Value::as_str).filter(|value| !value.is_empty());
    value.ok_or_else(|| wrong(&format!("the credential has no `{key}`")))
}

fn wrong(message: &str) -> Fault {
    Fault::new("E-FLOW-CREDENTIALS", message)
}

fn is_same(given: &[u8], secret: &[u8]) -> bool {
    bool::from(given.ct_eq(secret))
}

/// Whether an address is on the list that an author allows, such as `192.0.2.0/24, ::1`; an empty
/// list allows all.
pub(super) fn is_listed(list: &str, address: IpAddr) -> bool {
    let mut entries = list.split(',').map(str::trim).filter(|entry| !entry.is_empty()).peekable();
    let address = address.to_canonical();
    entries.peek().is_none() || entries.any(|entry| covers(entry, address).unwrap_or(false))
}

fn covers(entry: &str, address: IpAddr) -> Option<bool> {
    let (network, bits) = entry.split_once('/').unwrap_or((entry, ""));
    let network: IpAddr = network.trim().parse().ok()?;
    let (one, other, width) = match (network.to_canonical(), address) {
        (IpAddr::V4(one), IpAddr::V4(other)) => {
            (u128::from(one.to_bits()), u128::from(other.to_bits()), 32)
        }
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits(), other.to_bits(), 128),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return Some(false),
    };
    let bits: u32 = if bits.is_empty() { width } else { bits.parse().ok()? };
    let rest = width.checked_sub(bits)?;
    // A shift by the whole width leaves nothing to compare.
    Some(one.checked_shr(rest).unwrap_or(0) == other.checked_shr(rest).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> Object {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect()
    }

    fn object(value: Value) -> Object {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn basic_and_header() {
        let basic = Auth::Basic("a:b".to_owned());
        let said = basic.judge(&Object::new()).unwrap_err();
        assert!(
            said.status == 401 && said.headers.iter().any(|(name, _)| name == "www-authenticate")
        );
        let wrong = basic.judge(&headers(&[("authorization", "Basic YTpj")])).unwrap_err();
        assert_eq!(wrong.status, 403);
        assert!(basic.judge(&headers(&[("authorization", "basic YTpi")])).is_ok());

        let header = Auth::Header("x-key".to_owned(), "k".to_owned());
        assert!(header.judge(&headers(&[("x-key", "k")])).is_ok());
        assert_eq!(header.judge(&headers(&[("x-key", "kk")])).unwrap_err().status, 403);
        let closed = Auth::Closed(wrong_credential());
        assert_eq!(closed.judge(&Object::new()).unwrap_err().status, 500);
    }

    fn wrong_credential() -> Fault {
        wrong("the credential has no `user`")
    }

    #[test]
    fn tokens() {
        let held = object(json!({ "secret": "s", "algorithm": "HS512" }));
        let key =
            Auth::Jwt(Box::new(verifying_key(&held, Algorithm::HS512).unwrap()), Algorithm::HS512);
        let judge =
            |token: &str| key.judge(&headers(&[("authorization", &format!("Bearer {token}"))]));
        let token = sign(&json!({ "name": "Ada" }), &held).unwrap();
        assert_eq!(judge(&token).unwrap().unwrap()["name"], "Ada");
        assert_eq!(key.judge(&Object::new()).unwrap_err().status, 401);
        let expired = sign(&json!({ "exp": 1 }), &held).unwrap();
        assert_eq!(judge(&expired).unwrap_err().status, 403);
        // Another algorithm, another key, and none at all.
        let other = object(json!({ "secret": "s", "algorithm": "HS256" }));
        assert!(judge(&sign(&json!({}), &other).unwrap()).is_err());
        let other = object(json!({ "secret": "t", "algorithm": "HS512" }));
        assert!(judge(&sign(&json!({}), &other).unwrap()).is_err());
        assert!(judge("eyJhbGciOiJub25lIn0.e30.").is_err());
        let pem = object(json!({ "keyType": "pemKey", "publicKey": "no", "algorithm": "RS256" }));
        assert!(verifying_key(&pem, Algorithm::RS256).is_err());
    }

    #[test]
    fn lists_of_addresses() {
        let check = |list: &str, address: &str, expected| {
            assert_eq!(is_listed(list, address.parse().unwrap()), expected, "{list} {address}");
        };
        check("", "192.0.2.1", true);
        check("192.0.2.1, ::1", "192.0.2.1", true);
        check("192.0.2.1, ::1", "::1", true);
        check("192.0.2.1", "192.0.2.2", false);
        check("192.0.2.0/24", "192.0.2.200", true);
        check("192.0.2.0/24", "192.0.3.1", false);
        check("192.0.2.0/24", "::ffff:192.0.2.9", true);
        check("0.0.0.0/0", "203.0.113.1", true);
        check("0.0.0.0/33, nonsense, 1.2.3.4/x", "1.2.3.4", false);
        check("2001:db8::/32", "2001:db8:1::1", true);
    }
}
