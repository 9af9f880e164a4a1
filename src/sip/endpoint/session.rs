//! Session timers: a call whose peer is gone ends by itself (RFC 4028), in both roles.
//!
//! ```text
//!  we refresh    ──half──▶ UPDATE, or RefreshDue ──2xx──▶ anew
//!  either side   ──shortly before the end, unrefreshed──▶ BYE
//! ```

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::compose::Inside;
use super::leg::{Leg, State};
use super::receive::{Answer, Incoming};
use super::table::Purpose;
use super::types::{Cause, DialogId, Event};
use super::{Endpoint, Wake};
use crate::base::{Armed, Tick};
use crate::sip::{Message, Method, Name, Refresher, SessionExpires};

/// The shortest session that we take part in, in seconds (§4): shorter ones are 422.
pub(super) const MIN_SE: u32 = 90;
/// The longest that we agree to, in seconds: a peer that asks for more gets a day.
const EXPIRES_MAX: u32 = 86_400;
/// What a BYE says that ends an expired session (RFC 3326).
const EXPIRED: &str = "SIP;cause=408;text=\"Session Expired\"";

/// The session timer of one dialog.
#[derive(Debug, Default)]
pub(super) struct Session {
    agreed: Option<Agreed>,
    /// What the peer's 422 has taught us, in seconds.
    min_se: u32,
    armed: Option<Armed>,
}

/// What both sides agreed on.
#[derive(Clone, Copy, Debug)]
struct Agreed {
    /// Seconds.
    interval: u32,
    /// Whether it is us who refreshes.
    is_ours: bool,
    /// When the session ends unless it is refreshed.
    end: Tick,
    /// Whether our refresh is on its way: then only the end is waited for.
    is_refreshing: bool,
}

impl Agreed {
    /// A BYE is due a third of the interval before the end, but not more than 32 s (§10).
    fn bye_at(&self) -> Tick {
        let interval = Duration::from_secs(self.interval.into());
        let margin = Duration::from_secs(32).min(interval / 3);
        Tick::ZERO + (self.end - Tick::ZERO).saturating_sub(margin)
    }
}

/// What a request of ours asks for: value of Session-Expires, and of Min-SE when it is not 90.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted {
    /// Seconds; 0: nothing is asked for.
    pub(super) interval: u32,
    pub(super) refresher: Option<Refresher>,
    pub(super) min_se: u32,
}

impl Wanted {
    /// After a 422: longer by as much as it takes; `None` when it says nothing that would help.
    pub(super) fn after(self, response: &Message<'_>) -> Option<Self> {
        let min_se = response.min_se().ok().flatten()?;
        let is_news = min_se > self.min_se && min_se <= EXPIRES_MAX && self.interval > 0;
        is_news.then_some(Self { interval: self.interval.max(min_se), min_se, ..self })
    }

    /// As headers.
    pub(super) fn headers(self) -> Vec<(&'static str, String)> {
        if self.interval == 0 {
            return Vec::new();
        }
        let mut headers = vec![("Session-Expires", self.to_string())];
        if self.min_se > MIN_SE {
            headers.push(("Min-SE", self.min_se.to_string()));
        }
        headers
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.interval)?;
        match self.refresher {
            Some(Refresher::Uac) => f.write_str(";refresher=uac"),
            Some(Refresher::Uas) => f.write_str(";refresher=uas"),
            None => Ok(()),
        }
    }
}

impl Endpoint {
    /// What a first INVITE of ours asks for.
    pub(super) fn first_session(&self) -> Wanted {
        let interval = self.config.session_expires.map_or(0, seconds);
        Wanted { interval, refresher: None, min_se: MIN_SE }
    }

    /// Whether a request wants a session that is too short for us, and was told so (§9).
    pub(super) fn is_too_short(&mut self, request: &Incoming<'_>) -> bool {
        let message = request.message;
        let is_session = matches!(request.method, Method::Invite | Method::Update);
        let asked = message.session_expires().ok().flatten().filter(|_| is_session);
        let is_short = asked.is_some_and(|asked| asked.interval < MIN_SE) && knows_timer(message);
        if is_short {
            self.refuse(request, 422, &[("Min-SE", &MIN_SE.to_string())]);
        }
        is_short
    }

