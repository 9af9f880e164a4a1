//! Identity: who sends a request, and what a REGISTER of somebody known does.

use std::fmt::Write;

use crate::base::Tick;
use crate::call::leg::{Origin, OriginKind};
use crate::call::site::{AccountRef, NoTarget, Proof, Target};
use crate::call::switch::inquiry::Asker;
use crate::call::switch::{Fact, Switch};
use crate::call::trigger::Trigger;
use crate::sip::registrar::{EXPIRES_MIN, NotBound, Presence};
use crate::sip::{Flow, Message, Name, TransactionId};

/// Whose call it is. Only authentication makes one, and only a call with one gets a leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// A trunk, by its address or its password.
    Trunk {
        /// Place of its trigger.
        trigger: usize,
    },
    /// An extension, by its password.
    Extension {
        /// Place of its trigger.
        trigger: usize,
        /// Its number.
        extension: String,
    },
}

/// What a request of unknown origin is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unproven {
    /// 401 with these values of WWW-Authenticate.
    Challenge { values: Vec<String>, is_failed: bool },
    /// 403: there is no trunk at this address and nobody who could prove anything.
    Nobody,
    /// A flow is asked; the request is answered when that has answered.
    Asked,
    /// 503: too many requests wait for flows.
    Busy,
    /// A flow said no, with this status, words and perhaps a challenge.
    Denied { status: u16, reason: String, values: Vec<String> },
}

impl Unproven {
    /// Whether it says no, rather than to prove something first.
    pub(super) const fn is_rejection(&self) -> bool {
        match self {
            Self::Denied { .. } | Self::Challenge { is_failed: true, .. } => true,
            Self::Challenge { is_failed: false, .. } | Self::Nobody | Self::Asked | Self::Busy => {
                false
            }
        }
    }
}

impl Identity {
    pub(super) const fn trigger(&self) -> usize {
        match self {
            Self::Trunk { trigger } | Self::Extension { trigger, .. } => *trigger,
        }
    }
}

impl Switch {
    /// Every endpoint of an extension of this workflow; none: it cannot be reached now.
    pub fn extension_targets(&self, workflow: usize, number: &str) -> Vec<Target> {
        self.site.extension_targets(workflow, number)
    }

    /// Where a trunk of this workflow takes calls to `destination`.
    pub fn trunk_target(
        &self,
        workflow: usize,
        reference: &str,
        destination: &str,
    ) -> Result<Target, NoTarget> {
        let mut own = self.triggers.iter().enumerate();
        let found = own.find(|(_, trigger)| {
            trigger.workflow == workflow && trigger.reference == reference && trigger.is_trunk()
        });
        let (index, trigger) = found.ok_or(NoTarget::UnknownTrunk)?;
        let registered = self.trunks.server_of(index);
        self.site.trunk_target(index, trigger, registered, destination)
    }

    /// Whose request this is: a registered trunk's by the token that it was given, a fixed trunk's by
    /// its source, then a dynamic trunk's or an extension's by its password or by what a flow says
    /// (contract §5.7).
    pub(super) fn identify(
        &mut self,
        asker: Asker,
        message: &Message<'_>,
        bytes: &[u8],
        flow: Flow,
        now: Tick,
    ) -> Result<Identity, Unproven> {
        let asked = message.request_uri().ok();
        let token = asked.as_ref().and_then(|uri| uri.user_decoded());
        if let Some(trigger) = token.and_then(|token| self.trunks.trigger_of(&token)) {
            return Ok(Identity::Trunk { trigger });
        }
        // A phone that registered from this very address is no trunk for want of configured peers.
        let is_taken = |one: &Trigger| {
            one.takes(flow.remote) && !(one.is_guess() && self.site.has_registered(flow))
        };
        if let Some(trigger) = self.triggers.iter().position(is_taken) {
            return Ok(Identity::Trunk { trigger });
        }
        let account = self.account_of(asker, message, bytes, flow, now)?;
        Ok(self.identity_of(account))
    }

    /// Whose password a request proves, or whom a flow lets in.
    fn account_of(
        &mut self,
        asker: Asker,
        message: &Message<'_>,
        bytes: &[u8],
        flow: Flow,
        now: Tick,
    ) -> Result<AccountRef, Unproven> {
        if self.has_inquirers() {
            return self.inquire(asker, bytes, flow, now);
        }
        match self.site.prove(message, flow, now) {
            Proof::Proven(account) => Ok(account),
            Proof::Challenge { values, is_failed } => {
                Err(Unproven::Challenge { values, is_failed })
            }
            Proof::NoAccounts => Err(Unproven::Nobody),
        }
    }

    /// Where the leg of somebody identified comes from.
    pub(super) fn origin(&self, identity: &Identity) -> Origin {
        let trigger = &self.triggers[identity.trigger()];
        let (kind, extension) = match identity {
            Identity::Trunk { .. } => (OriginKind::Trunk, None),
            Identity::Extension { extension, .. } => {
                (OriginKind::Extension, Some(extension.clone()))
            }
        };
        let trigger_ref = trigger.reference.clone();
        Origin { workflow: trigger.workflow, trigger_ref, kind, extension }
    }

    /// A REGISTER (RFC 3261 §10.3).
    pub(super) fn on_register(
        &mut self,
        request: TransactionId,
        bytes: &[u8],
        flow: Flow,
        now: Tick,
    ) {
        let Ok(message) = Message::parse(bytes) else {
            unreachable!("the endpoint hands on only what it could read");
        };
        let judged = self.account_of(Asker::Register(request), &message, bytes, flow, now);
        self.on_register_judged(request, bytes, flow, judged, now);
    }

