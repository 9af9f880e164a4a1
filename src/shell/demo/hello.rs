//! The first act: one call through `flows/hello.json`.

use crate::shell::demo::act::{Act, Broken};
use crate::shell::phone::Role;
use crate::sim::PhoneEvent;
use crate::sip::Cause;

/// One phone.
pub(super) const ROLES: &[Role] = &[("phone", |phone| phone)];
const PHONE: usize = 0;
/// Samples of the prompt that are heard before a key is pressed: two seconds.
const LISTENED: usize = 16_000;

/// A prompt, a digit that interrupts it, a goodbye.
pub(super) fn play(act: &mut Act) -> Result<(), Broken> {
    let server = act.server();
    act.act(PHONE, |phone, now| phone.call("hello", server, now));
    act.comes("the call is answered", |stage| stage.phone(PHONE).is_talking())?;
    act.comes("sound arrives", |stage| stage.phone(PHONE).heard().len() >= LISTENED)?;
    act.hears(PHONE, "hello.wav", 0);
    let before = act.heard(PHONE);
    act.note("the phone presses 1");
    act.act(PHONE, |phone, now| phone.press("1", now));
    act.comes("the server hangs up", |stage| {
        let mut events = stage.phone(PHONE).events().iter();
        events.any(|(_, event)| *event == PhoneEvent::Ended(Cause::Bye))
    })?;
    act.hears(PHONE, "goodbye.wav", before);
    act.no_leg_is_left()
}
