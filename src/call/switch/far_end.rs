//! Telephones that may not know what became of a leg: of our hang-up, or that nobody hears them.

use std::time::Duration;

use crate::base::{Tick, take_out};
use crate::call::leg::LegRef;
use crate::call::switch::Switch;
use crate::sip::DialogId;

/// How long a telephone may ring that was silent for 64·T1: with it, the three minutes of Timer C
/// (RFC 3261 §16.6), after which any proxy between gives up.
const RINGS_ON: Duration = Duration::from_secs(148);

/// Who is at the other end of a leg, if it must not be rung twice.
#[derive(Debug)]
pub(super) enum FarEnd {
    /// An extension of a workflow.
    Extension(usize, String),
    /// A customer who is called back, by number.
    Customer(String),
}

impl Switch {
    /// Who is at the other end.
    pub(super) fn far_end(&self, id: LegRef) -> Option<FarEnd> {
        let leg = self.legs.get(id)?;
        let extension = leg.origin.extension.clone();
        let extension = extension.map(|number| FarEnd::Extension(leg.origin.workflow, number));
        extension.or_else(|| leg.called_back.clone().map(FarEnd::Customer))
    }

    /// The wire is done with a leg that has ended. Only now its extension may be rung again: it
    /// could have answered while our CANCEL was under way, and would be busy.
    pub(super) fn on_dialog_closed(&mut self, dialog: DialogId, is_certain: bool, now: Tick) {
        let Some(far_end) = take_out(&mut self.leaving, &dialog) else { return };
        if !is_certain {
            self.on_unheard(&far_end, now);
        }
        match far_end {
            FarEnd::Extension(workflow, number) => {
                self.on_extension_leg_ended(workflow, &number, now);
            }
            FarEnd::Customer(number) if is_certain => {
                self.promises.book.rings_no_more(&number, now);
            }
            FarEnd::Customer(_) => {}
        }
    }

    /// Nothing was heard for 64·T1, and the telephone may ring all the same (A1, A4): it is left
    /// alone until it has rung for as long as any does.
    pub(super) fn on_unheard(&mut self, far_end: &FarEnd, now: Tick) {
        match far_end {
            FarEnd::Extension(workflow, number) => {
                self.rest_extension(*workflow, number, now + RINGS_ON);
            }
            FarEnd::Customer(number) => self.promises.book.may_ring_on(number, now),
        }
    }
}
