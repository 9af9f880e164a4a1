//! Texts between extensions: a MESSAGE is handed on to every phone of whom it is for (RFC 3428).

use std::collections::BTreeMap;

use crate::base::Tick;
use crate::call::dial::Caller;
use crate::call::switch::dial::outgoing_to;
use crate::call::switch::inquiry::Asker;
use crate::call::switch::register::{Identity, Unproven};
use crate::call::switch::{Fact, Switch};
use crate::sip::{
    Body, Flow, MAX_FORWARDS, Message, Method, Name, Outgoing, RequestId, TransactionId,
};

/// Bytes of a text; a longer one is answered 513 (RFC 3428 §8: what must not be cut on its way).
const TEXT_MAX: usize = 1300;

/// Texts that were handed on, until each phone has answered.
#[derive(Debug, Default)]
pub(super) struct Texts {
    /// The sender's request by ours; one of his for each phone that is asked.
    asked: BTreeMap<RequestId, TransactionId>,
}

/// Why a text is not handed on.
#[derive(Debug)]
struct Refusal {
    status: u16,
    why: &'static str,
}

impl Refusal {
    const fn of(status: u16, why: &'static str) -> Self {
        Self { status, why }
    }
}

impl Switch {
    /// A MESSAGE came. Who sent it is who proved it, whatever its From says.
    pub(super) fn on_text(&mut self, request: TransactionId, bytes: &[u8], flow: Flow, now: Tick) {
        let Ok(message) = Message::parse(bytes) else {
            unreachable!("the endpoint hands on only what it could read");
        };
        let judged = self.identify(Asker::Text(request), &message, bytes, flow, now);
        self.on_text_judged(request, bytes, flow, judged, now);
    }

    /// It is known who sends a text, or that nobody knows.
    pub(super) fn on_text_judged(
        &mut self,
        request: TransactionId,
        bytes: &[u8],
        flow: Flow,
        judged: Result<Identity, Unproven>,
        now: Tick,
    ) {
        let Ok(message) = Message::parse(bytes) else {
            unreachable!("the endpoint hands on only what it could read");
        };
        let identity = match judged {
            Ok(identity) => identity,
            Err(unproven) => return self.refuse_unproven(request, flow, &unproven, "MESSAGE"),
        };
        if let Err(Refusal { status, why }) = self.hand_on(request, &message, &identity, now) {
            self.tell(Fact::Refused { source: flow.remote, status, why: why.to_owned() });
            let warning = format!("399 ringback \"{why}\"");
            self.endpoint.respond(request, status, &[("Warning", &warning)], None, now);
        }
    }

    fn hand_on(
        &mut self,
        request: TransactionId,
        message: &Message<'_>,
        identity: &Identity,
        now: Tick,
    ) -> Result<(), Refusal> {
        let Identity::Extension { trigger, extension } = identity else {
            return Err(Refusal::of(403, "texts are handed on between extensions only"));
        };
        if message.body.len() > TEXT_MAX {
            return Err(Refusal::of(513, "a text has at most 1300 bytes"));
        }
        let workflow = self.triggers[*trigger].workflow;
        let uri = message.request_uri().ok();
        let number = uri.and_then(|uri| uri.user_decoded().map(|user| user.into_owned()));
        let number = number.filter(|number| self.site.has_extension(workflow, number));
        let number = number.ok_or(Refusal::of(404, "no extension has this number"))?;
        let targets = self.site.extension_targets(workflow, &number);
        if targets.is_empty() {
            return Err(Refusal::of(480, "the extension is not registered"));
        }
        let hops = message.max_forwards().ok().flatten().unwrap_or(MAX_FORWARDS);
        let caller = Caller {
            number: extension.clone(),
            max_forwards: Some(hops.saturating_sub(1)),
            ..Caller::default()
        };
        let content_type = message.text(Name::ContentType).unwrap_or("text/plain").to_owned();
        let body = Some(Body { content_type, bytes: message.body.to_vec() });
        let mut is_sent = false;
        for target in &targets {
            let outgoing = Outgoing { body: body.clone(), ..outgoing_to(target, &caller) };
            if let Ok(id) = self.endpoint.request(Method::Message, outgoing, now) {
                self.texts.asked.insert(id, request);
                is_sent = true;
            }
        }
        if is_sent { Ok(()) } else { Err(Refusal::of(503, "no room for another request")) }
    }

    /// A phone has answered a text; `false` when it was no text. The first that takes it, or the
    /// last that does not, is what the sender hears.
    pub(super) fn on_text_answered(&mut self, id: RequestId, status: u16, now: Tick) -> bool {
        let Some(request) = self.texts.asked.remove(&id) else { return false };
        let is_last = self.texts.asked.values().all(|other| *other != request);
        if (200..300).contains(&status) || is_last {
            self.endpoint.respond(request, status, &[], None, now);
        }
        true
    }
}
