//! The server side of digest: nonces that need no table, and verdicts that leak nothing by time.
//!
//! A nonce is its time and an HMAC over time, peer and realm, so that handing one out costs no
//! memory. Only proven logins are remembered, and so only users can fill that table; when it is
//! full the oldest entry goes, and with it the validity of all nonces as old.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::digest::{Algorithm, Credentials, Hash, Signed, is_quotable, to_hex};
use super::uri::Uri;
use crate::base::Tick;

/// How long a nonce may be used.
pub const NONCE_LIFE: Duration = Duration::from_secs(300);

/// Nonces whose use counts are remembered.
pub const NONCES_MAX: usize = 10_000;

/// 256 bits that only this process knows; from the system's own randomness.
#[derive(Clone)]
pub struct Secret(pub [u8; 32]);

/// Says nothing, so that no log ever does.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What challenges offer, and what seals their nonces.
#[derive(Clone, Debug)]
pub struct DigestConfig {
    /// Seals nonces.
    pub secret: Secret,
    /// Hash functions, in this order (RFC 8760 2.4 wants the strongest first; some browsers read
    /// the first challenge only and know MD5 only).
    pub hashes: Vec<Hash>,
    /// Whether `auth-int` is offered beside `auth`. It is always understood, but there are clients
    /// that stumble over two protections.
    pub offers_integrity: bool,
}

/// Challenges, and judges what comes back.
pub struct Challenger {
    config: DigestConfig,
    /// The counts with which each nonce was used.
    counts: BTreeMap<Nonce, Window>,
    /// Nonces up to this time are stale: their counts were forgotten.
    forgotten: Option<Tick>,
}

/// Without the secret.
impl fmt::Debug for Challenger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Challenger").field("config", &self.config).finish_non_exhaustive()
    }
}

/// What credentials are worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The user knows the password.
    Ok,
    /// The user knows the password, but the nonce is old, foreign or used: challenge again with
    /// [`Challenger::challenge_stale`].
    Stale,
    /// Anything else; which of it, nobody learns.
    Wrong,
}

/// Who is asked for: what the server expects, not what the client says.
#[derive(Clone, Copy)]
pub struct Account<'a> {
    /// The realm of the challenge.
    pub realm: &'a str,
    /// The password of the user that the credentials name; `None` for an unknown user, which takes
    /// as long and is wrong.
    pub password: Option<&'a str>,
}

impl Challenger {
    /// No nonce was used yet.
    pub const fn new(config: DigestConfig) -> Self {
        Self { config, counts: BTreeMap::new(), forgotten: None }
    }

    /// Values of WWW-Authenticate or Proxy-Authenticate, a header each; none for a realm that
    /// cannot stand between quotes.
    pub fn challenge(&self, realm: &str, peer: IpAddr, now: Tick) -> Vec<String> {
        self.values(realm, "", peer, now)
    }

    /// The same for a user who knew the password but used an old nonce.
    pub fn challenge_stale(&self, realm: &str, peer: IpAddr, now: Tick) -> Vec<String> {
        self.values(realm, ", stale=true", peer, now)
    }

    /// Whether these credentials prove the account's password for this request.
    pub fn verify(
        &mut self,
        credentials: &Credentials<'_>,
        account: Account<'_>,
        signed: Signed<'_>,
        peer: IpAddr,
        now: Tick,
    ) -> Verdict {
        let expected = credentials.expected(account.password.unwrap_or_default(), signed);
        let response = credentials.response.to_ascii_lowercase();
        let is_proven = bool::from(expected.as_bytes().ct_eq(response.as_bytes()));
        let is_meant = credentials.realm == account.realm
            && self.offers(credentials.algorithm)
            && is_same_uri(credentials.uri, signed.uri);
        let Some(count) = credentials.count() else { return Verdict::Wrong };
        if !(is_proven & is_meant & account.password.is_some()) {
            return Verdict::Wrong;
        }
        match self.own_nonce(credentials, peer, now) {
            Some(nonce) if self.use_nonce(nonce, count, now) => Verdict::Ok,
            Some(_) | None => Verdict::Stale,
        }
    }

