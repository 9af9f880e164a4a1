//! Digest authentication (RFC 7616, RFC 8760): challenges and credentials read, computed, answered.
//!
//! *Invariant:* what is hashed are the raw bytes between the quotes, never what was understood of
//! them.

use std::fmt::Write;

use hmac::digest::Digest;
use md5::Md5;
use sha2::{Sha256, Sha512_256};

use super::name::Method;
use super::text::Split;

/// A hash function, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hash {
    /// What is meant when no algorithm is named.
    Md5,
    /// RFC 8760 2.
    Sha256,
    /// RFC 8760 2.
    Sha512256,
}

/// How a response is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Algorithm {
    /// The hash function.
    pub hash: Hash,
    /// Whether it is the `-sess` variant, which hashes the nonces into the secret once.
    pub is_session: bool,
}

/// What a response protects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qop {
    /// Method and URI.
    Auth,
    /// Method, URI and body.
    AuthInt,
}

/// WWW-Authenticate or Proxy-Authenticate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge<'a> {
    /// Whose users are meant.
    pub realm: &'a str,
    /// What the response must contain.
    pub nonce: &'a str,
    /// To be sent back as it came.
    pub opaque: Option<&'a str>,
    /// How to compute.
    pub algorithm: Algorithm,
    /// The protection to answer with: `auth` where it is offered, none where none is (RFC 2069).
    pub qop: Option<Qop>,
    /// Whether the last answer was right but its nonce too old: try again, ask nobody.
    pub is_stale: bool,
}

/// Authorization or Proxy-Authorization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials<'a> {
    /// Who it claims to be.
    pub username: &'a str,
    /// Where.
    pub realm: &'a str,
    /// The nonce of the challenge.
    pub nonce: &'a str,
    /// The URI as the client signed it.
    pub uri: &'a str,
    /// The proof, in hexadecimal.
    pub response: &'a str,
    /// How it was computed.
    pub algorithm: Algorithm,
    /// What else was signed, where the client knows RFC 2617.
    pub protection: Option<Protection<'a>>,
}

/// What a client adds to its proof (RFC 7616 3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protection<'a> {
    /// What is protected.
    pub qop: Qop,
    /// How often the client has used the nonce: eight hexadecimal digits.
    pub nc: &'a str,
    /// The client's own nonce.
    pub cnonce: &'a str,
}

/// The parts of a request that credentials sign.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its Request-URI, as on the wire.
    pub uri: &'a [u8],
    /// Its body.
    pub body: &'a [u8],
}

/// A name and its secret.
#[derive(Clone, Copy)]
pub struct Login<'a> {
    /// Who.
    pub username: &'a str,
    /// The secret; never printed, so this type has no `Debug`.
    pub password: &'a str,
}

/// The header value that answers the strongest of `challenges` (RFC 8760 2.4); `None` when none
/// can be answered. `nc` is 1 for the first use of a nonce; `cnonce` is drawn at random.
pub fn answer<'a>(
    challenges: impl IntoIterator<Item = &'a str>,
    login: Login<'_>,
    signed: Signed<'_>,
    cnonce: &str,
    nc: u32,
) -> Option<String> {
    let Login { username, password } = login;
    let uri = std::str::from_utf8(signed.uri).ok()?;
    if ![username, uri, cnonce].into_iter().all(is_quotable) {
        return None;
    }
    let parsed = challenges.into_iter().filter_map(Challenge::parse);
    // Of equals the first: `max_by_key` would take the last.
    let Challenge { realm, nonce, opaque, algorithm, qop, is_stale: _ } = parsed
        .reduce(|best, one| if one.algorithm.hash > best.algorithm.hash { one } else { best })?;
    let nc = format!("{nc:08x}");
    let protection = qop.map(|qop| Protection { qop, nc: &nc, cnonce });
    let credentials =
        Credentials { username, realm, nonce, uri, response: "", algorithm, protection };
    let response = credentials.expected(password, signed);
    let mut value = format!(
        "Digest username=\"{username}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
         response=\"{response}\", algorithm={}",
        algorithm.as_str()
    );
    if let Some(Protection { qop, nc, cnonce }) = protection {
        append(&mut value, format_args!(", qop={}, nc={nc}, cnonce=\"{cnonce}\"", qop.as_str()));
    }
    if let Some(opaque) = opaque {
        append(&mut value, format_args!(", opaque=\"{opaque}\""));
    }
    Some(value)
}

