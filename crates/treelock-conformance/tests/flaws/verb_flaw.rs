//! How an engine can break the grammar, and by which check that is found.

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    /// The ticket is told before there is one.
    TellsATicketTooEarly,
    /// A request on its way tells another ticket than the snapshot.
    TellsAnotherTicket,
    /// The ticket is still told when the guard has it.
    TellsATicketTooLate,
    /// Waiting with a time-out goes to the end of the line when the time is over.
    TimeOutLosesThePlace,
    /// So does waiting with a deadline.
    DeadlineLosesThePlace,
    /// Who gave up stays in line.
    GivingUpStaysInLine,
    /// A lock that was granted meanwhile is given back.
    GivingUpDropsTheGrant,
    /// The error does not say who was in the way.
    GivingUpNamesNobody,
    /// Who has not asked yet asks, and waits.
    GivingUpWaits,
    /// Who has not asked yet is refused.
    GivingUpAsksNothing,
    TryWaits,
    TryStaysInLine,
    /// Nobody is ever in the way of a request on its way.
    PendingNamesNobody,
    /// The blocker is still named when it has left.
    PendingNamesWhoLeft,
    /// Who only looks who would be in the way gets into it.
    LookingStaysInLine,
    /// Only what is held is in the way of who only looks.
    LookingSeesHoldersOnly,
    /// All roots but the first hundred are forgotten.
    ForgetsRoots,
    /// A request of more than a hundred roots is refused, though the engine allows any number.
    RefusesManyRoots,
    /// The guard has the request without its label.
    ForgetsTheLabel,
    GuardTellsAnotherTicket,
    IsNeverValid,
    IsLostAtOnce,
    IsLostByRelease,
    TokenStands,
    TokenFalls,
    /// Each root has tokens of its own.
    TokenOfTheRoot,
    /// The token is that of the moment when the future was made.
    TokenOfTheFuture,
    ReleaseDoesNothing,
    /// Others see the release a while after its answer.
    ReleaseIsLate,
    /// Nothing is released if nobody awaits the answer.
    ReleaseMustBeAwaited,
    DropDoesNothing,
    /// What is dropped is given back a while later, and the lock is settled at once.
    SettlesTooEarly,
    /// What is dropped is given back a while later, and closing does not wait for it.
    ClosesTooEarly,
    /// Nothing can be acquired after closing.
    ClosesForEver,
    /// Those who are granted are woken while nobody can read the table.
    WakesUnderTheMutex,
    /// Nobody can read the table while a waker takes the place of another.
    ReplacesUnderTheMutex,
    /// Nobody can read the table while a waker leaves with its request.
    LeavesUnderTheMutex,
    /// A guard releases nothing when all handles are gone.
    NeedsAHandle,
    /// Somebody else has it, and that is no time-out.
    BlockedIsNoTimeOut,
    BlockedIsALoss,
    BlockedIsUnavailable,
    /// The sentence does not say who is in the way.
    SentenceNamesNobody,
    /// The cause is in the sentence and in the source.
    SaysItTwice,
    /// The listener is not told who was live before.
    TellsOnlyChanges,
    TellsTwice,
    TellsNoGrants,
    /// Who leaves the line is not told.
    TellsOnlyReleases,
    FindsItselfBad,
    /// The check fails instead of finding something.
    CheckFails,
}

use Flaw::*;

/// Each flaw, and the check that is meant to find it.
pub(crate) const FOUND_BY: &[(&str, &[Flaw])] = &[
    (
        "a_request_shows_its_ticket_while_it_waits",
        &[TellsATicketTooEarly, TellsAnotherTicket, TellsATicketTooLate],
    ),
    ("waiting_with_a_limit_keeps_the_place", &[TimeOutLosesThePlace, DeadlineLosesThePlace]),
    ("giving_up_names_the_blocker_and_leaves_nothing", &[GivingUpStaysInLine, GivingUpNamesNobody]),
    ("giving_up_after_the_grant_gives_the_guard", &[GivingUpDropsTheGrant]),
    ("giving_up_before_asking_is_a_try", &[GivingUpWaits, GivingUpAsksNothing]),
    ("a_try_does_not_wait_and_leaves_nothing", &[TryWaits, TryStaysInLine]),
    ("a_pending_request_says_who_is_in_the_way", &[PendingNamesNobody, PendingNamesWhoLeft]),
    (
        "who_would_be_in_the_way_is_told_without_asking",
        &[LookingStaysInLine, LookingSeesHoldersOnly],
    ),
    ("a_request_may_have_as_many_roots_as_the_engine_says", &[ForgetsRoots, RefusesManyRoots]),
    ("guards_tell_what_they_hold", &[ForgetsTheLabel, GuardTellsAnotherTicket]),
    ("a_guard_is_not_lost", &[IsNeverValid, IsLostAtOnce, IsLostByRelease]),
    (
        "tokens_grow_with_conflicting_grants",
        &[TokenStands, TokenFalls, TokenOfTheRoot, TokenOfTheFuture],
    ),
    ("what_is_released_is_free_when_the_answer_comes", &[ReleaseDoesNothing, ReleaseIsLate]),
    ("what_is_dropped_is_free_when_the_lock_is_settled", &[DropDoesNothing, SettlesTooEarly]),
    ("an_answer_that_nobody_awaits_leaves_nothing", &[ReleaseMustBeAwaited]),
    (
        "wakers_are_woken_and_dropped_outside_of_the_mutex",
        &[WakesUnderTheMutex, ReplacesUnderTheMutex, LeavesUnderTheMutex],
    ),
    ("a_guard_and_a_request_outlive_their_lock", &[NeedsAHandle]),
    (
        "an_error_says_of_which_kind_it_is",
        &[
            BlockedIsNoTimeOut,
            BlockedIsALoss,
            BlockedIsUnavailable,
            SentenceNamesNobody,
            SaysItTwice,
        ],
    ),
    (
        "events_tell_each_change_once",
        &[TellsOnlyChanges, TellsTwice, TellsNoGrants, TellsOnlyReleases],
    ),
    ("the_engine_finds_nothing_bad", &[FindsItselfBad, CheckFails]),
    ("a_closed_lock_can_be_used_again", &[ClosesTooEarly, ClosesForEver]),
];
