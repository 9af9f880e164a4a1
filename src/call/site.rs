//! The site: who may call and register, who is registered, and where each of them can be reached.
//!
//! *Invariant:* only who has proven a password of an extension or a dynamic trunk binds a contact,
//! and only to that account.

mod proof;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::base::Tick;
use crate::call::trigger::{AudioRules, ExtensionSettings, Kind, Trigger, TrunkSettings};
use crate::sip::registrar::{Binding, Change, NotBound, Presence, Registrar, Registration, Wish};
use crate::sip::{self, Challenger, DigestConfig, Flow, Message, Uri};

/// Contacts of all accounts together.
pub const BINDINGS_MAX: usize = 10_000;
/// Users that flows have let in, ever; one more is told 503.
pub const GUESTS_MAX: usize = 100_000;
/// Characters of a number that may be dialled.
pub const NUMBER_MAX: usize = 64;
/// What a contact is worth that does not say it.
const PREFERENCE_MAX: u16 = 1000;
/// What the server calls itself in challenges when nobody says otherwise.
pub const REALM_DEFAULT: &str = "ringback";

/// Where an outgoing call can be sent, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The Request-URI.
    pub request_uri: String,
    /// The way there.
    pub flow: Flow,
    /// Proxies on it, nearest first, as values of Route.
    pub routes: Arc<[String]>,
    /// What a challenge of the trunk is answered with.
    pub credentials: Option<sip::Credentials>,
    /// Host of the From header.
    pub from_host: String,
    /// The extension that is called, if it is one.
    pub extension: Option<String>,
    /// Public name of the trunk that is used, if it is one.
    pub trunk: Option<String>,
    /// Identifiers of an attempt that was written down before; random ones otherwise.
    pub derived: Option<sip::Derived>,
    /// What the audio of the call may be, where the flow that dials says it.
    pub audio: Option<AudioRules>,
}

/// Why a number cannot be called by a trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoTarget {
    /// The workflow has no trunk of this name.
    UnknownTrunk,
    /// Nobody knows where the trunk is: it has not registered, or no server is configured for it.
    NotRegistered,
    /// The destination is no number or user name.
    BadNumber,
}

impl fmt::Display for NoTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownTrunk => "no trunk of this workflow has that ref",
            Self::NotRegistered => "the trunk is not registered, and no server is configured",
            Self::BadNumber => "a destination is digits, letters, and + * # - . _, at most 64",
        })
    }
}

impl std::error::Error for NoTarget {}

/// Whether this may be dialled: digits, letters and a few marks, so that no destination becomes
/// another host, parameter or header.
pub fn is_number(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+*#-._".contains(&byte);
    !text.is_empty() && text.len() <= NUMBER_MAX && text.bytes().all(is_allowed)
}

/// Names one account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AccountRef(u64);

/// A user with a password.
#[derive(Clone, Debug)]
pub struct Login {
    /// Its trigger's place among the triggers of the switch.
    pub trigger: usize,
    /// The workflow of the trigger.
    pub workflow: usize,
    /// User and password.
    pub credentials: sip::Credentials,
    /// The extension that it is; `None`: it is the trunk itself.
    pub extension: Option<String>,
    /// A flow has let it in: nobody proves its password here.
    pub is_guest: bool,
}

/// Whether the sender of a request is who it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// It knows the password of this account.
    Proven(AccountRef),
    /// It is to prove itself: values of WWW-Authenticate.
    Challenge {
        /// A header each.
        values: Vec<String>,
        /// Whether it tried and failed, which an operator wants to know.
        is_failed: bool,
    },
    /// Nobody can prove anything here: no account is configured.
    NoAccounts,
}

/// What is configured once and for all.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// What phones are told as domain of their passwords; the default is [`REALM_DEFAULT`].
    pub realm: Option<String>,
    /// Our own host, and perhaps port, in From headers.
    pub host: String,
    /// Our own address, for flows to peers that have not spoken first.
    pub local: Option<SocketAddr>,
    /// Trunks by public name.
    pub trunks: BTreeMap<String, TrunkSettings>,
    /// Extensions by number.
    pub extensions: BTreeMap<String, ExtensionSettings>,
}

