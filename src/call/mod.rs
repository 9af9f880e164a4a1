//! Call: where the vocabularies meet: legs, triggers and the telephony nodes; [`Switch`] routes.
//!
//! A call comes in as a SIP event, becomes a [`leg::Leg`], starts a run of a flow, and is from then
//! on moved by what the run asks for. Signalling decides here; media and flow runs are told.

pub mod digits;
pub mod dial;
pub mod guard;
pub mod info;
pub mod leg;
pub mod node;
pub mod payload;
pub mod quality;
pub mod record;
pub mod show;
pub mod site;
pub mod switch;
pub mod trigger;
pub mod way;

pub use guard::{Blocked, Denied, Guard, QueueSettings, TrunkGuard};
pub use switch::{
    Config, Fact, Gauges, Keep, Keeping, Kept, NotPromised, NotReloaded, Origin, Output,
    PromiseCounts, PromiseMade, PromiseRequest, QueueCounts, QueueFigures, Reloaded, Remote,
    Switch, WORKFLOWS_MAX, Withdrawal, promise_value, queue_key,
};
pub use trigger::{ExtensionSettings, Peer, TrunkSettings};
