"""Bugs planted in the safe places, one at a time, and the ordinary test that sees each of them."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.engines import test_opa, test_rego
from tests.fakes.scripted_http import answer
from tests.flows import (
    test_confirm_shift,
    test_keep_confirmations,
    test_keep_roster,
    test_request_access,
    test_sync_roster,
    test_watch_links,
)
from tests.model import test_oncall, test_secret
from tests.properties.planting import Mutant
from tests.rules import (
    test_confirmation,
    test_decide,
    test_evidence,
    test_grace,
    test_identity,
    test_merkle,
    test_policy_bundle,
    test_webhook,
)
from tests.wiring import test_bundles
from watchkey.model.access import Outcome, Reason

CONFIRM = "watchkey.flows.confirm_shift:ConfirmShift"
SYNC = "watchkey.flows.sync_roster:SyncRoster"
ACCESS = "watchkey.flows.request_access:RequestAccess"


def unvetted() -> None:
    test_evidence.test_an_incident_opened_by_its_beneficiary_needs_somebody_else((), "write", Reason.INCIDENT_UNVETTED)


def not_escalated() -> None:
    test_evidence.test_a_level_counts_once_an_incident_has_escalated_to_it(2, (1,), Reason.NOT_ESCALATED)


def wide_radius() -> None:
    asked = test_evidence.far(asks="write")
    test_evidence.test_the_blast_radius_is_what_the_resource_says_and_no_wider(asked, [Reason.OUTSIDE_BLAST_RADIUS])


def truthy() -> None:
    test_rego.test_only_a_well_formed_yes_is_a_yes('decision := {"allow": 1}', Outcome.MALFORMED)


def opa_says(given: bytes, outcome: Outcome) -> Callable[[], None]:
    return lambda: test_opa.test_anything_else_is_a_denial_with_its_own_reason(given, outcome, "")


def not_signed() -> None:
    try:
        test_policy_bundle.test_no_file_may_be_added_or_taken_away()
    except KeyError as error:  # what the planted bug runs into is not the refusal that is promised
        raise AssertionError from error


def older_bundle() -> None:
    with TemporaryDirectory() as folder:
        test_bundles.test_an_older_bundle_does_not_start_either(Path(folder))


def odd_trees() -> None:
    test_merkle.test_large_and_odd_trees_agree_with_the_definition()


def forged() -> None:
    with pytest.raises(AssertionError):
        assert test_webhook.verify(test_webhook.BODY, "v1=00", (test_webhook.OLD,))


def another_url() -> None:
    test_rego.test_any_other_url_is_a_denial_that_says_so("https://evil.example/users")


def prolonged() -> None:
    test_confirmation.test_whatever_changes_of_it_nobody_has_vouched_for_and_the_word_lapses(
        {"ends_at": test_confirmation.NOW + 2 * test_confirmation.HOUR}
    )


def untold() -> None:
    test_watch_links.test_what_cannot_be_recorded_is_told_again("audit")


def silent() -> None:
    test_evidence.test_a_second_source_that_cannot_tell_lets_nobody_in(
        {"second_age": test_evidence.STALE}, test_evidence.STALE, {}
    )


def unrecorded() -> None:
    test_confirm_shift.test_a_word_that_cannot_be_recorded_or_kept_does_not_count("audit")


def unkept() -> None:
    test_confirm_shift.test_a_word_that_cannot_be_recorded_or_kept_does_not_count("memory")


def leaver() -> None:
    test_confirm_shift.test_a_leaver_vouches_for_nothing(active=None)


CAUGHT: tuple[tuple[Mutant, Callable[[], None]], ...] = (
    (
        Mutant(
            "a truthy allow", "watchkey.rules.policy_answer:read_answer", "not isinstance(allow, bool)", "not allow"
        ),
        truthy,
    ),
    (
        Mutant(
            "any host is answered",
            "watchkey.engines.rego:_http_send",
            '("https", "api.pagerduty.com")',
            "(url.scheme, url.netloc)",
        ),
        another_url,
    ),
    (
        Mutant(
            "undefined is an allow",
            "watchkey.engines.opa:_verdict_of",
            "PolicyAnswer(Outcome.UNDEFINED)",
            "PolicyAnswer(Outcome.YES)",
        ),
        opa_says(answer(body=b"{}"), Outcome.UNDEFINED),
    ),
    (
        Mutant(
            "an unsigned bundle is taken",
            "watchkey.rules.policy_bundle:_verify",
            "if signature is None:\n        raise",
            "if signature is None:\n        return\n        raise",
        ),
        test_policy_bundle.test_where_a_signature_is_demanded_there_is_no_bundle_without,
    ),
    (
        Mutant(
            "an unsigned file is taken", "watchkey.rules.bundle:check_files", "if name not in expected:", "if False:"
        ),
        not_signed,
    ),
    (
        Mutant("an older bundle is taken", "watchkey.flows.swap_policy:older", "declared < running", "False"),
        older_bundle,
    ),
    (
        Mutant("a warning is passed over", "watchkey.engines.opa:_verdict_of", 'if "warning" in body', "if not body"),
        opa_says(answer(body=b'{"warning":{},"result":{"allow":true}}'), Outcome.FAILED),
    ),
    (
        Mutant("any status is an answer", "watchkey.engines.opa:_whole", "if answer.status != 200", "if False"),
        opa_says(answer(500, test_opa.YES), Outcome.FAILED),
    ),
    (
        Mutant("the first link wins", "watchkey.rules.identity:Links.person_of", "self._ambiguous.get(key) or ", ""),
        test_decide.test_who_is_asking_must_be_one_active_known_person,
    ),
    (
        Mutant("the first link wins", "watchkey.rules.identity:Links.person_of", "self._ambiguous.get(key) or ", ""),
        test_identity.test_no_two_subjects_are_one_person_nor_one_subject_two,
    ),
    (
        Mutant(
            "an unknown hand counts as the rota",
            "watchkey.rules.provenance:_graded",
            "Provenance.ROTA if span.is_settled else Provenance.UNKNOWN",
            "Provenance.ROTA",
        ),
        test_sync_roster.test_what_the_first_read_shows_is_the_baseline_and_what_comes_at_short_notice_is_not,
    ),
    (
        Mutant(
            "any read is taken",
            "watchkey.rules.roster:GuardLimits.allows",
            "lost <= max(self.shrink_max, int(of * self.shrink_share_max))",
            "True",
        ),
        test_sync_roster.test_a_read_that_throws_out_too_many_waits_for_a_second_one,
    ),
    (
        Mutant(
            "one's own incident is vetted", "watchkey.rules.incidents:is_vetted", "return any(", "return True or any("
        ),
        unvetted,
    ),
    (
        Mutant(
            "an unknown opener is somebody else",
            "watchkey.rules.incidents:is_vetted",
            "incident.opened_by is not None and ",
            "",
        ),
        test_evidence.test_who_escalates_an_incident_of_his_own_gets_the_unvetted_privileges_only,
    ),
    (
        Mutant(
            "a dependent opens everything",
            "watchkey.rules.evidence:_incident_objection",
            "if evidence.path and question.request.privilege not in resource.blast_opens",
            "if False",
        ),
        wide_radius,
    ),
    (
        Mutant(
            "dependencies work both ways",
            "watchkey.rules.dependencies:turned",
            "found[one][service] = None",
            "found[one][service] = found[service][one] = None",
        ),
        test_evidence.test_depending_on_something_opens_nothing_the_other_way,
    ),
    (
        Mutant(
            "grace for who declined",
            "watchkey.rules.grace:has_declined",
            "responder.involvement is Involvement.DECLINED",
            "False",
        ),
        test_request_access.test_who_declines_has_no_grace,
    ),
    (
        Mutant(
            "grace without a cap",
            "watchkey.rules.grace:Parting.until",
            "min(grace, GRACE_MAX)",
            "grace",
        ),
        test_grace.test_the_end_is_absolute_and_capped,
    ),
    (
        Mutant(
            "grace that each read prolongs",
            f"{ACCESS}.roster_changed",
            "fact.scope.source != source or is_at_it(fact, held.index)",
            "True",
        ),
        test_request_access.test_a_grace_that_nobody_asks_for_runs_all_the_same,
    ),
    (
        Mutant("grace after a denial", f"{ACCESS}._note_parts", "self._parts.pop(key, None)", "pass"),
        test_request_access.test_who_was_denied_meanwhile_held_nothing,
    ),
    (
        Mutant(
            "grace for an allow that had run out",
            f"{ACCESS}.roster_changed",
            "if parts.since <= now < parts.until else ()",
            "if parts.since <= now else ()",
        ),
        test_request_access.test_an_allow_that_had_run_out_before_the_end_gives_no_grace,
    ),
    (
        Mutant(
            "grace from an end that nobody saw",
            f"{ACCESS}._note_parts",
            "facts and basis == self._basis(request.resource)",
            "facts",
        ),
        test_request_access.test_a_roster_that_changes_while_the_allow_is_written_leaves_no_grace,
    ),
    (
        Mutant(
            "any open incident opens every level",
            "watchkey.rules.incidents:escalation",
            "incident.escalation_level >= level",
            "incident.escalation_level >= 1",
        ),
        not_escalated,
    ),
    (
        Mutant("a leaf looks like a node", "watchkey.rules.merkle:hash_leaf", 'b"\\x00" + entry', "entry"),
        odd_trees,
    ),
    (
        Mutant("any signature is genuine", "watchkey.rules.webhook:verify", "is_genuine = False", "is_genuine = True"),
        forged,
    ),
    (
        Mutant("an exception passes as an allow", f"{ACCESS}._still_holds", "isinstance(decision, Allow)", "True"),
        test_request_access.test_a_denial_turns_into_an_allow_at_the_very_instant,
    ),
    (
        Mutant(
            "a clock set back revives an allow", f"{ACCESS}._still_holds", "decision.decided_at <= now < ", "now < "
        ),
        test_request_access.test_a_clock_that_goes_back_does_not_revive_an_allow,
    ),
    (
        Mutant("any caller may ask", f"{ACCESS}._decide", "not caller.may_ask_about(request.resource)", "False"),
        test_request_access.test_a_caller_asks_only_about_its_own_resources,
    ),
    (
        Mutant("anybody's groups count", f"{ACCESS}._question", "if is_trusted else reviewed", "if True else reviewed"),
        test_request_access.test_groups_count_by_review_and_from_trusted_callers_only,
    ),
    (
        Mutant(
            "a roster from the future comes back",
            "watchkey.flows.keep_roster:KeepRoster.restore",
            " or age < timedelta(0)",
            "",
        ),
        test_keep_roster.test_nothing_comes_back_from_nothing_or_from_the_future,
    ),
    (
        Mutant(
            "a closed end", "watchkey.model.oncall:Shift.covers", "instant < self.ends_at", "instant <= self.ends_at"
        ),
        test_oncall.test_a_shift_covers_its_first_instant_and_not_its_last,
    ),
    (
        Mutant(
            "what could not be recorded counts as told",
            "watchkey.flows.watch_links:WatchLinks.look",
            "    else:\n        self._kept = kept",
            "    self._kept = kept",
        ),
        untold,
    ),
    (
        Mutant(
            "silence is agreement",
            "watchkey.rules.evidence:_on_call_facts",
            "elif opinion is not None:",
            "elif opinion is Reason.SOURCES_DISAGREE:",
        ),
        silent,
    ),
    (
        Mutant(
            "a stale second source agrees",
            "watchkey.rules.evidence:_opinion",
            "question.is_stale(view) or now",
            "now",
        ),
        silent,
    ),
    (
        Mutant(
            "the second source's end is forgotten",
            "watchkey.rules.evidence:_on_call_facts",
            "until = _earlier(until, opinion.until)",
            "pass",
        ),
        test_evidence.test_a_stale_source_counts_while_a_fresh_second_one_agrees_and_no_longer,
    ),
    (
        Mutant(
            "one vouches for oneself",
            f"{CONFIRM}._why_not",
            "known.links.person_of(who.id, source) == holder",
            "False",
        ),
        test_confirm_shift.test_nobody_vouches_for_himself,
    ),
    (
        Mutant("a leaver vouches", f"{CONFIRM}._house_of", "person.active is not True", "person.active is False"),
        leaver,
    ),
    (
        Mutant(
            "whoever is not eligible vouches", f"{CONFIRM}._why_not", "if resource.eligible_groups and", "if False and"
        ),
        test_confirm_shift.test_who_vouches_is_eligible_for_everything_that_the_shift_opens,
    ),
    (
        Mutant(
            "a word counts unrecorded",
            f"{CONFIRM}.confirm",
            'await self._audit.append(self._noted("shift.confirmed", voucher, fields))',
            "pass",
        ),
        unrecorded,
    ),
    (
        Mutant(
            "a word counts before it is kept",
            "watchkey.flows.keep_confirmations:KeepConfirmations.add",
            "async with self._writing:",
            "self._standing = (*self._standing, new)\n    async with self._writing:",
        ),
        unkept,
    ),
    (
        Mutant(
            "a shift that is prolonged stays vouched for",
            "watchkey.rules.confirmation:Confirmation.is_about",
            "*_time(shift)",
            "self.starts_at, self.ends_at",
        ),
        prolonged,
    ),
    (
        Mutant(
            "a word has no end",
            "watchkey.rules.confirmation:confirmation_of",
            "min(ends_at or _NEVER, max(at, starts_at or at) + lasts_max)",
            "ends_at or _NEVER",
        ),
        test_confirmation.test_a_long_shift_is_vouched_for_until_the_word_ends_and_not_after,
    ),
    (
        Mutant("a lapsed word comes back", f"{SYNC}._swap", "if gone:", "if False:"),
        test_sync_roster.test_a_shift_that_changed_is_not_vouched_for_and_coming_back_does_not_help,
    ),
    (
        Mutant(
            "a word taken back comes back with a restart",
            "watchkey.flows.keep_confirmations:KeepConfirmations.remove",
            "await self._memory.remember(NAME, self._kept())",
            "pass",
        ),
        test_keep_confirmations.test_words_outlive_a_restart_and_so_does_taking_one_back,
    ),
    (
        Mutant("an operator's word for another read", f"{SYNC}.accept", "digest != waiting.base.digest", "False"),
        test_sync_roster.test_only_the_read_that_the_operator_saw_is_let_in,
    ),
    (
        Mutant(
            "a secret that shows itself",
            "watchkey.model.secret:Secret.__format__",
            "return _HIDDEN",
            "return self._Secret__value",
        ),
        test_secret.test_no_printed_form_shows_it,
    ),
)


@pytest.mark.parametrize(
    ("mutant", "test"), CAUGHT, ids=lambda part: getattr(part, "name", getattr(part, "__name__", ""))
)
def test_the_test_sees_the_bug(mutant: Mutant, test: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    test()  # it passes without the bug, so it is the bug that it sees
    mutant.plant(monkeypatch)
    with pytest.raises((AssertionError, ExceptionGroup, pytest.fail.Exception)):
        test()