    /// It is known who sends a REGISTER, or that nobody knows.
    pub(super) fn on_register_judged(
        &mut self,
        request: TransactionId,
        bytes: &[u8],
        flow: Flow,
        judged: Result<AccountRef, Unproven>,
        now: Tick,
    ) {
        let Ok(message) = Message::parse(bytes) else {
            unreachable!("the endpoint hands on only what it could read");
        };
        let account = match judged {
            Ok(account) => account,
            Err(unproven) => return self.refuse_unproven(request, flow, &unproven, "REGISTER"),
        };
        // RFC 3261 §10.3: who is proven binds its own address and no other.
        let login = self.site.login(account);
        let named = message.to().ok().and_then(|to| to.uri.user_decoded());
        let is_nameless = login.is_guest && login.credentials.username.is_empty();
        let is_own = named.is_some_and(|named| {
            *named == login.credentials.username
                || Some(&*named) == login.extension.as_deref()
                || (is_nameless && login.extension.is_none())
        });
        if !is_own {
            let why = "a REGISTER for another address than the user's own";
            self.tell(Fact::Refused { source: flow.remote, status: 403, why: why.to_owned() });
            return self.forbid(request, "To is neither the user nor its extension");
        }
        match self.site.register(account, &message, flow, now) {
            Ok(()) => {
                let bindings = self.site.bindings(account);
                let values = bindings.iter().map(|one| {
                    let left = (one.expires - now).as_secs();
                    match one.preference {
                        Some(q) => format!(
                            "<{}>;q={}.{:03};expires={left}",
                            one.contact,
                            q / 1000,
                            q % 1000
                        ),
                        None => format!("<{}>;expires={left}", one.contact),
                    }
                });
                let values = values.collect::<Vec<_>>();
                let mut told = headers("Contact", &values);
                // RFC 3327 §5.3: who knows the extension sees that it was used.
                let path = message.path().filter_map(Result::ok).map(|one| one.to_string());
                let path = path.collect::<Vec<_>>();
                if message.lists(Name::Supported, "path") {
                    told.extend(headers("Path", &path));
                }
                self.endpoint.respond(request, 200, &told, None, now);
            }
            Err(refused) => self.refuse_binding(request, refused, now),
        }
        self.drain_site(now);
    }

    /// Nobody knows who sends this request, which began no dialog.
    pub(super) fn refuse_unproven(
        &mut self,
        request: TransactionId,
        flow: Flow,
        unproven: &Unproven,
        method: &str,
    ) {
        let (status, why, values) = match unproven {
            Unproven::Asked => return,
            Unproven::Nobody => return self.forbid(request, "nobody has an account here"),
            Unproven::Busy => {
                let retry_after = (1 + self.rng.below(8)).to_string();
                return self.endpoint.dismiss(request, 503, &[("Retry-After", &retry_after)]);
            }
            Unproven::Challenge { values, is_failed } => {
                let why = is_failed.then(|| format!("a {method} with a wrong user or password"));
                (401, why, values)
            }
            Unproven::Denied { status, reason, values } => {
                (*status, Some(format!("a flow denied a {method}: {reason}")), values)
            }
        };
        if let Some(why) = why {
            self.tell(Fact::Refused { source: flow.remote, status, why });
        }
        let warning = warning_of(unproven);
        let mut told = headers(challenge_header(status), values);
        told.extend(warning.as_deref().map(|warning| ("Warning", warning)));
        self.endpoint.dismiss(request, status, &told);
    }

    fn forbid(&mut self, request: TransactionId, why: &str) {
        let warning = format!("399 ringback \"{why}\"");
        self.endpoint.dismiss(request, 403, &[("Warning", &warning)]);
    }

    /// Takes everything that the site has to say about who came and went.
    pub(super) fn drain_site(&mut self, now: Tick) {
        while let Some(event) = self.site.poll_event() {
            let ((workflow, number), is_online) = match event {
                Presence::Online(extension) => (extension, true),
                Presence::Offline(extension) => (extension, false),
            };
            self.on_extension_online(workflow, &number, is_online, now);
        }
    }

    fn refuse_binding(&mut self, request: TransactionId, refused: NotBound, now: Tick) {
        let mut warning = String::new();
        let _ = write!(warning, "399 ringback \"{refused}\"");
        let shortest = EXPIRES_MIN.as_secs().to_string();
        let retry_after = (1 + self.rng.below(8)).to_string();
        let header = match refused {
            NotBound::TooBrief => ("Min-Expires", shortest.as_str()),
            NotBound::Full => ("Retry-After", retry_after.as_str()),
            NotBound::BadContact
            | NotBound::BadPath
            | NotBound::OutOfOrder
            | NotBound::TooManyContacts => ("Warning", warning.as_str()),
        };
        self.endpoint.respond(request, refused.status(), &[header], None, now);
    }
}

/// The header of a challenge with this status (RFC 3261 §22.1).
pub(super) const fn challenge_header(status: u16) -> &'static str {
    if status == 407 { "Proxy-Authenticate" } else { "WWW-Authenticate" }
}

/// What a flow said with its no, for the far side (RFC 3261 §20.43).
pub(super) fn warning_of(unproven: &Unproven) -> Option<String> {
    let Unproven::Denied { reason, .. } = unproven else { return None };
    let is_sound = |c: &char| !c.is_control() && !matches!(c, '"' | '\\');
    let reason = reason.chars().filter(is_sound).take(200).collect::<String>();
    (!reason.is_empty()).then(|| format!("399 ringback \"{reason}\""))
}

/// One header for each value.
pub(super) fn headers<'a>(name: &'a str, values: &'a [String]) -> Vec<(&'a str, &'a str)> {
    values.iter().map(|value| (name, value.as_str())).collect()
}
