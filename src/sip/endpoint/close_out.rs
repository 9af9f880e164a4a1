//! Closing out a call of an earlier process: CANCEL and BYE by identifiers that it wrote down.
//!
//! The INVITE itself is never sent again. Its transaction is taken up as if it had been, so that
//! whatever the peer still says to it, a 2xx among others, is acknowledged and hung up.

use super::Endpoint;
use super::compose::Inside;
use super::receive::client_key;
use super::table::{Purpose, Role};
use super::types::{CloseOutId, Event, FarSide, NotSent, Outgoing};
use crate::base::Tick;
use crate::sip::dialog::Dialog;
use crate::sip::transaction::InviteClient;
use crate::sip::{Message, Method, Name};

/// INVITEs of one call: the first, the one that answered a challenge, the one that answered a stale
/// nonce, and the one that asked for a longer session.
pub const TRIES_MAX: u8 = 4;
/// The part of a close-out that is the BYE; the other parts are the numbers of INVITEs.
const BYE: u8 = 0;

/// A call that is being closed out: which of its parts the peer has not answered for.
#[derive(Debug)]
pub struct CloseOut {
    /// A bit for each part.
    open: u8,
    /// Whether the peer has spoken about every part so far.
    is_certain: bool,
}

impl Endpoint {
    /// Takes back a call whose INVITE an earlier process sent, or was about to send, with the
    /// identifiers in `outgoing.derived`; [`Event::ClosedOut`] follows, after 64·T1 of
    /// silence at the latest.
    ///
    /// Without `far_side` it rings at most, and gets a CANCEL (RFC 3261 §9.1) for each of the
    /// `tries` that may have been made, up to [`TRIES_MAX`]. A far side that rings gets a BYE too, which an early dialog allows (§15);
    /// one that has answered gets the BYE alone.
    pub fn close_out(
        &mut self,
        outgoing: Outgoing,
        tries: u8,
        far_side: Option<&FarSide>,
        now: Tick,
    ) -> Result<CloseOutId, NotSent> {
        if self.table.is_full() {
            return Err(NotSent::Full);
        }
        let close_out = CloseOut { open: 0, is_certain: true };
        let id = self.close_outs.insert(close_out).ok_or(NotSent::Full)?;
        let mut attempt = self.attempt(Method::Invite, outgoing);
        let is_answered = far_side.is_some_and(|far| far.is_answered);
        for part in (1..=tries.min(TRIES_MAX)).filter(|_| !is_answered) {
            if part > 1 {
                self.next_try(&mut attempt);
            }
            let Ok(invite) = self.print_attempt(&attempt, None) else { continue };
            let timing = self.config.timing;
            let key = client_key(&attempt.branch, &Method::Invite, self.keys);
            let purpose = Purpose::CloseOut(id, part);
            let machine = InviteClient::taken_up(&timing, now);
            let request = invite.clone();
            let role = Role::InviteClient {
                machine,
                request,
                acks: Vec::new(),
                purpose,
                cseq: attempt.cseq,
            };
            let flow = attempt.outgoing.flow;
            if self.table.insert(key, flow, role).is_some() {
                self.open_part(id, part);
                self.send_cancel(flow, &invite, None, purpose, now);
            }
        }
        if let Some(far) = far_side
            && let Ok(invite) = self.print_attempt(&attempt, None)
        {
            let mut dialog = far.dialog(&invite);
            let flow = attempt.outgoing.flow;
            let (bye, purpose) = (Inside::of(Method::Bye), Purpose::CloseOut(id, BYE));
            if self.send_inside(flow, &mut dialog, &bye, purpose, now).is_some() {
                self.open_part(id, BYE);
            }
        }
        if self.close_outs.get(id).is_some_and(|one| one.open == 0) {
            self.close_outs.remove(id);
            return Err(NotSent::Full);
        }
        Ok(id)
    }

    /// The peer has spoken about this part, or has been silent for as long as it may be.
    pub(super) fn close_part(&mut self, id: CloseOutId, part: u8, is_certain: bool) {
        let Some(close_out) = self.close_outs.get_mut(id) else { return };
        if close_out.open & 1 << part == 0 {
            return;
        }
        close_out.open &= !(1 << part);
        close_out.is_certain &= is_certain;
        if close_out.open == 0 {
            let is_certain = close_out.is_certain;
            self.close_outs.remove(id);
            self.events.push_back(Event::ClosedOut { id, is_certain });
        }
    }

    /// A final response to an INVITE. A try is made only after the one before it was refused, so
    /// that one that ends otherwise than by a challenge speaks for all.
    pub(super) fn on_close_out_ended(&mut self, id: CloseOutId, part: u8, status: u16) {
        let parts = if matches!(status, 401 | 407 | 422) { part..=part } else { 1..=TRIES_MAX };
        for part in parts {
            self.close_part(id, part, true);
        }
    }

    /// A final response to a CANCEL or BYE. To a CANCEL 2xx says that the INVITE's own response
    /// follows; anything else that there is no such INVITE to be cancelled.
    pub(super) fn on_close_out_answered(&mut self, id: CloseOutId, part: u8, status: u16) {
        if part == BYE || status >= 300 {
            self.close_part(id, part, true);
        }
    }

    fn open_part(&mut self, id: CloseOutId, part: u8) {
        if let Some(close_out) = self.close_outs.get_mut(id) {
            close_out.open |= 1 << part;
        }
    }
}

impl FarSide {
    /// What a response to an INVITE of ours says of its sender; `None` without a To tag.
    pub fn of(response: &[u8]) -> Option<Self> {
        let response = Message::parse(response).ok()?;
        let is_answered = response.status()? >= 200;
        let dialog = Dialog::of_response(&response)?;
        (!dialog.remote_tag.is_empty()).then(|| Self {
            is_answered,
            to: dialog.remote.into(),
            target: dialog.remote_target.into(),
            routes: dialog.route_set.into_iter().map(String::from).collect(),
            cseq: dialog.local_cseq,
        })
    }

    /// The dialog with it, for an INVITE that was printed anew.
    fn dialog(&self, invite: &[u8]) -> Dialog {
        let invite = Message::parse(invite).expect("we printed it ourselves");
        Dialog {
            call_id: invite.call_id().unwrap_or_default().into(),
            local: invite.text(Name::From).unwrap_or_default().into(),
            remote: self.to.as_str().into(),
            remote_target: self.target.as_str().into(),
            route_set: self.routes.iter().map(|route| route.as_str().into()).collect(),
            local_cseq: self.cseq,
            is_caller: true,
            ..Dialog::default()
        }
    }
}