/// Accounts and their bindings.
#[derive(Debug)]
pub struct Site {
    settings: Settings,
    realm: String,
    challenger: Challenger,
    logins: BTreeMap<AccountRef, Login>,
    /// Accounts that there have been, guests among them.
    logins_begun: u64,
    /// Accounts by user name: trunks before extensions (contract §5.7).
    by_username: BTreeMap<String, Vec<AccountRef>>,
    /// Accounts that flows have let in, by trigger, user and extension.
    guests: BTreeMap<(usize, String, Option<String>), AccountRef>,
    /// Accounts of the user name that most accounts share.
    namesakes_max: usize,
    registrar: Registrar<AccountRef>,
    /// Extensions that were said to be online, by workflow and number.
    online: BTreeSet<(usize, String)>,
}

impl Site {
    /// A site without accounts.
    pub fn new(settings: Settings, digest: DigestConfig) -> Self {
        let challenger = Challenger::new(digest);
        Self {
            realm: settings.realm.clone().unwrap_or_else(|| REALM_DEFAULT.to_owned()),
            settings,
            challenger,
            logins: BTreeMap::new(),
            logins_begun: 0,
            by_username: BTreeMap::new(),
            guests: BTreeMap::new(),
            namesakes_max: 1,
            registrar: Registrar::with_max(BINDINGS_MAX),
            online: BTreeSet::new(),
        }
    }

    /// From now on these triggers have accounts, and no others. An account that stays keeps its
    /// contacts; one that goes, or has another password, loses them. `places` says where each of the
    /// triggers before stands now. Gives the accounts that have gone.
    ///
    /// One listener has one realm, since a challenge is made before anybody knows whose caller it
    /// is: the configured one, or the first that a trigger names.
    pub fn set_triggers(&mut self, triggers: &[Trigger], places: &[Option<usize>]) -> Vec<Login> {
        self.by_username.clear();
        self.namesakes_max = 1;
        let mut before = std::mem::take(&mut self.logins);
        self.keep_guests(&mut before, triggers, places);
        let mut known: BTreeMap<_, Vec<AccountRef>> = BTreeMap::new();
        for (account, login) in before.iter().rev().filter(|(_, login)| !login.is_guest) {
            known.entry(key_of(login)).or_default().push(*account);
        }
        let mut kept = Vec::new();
        for (index, trigger) in triggers.iter().enumerate() {
            for (credentials, extension) in trigger.accounts() {
                let (workflow, credentials) = (trigger.workflow, credentials.clone());
                let extension = extension.map(str::to_owned);
                let login =
                    Login { trigger: index, workflow, credentials, extension, is_guest: false };
                let same = known.get_mut(&key_of(&login)).and_then(Vec::pop);
                kept.push((same, login));
            }
        }
        let named =
            self.settings.realm.as_deref().or_else(|| triggers.iter().find_map(Trigger::realm));
        self.realm = named.unwrap_or(REALM_DEFAULT).to_owned();
        for (same, login) in kept {
            let account = same.unwrap_or_else(|| self.new_account());
            before.remove(&account);
            self.add_login(account, login);
        }
        for account in before.keys() {
            self.registrar.forget(*account);
        }
        before.into_values().collect()
    }

    /// Whom flows have let in stays known, as long as the trigger stays that asked about them.
    fn keep_guests(
        &mut self,
        before: &mut BTreeMap<AccountRef, Login>,
        triggers: &[Trigger],
        places: &[Option<usize>],
    ) {
        for ((trigger, username, extension), account) in std::mem::take(&mut self.guests) {
            let place = places.get(trigger).copied().flatten();
            let place = place.filter(|place| triggers[*place].asks.is_some());
            let known = place.and_then(|place| Some((place, before.remove(&account)?)));
            let Some((place, login)) = known else { continue };
            self.guests.insert((place, username, extension), account);
            self.logins.insert(account, Login { trigger: place, ..login });
        }
    }

