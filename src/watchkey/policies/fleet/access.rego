# METADATA
# title: Access follows the pager, at an OPA
# description: |
#   Watchkey's decision, made at an OPA from the roster in its bundle. It takes {subject, privilege, resource} and gives
#   the reason codes of `POST /v1/decide`. Shifts begin and end by this OPA's clock, so a planned handoff needs no push.
#   What is missing, or of another shape than expected, is a denial.
package watchkey.access

default allow := false

allow if decision.allow

default decision := {"allow": false, "reason": "internal_error"}

decision := {
	"allow": true,
	"reason": reason,
	"until": time.format(until_ns),
	"until_ns": until_ns,
	"ttl_s": floor((until_ns - now) / second),
	"decided_at": time.format(now),
	"grounds": grounds,
	"revision": data.watchkey.bundle.revision,
} if {
	reason in {"on_call", "responding", "no_fact_needed"}
} else := {
	"allow": false,
	"reason": reason,
	"decided_at": time.format(now),
	"grounds": grounds,
	"revision": data.watchkey.bundle.revision,
}

second := 1000000000

minute := 60 * second

# How far clocks may be apart before nothing is allowed, and how long a fact counts whose end nobody knows.
clock_tolerance := minute

unknown_end_ttl := 5 * minute

now := time.now_ns()

subject := input.subject if is_string(input.subject)

subject := input.subject.id if is_string(input.subject.id)

# `not x in y` says nothing when x or y is undefined, so both are made to be something first.
default privilege := ""

privilege := input.privilege if is_string(input.privilege)

resource := data.watchkey.resources[input.resource]

# Groups are those that Watchkey's configuration names; those of the question count only where it says so.
groups contains group if some group in data.watchkey.groups[subject]

groups contains group if {
	data.watchkey.bundle.trusts_groups == true
	some group in input.subject.groups
	is_string(group)
}

# --- the steps, as in Watchkey

reason := "unknown_resource" if {
	subject
	not resource
} else := "unknown_privilege" if {
	not privilege in resource.privileges
} else := nearest if {
	resource.needs != "nothing"
	count(counting) == 0
} else := "roster_stale" if {
	# No fact ages here, so the bundle itself must not be old.
	resource.needs == "nothing"
	now - data.watchkey.bundle.built_ns > resource.age_max_ns
} else := "clock_doubtful" if {
	data.watchkey.bundle.built_ns - now > clock_tolerance
} else := "not_eligible" if {
	count(resource.eligible_groups) > 0
	count({group | some group in resource.eligible_groups; group in groups}) == 0
} else := policy_objection if {
	policy_objection
} else := "no_time_left" if {
	until_ns <= now
} else := "no_fact_needed" if {
	resource.needs == "nothing"
} else := "on_call" if {
	some fact in counting
	fact.kind == "on_call"
} else := "responding" if {
	some fact in counting
	fact.kind == "responding"
}

# Which of several reasons is named: the first in this order, or else plainly not.
nearest_first := [
	"incident_unvetted", "outside_blast_radius", "provenance_too_weak", "level_too_high", "level_unknown",
	"escalation_unknown", "not_escalated", "only_permanent", "sources_disagree", "second_source_silent",
	"roster_stale", "no_roster", "clock_doubtful", "scope_unknown",
	"identity_ambiguous", "person_inactive", "person_unknown", "not_linked",
	"not_responding", "not_on_call",
]

objections contains fact.objection if some fact in findings

objections contains doubt if some doubt in doubts

nearest := [code | some code in nearest_first; code in objections][0] if {
	count(objections) > 0
} else := "not_responding" if {
	resource.needs == "responding"
} else := "not_on_call"

# --- what is known of each scope: `i` is its place among those of the resource

roster[i] := data.watchkey.roster[scope.source] if some i, scope in resource.scopes

read_ns[i] := data.watchkey.freshness[scope.source].read_ns if {
	some i, scope in resource.scopes
	is_number(data.watchkey.freshness[scope.source].read_ns)
}

age[i] := max([0, now - at]) if some i, at in read_ns

stale contains i if {
	some i, seconds in age
	seconds > resource.age_max_ns
}

known[i] := roster[i].scopes[scope.kind][scope.id] if some i, scope in resource.scopes

link[i] := data.watchkey.links[subject][scope.source] if some i, scope in resource.scopes

person[i] := link[i].person if some i, _ in link

doubtful_clock contains i if {
	some i, held in roster
	abs(held.clock_skew_ns) > clock_tolerance
}

doubtful_clock contains i if {
	some i, _ in roster
	data.watchkey.freshness[resource.scopes[i].source].taken_ns - now > clock_tolerance
}

doubtful_clock contains i if {
	some i, _ in roster
	data.watchkey.bundle.built_ns - now > clock_tolerance
}

