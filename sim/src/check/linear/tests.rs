//! Histories that must pass, such that must not, and many small ones that are tried in all orders.

use super::*;
use crate::rng::Rng;

const CREATED: Outcome = Outcome::Created { generation: 1 };

fn there(generation: u64, host: u32) -> Outcome {
    Outcome::There { generation: Some(generation), host }
}

/// A call of a peer, from and to a time; 0 for no answer.
fn call(by: u32, act: Act, [from, to]: [u64; 2], outcome: Outcome) -> Call {
    Call { by, act, asked_us: from, answered: (to > 0).then_some((to, outcome)) }
}

fn history(calls: &[Call]) -> History<&'static str> {
    let mut history = History::default();
    for call in calls {
        let number = history.asked(call.asked_us, "t", call.by, call.act);
        if let Some((at_us, outcome)) = call.answered {
            history.answered(at_us, number, Some(outcome));
        }
    }
    history
}

#[track_caller]
fn passes(calls: &[Call]) {
    let answered = calls.iter().filter(|call| call.answered.is_some()).count();
    assert_eq!(history(calls).check(), Ok(answered));
}

/// The call that fits nowhere is that with this number.
#[track_caller]
fn fails(calls: &[Call], expected: usize) {
    let mut verdicts = Verdicts::default();
    history(calls).judge(&mut verdicts);
    assert!(verdicts.broke(RULE));
    match history(calls).check() {
        Err(Fault::Broken { call, .. }) => assert_eq!(call, calls[expected]),
        other => panic!("not refuted: {other:?}"),
    }
}

#[test]
fn calls_one_after_the_other_are_explained_by_the_register() {
    passes(&[
        call(1, Act::Read, [1, 2], Outcome::Absent),
        call(1, Act::Create, [3, 4], CREATED),
        call(2, Act::Create, [5, 6], Outcome::There { generation: None, host: 1 }),
        call(2, Act::Delete, [7, 8], there(1, 1)),
        call(2, Act::Read, [9, 10], there(1, 1)),
        call(1, Act::Create, [11, 12], CREATED),
        call(1, Act::Delete, [13, 14], Outcome::Deleted),
        call(1, Act::Delete, [15, 16], Outcome::Absent),
        call(2, Act::Create, [17, 18], Outcome::Created { generation: 2 }),
    ]);
}

#[test]
fn two_owners_and_reads_that_go_back_fit_nowhere() {
    let created = call(1, Act::Create, [1, 2], CREATED);
    let deleted = call(1, Act::Delete, [3, 4], Outcome::Deleted);
    let read = |outcome| call(3, Act::Read, [5, 6], outcome);
    fails(&[created, call(2, Act::Create, [3, 4], CREATED)], 1);
    fails(&[created, call(2, Act::Create, [3, 4], Outcome::Created { generation: 2 })], 1);
    fails(&[created, read(Outcome::Absent)], 1);
    fails(&[created, read(there(2, 1))], 1);
    fails(&[created, read(there(1, 2))], 1);
    fails(&[created, deleted, read(there(1, 1))], 2);
    fails(&[created, deleted, call(2, Act::Create, [5, 6], CREATED)], 2);
    fails(&[created, deleted, call(1, Act::Create, [5, 6], there(1, 1))], 2);
    fails(&[created, call(2, Act::Delete, [3, 4], Outcome::Deleted)], 1);
    fails(&[created, call(2, Act::Delete, [3, 4], Outcome::Absent)], 1);
    fails(&[created, call(1, Act::Delete, [3, 4], there(1, 1))], 1);
    fails(&[read(there(1, 1))], 0);
}

#[test]
fn who_asks_at_the_same_time_may_be_answered_in_any_order() {
    let both = [
        call(1, Act::Create, [1, 9], there(1, 2)),
        call(2, Act::Create, [2, 8], CREATED),
        call(3, Act::Read, [3, 7], Outcome::Absent),
        call(4, Act::Read, [3, 6], there(1, 2)),
        call(5, Act::Delete, [1, 2], Outcome::Absent),
    ];
    passes(&both);
    // A deletion and a new creation within one read, and before what was asked first.
    passes(&[
        call(1, Act::Create, [1, 2], CREATED),
        call(9, Act::Create, [3, 20], there(2, 2)),
        call(8, Act::Read, [3, 21], Outcome::Absent),
        call(1, Act::Delete, [4, 10], Outcome::Deleted),
        call(2, Act::Create, [4, 11], Outcome::Created { generation: 2 }),
    ]);
    // New for one and old for the next: each alone is right.
    let mut stale = both.to_vec();
    stale.push(call(6, Act::Read, [7, 8], Outcome::Absent));
    fails(&stale, 5);
}

#[test]
fn what_was_not_answered_may_have_happened_at_any_later_time_or_never() {
    let lost = call(1, Act::Create, [1, 0], CREATED);
    let read = |at: u64, outcome| call(3, Act::Read, [at, at + 1], outcome);
    passes(&[lost, read(5, Outcome::Absent)]);
    passes(&[lost, read(5, Outcome::Absent), read(7, there(1, 1)), read(9, there(1, 1))]);
    passes(&[lost, read(5, there(4, 1))]);
    fails(&[lost, read(5, there(1, 1)), read(7, Outcome::Absent)], 2);
    fails(&[lost, read(5, there(1, 2))], 1);
    fails(&[read(1, there(1, 1)), call(1, Act::Create, [3, 0], CREATED)], 0);
    // It happens once.
    let deleted = call(1, Act::Delete, [7, 8], Outcome::Deleted);
    passes(&[lost, read(5, there(1, 1)), deleted, read(9, Outcome::Absent)]);
    fails(&[lost, read(5, there(1, 1)), deleted, read(9, there(2, 1))], 3);
    let other = call(1, Act::Create, [2, 0], CREATED);
    passes(&[lost, other, read(5, there(1, 1)), deleted, read(9, there(2, 1))]);
    fails(&[lost, other, read(5, there(1, 1)), deleted, read(9, there(1, 1))], 4);
    // A read that nobody was told of says nothing.
    passes(&[call(1, Act::Read, [1, 0], CREATED), read(5, Outcome::Absent)]);
}

