//! The JSON of an item, of which some members may be made only when somebody asks for one of them.
//!
//! The item of a call carries its whole INVITE as an object. Made at once that would be most of what a
//! call takes of memory, and hardly a flow looks at it.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use serde_json::Value;

use crate::flow::{Object, member};

/// Members that are made when one of them is asked for.
pub trait LateMembers: fmt::Debug + Send + Sync {
    /// Their keys.
    fn keys(&self) -> &'static [&'static str];
    /// About how many bytes their texts have.
    fn bytes(&self) -> usize;
    /// All members in their order, with those that are made already; the same each time.
    fn whole(&self, made: &Object) -> Object;
}

/// What expressions read as `$json`. It is an [`Object`] to whoever reads it.
#[derive(Debug, Default)]
pub struct Json {
    made: Object,
    late: Option<Box<Late>>,
}

#[derive(Debug)]
struct Late {
    members: Arc<dyn LateMembers>,
    /// All members, once somebody has asked for more than those that are made.
    whole: OnceLock<Object>,
}

impl Json {
    /// These members, and others that are made when one of them is asked for.
    pub fn with_late(made: Object, members: Arc<dyn LateMembers>) -> Self {
        Self { made, late: Some(Box::new(Late { members, whole: OnceLock::new() })) }
    }

    /// A member; late ones are made for one of them only.
    pub fn get(&self, key: &str) -> Option<&Value> {
        member(if self.is_late(key) { self.whole() } else { &self.made }, key)
    }

    /// Whether there is such a member; nothing is made for it.
    pub fn contains_key(&self, key: &str) -> bool {
        self.is_late(key) || member(&self.made, key).is_some()
    }

    /// The members but for those that nobody has asked for, and about how many bytes these have.
    pub fn made(&self) -> (&Object, usize) {
        match &self.late {
            Some(late) => match late.whole.get() {
                Some(whole) => (whole, 0),
                None => (&self.made, late.members.bytes()),
            },
            None => (&self.made, 0),
        }
    }

    /// What makes the others, while nobody has asked for one.
    pub fn late(&self) -> Option<&Arc<dyn LateMembers>> {
        self.late.as_ref().filter(|late| late.whole.get().is_none()).map(|late| &late.members)
    }

    /// All members, to change.
    pub fn whole_mut(&mut self) -> &mut Object {
        if let Some(late) = self.late.take() {
            self.made = match late.whole.into_inner() {
                Some(whole) => whole,
                None => late.members.whole(&self.made),
            };
        }
        &mut self.made
    }

    fn is_late(&self, key: &str) -> bool {
        self.late.as_ref().is_some_and(|late| late.members.keys().contains(&key))
    }

    fn whole(&self) -> &Object {
        match &self.late {
            Some(late) => late.whole.get_or_init(|| late.members.whole(&self.made)),
            None => &self.made,
        }
    }
}

impl From<Object> for Json {
    fn from(made: Object) -> Self {
        Self { made, late: None }
    }
}

impl Deref for Json {
    type Target = Object;

    fn deref(&self) -> &Object {
        self.whole()
    }
}

impl Clone for Json {
    /// A copy is made to be changed, so it is whole.
    fn clone(&self) -> Self {
        self.whole().clone().into()
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.whole() == other.whole()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use serde_json::json;

    use super::*;

    #[derive(Debug)]
    struct Counted(Arc<AtomicU32>);

    impl LateMembers for Counted {
        fn keys(&self) -> &'static [&'static str] {
            &["raw"]
        }

        fn bytes(&self) -> usize {
            3
        }

        fn whole(&self, made: &Object) -> Object {
            self.0.fetch_add(1, Ordering::Relaxed);
            let raw = ("raw".to_owned(), Value::from("INV"));
            made.clone()
                .into_iter()
                .take(1)
                .chain([raw])
                .chain(made.clone().into_iter().skip(1))
                .collect()
        }
    }

    #[test]
    fn late_members_are_made_once_and_only_when_one_is_asked_for() {
        let count = Arc::new(AtomicU32::new(0));
        let made = json!({ "a": 1, "b": 2 }).as_object().unwrap().clone();
        let json = Json::with_late(made.clone(), Arc::new(Counted(count.clone())));
        assert_eq!((json.get("a"), json.get("c")), (Some(&json!(1)), None));
        assert!(json.contains_key("raw") && json.made() == (&made, 3) && json.late().is_some());
        assert_eq!(count.load(Ordering::Relaxed), 0);
        assert_eq!(json.get("raw"), Some(&json!("INV")));
        assert_eq!(json.keys().collect::<Vec<_>>(), ["a", "raw", "b"]);
        assert_eq!((json.made().1, json.len(), json.late().is_none()), (0, 3, true));
        let mut copy = json.clone();
        copy.whole_mut().insert("c".to_owned(), 3.into());
        assert_eq!((copy.len(), json.len()), (4, 3));
        assert_eq!(count.load(Ordering::Relaxed), 1);
    }
}