# Nothing speaks for a person in a scope about which there is a doubt.
doubts[i] := doubt if {
	some i, _ in resource.scopes
	doubt := doubt_of(i)
}

doubts[i] := "roster_stale" if {
	some i, _ in resource.scopes
	not doubt_of(i)
	count([fact | some fact in findings; fact.place == i]) == 0
	says_nothing(i)
}

doubt_of(i) := "no_roster" if {
	not age[i]
} else := "no_roster" if {
	not roster[i]
} else := "scope_unknown" if {
	not is_known(i)
} else := "clock_doubtful" if {
	i in doubtful_clock
} else := "not_linked" if {
	not link[i]
} else := "identity_ambiguous" if {
	not person[i]
} else := "person_unknown" if {
	not roster[i].people[person[i]]
} else := "person_inactive" if {
	not roster[i].people[person[i]].active == true
}

is_known(i) if known[i]

is_known(i) if known[i] == null # a service that pages nobody

# Beyond what was asked for, an empty answer says nothing; nor does one from an old roster.
says_nothing(i) if i in stale

says_nothing(i) if now >= roster[i].window_ends_ns

# --- facts

findings := array.concat(on_call, responding)

counting := [fact | some fact in findings; not fact.objection]

on_call := [fact |
	some i, _ in resource.scopes
	not doubt_of(i)
	some shift in mine[i]
	covers(shift, now)
	fact := object.union(
		{"kind": "on_call", "place": i, "shift": shift, "until_ns": shift_until(i, shift)},
		{"objection": code | code := shift_objection(i, shift)},
	)
]

# The shifts of this person in this scope.
mine[i] := [shift |
	some shift in roster[i].shifts[person[i]]
	in_scope(i, shift)
] if {
	some i, _ in person
}

in_scope(i, shift) if {
	resource.scopes[i].kind == "schedule"
	shift.schedule == known[i]
}

in_scope(i, shift) if {
	resource.scopes[i].kind != "schedule"
	known[i] != null
	shift.policy == known[i]
}

# Half-open: the first instant counts, the last one does not. No start is since ever, no end is none that is known.
covers(shift, instant) if {
	begun(shift, instant)
	not ended(shift, instant)
}

begun(shift, _) if shift.starts_ns == null

begun(shift, instant) if shift.starts_ns <= instant

ended(shift, instant) if {
	shift.ends_ns != null
	shift.ends_ns <= instant
}

shift_objection(i, shift) := "not_responding" if {
	resource.needs == "responding"
} else := "level_unknown" if {
	resource.scopes[i].kind != "schedule"
	not is_number(shift.level)
} else := "level_too_high" if {
	resource.scopes[i].kind != "schedule"
	shift.level > resource.max_level
} else := weakness(shift) if {
	not privilege in object.get(resource.opens, grade(shift), [])
} else := "roster_stale" if {
	i in stale
	not counts_when_stale(i, shift)
}

grade(shift) := "permanent" if {
	shift.end_kind == "permanent"
} else := shift.provenance

weakness(shift) := "only_permanent" if {
	shift.end_kind == "permanent"
} else := "provenance_too_weak"

counts_when_stale(i, shift) if {
	resource.stale_mode in {"incumbent", "forecast"}
	covers(shift, read_ns[i])
}

counts_when_stale(i, _) if {
	resource.stale_mode == "forecast"
	age[i] <= resource.forecast_max_ns
}

# Until when a shift counts: its own end when something speaks against it, else the end of all that follows without a gap.
shift_until(i, shift) := shift.ends_ns if {
	shift_objection(i, shift)
} else := null if {
	is_endless(i)
} else := reach[i] if {
	reach[i] > now
} else := null

accepted[i] := [shift | some shift in mine[i]; not shift_objection(i, shift)] if some i, _ in mine

# Shifts with a known end, as far as an answer can reach.
bounded[i] := [shift |
	some shift in shifts
	shift.end_kind != "permanent"
	shift.ends_ns != null
	shift.ends_ns > now
	begun(shift, now + resource.ttl_max_ns)
] if {
	some i, shifts in accepted
}

# The first instant from now on that none of them covers: now itself, or the end of one where no other goes on.
reach[i] := min(gaps) if {
	some i, shifts in bounded
	gaps := {instant |
		some instant in array.concat([now], [shift.ends_ns | some shift in shifts])
		not is_covered(shifts, instant)
	}
}

is_covered(shifts, instant) if {
	some shift in shifts
	covers(shift, instant)
}

is_endless(i) if {
	some shift in accepted[i]
	shift.end_kind == "permanent"
	begun(shift, reach[i])
}