impl Algorithm {
    /// Reads the name in whichever case; `None` for one that nobody here can compute.
    pub fn parse(text: &str) -> Option<Self> {
        ALGORITHMS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, one)| *one)
    }

    /// The registered name.
    pub const fn as_str(self) -> &'static str {
        match (self.hash, self.is_session) {
            (Hash::Md5, false) => "MD5",
            (Hash::Md5, true) => "MD5-sess",
            (Hash::Sha256, false) => "SHA-256",
            (Hash::Sha256, true) => "SHA-256-sess",
            (Hash::Sha512256, false) => "SHA-512-256",
            (Hash::Sha512256, true) => "SHA-512-256-sess",
        }
    }
}

const fn algorithm(hash: Hash, is_session: bool) -> (&'static str, Algorithm) {
    let algorithm = Algorithm { hash, is_session };
    (algorithm.as_str(), algorithm)
}

const ALGORITHMS: [(&str, Algorithm); 6] = [
    algorithm(Hash::Md5, false),
    algorithm(Hash::Md5, true),
    algorithm(Hash::Sha256, false),
    algorithm(Hash::Sha256, true),
    algorithm(Hash::Sha512256, false),
    algorithm(Hash::Sha512256, true),
];

impl Qop {
    /// The word in headers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::AuthInt => "auth-int",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Auth, Self::AuthInt].into_iter().find(|qop| qop.as_str().eq_ignore_ascii_case(text))
    }
}

impl<'a> Challenge<'a> {
    /// Reads one header value; `None` when it is no Digest, or asks for what cannot be computed.
    pub fn parse(text: &'a str) -> Option<Self> {
        let params = DigestParams::parse(text)?;
        // RFC 7616 3.3: unknown protections are ignored, but none of many is not the same as none.
        let qop = match params.value("qop") {
            None => None,
            Some(offered) => {
                Some(offered.split(',').filter_map(|qop| Qop::parse(qop.trim())).fold(
                    None,
                    |best, one| match (best, one) {
                        (Some(Qop::Auth), _) | (_, Qop::Auth) => Some(Qop::Auth),
                        (None | Some(Qop::AuthInt), Qop::AuthInt) => Some(Qop::AuthInt),
                    },
                )?)
            }
        };
        let algorithm = params.algorithm()?;
        // RFC 7616 3.4.2: a session secret holds a cnonce, and that comes with a qop only.
        (qop.is_some() || !algorithm.is_session).then_some(())?;
        Some(Self {
            realm: params.value("realm")?,
            nonce: params.value("nonce")?,
            opaque: params.value("opaque"),
            algorithm,
            qop,
            is_stale: params.value("stale").is_some_and(|is| is.eq_ignore_ascii_case("true")),
        })
    }
}

impl<'a> Credentials<'a> {
    /// Reads one header value; `None` when it is no Digest or lacks what a proof needs.
    pub fn parse(text: &'a str) -> Option<Self> {
        let params = DigestParams::parse(text)?;
        let protection = match params.value("qop") {
            None => None,
            Some(qop) => Some(Protection {
                qop: Qop::parse(qop)?,
                nc: params.value("nc")?,
                cnonce: params.value("cnonce")?,
            }),
        };
        let algorithm = params.algorithm()?;
        (protection.is_some() || !algorithm.is_session).then_some(())?;
        Some(Self {
            username: params.value("username")?,
            realm: params.value("realm")?,
            nonce: params.value("nonce")?,
            uri: params.value("uri")?,
            response: params.value("response")?,
            algorithm,
            protection,
        })
    }

    /// How often the nonce was used, as the client counts; 1 from clients that do not. `None` when
    /// it is not eight hexadecimal digits (RFC 7616 3.4).
    pub fn count(&self) -> Option<u32> {
        let Some(Protection { nc, .. }) = self.protection else { return Some(1) };
        let is_hex = nc.len() == 8 && nc.bytes().all(|digit| digit.is_ascii_hexdigit());
        is_hex.then(|| u32::from_str_radix(nc, 16).ok()).flatten()
    }

