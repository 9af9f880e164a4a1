//! The registrar: where an address-of-record can be reached, for how long, and by which way.
//!
//! It believes what it is told: who may bind is decided before. A binding keeps the flow that it
//! came by, because a phone behind NAT is reached that way only (the spirit of RFC 5626 §5.3).
//!
//! *Invariant:* an address is online exactly as long as it has a binding, and each change is said
//! once.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::base::{Armed, Tick, Timers};
use crate::sip::transport::Flow;
use crate::sip::typed::NameAddr;
use crate::sip::uri::Uri;

/// Contacts of one address-of-record.
pub const CONTACTS_MAX: usize = 10;
/// Proxies of a Path; a REGISTER with more is refused.
pub const PATH_MAX: usize = 8;
/// Bytes of a contact's URI.
pub const CONTACT_BYTES_MAX: usize = 512;
/// How long a binding lives whose client says nothing about it.
pub const EXPIRES_DEFAULT: Duration = Duration::from_secs(600);
/// The shortest life that is granted (RFC 3261 §10.3: 423 below).
pub const EXPIRES_MIN: Duration = Duration::from_secs(60);
/// The longest life that is granted.
pub const EXPIRES_MAX: Duration = Duration::from_secs(3600);

/// One place where an address-of-record can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The contact's URI, as it was given.
    pub contact: String,
    /// The way it came: requests to the contact leave by it.
    pub flow: Flow,
    /// What it was said to be worth in thousandths, if it was: the best is called first.
    pub preference: Option<u16>,
    /// Proxies that requests to the contact pass, nearest to us first, as values of Route.
    pub path: Arc<[String]>,
    /// When it was last confirmed.
    pub refreshed: Tick,
    /// When it ends by itself.
    pub expires: Tick,
    call_id: String,
    cseq: u32,
    timer: Armed,
}

/// One REGISTER, as far as the registrar cares.
#[derive(Clone, Copy, Debug)]
pub struct Registration<'a> {
    /// Its Call-ID; with `cseq` it tells a late REGISTER from a new one.
    pub call_id: &'a str,
    /// Number of its CSeq.
    pub cseq: u32,
    /// The way it came.
    pub flow: Flow,
    /// Values of its Path headers, nearest to us first (RFC 3327).
    pub path: &'a [String],
    /// What is to be changed; nothing: it only asks.
    pub change: Change<'a>,
}

/// What a REGISTER wants changed.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// `Contact: *` with `Expires: 0`: all bindings go (RFC 3261 §10.2.2).
    RemoveAll,
    /// Some contacts are bound or removed.
    Contacts(&'a [Wish<'a>]),
}

/// What a REGISTER wants of one contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish<'a> {
    /// Its URI.
    pub contact: &'a str,
    /// The life that is wished for; zero removes it.
    pub life: Duration,
    /// What it is worth, in thousandths.
    pub preference: Option<u16>,
}

/// Why nothing was changed. A REGISTER is done as a whole or not at all (RFC 3261 §10.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotBound {
    /// A contact is no `sip:` or `sips:` URI of reasonable length.
    BadContact,
    /// A Path that is longer than [`PATH_MAX`], or no list of `sip:` URIs with `lr`.
    BadPath,
    /// A life below [`EXPIRES_MIN`] was wished for.
    TooBrief,
    /// A later REGISTER of the same client was here before.
    OutOfOrder,
    /// The address would have more than [`CONTACTS_MAX`] contacts.
    TooManyContacts,
    /// The registrar is full.
    Full,
}

impl NotBound {
    /// What the client is told (RFC 3261 §10.3).
    pub const fn status(self) -> u16 {
        match self {
            Self::BadContact | Self::BadPath => 400,
            Self::TooBrief => 423,
            Self::OutOfOrder => 500,
            Self::TooManyContacts => 403,
            Self::Full => 503,
        }
    }
}