responding := [fact |
	some i, scope in resource.scopes
	not doubt_of(i)
	some part in roster[i].responding[person[i]]
	concerns(scope, part)
	fact := object.union(
		{"kind": "responding", "place": i, "part": part, "until_ns": part_until(i)},
		{"objection": code | code := part_objection(i, part)},
	)
]

concerns(scope, part) if {
	scope.kind == "service"
	part.service == scope.id
}

concerns(scope, part) if {
	scope.kind == "escalation_policy"
	part.policy == scope.id
}

# Incidents have no published end; from an old roster they count as long as a lease of that time would have.
part_until(i) := read_ns[i] + resource.ttl_max_ns if {
	i in stale
} else := null

part_objection(i, part) := "not_on_call" if {
	resource.needs == "on_call"
} else := "not_responding" if {
	not part.involvement in resource.incident_roles
} else := "incident_unvetted" if {
	not part.is_vetted
	not privilege in resource.unvetted
} else := "roster_stale" if {
	i in stale
	not part_counts_when_stale(i)
}

part_counts_when_stale(i) if {
	resource.stale_mode in {"incumbent", "forecast"}
	part_until(i) > now
}

# --- the policy, and the end of an allow

policy_objection := "policy_undefined" if {
	not is_defined
} else := "policy_malformed" if {
	not is_well_formed
} else := "policy_denied" if {
	verdict.allow == false
}

is_defined if verdict

is_defined if verdict == false

is_well_formed if {
	is_object(verdict)
	is_boolean(verdict.allow)
	is_number(wish_ns)
	are_texts(object.get(verdict, "reasons", []))
}

are_texts(given) if {
	is_array(given)
	every text in given { is_string(text) }
}

# What the policy wants of the time; without a wish, all of it.
wish_ns := resource.ttl_max_ns if {
	object.get(verdict, "ttl", null) == null
} else := verdict.ttl * second if {
	is_number(verdict.ttl)
	abs(verdict.ttl) <= year_s
} else := span if {
	regex.match(`^(?:[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h))+$`, verdict.ttl)
	count(verdict.ttl) <= 32
	span := time.parse_duration_ns(verdict.ttl)
	span <= year_s * second
}

year_s := ((366 * 24) * 60) * 60

ttl_ns := min([resource.ttl_max_ns, max([wish_ns, 0])])

until_ns := now + ttl_ns if {
	resource.needs == "nothing"
} else := min([now + ttl_ns, max({end_of(fact) | some fact in counting})])

end_of(fact) := fact.until_ns if {
	fact.until_ns != null
} else := now + unknown_end_ttl if {
	fact.kind == "on_call"
	fact.shift.end_kind == "unknown"
} else := now + resource.ttl_max_ns

grounds[source] := {"revision": held.revision, "age_s": (now - at) / second} if {
	some scope in resource.scopes
	source := scope.source
	held := data.watchkey.roster[source]
	at := data.watchkey.freshness[source].read_ns
}

# --- what the policy sees: the same document as inside Watchkey

document := {
	"version": 1,
	"now": time.format(now),
	"now_ns": now,
	"subject": {"id": subject, "groups": sort(groups)},
	"privilege": privilege,
	"resource": {
		"id": resource.id,
		"kind": resource.kind,
		"labels": resource.labels,
		"needs": resource.needs,
		"max_level": resource.max_level,
		"level_follows_escalation": false,
		"incident_roles": resource.incident_roles,
		"opens": resource.opens,
		"unvetted": resource.unvetted,
		"blast_radius": {"opens": [], "depth": 1},
		"ttl_max_s": floor(resource.ttl_max_ns / second),
	},
	"on_call": [shown_shift(fact) | some fact in on_call],
	"responding": [shown_part(fact) | some fact in responding],
	"grace": [],
	"is_stale": count(stale) > 0,
	"caller": data.watchkey.bundle.fleet,
	"context": object.get(input, "context", {}),
	"statement": null,
}

shown_shift(fact) := {
	"person": person[fact.place],
	"scope": resource.scopes[fact.place],
	"level": fact.shift.level,
	"schedule": fact.shift.schedule,
	"policy": fact.shift.policy,
	"starts_at": text(fact.shift.starts_ns),
	"starts_ns": fact.shift.starts_ns,
	"until": text(fact.until_ns),
	"until_ns": fact.until_ns,
	"end_kind": fact.shift.end_kind,
	"provenance": fact.shift.provenance,
	"incident": null,
	"escalated_to": null,
	"is_vetted": true,
}

shown_part(fact) := {
	"person": person[fact.place],
	"scope": resource.scopes[fact.place],
	"incident": fact.part.incident,
	"involvement": fact.part.involvement,
	"since": text(fact.part.since_ns),
	"since_ns": fact.part.since_ns,
	"is_vetted": fact.part.is_vetted,
	"path": [],
}

text(instant) := null if {
	instant == null
} else := time.format(instant)