#[test]
fn many_calls_of_unknown_outcome_cost_little() {
    let mut calls = Vec::new();
    for n in 0..200 {
        calls.push(call(n % 20, Act::Create, [1 + u64::from(n), 0], CREATED));
        calls.push(call(n % 20, Act::Delete, [1 + u64::from(n), 0], CREATED));
    }
    for n in 1..=200 {
        let at = 1_000 * n;
        let host = u32::try_from(n % 20).expect("small");
        calls.push(call(30, Act::Read, [at, at + 1], there(n, host)));
        calls.push(call(31, Act::Read, [at + 2, at + 3], Outcome::Absent));
    }
    passes(&calls);
    calls.push(call(30, Act::Read, [900_000, 900_001], there(200, 1)));
    fails(&calls, calls.len() - 1);
}

#[test]
fn what_exceeds_a_limit_does_not_pass() {
    let mut short = History::with_room(1);
    let number = short.asked(1, "t", 1, Act::Read);
    short.answered(2, number, Some(Outcome::Absent));
    assert_eq!(short.check(), Ok(1));
    short.asked(3, "t", 1, Act::Read);
    assert_eq!((short.check(), short.len()), (Err(Fault::TooLong), 1));

    // Each after the one before it, if that was before: any part of them may have had its turn.
    let mut calls: Vec<Call> = Vec::new();
    for n in 0..16 {
        let created = Outcome::Created { generation: u64::from(n) + 1 };
        calls.push(call(n, Act::Create, [1, 100], created));
        calls.push(call(n, Act::Delete, [1, 100], Outcome::Deleted));
    }
    assert!(matches!(history(&calls).check(), Err(Fault::TooMany { key: "t", .. })));
}

#[test]
fn after_a_loss_of_everything_what_was_answered_does_not_count() {
    let mut history =
        history(&[call(1, Act::Create, [1, 2], CREATED), call(2, Act::Create, [3, 0], CREATED)]);
    assert_eq!((history.host(&"t"), history.topics()), (Some(1), 1));
    history.void(4);
    let read = |history: &mut History<_>, at: u64, outcome| {
        let number = history.asked(at, "t", 3, Act::Read);
        history.answered(at + 1, number, Some(outcome));
    };
    // Its host tells the seeds anew that it is there.
    for outcome in [Outcome::Absent, there(1, 1), Outcome::Absent] {
        read(&mut history, 10, outcome);
    }
    assert_eq!(history.check(), Ok(0));
    read(&mut history, ANEW_US + 10, Outcome::Absent);
    read(&mut history, ANEW_US + 12, there(9, 2));
    assert_eq!(history.check(), Ok(2));
    read(&mut history, ANEW_US + 14, there(9, 1));
    assert!(matches!(history.check(), Err(Fault::Broken { .. })));
}

/// Whether any order explains the calls, tried one after the other.
fn explained(calls: &[Call], now: Register, done: &mut Vec<usize>) -> bool {
    let is_left = |at: &usize| !done.contains(at);
    let left: Vec<usize> = (0..calls.len()).filter(is_left).collect();
    let answers = left.iter().filter_map(|at| Some(calls[*at].answered?.0));
    let Some(first_answer) = answers.min() else { return true };
    let is_next = |at: &usize| calls[*at].asked_us <= first_answer;
    for at in left.into_iter().filter(is_next) {
        let Call { by, act, answered, .. } = calls[at];
        let after = match answered {
            Some((_, outcome)) => now.after((by, act), outcome),
            None => now.after_unknown((by, act)),
        };
        if let Some(after) = after {
            done.push(at);
            let found = explained(calls, after, done);
            done.pop();
            if found {
                return true;
            }
        }
    }
    false
}

fn random_call(rng: &mut Rng) -> Call {
    let draw = |rng: &mut Rng, below: u64| u32::try_from(rng.below(below)).expect("small");
    let by = draw(rng, 3);
    let outcome = match rng.below(6) {
        0 | 1 => Outcome::Created { generation: rng.between(1, 2) },
        2 => Outcome::Deleted,
        3 => Outcome::Absent,
        4 => Outcome::There { generation: None, host: draw(rng, 3) },
        _ => there(rng.between(1, 2), draw(rng, 3)),
    };
    let act = match outcome {
        Outcome::Created { .. } => Act::Create,
        Outcome::Deleted => Act::Delete,
        _ => [Act::Create, Act::Delete, Act::Read][rng.index(3)],
    };
    let from = rng.between(1, 12);
    let to = if rng.below(5) == 0 { 0 } else { from + rng.between(1, 6) };
    call(by, act, [from, to], outcome)
}

#[test]
fn small_histories_are_judged_as_by_trying_all_orders() {
    let mut rng = Rng::new(1, "linear");
    let mut judged = [0; 2];
    for _ in 0..30_000 {
        let many = rng.between(2, 7);
        let calls: Vec<Call> = (0..many).map(|_| random_call(&mut rng)).collect();
        let expected = explained(&calls, Register::NEW, &mut Vec::new());
        assert_eq!(history(&calls).check().is_ok(), expected, "{calls:#?}");
        judged[usize::from(expected)] += 1;
    }
    assert!(judged.iter().all(|of| *of > 1_000), "one-sided: {judged:?}");
}