    /// Whether the nonce of these credentials is ours, was given to this peer and may still be used.
    pub fn is_current(&self, credentials: &Credentials<'_>, peer: IpAddr, now: Tick) -> bool {
        self.own_nonce(credentials, peer, now).is_some()
    }

    /// Uses the nonce up for this count, as [`Self::verify`] does; false when it is not current or
    /// was used with it before.
    pub fn spend(&mut self, credentials: &Credentials<'_>, peer: IpAddr, now: Tick) -> bool {
        let Some(count) = credentials.count() else { return false };
        let nonce = self.own_nonce(credentials, peer, now);
        nonce.is_some_and(|nonce| self.use_nonce(nonce, count, now))
    }

    fn values(&self, realm: &str, more: &str, peer: IpAddr, now: Tick) -> Vec<String> {
        if !is_quotable(realm) {
            return Vec::new();
        }
        let nonce = Nonce { made: now, seal: self.seal(realm, peer, now) }.to_text();
        let value = |hash: &Hash| {
            let algorithm = Algorithm { hash: *hash, is_session: false }.as_str();
            format!(
                "Digest realm=\"{realm}\", nonce=\"{nonce}\", algorithm={algorithm}, \
                 qop=\"{}\"{more}",
                if self.config.offers_integrity { "auth,auth-int" } else { "auth" }
            )
        };
        self.config.hashes.iter().map(value).collect()
    }

    fn offers(&self, algorithm: Algorithm) -> bool {
        self.config.hashes.contains(&algorithm.hash)
    }

    /// The nonce, when it is ours, was given to this peer and may still be used.
    fn own_nonce(&self, credentials: &Credentials<'_>, peer: IpAddr, now: Tick) -> Option<Nonce> {
        let nonce = Nonce::parse(credentials.nonce)?;
        let seal = self.seal(credentials.realm, peer, nonce.made);
        let is_own = bool::from(seal.ct_eq(&nonce.seal));
        let is_young = nonce.made <= now && now - nonce.made <= NONCE_LIFE;
        let is_known = self.forgotten.is_none_or(|forgotten| nonce.made > forgotten);
        (is_own && is_young && is_known).then_some(nonce)
    }

    /// Counts a use of a nonce; false when it was used with this count before, or may have been.
    fn use_nonce(&mut self, nonce: Nonce, count: u32, now: Tick) -> bool {
        while let Some(oldest) = self.counts.first_entry()
            && now.since(oldest.key().made) > NONCE_LIFE
        {
            oldest.remove();
        }
        if !self.counts.entry(nonce).or_default().take(count) {
            return false;
        }
        if self.counts.len() > NONCES_MAX
            && let Some((oldest, _)) = self.counts.pop_first()
        {
            self.forgotten = Some(oldest.made);
        }
        true
    }

    fn seal(&self, realm: &str, peer: IpAddr, made: Tick) -> [u8; 16] {
        let mut mac: Hmac<Sha256> =
            Hmac::new_from_slice(&self.config.secret.0).expect("an HMAC takes keys of any length");
        mac.update(&made.as_micros().to_be_bytes());
        match peer.to_canonical() {
            IpAddr::V4(address) => mac.update(&address.octets()),
            IpAddr::V6(address) => mac.update(&address.octets()),
        }
        mac.update(realm.as_bytes());
        let full = mac.finalize().into_bytes();
        std::array::from_fn(|at| full[at])
    }
}

/// Which counts of a nonce were used: the highest, and those of the 64 below it. Requests that
/// overtake each other on the way are served all the same (the window of RFC 4303 §3.4.3).
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    highest: u32,
    /// Bit `n`: the count `highest - n` was used.
    used: u64,
}

