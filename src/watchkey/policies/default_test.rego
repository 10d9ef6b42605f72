package watchkey_test

import data.watchkey

hour := 3600000000000

now := 1782900000000000000

shift := {
	"person": "PALICE", "scope": {"source": "pagerduty", "kind": "service", "id": "PORDERS"},
	"level": 1, "schedule": "PSCHED", "policy": "PPOLICY",
	"starts_at": null, "starts_ns": now - hour, "until": null, "until_ns": now + hour,
	"end_kind": "exact", "provenance": "rota", "incident": null, "escalated_to": null, "is_vetted": true,
}

response := {
	"person": "PALICE", "scope": {"source": "pagerduty", "kind": "service", "id": "PORDERS"},
	"incident": "Q1", "involvement": "acknowledged", "since": null, "since_ns": null, "is_vetted": true,
	"path": [],
}

parting := {
	"person": "PALICE", "scope": {"source": "pagerduty", "kind": "service", "id": "PORDERS"},
	"incident": "Q1", "involvement": "acknowledged", "ended_at": "", "ended_ns": now - hour, "until": "",
	"until_ns": now + 1, "is_vetted": true, "path": [],
}

resource := {
	"id": "orders-db", "kind": "postgres", "labels": {}, "needs": "either", "max_level": 1, "level_follows_escalation": false,
	"incident_roles": ["acknowledged", "joined"],
	"opens": {"rota": ["read", "write"], "self_override": ["read"]},
	"unvetted": ["read"], "blast_radius": {"opens": [], "depth": 1}, "ttl_max_s": 3600,
}

question := {
	"version": 1, "now": "", "now_ns": now, "subject": {"id": "alice", "groups": []}, "privilege": "write",
	"resource": resource, "on_call": [], "responding": [], "grace": [], "is_stale": false, "caller": "test", "context": {},
}

on_call(change) := object.union(question, {"on_call": [object.union(shift, change)]})

responding(change) := object.union(question, {"responding": [object.union(response, change)]})

test_on_call_is_let_in if {
	watchkey.decision == {"allow": true, "ttl": 3600, "reasons": {"on_call"}} with input as on_call({})
}

test_nobody_is_not if watchkey.decision == {"allow": false, "ttl": 0, "reasons": []} with input as question

test_the_first_instant_counts if watchkey.decision.allow with input as on_call({"starts_ns": now})

test_before_the_first_instant_is_too_early if not watchkey.decision.allow with input as on_call({"starts_ns": now + 1})

test_an_unknown_end_counts_once_begun if {
	watchkey.decision.allow with input as on_call({"end_kind": "unknown", "until_ns": null})
	not watchkey.decision.allow with input as on_call({"end_kind": "unknown", "until_ns": null, "starts_ns": now + 1})
}

test_a_missing_end_is_not_an_unknown_one if {
	not watchkey.decision.allow with input as object.union(question, {"on_call": [object.remove(shift, ["until_ns"])]})
}

test_the_last_instant_does_not if not watchkey.decision.allow with input as on_call({"until_ns": now})

test_a_level_above_the_ceiling_is_refused if not watchkey.decision.allow with input as on_call({"level": 2})

follows(change) := object.union(
	on_call(object.union({"level": 2}, change)),
	{"resource": object.union(resource, {"max_level": 2, "level_follows_escalation": true})},
)

test_level_two_waits_for_the_escalation if {
	not watchkey.decision.allow with input as follows({})
	not watchkey.decision.allow with input as follows({"escalated_to": 1})
	not watchkey.decision.allow with input as follows({"escalated_to": "2"})
	watchkey.decision.allow with input as follows({"escalated_to": 2})
	watchkey.decision.allow with input as follows({"escalated_to": 3})
	watchkey.decision.allow with input as follows({"level": 1})
}

test_ones_own_escalation_opens_reading_only if {
	asked := follows({"escalated_to": 2, "is_vetted": false})
	not watchkey.decision.allow with input as asked
	watchkey.decision.allow with input as object.union(asked, {"privilege": "read"})
}

test_a_missing_level_is_refused if not watchkey.decision.allow with input as on_call({"level": null})

test_a_level_as_text_is_refused if not watchkey.decision.allow with input as on_call({"level": "1"})

test_a_schedule_has_no_levels if {
	scope := {"source": "pagerduty", "kind": "schedule", "id": "PSCHED"}
	watchkey.decision.allow with input as on_call({"level": null, "scope": scope})
}

test_a_permanent_target_is_refused if {
	not watchkey.decision.allow with input as on_call({"end_kind": "permanent", "starts_ns": null, "until_ns": null})
}

test_a_self_made_override_opens_reading_only if {
	not watchkey.decision.allow with input as on_call({"provenance": "self_override"})
	asked := object.union(on_call({"provenance": "self_override"}), {"privilege": "read"})
	watchkey.decision.allow with input as asked
}

test_an_unknown_grade_opens_nothing if not watchkey.decision.allow with input as on_call({"provenance": "unknown"})

test_a_responder_is_let_in if {
	watchkey.decision == {"allow": true, "ttl": 3600, "reasons": {"responding"}} with input as responding({})
}

from_far(path, opens, depth) := object.union(
	responding({"path": path}),
	{"resource": object.union(resource, {"blast_radius": {"opens": opens, "depth": depth}})},
)

test_a_dependent_opens_what_the_resource_says if {
	watchkey.decision.allow with input as from_far(["checkout", "orders"], ["write"], 1)
	not watchkey.decision.allow with input as from_far(["checkout", "orders"], ["read"], 1)
	not watchkey.decision.allow with input as from_far(["web", "checkout", "orders"], ["write"], 1)
	not watchkey.decision.allow with input as responding({"path": ["checkout", "orders"]})
}

after(change) := object.union(question, {"grace": [object.union(parting, change)]})

test_grace_lasts_to_its_end if {
	watchkey.decision == {"allow": true, "ttl": 3600, "reasons": {"grace"}} with input as after({})
	not watchkey.decision.allow with input as after({"until_ns": now})
	not watchkey.decision.allow with input as after({"ended_ns": now + 1})
	not watchkey.decision.allow with input as after({"involvement": "assigned"})
	not watchkey.decision.allow with input as after({"is_vetted": false})
	not watchkey.decision.allow with input as after({"path": ["checkout", "orders"]})
}

test_being_asked_is_not_responding if not watchkey.decision.allow with input as responding({"involvement": "requested"})

test_an_unvetted_incident_opens_reading_only if {
	not watchkey.decision.allow with input as responding({"is_vetted": false})
	watchkey.decision.allow with input as object.union(responding({"is_vetted": false}), {"privilege": "read"})
}

test_on_call_does_not_help_where_responding_is_needed if {
	asked := object.union(on_call({}), {"resource": object.union(resource, {"needs": "responding"})})
	not watchkey.decision.allow with input as asked
}

test_responding_does_not_help_where_on_call_is_needed if {
	asked := object.union(responding({}), {"resource": object.union(resource, {"needs": "on_call"})})
	not watchkey.decision.allow with input as asked
}

test_a_resource_may_need_no_fact if {
	asked := object.union(question, {"resource": object.union(resource, {"needs": "nothing"})})
	watchkey.decision.allow with input as asked
}
