//! Who a request is from: its proof against the passwords of accounts, or what a flow says of it.

use std::net::IpAddr;

use super::{AccountRef, GUESTS_MAX, Login, Proof, Site};
use crate::base::Tick;
use crate::sip::digest::{self, Signed};
use crate::sip::{self, Account, Field, Flow, Message, Name, Start, Verdict};

impl Site {
    /// Who sent this request, by its Authorization (RFC 3261 §22.3). An unknown user costs as much
    /// work as a wrong password, and hears the same.
    pub fn prove(&mut self, message: &Message<'_>, flow: Flow, now: Tick) -> Proof {
        self.prove_by(None, message, flow, now)
    }

    /// The same by the accounts of one trigger only.
    pub fn prove_by(
        &mut self,
        trigger: Option<usize>,
        message: &Message<'_>,
        flow: Flow,
        now: Tick,
    ) -> Proof {
        let peer = flow.remote.ip();
        if self.by_username.is_empty() {
            return Proof::NoAccounts;
        }
        let Some(credentials) = self.shown_credentials(message) else {
            let values = self.challenger.challenge(&self.realm, peer, now);
            return Proof::Challenge { values, is_failed: false };
        };
        let Start::Request { method, uri } = &message.start else {
            unreachable!("only requests are to be proven");
        };
        let signed = Signed { method, uri, body: message.body };
        let known = self.by_username.get(credentials.username).map_or(&[][..], Vec::as_slice);
        let is_meant = |account: &&AccountRef| {
            trigger.is_none_or(|trigger| self.logins[account].trigger == trigger)
        };
        let passwords = known.iter().filter(is_meant).map(|account| {
            (Some(*account), Some(self.logins[account].credentials.password.as_str()))
        });
        // Whoever is asked for, as many proofs are looked at: time tells nobody which users exist.
        let rounds = passwords.chain(std::iter::repeat((None, None))).take(self.namesakes_max);
        for (account, password) in rounds {
            let expected = Account { realm: &self.realm, password };
            match (self.challenger.verify(&credentials, expected, signed, peer, now), account) {
                (Verdict::Ok, Some(account)) => return Proof::Proven(account),
                (Verdict::Stale, _) => {
                    let values = self.challenger.challenge_stale(&self.realm, peer, now);
                    return Proof::Challenge { values, is_failed: false };
                }
                (Verdict::Ok | Verdict::Wrong, _) => {}
            }
        }
        let values = self.challenger.challenge(&self.realm, peer, now);
        Proof::Challenge { values, is_failed: true }
    }

    /// The Authorization for our realm that a request shows.
    pub fn shown_credentials<'a>(
        &self,
        message: &'a Message<'_>,
    ) -> Option<digest::Credentials<'a>> {
        let parsed = message.fields_of(Name::Authorization).filter_map(Field::text);
        let credentials = parsed.filter_map(digest::Credentials::parse);
        credentials.into_iter().find(|one| one.realm == self.realm)
    }

    /// Whether credentials answer a challenge of ours that still stands.
    pub fn is_current(
        &self,
        credentials: &digest::Credentials<'_>,
        peer: IpAddr,
        now: Tick,
    ) -> bool {
        self.challenger.is_current(credentials, peer, now)
    }

    /// Values of WWW-Authenticate.
    pub fn challenge(&self, peer: IpAddr, now: Tick) -> Vec<String> {
        self.challenger.challenge(&self.realm, peer, now)
    }

    /// The same for an old nonce.
    pub fn challenge_stale(&self, peer: IpAddr, now: Tick) -> Vec<String> {
        self.challenger.challenge_stale(&self.realm, peer, now)
    }

    /// Whether a request may be let in of which a flow says so: with the right password when it named
    /// one, and with a proof that was not used before when one was shown. Otherwise the challenge,
    /// and whether a wrong password was shown.
    pub fn admit(
        &mut self,
        message: &Message<'_>,
        password: Option<&str>,
        peer: IpAddr,
        now: Tick,
    ) -> Result<(), (Vec<String>, bool)> {
        let Start::Request { method, uri } = &message.start else {
            unreachable!("only requests are to be proven");
        };
        let signed = Signed { method, uri, body: message.body };
        let shown = self.shown_credentials(message);
        let verdict = match (&shown, password) {
            (None, None) => Verdict::Ok,
            (None, Some(_)) => return Err((self.challenge(peer, now), false)),
            (Some(shown), None) => match self.challenger.spend(shown, peer, now) {
                true => Verdict::Ok,
                false => Verdict::Stale,
            },
            (Some(shown), Some(_)) => {
                let expected = Account { realm: &self.realm, password };
                self.challenger.verify(shown, expected, signed, peer, now)
            }
        };
        match verdict {
            Verdict::Ok => Ok(()),
            Verdict::Stale => Err((self.challenge_stale(peer, now), false)),
            Verdict::Wrong => Err((self.challenge(peer, now), true)),
        }
    }

    /// The account of somebody whom a flow has let in; `None` when there are too many.
    pub fn guest(
        &mut self,
        trigger: usize,
        workflow: usize,
        username: String,
        extension: Option<String>,
    ) -> Option<AccountRef> {
        let key = (trigger, username, extension);
        if let Some(known) = self.guests.get(&key) {
            return Some(*known);
        }
        if self.guests.len() >= GUESTS_MAX {
            return None;
        }
        let account = self.new_account();
        let credentials = sip::Credentials::new(key.1.clone(), "");
        let extension = key.2.clone();
        let login = Login { trigger, workflow, credentials, extension, is_guest: true };
        self.logins.insert(account, login);
        self.guests.insert(key, account);
        Some(account)
    }
}
