//! After a panic: what it left behind of one message, one timer or one dialog is put away.

use std::sync::Arc;

use super::Endpoint;
use super::compose::Reply;
use super::leg::State;
use super::receive::{Incoming, client_key};
use super::table::{Purpose, Role};
use super::types::{DialogId, TransactionId};
use crate::base::Tick;
use crate::sip::transport::Flow;
use crate::sip::{Message, Method, Start};

impl Endpoint {
    /// Puts away what handling this message has left half done: a request that was not answered is
    /// answered 500 and forgotten. The dialog that the message is about, for its user to end.
    pub fn abandon_message(&mut self, flow: Flow, bytes: &[u8], now: Tick) -> Option<DialogId> {
        let bytes: Arc<[u8]> = Arc::from(bytes);
        let message = Message::parse(&bytes).ok()?;
        let Start::Request { method, .. } = &message.start else {
            let (via, cseq) = (message.via().ok()?, message.cseq().ok()?);
            let key = client_key(via.branch()?, &cseq.method, self.keys);
            return self.dialog_of_transaction(self.table.find(key)?);
        };
        let request = Incoming::read(flow, &bytes, &message, method, self.keys).ok()?;
        let inside = self.dialog_of(&request);
        match self.table.find(request.key) {
            Some(id) => {
                let dialog = self.dialog_of_transaction(id);
                let is_begun = dialog.is_some_and(|dialog| self.legs.get(dialog).is_some());
                if !is_begun && *method != Method::Ack {
                    self.reply(id, &Reply::of(500), now);
                }
                inside.or(dialog)
            }
            None => {
                if *method != Method::Ack {
                    self.reply_stateless(&request, &Reply::of(500));
                }
                inside
            }
        }
    }

    /// Forgets the transaction whose timer was the last to be due. Its dialog, for its user to end.
    pub fn abandon_timer(&mut self) -> Option<DialogId> {
        let id = self.table.last_due()?;
        let dialog = self.dialog_of_transaction(id);
        self.table.remove(id);
        dialog
    }

    /// Forgets a dialog and all its transactions, and says nothing to anybody.
    pub fn purge(&mut self, dialog: DialogId) {
        self.forget(dialog);
        for id in self.table.ids() {
            if self.dialog_of_transaction(id) == Some(dialog) {
                self.table.remove(id);
            }
        }
    }

    /// The Call-ID of a dialog, as long as it is known.
    pub fn call_id(&self, dialog: DialogId) -> Option<&str> {
        match &self.legs.get(dialog)?.state {
            State::Calling { attempt, .. } => Some(&attempt.call_id),
            State::Ringing { dialog, .. }
            | State::Talking { dialog, .. }
            | State::Leaving { dialog, .. } => Some(&dialog.call_id),
            State::Cancelling { .. } | State::Closing => None,
        }
    }

    fn dialog_of_transaction(&self, id: TransactionId) -> Option<DialogId> {
        match &self.table.get(id)?.role {
            Role::InviteServer { dialog, .. } => Some(*dialog),
            Role::Server { dialog, .. } => *dialog,
            Role::InviteClient { purpose, .. } | Role::Client { purpose, .. } => match purpose {
                Purpose::Begin(dialog)
                | Purpose::Offer(dialog)
                | Purpose::Refresh(dialog)
                | Purpose::Bye(dialog) => Some(*dialog),
                Purpose::CloseOut(..) | Purpose::Ask(_) | Purpose::Nothing => None,
            },
        }
    }
}
