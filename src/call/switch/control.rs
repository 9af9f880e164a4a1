//! Answering and hanging up, and what offer and answer mean for the media leg.

use std::sync::Arc;

use crate::base::Tick;
use crate::call::leg::{EndReason, LegRef, Status};
use crate::call::switch::ask::{Ask, Failed};
use crate::call::switch::{Fact, Output, Switch};
use crate::media::{self, Codec, Command, Stream};
use crate::sdp::{self, Encoding, Negotiated};
use crate::sip::{Body, Message};

impl Switch {
    /// `call.answer`. Answering an answered leg changes nothing.
    pub(super) fn answer_call(&mut self, ask: &Ask, now: Tick) -> Result<LegRef, Failed> {
        let (id, _) = self.live_leg_of(ask)?;
        self.answer_leg(id, now)?;
        Ok(id)
    }

    /// Answers a leg; an answered one stays as it is, and one of ours is not ours to answer.
    pub(super) fn answer_leg(&mut self, id: LegRef, now: Tick) -> Result<(), Failed> {
        let leg = self.legs.get_mut(id).ok_or(Failed::LegUnknown)?;
        if leg.is_answered() || !leg.is_inbound {
            self.touch(id, now);
            return Ok(());
        }
        let dialog = leg.dialog;
        let body = match leg.audio.offer.take() {
            Some(offer) => {
                let (body, agreed) = offer.answer(&leg.audio.local).map_err(|_| Failed::NoMedia)?;
                leg.audio.agreed = Some(agreed);
                body
            }
            // The caller leaves the offer to us; his answer comes with the ACK (RFC 3261 §13.2.1).
            None => sdp::offer(&leg.audio.local),
        };
        leg.status = Status::Answered;
        leg.answered = Some(now);
        self.open_media(id);
        self.configure_media(id);
        self.endpoint.accept(dialog, Some(Body::sdp(body)), now);
        self.tell(Fact::Answered { leg: id });
        self.on_call_answered(id, now);
        self.ask_about_recording(id, now);
        self.touch(id, now);
        Ok(())
    }

    /// `call.hangup`. A leg that has just ended is as hung up as it can be.
    pub(super) fn hangup_call(&mut self, ask: &Ask, now: Tick) -> Result<LegRef, Failed> {
        let leg = self.leg_of(ask)?;
        self.hangup_leg(leg, EndReason::LocalHangup, now);
        Ok(leg)
    }

    /// Hangs up a leg in whatever state it is.
    pub(super) fn hangup_leg(&mut self, id: LegRef, reason: EndReason, now: Tick) {
        let Some(leg) = self.legs.get(id) else { return };
        if leg.end().is_none() {
            self.endpoint.hangup(leg.dialog, why(reason), now);
            self.end_leg(id, reason, now);
        }
    }

    /// The far side's answer to our offer is there.
    pub(super) fn on_answer(&mut self, id: LegRef, body: &[u8], now: Tick) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        match sdp::settle(body, &leg.audio.local) {
            Ok(agreed) => {
                leg.audio.agreed = Some(agreed);
                self.configure_media(id);
            }
            Err(_) => self.hangup_leg(id, EndReason::Rejected(488), now),
        }
    }

    /// The far side changes the session: hold, resume, another address or codec.
    pub(super) fn on_offer(&mut self, id: LegRef, body: &[u8], now: Tick) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        let mut local = leg.audio.local.clone();
        local.version += 1;
        let dialog = leg.dialog;
        let answer = if body.is_empty() {
            Ok((sdp::offer(&local), None))
        } else {
            sdp::answer(body, &local).map(|(body, agreed)| (body, Some(agreed)))
        };
        match answer {
            Ok((body, agreed)) => {
                leg.audio.local = local;
                leg.audio.agreed = agreed.or(leg.audio.agreed);
                self.configure_media(id);
                self.endpoint.answer_offer(dialog, Ok(Some(Body::sdp(body))), now);
            }
            Err(unacceptable) => {
                self.endpoint.answer_offer(dialog, Err(unacceptable.status()), now);
            }
        }
    }

    /// The session is offered again as it is, so that the far side shows that it is there.
    pub(super) fn refresh_offer(&mut self, id: LegRef, now: Tick) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        leg.audio.local.version += 1;
        let (dialog, body) = (leg.dialog, sdp::offer(&leg.audio.local));
        self.endpoint.offer(dialog, Some(Body::sdp(body)), now);
    }

    /// Opens the media leg, unless it is.
    pub(super) fn open_media(&mut self, id: LegRef) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        if !std::mem::replace(&mut leg.audio.is_open, true) {
            let port = leg.audio.local.address.port();
            let finds_digits = leg.audio.finds_digits;
            self.outputs.push_back(Output::OpenMedia { leg: media_leg(id), port });
            if finds_digits {
                let command = Command::FindDigits { leg: media_leg(id), is_on: true };
                self.outputs.push_back(Output::Media(command));
            }
        }
    }

    /// Tells the media leg what was agreed on.
    pub(super) fn configure_media(&mut self, id: LegRef) {
        let Some(leg) = self.legs.get(id) else { return };
        if let (true, Some(agreed)) = (leg.audio.is_open, leg.audio.agreed) {
            let command = Command::Configure { leg: media_leg(id), stream: stream(&agreed) };
            self.outputs.push_back(Output::Media(command));
        }
    }
}

/// What a phone that rang in vain is told, so that it shows no missed call (RFC 3326 §2).
const fn why(reason: EndReason) -> Option<&'static str> {
    match reason {
        EndReason::ParallelLoser => Some("SIP;cause=200;text=\"Call completed elsewhere\""),
        EndReason::RemoteHangup
        | EndReason::Cancelled
        | EndReason::LocalHangup
        | EndReason::FreeTtl
        | EndReason::Lost
        | EndReason::Rejected(_)
        | EndReason::Broken
        | EndReason::Panicked
        | EndReason::NoAudio
        | EndReason::RangOut
        | EndReason::PeerRejected(_) => None,
    }
}

/// The media thread's name for a leg.
pub(super) const fn media_leg(id: LegRef) -> media::LegId {
    media::LegId(id.as_u64())
}

/// What was negotiated, in the words of the media room.
fn stream(agreed: &Negotiated) -> Stream {
    let nowhere = std::net::SocketAddr::from(([0, 0, 0, 0], 0));
    Stream {
        remote: agreed.remote.unwrap_or(nowhere),
        codec: match agreed.encoding {
            Encoding::Pcmu => Codec::Pcmu,
            Encoding::Pcma => Codec::Pcma,
            Encoding::G722 => Codec::G722,
            Encoding::L16 => Codec::L16,
        },
        payload_type: agreed.payload_type,
        event_payload_type: agreed.event_payload_type,
        sending: agreed.direction.sends() && agreed.remote.is_some(),
        receiving: agreed.direction.receives(),
    }
}

/// The body of a message, shared.
pub(super) fn body_of(message: &[u8]) -> Arc<[u8]> {
    let parsed = Message::parse(message);
    parsed.map(|message| Arc::from(message.body)).unwrap_or_default()
}
