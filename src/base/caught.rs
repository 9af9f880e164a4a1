//! Panics: our own broken invariants, caught where one input ends, and told as text.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Does something. `Err` is what the panic said in which it ended; what it was changing may then be
/// half changed, and whoever catches here has to put that away.
pub fn caught<T>(act: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(act)).map_err(|panic| text_of(&*panic))
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_in_its_own_words() {
        assert_eq!(caught(|| 7), Ok(7));
        let number = 8;
        assert_eq!(caught(|| panic!("constant")), Err::<(), _>("constant".to_owned()));
        assert_eq!(caught(|| panic!("number {number}")), Err::<(), _>("number 8".to_owned()));
    }
}
