//! S8: no bytes and no order of events make a machine panic.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use tidings_proto::Instant;

use super::Verdicts;

/// The rule's name.
pub const RULE: &str = "S8 panic";

/// Runs `run`; a panic becomes a violation at the last known position, and `None`.
pub fn catch<T>(
    verdicts: &mut Verdicts,
    position: &Rc<Cell<(Instant, u32)>>,
    run: impl FnOnce() -> T,
) -> Option<T> {
    // Nothing that `run` touched is used after a panic but the position, which is plain data.
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(value) => Some(value),
        Err(payload) => {
            let (now, node) = position.get();
            verdicts.report(RULE, now, node, format_args!("{}", message(&*payload)));
            None
        }
    }
}

fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("a panic")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_with_time_node_and_message() {
        let position = Rc::new(Cell::new((Instant::from_millis(7), 3)));
        let mut verdicts = Verdicts::default();
        assert_eq!(catch(&mut verdicts, &position, || 5), Some(5));
        assert_eq!(catch(&mut verdicts, &position, || panic!("on {}", "purpose")), None::<()>);
        let violation = &verdicts.kept[0];
        assert_eq!((violation.at_us, violation.node), (7_000, 3));
        assert_eq!(violation.text, "on purpose");
        assert!(verdicts.broke(RULE));
    }
}