    /// As callee: agrees on a session with who asked by this INVITE or UPDATE, and gives the
    /// headers that the 2xx says it with (§9).
    pub(super) fn agree_session(
        &mut self,
        id: DialogId,
        request: &Message<'_>,
        now: Tick,
    ) -> Vec<(&'static str, String)> {
        let wanted = self.config.session_expires.map(seconds);
        let knows = knows_timer(request);
        let Some(leg) = self.legs.get_mut(id) else { return Vec::new() };
        if !matches!(leg.state, State::Talking { .. }) {
            return Vec::new(); // A session begins with the 2xx of its INVITE (§9).
        }
        let asked = request.session_expires().ok().flatten();
        let least = request.min_se().ok().flatten().unwrap_or(0).clamp(MIN_SE, EXPIRES_MAX);
        let refresher = match (asked, leg.session.agreed) {
            (Some(SessionExpires { refresher: Some(Refresher::Uac), .. }), _) => Refresher::Uac,
            (Some(SessionExpires { refresher: Some(Refresher::Uas), .. }), _) => Refresher::Uas,
            // Who refreshes goes on doing so.
            (_, Some(agreed)) if agreed.is_ours => Refresher::Uas,
            _ => Refresher::Uac,
        };
        // Who does not know the timer cannot refresh (table 2).
        let refresher = if knows { refresher } else { Refresher::Uas };
        let interval = match (asked, leg.session.agreed) {
            (Some(asked), _) => {
                let most = wanted.unwrap_or(EXPIRES_MAX).max(least);
                asked.interval.clamp(least, most)
            }
            (None, Some(agreed)) => agreed.interval.max(least),
            (None, None) => match wanted.filter(|_| knows) {
                Some(wanted) => wanted.max(least),
                None => return Vec::new(),
            },
        };
        self.begin_session(id, interval, refresher == Refresher::Uas, now);
        let said = Wanted { interval, refresher: Some(refresher), min_se: 0 };
        let mut headers = vec![("Session-Expires", said.to_string())];
        if refresher == Refresher::Uac {
            headers.push(("Require", "timer".to_owned()));
        }
        headers
    }

    /// As caller: takes what the 2xx to an INVITE or UPDATE of ours says; without Session-Expires
    /// there is no timer (§7.2).
    pub(super) fn take_session(&mut self, id: DialogId, response: &Message<'_>, now: Tick) {
        match response.session_expires().ok().flatten() {
            Some(agreed) => {
                let interval = agreed.interval.clamp(MIN_SE, EXPIRES_MAX);
                self.begin_session(id, interval, agreed.refresher != Some(Refresher::Uas), now);
            }
            None => self.stop_session(id),
        }
    }

