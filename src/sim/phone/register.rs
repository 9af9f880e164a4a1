//! A phone's registration: made, refreshed before it ends, taken back, or simply left to die.

use super::*;

impl Phone {
    /// Registers as this user, and again before the registration ends; calls prove the same user.
    pub fn register(&mut self, server: SocketAddr, user: &str, password: &str, now: Tick) {
        self.forget_registration();
        let credentials = Credentials::new(user, password);
        self.registration = Some(Registration { server, credentials, refresh_timer: None });
        self.send_register(self.expires, now);
        self.drain(now);
    }

    /// Calls as this user, who is registered elsewhere or not at all.
    #[must_use]
    pub fn proving(mut self, credentials: Credentials) -> Self {
        let server = self.sip;
        self.registration = Some(Registration { server, credentials, refresh_timer: None });
        self
    }

    /// Registers the user that it proves, at once.
    pub fn register_again(&mut self, server: SocketAddr, now: Tick) {
        if let Some(known) = &mut self.registration {
            self.timers.clear_slot(&mut known.refresh_timer);
            known.server = server;
        }
        self.send_register(self.expires, now);
        self.drain(now);
    }

    /// Wants to be registered for so many seconds; 600 unless told.
    #[must_use]
    pub const fn registering_for(mut self, expires: u32) -> Self {
        self.expires = expires;
        self
    }

    /// Takes its registration back; its calls prove nobody from now on.
    pub fn unregister(&mut self, now: Tick) {
        self.send_register(0, now);
        self.forget_registration();
        self.drain(now);
    }

    /// Is cut off: it no longer refreshes its registration, and says nothing.
    pub fn vanish(&mut self) {
        self.forget_registration();
    }

    pub(super) fn send_register(&mut self, expires: u32, now: Tick) {
        let Some(Registration { server, credentials, .. }) = &self.registration else { return };
        let server = *server;
        let party = self.party(server);
        let outgoing = Outgoing {
            flow: self.flow_to(server),
            request_uri: format!("sip:{server}"),
            from: party.clone(),
            to: party,
            headers: vec![("Expires".to_owned(), expires.to_string())],
            body: None,
            credentials: Some(credentials.clone()),
            derived: None,
            max_forwards: sip::MAX_FORWARDS,
        };
        // A phone that has no room to ask is not registered, which the story will see.
        let _ = self.endpoint.request(Method::Register, outgoing, now);
    }

    /// The outcome of a REGISTER; half of what was granted is left when the next one leaves.
    pub(super) fn on_registered(&mut self, status: u16, message: Option<&[u8]>, now: Tick) {
        self.tell(PhoneEvent::Registered(status), now);
        let granted = message.filter(|_| status == 200).and_then(|bytes| granted(bytes, self.sip));
        let (Some(known), Some(granted)) = (&mut self.registration, granted) else { return };
        self.timers.clear_slot(&mut known.refresh_timer);
        let due = now + Duration::from_secs(granted.into()) / 2;
        known.refresh_timer = Some(self.timers.arm(due, Wake::Refresh));
    }

    fn forget_registration(&mut self) {
        if let Some(mut known) = self.registration.take() {
            self.timers.clear_slot(&mut known.refresh_timer);
        }
    }
}

/// The seconds that a registrar granted the contact at this address.
fn granted(response: &[u8], address: SocketAddr) -> Option<u32> {
    let message = Message::parse(response).ok()?;
    let host = format!("@{address}");
    for contact in message.contacts().filter_map(Result::ok) {
        if let Some(own) = contact.address().filter(|own| own.uri_text.ends_with(&host)) {
            return own.expires();
        }
    }
    None
}