    /// The response that proves this password (RFC 7616 3.4.1), in lower-case hexadecimal.
    pub(super) fn expected(&self, password: &str, signed: Signed<'_>) -> String {
        let hash = self.algorithm.hash;
        let mut secret = hash.hex(&[self.username, self.realm, password]);
        if let (true, Some(Protection { cnonce, .. })) =
            (self.algorithm.is_session, self.protection)
        {
            secret = hash.hex(&[&secret, self.nonce, cnonce]);
        }
        let method = signed.method.as_str();
        let Some(Protection { qop, nc, cnonce }) = self.protection else {
            let asked = hash.hex(&[method, self.uri]);
            return hash.hex(&[&secret, self.nonce, &asked]);
        };
        let asked = match qop {
            Qop::Auth => hash.hex(&[method, self.uri]),
            Qop::AuthInt => hash.hex(&[method, self.uri, &hash.hex_of(&[signed.body])]),
        };
        hash.hex(&[&secret, self.nonce, nc, cnonce, qop.as_str(), &asked])
    }
}

impl Hash {
    /// The hash of the parts with colons between them.
    fn hex(self, parts: &[&str]) -> String {
        let mut joined = Vec::with_capacity(2 * parts.len());
        for (number, part) in parts.iter().enumerate() {
            joined.extend((number > 0).then_some(&b":"[..]));
            joined.push(part.as_bytes());
        }
        self.hex_of(&joined)
    }

    fn hex_of(self, parts: &[&[u8]]) -> String {
        match self {
            Self::Md5 => digest_of::<Md5>(parts),
            Self::Sha256 => digest_of::<Sha256>(parts),
            Self::Sha512256 => digest_of::<Sha512_256>(parts),
        }
    }
}

fn digest_of<D: Digest>(parts: &[&[u8]]) -> String {
    let mut hasher = D::new();
    parts.iter().for_each(|part| hasher.update(part));
    to_hex(&hasher.finalize())
}

/// Lower-case hexadecimal.
pub(super) fn to_hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    bytes.iter().for_each(|byte| append(&mut text, format_args!("{byte:02x}")));
    text
}

fn append(text: &mut String, more: std::fmt::Arguments<'_>) {
    text.write_fmt(more).expect("a string takes all text");
}

/// Whether text can stand between quotes as it is, so that both sides hash the same bytes.
pub(super) fn is_quotable(text: &str) -> bool {
    !text.bytes().any(|byte| byte < b' ' || byte == 0x7f || b"\"\\".contains(&byte))
}

/// `Digest a=b, c="d"`, taken apart on demand.
#[derive(Clone, Copy)]
struct DigestParams<'a>(&'a str);