    fn new_account(&mut self) -> AccountRef {
        self.logins_begun += 1;
        AccountRef(self.logins_begun)
    }

    /// The user behind a reference.
    pub fn login(&self, account: AccountRef) -> &Login {
        &self.logins[&account]
    }

    /// Does what a REGISTER of a proven account wants.
    pub fn register(
        &mut self,
        account: AccountRef,
        message: &Message<'_>,
        flow: Flow,
        now: Tick,
    ) -> Result<(), NotBound> {
        let bad = |_| NotBound::BadContact;
        let default = message.expires().map_err(bad)?.map(u64::from);
        let default = default.map_or(sip::registrar::EXPIRES_DEFAULT, Duration::from_secs);
        let mut contacts = Vec::new();
        let mut is_all = false;
        for contact in message.contacts() {
            match contact.map_err(bad)? {
                sip::Contact::All => is_all = true,
                sip::Contact::Address(address) => {
                    let own = address.expires().map(|one| Duration::from_secs(one.into()));
                    contacts.push(Wish {
                        contact: address.uri_text,
                        life: own.unwrap_or(default),
                        preference: address.preference(),
                    });
                }
            }
        }
        let change = match (is_all, contacts.as_slice()) {
            (false, contacts) => Change::Contacts(contacts),
            (true, []) if default.is_zero() => Change::RemoveAll,
            // RFC 3261 §10.3: `*` stands alone, and with `Expires: 0` only.
            (true, _) => return Err(NotBound::BadContact),
        };
        let call_id = message.call_id().map_err(bad)?;
        let cseq = message.cseq().map_err(bad)?.number;
        let path = message.path().map(|one| one.map(|one| one.to_string()));
        let path = path.collect::<Result<Vec<_>, _>>().map_err(|_| NotBound::BadPath)?;
        let registration = Registration { call_id, cseq, flow, path: &path, change };
        self.registrar.handle_register(account, registration, now)
    }

    /// Where an account is registered.
    pub fn bindings(&self, account: AccountRef) -> &[Binding] {
        self.registrar.bindings(account)
    }

    /// Whether somebody is registered by this very way. Looks through all bindings, so it is for
    /// callers of this machine only.
    pub fn has_registered(&self, flow: Flow) -> bool {
        let mut bindings = self.logins.keys().flat_map(|account| self.bindings(*account));
        bindings.any(|binding| binding.flow == flow)
    }

    /// Every endpoint of an extension of a workflow: configured, then registered, the best first.
    pub fn extension_targets(&self, workflow: usize, number: &str) -> Vec<Target> {
        let fixed = self.settings.extensions.get(number).and_then(|known| {
            let flow = self.flow_to(known.transport, known.address)?;
            Some((known.contact.clone(), flow, Arc::default()))
        });
        let is_meant = |login: &&Login| {
            login.workflow == workflow && login.extension.as_deref() == Some(number)
        };
        let accounts = self.logins.iter().filter(|(_, login)| is_meant(login));
        let bound = accounts.flat_map(|(account, _)| self.registrar.bindings(*account));
        let mut bound = bound.collect::<Vec<_>>();
        bound.sort_by_key(|one| std::cmp::Reverse(one.preference.unwrap_or(PREFERENCE_MAX)));
        let bound = bound.iter().map(|one| (one.contact.clone(), one.flow, Arc::clone(&one.path)));
        let target = |(request_uri, flow, routes): (String, Flow, Arc<[String]>)| Target {
            request_uri,
            flow,
            routes,
            credentials: None,
            from_host: self.host(flow),
            extension: Some(number.to_owned()),
            trunk: None,
            derived: None,
            audio: None,
        };
        fixed.into_iter().chain(bound).map(target).collect()
    }

