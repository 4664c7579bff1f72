//! Is what publishers and devices are told one consistent story, whatever fails?
//!
//! Publishers at two replicas publish, promote, recall and read, the same versions with the same and with other bytes;
//! meanwhile answers to commits are lost, connections cut, replicas killed and started again. Every call is recorded
//! with its time and answer ([`history`]), and the history must be linearizable: there must be one order of all calls,
//! each between its invocation and its answer, in which a small sequential model ([`model`]) gives the same answers
//! ([`checker`], after Wing and Gong, with Lowe's memory).
//!
//! # What is asked of each kind of call
//! - publish, promote, recall, and reads at the publisher listener: linearizable, at any replica. A call without an
//!   answer may have happened at any time after its invocation, or never.
//! - checks: sequential per life of a replica, and not staler than [`history::STALENESS`] before the check's invocation
//!   (or before the replica's connection to the database was lost). A replica hears of a change by a notification or by
//!   its timer; so even a check right after a 201 of the same replica may be told what was there before.
//!
//! The seed is printed; `LINEARIZABLE_SEED=N` repeats a run's choices, though not its timing.
//!
//! The checker is our own, as what there is (stateright's tester) has no calls whose outcome is unknown and no bounded
//! staleness, and would bring a web server into the tests.

mod ask;
mod checker;
mod faults;
mod history;
mod load;
mod model;

use std::time::Duration;

use crate::harness::Backend;
use checker::{Verdict, judge};
use history::{Call, Operation, Reply};