impl fmt::Display for NotBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadContact => "a contact is no sip address of at most 512 bytes",
            Self::BadPath => "a Path is at most 8 sip addresses with lr",
            Self::TooBrief => "the shortest registration is 60 seconds",
            Self::OutOfOrder => "a later request was here before",
            Self::TooManyContacts => "at most 10 contacts are kept for one address",
            Self::Full => "no room for another registration",
        })
    }
}

impl std::error::Error for NotBound {}

/// What changed for an address-of-record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence<K> {
    /// It has its first binding.
    Online(K),
    /// Its last binding is gone.
    Offline(K),
}

/// The bindings of all addresses-of-record; `K` names an address.
#[derive(Debug)]
pub struct Registrar<K> {
    bindings: BTreeMap<K, Vec<Binding>>,
    bindings_max: usize,
    /// One timer a binding.
    timers: Timers<K>,
    events: VecDeque<Presence<K>>,
}

impl<K: Copy + Ord> Registrar<K> {
    /// An empty registrar for at most `bindings_max` bindings.
    pub const fn with_max(bindings_max: usize) -> Self {
        Self {
            bindings: BTreeMap::new(),
            bindings_max,
            timers: Timers::new(),
            events: VecDeque::new(),
        }
    }

    /// Does what a REGISTER of the owner of `address` wants, or nothing of it.
    pub fn handle_register(
        &mut self,
        address: K,
        registration: Registration<'_>,
        now: Tick,
    ) -> Result<(), NotBound> {
        let wishes = self.check(address, registration)?;
        let was_online = self.is_online(address);
        let mut bindings = self.bindings.remove(&address).unwrap_or_default();
        for binding in bindings.extract_if(.., |one| wishes.touch(&one.contact)) {
            self.timers.clear(binding.timer);
        }
        let path: Arc<[String]> = registration.path.into();
        for Wish { contact, life, preference } in wishes.kept() {
            let expires = now + life.min(EXPIRES_MAX);
            bindings.push(Binding {
                contact: contact.to_owned(),
                flow: registration.flow,
                preference,
                path: Arc::clone(&path),
                refreshed: now,
                expires,
                call_id: registration.call_id.to_owned(),
                cseq: registration.cseq,
                timer: self.timers.arm(expires, address),
            });
        }
        self.put_back(address, bindings, was_online);
        Ok(())
    }

    /// A connection is gone, and with it every way that led over it (RFC 5626 §4.2.1).
    pub fn handle_flow_closed(&mut self, connection: u64) {
        let is_gone = |one: &Binding| one.flow.connection == connection && connection != 0;
        let has_gone = |(_, bindings): &(&K, &Vec<Binding>)| bindings.iter().any(is_gone);
        let addresses = self.bindings.iter().filter(has_gone).map(|(address, _)| *address);
        for address in addresses.collect::<Vec<_>>() {
            self.remove_where(address, is_gone);
        }
    }

    /// Bindings whose time is over end.
    pub fn handle_timeout(&mut self, now: Tick) {
        while let Some(address) = self.timers.take_due(now) {
            self.remove_where(address, |one| one.expires <= now);
        }
    }