impl Window {
    /// Marks a count as used; false when it was, or is too far below to be known.
    fn take(&mut self, count: u32) -> bool {
        if count > self.highest {
            self.used = self.used.checked_shl(count - self.highest).unwrap_or_default() | 1;
            self.highest = count;
            return true;
        }
        let bit = 1_u64.checked_shl(self.highest - count).unwrap_or_default();
        let is_new = count > 0 && bit != 0 && self.used & bit == 0;
        self.used |= bit;
        is_new
    }
}

/// Time and seal; sorted by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Nonce {
    made: Tick,
    seal: [u8; 16],
}

impl Nonce {
    fn to_text(self) -> String {
        format!("{:016x}{}", self.made.as_micros(), to_hex(&self.seal))
    }

    fn parse(text: &str) -> Option<Self> {
        if text.len() != 48 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let made = Tick::from_micros(u64::from_str_radix(&text[..16], 16).ok()?);
        let seal = u128::from_str_radix(&text[16..], 16).ok()?.to_be_bytes();
        Some(Self { made, seal })
    }
}

/// RFC 3261 22.4: the signed URI names what is asked for, though a proxy may have spelled it anew.
fn is_same_uri(signed: &str, asked: &[u8]) -> bool {
    let asked_uri = std::str::from_utf8(asked).ok().and_then(Uri::parse);
    signed.as_bytes() == asked
        || Uri::parse(signed)
            .zip(asked_uri)
            .is_some_and(|(signed, asked)| signed.is_equivalent(&asked))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::digest::{Login, answer};
    use crate::sip::name::Method;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));
    const LOGIN: Login<'_> = Login { username: "100", password: "secret" };
    const SIGNED: Signed<'_> = Signed { method: &Method::Register, uri: b"sip:h", body: b"" };
    const ACCOUNT: Account<'_> = Account { realm: "h", password: Some("secret") };

    fn challenger() -> Challenger {
        Challenger::new(DigestConfig {
            secret: Secret([7; 32]),
            hashes: vec![Hash::Sha512256, Hash::Sha256, Hash::Md5],
            offers_integrity: true,
        })
    }

    fn answered(challenges: &[String], nc: u32) -> String {
        answer(challenges.iter().map(String::as_str), LOGIN, SIGNED, "cn", nc).unwrap()
    }

    /// Verdicts over one answer to a challenge of tick zero, with one thing changed.
    fn check(
        change: impl FnOnce(&mut Account<'_>, &mut Signed<'_>, &mut IpAddr, &mut Tick),
        expected: Verdict,
    ) {
        let mut challenger = challenger();
        let text = answered(&challenger.challenge("h", PEER, Tick::ZERO), 1);
        let (mut account, mut signed, mut peer, mut now) = (ACCOUNT, SIGNED, PEER, Tick::ZERO);
        change(&mut account, &mut signed, &mut peer, &mut now);
        let credentials = Credentials::parse(&text).unwrap();
        assert_eq!(challenger.verify(&credentials, account, signed, peer, now), expected);
    }

    #[test]
    fn a_password_counts_for_its_request_peer_and_time_only() {
        check(|_, _, _, now| *now += NONCE_LIFE, Verdict::Ok);
        check(|_, _, _, now| *now += NONCE_LIFE + Duration::from_micros(1), Verdict::Stale);
        check(|_, _, peer, _| *peer = IpAddr::V4([192, 0, 2, 8].into()), Verdict::Stale);
        check(|_, signed, _, _| signed.method = &Method::Invite, Verdict::Wrong);
        check(|_, signed, _, _| signed.uri = b"sip:other", Verdict::Wrong);
        check(|_, signed, _, _| signed.uri = b"sip:H", Verdict::Ok);
        check(|account, _, _, _| account.password = Some("guess"), Verdict::Wrong);
        check(|account, _, _, _| account.password = None, Verdict::Wrong);
        check(|account, _, _, _| account.realm = "other", Verdict::Wrong);
    }

    #[test]
    fn a_count_is_used_once() {
        let mut challenger = challenger();
        let challenges = challenger.challenge("h", PEER, Tick::ZERO);
        let mut verdict = |nc| {
            let text = answered(&challenges, nc);
            let credentials = Credentials::parse(&text).unwrap();
            challenger.verify(&credentials, ACCOUNT, SIGNED, PEER, Tick::ZERO)
        };
        assert_eq!(verdict(1), Verdict::Ok);
        assert_eq!(verdict(1), Verdict::Stale);
        assert_eq!(verdict(0x10), Verdict::Ok);
        // One that was overtaken is served, once.
        assert_eq!(verdict(9), Verdict::Ok);
        assert_eq!(verdict(9), Verdict::Stale);
        assert_eq!(verdict(200), Verdict::Ok);
        assert_eq!(verdict(200 - 64), Verdict::Stale);
        assert_eq!(verdict(200 - 63), Verdict::Ok);
        assert_eq!(verdict(0), Verdict::Stale);
    }

    #[test]
    fn every_algorithm_and_protection_proves_the_password_and_the_body() {
        let body = b"v=0";
        let signed = Signed { body, ..SIGNED };
        for hash in [Hash::Md5, Hash::Sha256, Hash::Sha512256] {
            for is_session in [false, true] {
                for qop in ["auth", "auth-int"] {
                    let mut challenger = challenger();
                    let offered = challenger.challenge("h", PEER, Tick::ZERO);
                    let name = |is_session| Algorithm { hash, is_session }.as_str();
                    let plain = format!("algorithm={}, qop=\"auth,auth-int\"", name(false));
                    let wished = format!("algorithm={}, qop=\"{qop}\"", name(is_session));
                    let offered = offered.iter().find(|one| one.contains(&plain)).unwrap();
                    let offered = offered.replace(&plain, &wished);
                    let text = answer([&offered[..]], LOGIN, signed, "cn", 1).unwrap();
                    let credentials = Credentials::parse(&text).unwrap();
                    let mut verdict =
                        |signed| challenger.verify(&credentials, ACCOUNT, signed, PEER, Tick::ZERO);
                    let bent = verdict(Signed { body: b"v=1", ..SIGNED });
                    let expected = if qop == "auth" { Verdict::Ok } else { Verdict::Wrong };
                    assert_eq!(bent, expected, "{wished}");
                    let expected = if qop == "auth" { Verdict::Stale } else { Verdict::Ok };
                    assert_eq!(verdict(signed), expected, "{wished}");
                }
            }
        }
    }

    #[test]
    fn the_table_of_counts_has_an_end() {
        let mut challenger = challenger();
        for number in 0..=NONCES_MAX as u64 {
            let nonce = Nonce { made: Tick::from_micros(number), seal: [0; 16] };
            assert!(challenger.use_nonce(nonce, 1, Tick::ZERO));
        }
        assert_eq!(challenger.counts.len(), NONCES_MAX);
        assert_eq!(challenger.forgotten, Some(Tick::ZERO));
        // What is too old to be used needs no place.
        let late = Tick::from_micros(NONCES_MAX as u64 + 1) + NONCE_LIFE;
        assert!(challenger.use_nonce(Nonce { made: late, seal: [0; 16] }, 1, late));
        assert_eq!(challenger.counts.len(), 1);
    }

    #[test]
    fn no_secret_is_proven_by_an_empty_password_of_an_unknown_user() {
        let mut challenger = challenger();
        let challenges = challenger.challenge("h", PEER, Tick::ZERO);
        let nobody = Login { username: "nobody", password: "" };
        let text = answer(challenges.iter().map(String::as_str), nobody, SIGNED, "c", 1).unwrap();
        let credentials = Credentials::parse(&text).unwrap();
        let account = Account { realm: "h", password: None };
        let verdict = challenger.verify(&credentials, account, SIGNED, PEER, Tick::ZERO);
        assert_eq!(verdict, Verdict::Wrong);
    }
}