/// How long publishers and devices are at work.
const WORK: Duration = Duration::from_secs(7);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_told_is_one_story_whatever_fails() {
    let seed = std::env::var("LINEARIZABLE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    eprintln!("LINEARIZABLE_SEED={seed}");
    let backend = Backend::production().await;
    let run = load::run(&backend, seed, WORK).await;
    eprintln!("{}", run.summary());
    assert!(run.lost_commits > 0 && run.kills > 0, "faults happened: {}", run.summary());
    for (product, operations) in run.histories {
        assert!(operations.len() > 30, "product {product} was worked on: {} calls", operations.len());
        let verdict = judge(&operations);
        assert!(
            matches!(verdict, Verdict::Linearizable { .. }),
            "LINEARIZABLE_SEED={seed}, product {product}: {verdict}"
        );
        // The same history with one lie in it is found out.
        let mut forged = operations;
        if let Some(lie) = forged.iter_mut().find(|operation| operation.reply == Reply::Conflict) {
            lie.reply = Reply::Created;
            let verdict = judge(&forged);
            assert!(
                !matches!(verdict, Verdict::Linearizable { .. }),
                "a second winner must not pass: {verdict}"
            );
        }
    }
}

/// A call from `invoked` to `returned`, in seconds.
fn call(call: Call, reply: Reply, invoked: f64, returned: f64) -> Operation {
    Operation::new(call, reply, Duration::from_secs_f64(invoked), Some(Duration::from_secs_f64(returned)))
}

fn publish(version: u8, bytes: u8, reply: Reply, invoked: f64, returned: f64) -> Operation {
    call(Call::Publish { version, bytes, offer: true }, reply, invoked, returned)
}

fn check(life: usize, offer: Option<(u8, u8)>, at: f64) -> Operation {
    call(Call::Check, Reply::Offer(offer), at, at + 0.01).by_replica(life, None)
}

fn unanswered(call: Call, invoked: f64) -> Operation {
    Operation::new(call, Reply::Unknown, Duration::from_secs_f64(invoked), None)
}

#[track_caller]
fn holds(operations: &[Operation]) {
    let verdict = judge(operations);
    assert!(matches!(verdict, Verdict::Linearizable { .. }), "{verdict}");
}

#[track_caller]
fn is_broken(operations: &[Operation]) {
    let verdict = judge(operations);
    assert!(matches!(verdict, Verdict::Broken { .. }), "{verdict}");
}

const READ: Call = Call::Read { version: 1 };

#[test]
fn calls_at_the_same_time_may_be_in_any_order() {
    use Reply::{Conflict, Created, Done, Same, Version};
    holds(&[]);
    holds(&[
        publish(1, 0, Created, 0.0, 2.0),
        publish(1, 1, Conflict, 0.5, 1.0),
        publish(1, 0, Same, 1.5, 3.0),
        call(READ, Version(None), 0.1, 0.2),
        call(READ, Version(Some((0, false))), 0.3, 2.5),
        call(Call::Recall { version: 1 }, Done, 4.0, 5.0),
        call(READ, Version(Some((0, true))), 4.1, 4.2),
        check(0, Some((1, 0)), 4.5),
        check(0, None, 4.6),
    ]);
}

#[test]
fn a_call_without_an_answer_has_happened_or_not() {
    use Reply::{Created, Same, Version};
    let lost = Call::Publish { version: 1, bytes: 0, offer: false };
    holds(&[unanswered(lost, 0.0), call(READ, Version(None), 5.0, 6.0)]);
    holds(&[unanswered(lost, 0.0), call(READ, Version(Some((0, false))), 5.0, 6.0)]);
    holds(&[
        unanswered(lost, 0.0),
        call(READ, Version(None), 5.0, 6.0),
        call(READ, Version(Some((0, false))), 7.0, 8.0),
        publish(1, 0, Same, 9.0, 10.0),
    ]);
    is_broken(&[unanswered(lost, 7.0), call(READ, Version(Some((0, false))), 5.0, 6.0)]);
    is_broken(&[unanswered(lost, 0.0), publish(1, 1, Created, 1.0, 2.0), publish(1, 0, Same, 3.0, 4.0)]);
}

#[test]
fn a_lost_write_is_found() {
    use Reply::{Created, Version};
    is_broken(&[publish(1, 0, Created, 0.0, 1.0), call(READ, Version(None), 1.5, 2.0)]);
    is_broken(&[publish(1, 0, Created, 0.0, 1.0), publish(1, 0, Created, 1.5, 2.0)]);
}

#[test]
fn two_winners_are_found() {
    use Reply::{Conflict, Created, Version};
    is_broken(&[publish(1, 0, Created, 0.0, 2.0), publish(1, 1, Created, 0.5, 1.0)]);
    is_broken(&[publish(1, 0, Conflict, 0.0, 2.0), publish(1, 1, Conflict, 0.5, 1.0)]);
    is_broken(&[
        publish(1, 0, Created, 0.0, 2.0),
        call(READ, Version(Some((0, false))), 2.5, 2.6),
        call(READ, Version(Some((1, false))), 2.5, 2.6),
    ]);
}

#[test]
fn an_answer_from_the_past_is_found() {
    use Reply::{Created, Done, Version};
    let recalled = [
        publish(1, 0, Created, 0.0, 1.0),
        publish(2, 0, Created, 1.0, 2.0),
        call(Call::Recall { version: 2 }, Done, 3.0, 4.0),
    ];
    let with = |more: &[Operation]| [&recalled[..], more].concat();
    is_broken(&with(&[call(Call::Read { version: 2 }, Version(Some((0, false))), 4.5, 5.0)]));
    let late = 4.0 + history::STALENESS.as_secs_f64();
    holds(&with(&[check(0, Some((2, 0)), late - 0.5), check(0, Some((1, 0)), late + 0.5)]));
    is_broken(&with(&[check(0, Some((2, 0)), late + 0.5)]));
    // Never back, once seen; but another replica may be behind.
    let forth = [check(0, Some((2, 0)), 4.2), check(0, Some((1, 0)), 4.5)];
    is_broken(&with(&[&forth[..], &[check(0, Some((2, 0)), 5.0)]].concat()));
    holds(&with(&[&forth[..], &[check(1, Some((2, 0)), 5.0)]].concat()));
    // Nor from the future.
    is_broken(&[check(0, Some((1, 0)), 0.5), publish(1, 0, Created, 1.0, 2.0)]);
    // Of what was never published.
    is_broken(&with(&[check(0, Some((2, 1)), 4.5)]));
}

#[test]
fn a_replica_that_has_lost_its_database_may_be_as_old_as_that() {
    use Reply::Created;
    let lost_at = Some(Duration::from_secs_f64(1.0));
    let late = call(Call::Check, Reply::Offer(None), 60.0, 60.1);
    holds(&[publish(1, 0, Created, 2.0, 3.0), late.clone().by_replica(0, lost_at)]);
    is_broken(&[publish(1, 0, Created, 2.0, 3.0), late.by_replica(0, None)]);
}