    /// Whether this workflow has an extension of this number, registered or not.
    pub fn has_extension(&self, workflow: usize, number: &str) -> bool {
        let is_it = |login: &Login| {
            login.workflow == workflow && login.extension.as_deref() == Some(number)
        };
        self.settings.extensions.contains_key(number) || self.logins.values().any(is_it)
    }

    /// Where a trunk trigger takes calls to `destination`; `registered` is the server where this one
    /// is registered, if it is.
    pub fn trunk_target(
        &self,
        index: usize,
        trigger: &Trigger,
        registered: Option<SocketAddr>,
        destination: &str,
    ) -> Result<Target, NoTarget> {
        if !is_number(destination) {
            return Err(NoTarget::BadNumber);
        }
        // `#` begins a fragment elsewhere, so that a user part may not hold it (RFC 3261 §25.1).
        let user = destination.replace('#', "%23");
        let settings = self.settings.trunks.get(&trigger.reference);
        let (request_uri, flow, routes) = match &trigger.kind {
            Kind::Extensions { .. } => return Err(NoTarget::UnknownTrunk),
            Kind::FixedTrunk { .. } | Kind::RegisteredTrunk { .. } => {
                let server = match trigger.kind {
                    Kind::RegisteredTrunk { .. } => registered,
                    Kind::FixedTrunk { .. }
                    | Kind::DynamicTrunk { .. }
                    | Kind::Extensions { .. } => settings.and_then(TrunkSettings::outbound),
                };
                let (settings, server) = settings.zip(server).ok_or(NoTarget::NotRegistered)?;
                return self.server_target(&trigger.reference, settings, server, &user);
            }
            Kind::DynamicTrunk { .. } => {
                let own = self.logins.iter().filter(|(_, login)| login.trigger == index);
                let bindings = own.flat_map(|(account, _)| self.bindings(*account));
                // Of the best the last that was confirmed: a trunk that moved has left others behind.
                let worth = |one: &&Binding| one.preference.unwrap_or(PREFERENCE_MAX);
                let binding = bindings.max_by_key(worth).ok_or(NoTarget::NotRegistered)?;
                let uri = with_user(&binding.contact, &user).ok_or(NoTarget::NotRegistered)?;
                (uri, binding.flow, Arc::clone(&binding.path))
            }
        };
        Ok(Target {
            request_uri,
            flow,
            routes,
            credentials: settings.and_then(|settings| settings.credentials.clone()),
            from_host: self.host(flow),
            extension: None,
            trunk: Some(trigger.reference.clone()),
            derived: None,
            audio: None,
        })
    }

    /// Where a connection of this name takes calls to `destination`, without any trigger.
    pub fn connection_target(&self, name: &str, destination: &str) -> Result<Target, NoTarget> {
        if !is_number(destination) {
            return Err(NoTarget::BadNumber);
        }
        let settings = self.settings.trunks.get(name).ok_or(NoTarget::UnknownTrunk)?;
        let server = settings.outbound().ok_or(NoTarget::NotRegistered)?;
        self.server_target(name, settings, server, &destination.replace('#', "%23"))
    }

    fn server_target(
        &self,
        name: &str,
        settings: &TrunkSettings,
        server: SocketAddr,
        user: &str,
    ) -> Result<Target, NoTarget> {
        let flow = self.flow_to(settings.transport(), server).ok_or(NoTarget::NotRegistered)?;
        let host = settings.host(server);
        let credentials = settings.credentials.clone();
        Ok(Target {
            request_uri: format!("sip:{user}@{host}"),
            flow,
            routes: Arc::default(),
            // Who has an account with a provider speaks in the provider's name (RFC 3261 §8.1.1.3).
            from_host: if credentials.is_some() { host } else { self.host(flow) },
            credentials,
            extension: None,
            trunk: Some(name.to_owned()),
            derived: None,
            audio: None,
        })
    }