    fn begin_session(&mut self, id: DialogId, interval: u32, is_ours: bool, now: Tick) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        let length = Duration::from_secs(interval.into());
        let agreed = Agreed { interval, is_ours, end: now + length, is_refreshing: false };
        leg.session.agreed = Some(agreed);
        self.timers.clear_slot(&mut leg.session.armed);
        let due = if is_ours { now + length / 2 } else { agreed.bye_at() };
        leg.session.armed = Some(self.timers.arm(due, Wake::Session(id)));
    }

    pub(super) fn stop_session(&mut self, id: DialogId) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        leg.session.agreed = None;
        self.timers.clear_slot(&mut leg.session.armed);
    }

    /// It is time to refresh, or too late for it.
    pub(super) fn on_session_due(&mut self, id: DialogId, now: Tick) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        leg.session.armed = None;
        let Some(agreed) = &mut leg.session.agreed else { return };
        if agreed.is_ours && !agreed.is_refreshing {
            agreed.is_refreshing = true;
            let due = agreed.bye_at();
            leg.session.armed = Some(self.timers.arm(due, Wake::Session(id)));
            self.refresh(id, now);
        } else {
            self.say_bye(id, &[("Reason", EXPIRED)], now);
            self.say_ended(id, Cause::Expired, None);
        }
    }

    /// An UPDATE without SDP, or a re-INVITE by the user, who knows the description (§7.4).
    fn refresh(&mut self, id: DialogId, now: Tick) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        let (flow, contact, wanted) = (leg.flow, leg.contact.clone(), leg.session_wanted());
        let State::Talking { dialog, talk } = &mut leg.state else { return };
        if !talk.allows_update {
            self.events.push_back(Event::RefreshDue { dialog: id });
            return;
        }
        let mut dialog = std::mem::take(dialog);
        let session = wanted.headers();
        let headers = borrowed(&session);
        let update =
            Inside { contact: Some(&contact), headers: &headers, ..Inside::of(Method::Update) };
        // Without room for it the session runs on to its end.
        let _ = self.send_inside(flow, &mut dialog, &update, Purpose::Refresh(id), now);
        if let Some(leg) = self.legs.get_mut(id)
            && let State::Talking { dialog: place, .. } = &mut leg.state
        {
            *place = dialog;
        }
    }

    /// The outcome of our refresh by UPDATE (§7.4, RFC 3261 §12.2.1.2).
    pub(super) fn on_refreshed(&mut self, id: DialogId, answer: &Answer<'_>, now: Tick) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        let State::Talking { dialog, talk } = &mut leg.state else { return };
        match answer.status {
            200..300 => {
                dialog.refresh_target(answer.message);
                talk.note_abilities(answer.message);
                self.take_session(id, answer.message, now);
            }
            408 | 481 => self.on_session_gone(id, Some(Arc::clone(answer.bytes)), now),
            // It cannot do this after all: the user's re-INVITE can.
            405 | 501 => {
                talk.allows_update = false;
                self.refresh(id, now);
            }
            422 if leg.raise_session(answer.message) => self.refresh(id, now),
            _ => self.refresh_again(id, now),
        }
    }

    /// Nobody answered our refresh.
    pub(super) fn on_session_gone(&mut self, id: DialogId, message: Option<Arc<[u8]>>, now: Tick) {
        if self.legs.get(id).is_some_and(|leg| matches!(leg.state, State::Talking { .. })) {
            self.say_bye(id, &[], now);
            self.say_ended(id, Cause::Gone, message);
        }
    }

    /// The refresh was refused for now: once more half-way to the end, until that is too close.
    fn refresh_again(&mut self, id: DialogId, now: Tick) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        let Some(agreed) = &mut leg.session.agreed else { return };
        let left = agreed.bye_at().max(now) - now;
        if left > Duration::from_secs(2) {
            agreed.is_refreshing = false;
            self.timers.clear_slot(&mut leg.session.armed);
            leg.session.armed = Some(self.timers.arm(now + left / 2, Wake::Session(id)));
        }
    }
}

impl Leg {
    /// What a re-INVITE or UPDATE of ours says about the session.
    pub(super) fn session_wanted(&self) -> Wanted {
        let Some(agreed) = self.session.agreed else { return Wanted::default() };
        let refresher = if agreed.is_ours { Refresher::Uac } else { Refresher::Uas };
        let min_se = self.session.min_se;
        let interval = agreed.interval.max(min_se);
        Wanted { interval, refresher: Some(refresher), min_se }
    }

    /// Learns from a 422; whether another try makes sense.
    pub(super) fn raise_session(&mut self, response: &Message<'_>) -> bool {
        let raised = self.session_wanted().after(response);
        if let Some(raised) = raised {
            self.session.min_se = raised.min_se;
        }
        raised.is_some()
    }

    /// The timer that is armed, taken out.
    pub(super) const fn take_session_timer(&mut self) -> Option<Armed> {
        self.session.armed.take()
    }
}

/// Headers as messages take them.
pub(super) fn borrowed<'a>(headers: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    headers.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

fn knows_timer(message: &Message<'_>) -> bool {
    message.lists(Name::Supported, "timer") || message.lists(Name::Require, "timer")
}

fn seconds(interval: Duration) -> u32 {
    u32::try_from(interval.as_secs()).unwrap_or(EXPIRES_MAX).clamp(MIN_SE, EXPIRES_MAX)
}
