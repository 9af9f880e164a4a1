//! A phone that sends and takes texts (RFC 3428).

use super::*;
use crate::sip::TransactionId;

impl Phone {
    /// Sends a text to a user of the server.
    pub fn text(&mut self, user: &str, text: &str, now: Tick) {
        let Some(known) = &self.registration else { return };
        let (server, credentials) = (known.server, known.credentials.clone());
        let outgoing = Outgoing {
            flow: self.flow_to(server),
            request_uri: format!("sip:{user}@{server}"),
            from: self.party(server),
            to: Party { user: user.to_owned(), ..self.party(server) },
            headers: Vec::new(),
            body: Some(Body { content_type: "text/plain".to_owned(), bytes: text.into() }),
            credentials: Some(credentials),
            derived: None,
            max_forwards: sip::MAX_FORWARDS,
        };
        self.texts.extend(self.endpoint.request(Method::Message, outgoing, now));
        self.drain(now);
    }

    pub(super) fn on_request(&mut self, request: TransactionId, message: &[u8], now: Tick) {
        let Ok(message) = Message::parse(message) else { return };
        if message.method() != Some(&Method::Message) {
            return self.endpoint.respond(request, 405, &[], None, now);
        }
        let from = message.from().ok().and_then(|from| from.uri.user_decoded());
        let from = from.unwrap_or_default().into_owned();
        let text = String::from_utf8_lossy(message.body).into_owned();
        self.endpoint.respond(request, 200, &[], None, now);
        self.tell(PhoneEvent::Text(from, text), now);
    }
}