    /// A connection is gone.
    pub fn handle_flow_closed(&mut self, connection: u64) {
        self.registrar.handle_flow_closed(connection);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Tick) {
        self.registrar.handle_timeout(now);
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Tick> {
        self.registrar.poll_timeout()
    }

    /// The next extension, by workflow and number, that got its first endpoint or lost its last.
    /// It may have several accounts, and a configured endpoint that never goes.
    pub fn poll_event(&mut self) -> Option<Presence<(usize, String)>> {
        while let Some(Presence::Online(account) | Presence::Offline(account)) =
            self.registrar.poll_event()
        {
            let Some(login) = self.logins.get(&account) else { continue };
            let Some(number) = login.extension.clone() else { continue };
            let extension = (login.workflow, number);
            if self.extension_targets(extension.0, &extension.1).is_empty() {
                if self.online.remove(&extension) {
                    return Some(Presence::Offline(extension));
                }
            } else if self.online.insert(extension.clone()) {
                return Some(Presence::Online(extension));
            }
        }
        None
    }

    /// How many contacts are registered.
    pub fn registrations(&self) -> usize {
        self.registrar.len()
    }

    /// Extensions that have no endpoint any more because their accounts have gone.
    pub fn take_gone(&mut self) -> Vec<(usize, String)> {
        let is_gone = |(workflow, number): &(usize, String)| {
            self.extension_targets(*workflow, number).is_empty()
        };
        let gone = self.online.iter().filter(|one| is_gone(one)).cloned().collect::<Vec<_>>();
        self.online.retain(|one| !gone.contains(one));
        gone
    }

    fn add_login(&mut self, account: AccountRef, login: Login) {
        let namesakes = self.by_username.entry(login.credentials.username.clone()).or_default();
        namesakes.push(account);
        self.namesakes_max = self.namesakes_max.max(namesakes.len());
        self.logins.insert(account, login);
        namesakes.sort_by_key(|account| self.logins[account].extension.is_some());
    }

    /// What is configured of a trunk.
    pub fn trunk(&self, reference: &str) -> Option<&TrunkSettings> {
        self.settings.trunks.get(reference)
    }

    /// The way to a peer that has not spoken first.
    pub fn flow_to(&self, transport: sip::Transport, remote: SocketAddr) -> Option<Flow> {
        Some(Flow { transport, local: self.settings.local?, remote, connection: 0 })
    }

    /// Our own host on a way, as others are told.
    pub fn host(&self, flow: Flow) -> String {
        let advertised = Some(self.settings.host.clone()).filter(|host| !host.is_empty());
        advertised.unwrap_or_else(|| flow.local.to_string())
    }
}

impl TrunkSettings {
    /// How its servers are reached.
    pub fn transport(&self) -> sip::Transport {
        self.transport.unwrap_or(sip::Transport::Udp)
    }

    /// What it calls itself in addresses.
    pub fn host(&self, server: SocketAddr) -> String {
        self.domain.clone().unwrap_or_else(|| server.to_string())
    }

    /// Where this server can register, and as whom; none of both: something is not configured.
    pub fn registrars(&self) -> Option<(Vec<SocketAddr>, &sip::Credentials)> {
        let servers = self.server.into_iter().chain(self.backup).collect();
        self.server.and(self.credentials.as_ref()).map(|known| (servers, known))
    }

    /// Where calls to the trunk are sent.
    fn outbound(&self) -> Option<SocketAddr> {
        let peer = self.peers.first();
        self.server
            .or_else(|| peer.map(|one| SocketAddr::new(one.address, one.port.unwrap_or(5060))))
    }
}

/// What makes an account the same one: its workflow, user, password and extension.
fn key_of(login: &Login) -> (usize, String, String, Option<String>) {
    let Login { workflow, credentials, extension, .. } = login;
    (*workflow, credentials.username.clone(), credentials.password.clone(), extension.clone())
}

/// The contact of a registered trunk with the number to be called as its user.
fn with_user(contact: &str, user: &str) -> Option<String> {
    let uri = Uri::parse(contact)?;
    let sip = uri.sip()?;
    let called = sip::SipUri { user: Some(user), password: None, headers: "", ..*sip };
    Some(called.to_string())
}

#[cfg(test)]
mod tests;