impl<'a> DigestParams<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (scheme, params) = text.trim_start().split_once([' ', '\t'])?;
        scheme.eq_ignore_ascii_case("Digest").then_some(Self(params))
    }

    /// What stands between the quotes, or the bare token; backslashes are part of what is hashed.
    fn value(self, name: &str) -> Option<&'a str> {
        let mut params = Split::list(self.0).filter_map(|param| param.split_once('='));
        let (_, value) = params.find(|(one, _)| one.trim().eq_ignore_ascii_case(name))?;
        let value = value.trim();
        match value.strip_prefix('"') {
            Some(quoted) => quoted.strip_suffix('"'),
            None => Some(value),
        }
    }

    fn algorithm(self) -> Option<Algorithm> {
        Algorithm::parse(self.value("algorithm").unwrap_or("MD5"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOGIN: Login<'_> = Login { username: "Mufasa", password: "Circle of Life" };

    /// The response to this challenge in the examples of RFC 7616 3.9.1.
    fn check(challenge: &str, expected: &str) {
        let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        let get = Method::Other("GET".into());
        let signed = Signed { method: &get, uri: b"/dir/index.html", body: b"" };
        let challenge = format!(
            "Digest realm=\"http-auth@example.org\", {challenge}, opaque=\"FQhe/q\", \
             nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\""
        );
        let answer = answer([&challenge[..]], LOGIN, signed, cnonce, 1).unwrap();
        assert_eq!(Credentials::parse(&answer).unwrap().response, expected, "{challenge}");
    }

    #[test]
    fn the_examples_of_the_standard() {
        let sha256 = "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1";
        check("qop=\"auth, auth-int\", algorithm=MD5", "8ca523f5e9506fed4657c9700eebdbec");
        check("qop=\"auth, auth-int\"", "8ca523f5e9506fed4657c9700eebdbec");
        check("qop=auth, algorithm=\"sha-256\"", sha256);
    }

    /// RFC 7616 §3.9.2 as its erratum 4897 corrects it (the printed values come from a draft of the
    /// hash), without the hiding of the user name.
    #[test]
    fn the_example_of_the_standard_with_sha_512_256() {
        let get = Method::Other("GET".into());
        let signed = Signed { method: &get, uri: b"/doe.json", body: b"" };
        let challenge = "Digest realm=\"api@example.org\", qop=\"auth\", algorithm=SHA-512-256, \
                         nonce=\"5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK\", \
                         opaque=\"HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS\", charset=UTF-8";
        let login = Login { username: "Jäsøn Doe", password: "Secret, or not?" };
        let cnonce = "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v";
        let answer = answer([challenge], login, signed, cnonce, 1).unwrap();
        let response = "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5";
        assert_eq!(Credentials::parse(&answer).unwrap().response, response);
    }

    /// The other variants over the inputs of RFC 7616 §3.9.1 and the body `body`, as an independent
    /// implementation (Python's hashlib) computes them.
    #[test]
    fn sessions_and_bodies_are_hashed_as_others_do() {
        let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        let get = Method::Other("GET".into());
        let signed = Signed { method: &get, uri: b"/dir/index.html", body: b"body" };
        for (algorithm, qop, expected) in [
            ("MD5", "auth-int", "9aaa3cbaec2406853a7cb784c6813d11"),
            ("MD5-sess", "auth", "e783283f46242139c486a698fec7211d"),
            ("MD5-sess", "auth-int", "a0dd1fdc2cda57809f734f0b1f089e7b"),
            (
                "SHA-256",
                "auth-int",
                "2fa9fd5a55eaefc542900085331c15a0d8dcebeb505811bdd82a5b1f49ae156e",
            ),
            (
                "SHA-256-sess",
                "auth",
                "2fd51b3a77ad75bad6afad6003e818d767133c46d9e2749e7f5232ae1ea3efd7",
            ),
            (
                "SHA-256-sess",
                "auth-int",
                "351cf1de6df8006b29344896ed8e41148d9922c94d1aedab40833924f92d49c2",
            ),
            (
                "SHA-512-256",
                "auth",
                "430d05014cecc49cab6fbe03176d41a1da86cbfe24a16580e22aaad928d960d0",
            ),
            (
                "SHA-512-256-sess",
                "auth-int",
                "d23bb350af07cb6c232f93958b43336b4cb362d2a8bd66c9c2022f022c3999b2",
            ),
        ] {
            let challenge = format!(
                "Digest realm=\"http-auth@example.org\", qop=\"{qop}\", algorithm={algorithm}, \
                 nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\""
            );
            let answer = answer([&challenge[..]], LOGIN, signed, cnonce, 1).unwrap();
            let response = Credentials::parse(&answer).unwrap().response.to_owned();
            assert_eq!(response, expected, "{algorithm} {qop}");
        }
    }

    #[test]
    fn the_strongest_challenge_is_answered() {
        let signed = Signed { method: &Method::Register, uri: b"sip:h", body: b"" };
        let login = Login { username: "a", password: "b" };
        let md5 = "Digest realm=\"r\",nonce=\"n\"";
        let sha = "DIGEST REALM=\"r\" , Nonce=\"n,\\\"m\",algorithm=sha-256,qop=\"auth-int\"";
        let unknown = "Digest realm=\"r\",nonce=\"n\",algorithm=SHA3";
        let answered = answer([md5, sha, unknown, "Basic x"], login, signed, "c", 10).unwrap();
        assert!(answered.contains("algorithm=SHA-256, qop=auth-int, nc=0000000a"), "{answered}");
        assert!(answered.contains("nonce=\"n,\\\"m\""), "{answered}");
        assert_eq!(answer([unknown, "Basic x"], login, signed, "c", 1), None);
        let quoted = Login { username: "a\", uri=\"", password: "b" };
        assert_eq!(answer([md5], quoted, signed, "c", 1), None);
    }

    #[test]
    fn what_cannot_be_computed_is_no_challenge() {
        let is_read = |text| Challenge::parse(text).is_some();
        assert!(is_read("Digest realm=\"r\",nonce=\"n\""));
        assert!(!is_read("Digest realm=\"r\",nonce=\"n\",qop=\"new\""));
        assert!(!is_read("Digest realm=\"r\",nonce=\"n\",algorithm=MD5-sess"));
        assert!(is_read("Digest realm=\"r\",nonce=\"n\",algorithm=MD5-sess,qop=auth"));
    }

    proptest! {
        #[test]
        fn arbitrary_text_does_no_harm(text in "(Digest )?[ -~\"=,\\\\]{0,100}") {
            let _ = (Challenge::parse(&text), Credentials::parse(&text));
        }
    }
}