    /// Every binding of an address ends.
    pub fn forget(&mut self, address: K) {
        self.remove_where(address, |_| true);
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Tick> {
        self.timers.next()
    }

    /// The next change.
    pub fn poll_event(&mut self) -> Option<Presence<K>> {
        self.events.pop_front()
    }

    /// Where an address can be reached; what was confirmed last comes last.
    pub fn bindings(&self, address: K) -> &[Binding] {
        self.bindings.get(&address).map_or(&[], Vec::as_slice)
    }

    /// Whether an address can be reached at all.
    pub fn is_online(&self, address: K) -> bool {
        self.bindings.contains_key(&address)
    }

    /// How many bindings there are.
    pub fn len(&self) -> usize {
        self.timers.len()
    }

    /// Whether nobody is registered.
    pub fn is_empty(&self) -> bool {
        self.bindings.is_empty()
    }

    fn check<'a>(
        &self,
        address: K,
        registration: Registration<'a>,
    ) -> Result<Wishes<'a>, NotBound> {
        if !is_path(registration.path) {
            return Err(NotBound::BadPath);
        }
        let wishes = Wishes::read(registration.change)?;
        let bindings = self.bindings(address);
        let is_late = |one: &Binding| {
            wishes.touch(&one.contact)
                && one.call_id == registration.call_id
                && registration.cseq <= one.cseq
        };
        if bindings.iter().any(is_late) {
            return Err(NotBound::OutOfOrder);
        }
        let untouched = bindings.iter().filter(|one| !wishes.touch(&one.contact)).count();
        let kept = wishes.kept().count();
        if kept > 0 && untouched + kept > CONTACTS_MAX {
            return Err(NotBound::TooManyContacts);
        }
        if kept > 0 && self.len() - bindings.len() + untouched + kept > self.bindings_max {
            return Err(NotBound::Full);
        }
        Ok(wishes)
    }

    fn remove_where(&mut self, address: K, is_gone: impl Fn(&Binding) -> bool) {
        let Some(mut bindings) = self.bindings.remove(&address) else { return };
        for binding in bindings.extract_if(.., |one| is_gone(one)) {
            self.timers.clear(binding.timer);
        }
        self.put_back(address, bindings, true);
    }

    /// The one place where an address goes online or offline.
    fn put_back(&mut self, address: K, bindings: Vec<Binding>, was_online: bool) {
        let is_online = !bindings.is_empty();
        if is_online {
            self.bindings.insert(address, bindings);
        }
        match (was_online, is_online) {
            (false, true) => self.events.push_back(Presence::Online(address)),
            (true, false) => self.events.push_back(Presence::Offline(address)),
            (true, true) | (false, false) => {}
        }
    }
}

/// What a REGISTER wants, read and found possible.
struct Wishes<'a> {
    all: bool,
    contacts: Vec<(Uri<'a>, Wish<'a>)>,
}

impl<'a> Wishes<'a> {
    fn read(change: Change<'a>) -> Result<Self, NotBound> {
        let Change::Contacts(wished) = change else {
            return Ok(Self { all: true, contacts: Vec::new() });
        };
        let mut contacts: Vec<(Uri<'a>, Wish<'a>)> = Vec::new();
        for wish in wished {
            let uri = Uri::parse(wish.contact).filter(|uri| uri.sip().is_some());
            let uri = uri.filter(|_| wish.contact.len() <= CONTACT_BYTES_MAX);
            let uri = uri.ok_or(NotBound::BadContact)?;
            if !wish.life.is_zero() && wish.life < EXPIRES_MIN {
                return Err(NotBound::TooBrief);
            }
            // Said twice, the last word counts.
            contacts.retain(|(other, _)| !other.is_equivalent(&uri));
            contacts.push((uri, *wish));
            if contacts.len() > CONTACTS_MAX {
                return Err(NotBound::TooManyContacts);
            }
        }
        Ok(Self { all: false, contacts })
    }

    /// Whether a binding with this contact is replaced or removed (RFC 3261 §19.1.4).
    fn touch(&self, contact: &str) -> bool {
        let known = Uri::parse(contact);
        self.all
            || known.is_some_and(|known| {
                self.contacts.iter().any(|(wished, _)| wished.is_equivalent(&known))
            })
    }

    fn kept(&self) -> impl Iterator<Item = Wish<'a>> {
        self.contacts.iter().map(|(_, wish)| *wish).filter(|wish| !wish.life.is_zero())
    }
}

/// Whether requests can be sent along these: proxies that let the Request-URI alone.
fn is_path(values: &[String]) -> bool {
    let is_loose = |value: &String| {
        let address = NameAddr::parse(value);
        let is_short = value.len() <= CONTACT_BYTES_MAX;
        is_short && address.is_some_and(|one| one.uri.sip().is_some_and(|sip| sip.params.has("lr")))
    };
    values.len() <= PATH_MAX && values.iter().all(is_loose)
}

#[cfg(test)]
mod tests;
