# METADATA
# title: Access follows the pager
# description: |
#   The shipped policy. On call in scope at or below the resource's ceiling, through a fact of a grade that opens the
#   privilege; or responding to an open incident of it in a role that the resource accepts.
#   It judges the same facts as Watchkey's own decision, independently: both must say yes.
package watchkey

default decision := {"allow": false, "ttl": 0, "reasons": []}

decision := {"allow": true, "ttl": input.resource.ttl_max_s, "reasons": reasons} if count(reasons) > 0

reasons contains "on_call" if {
	input.resource.needs in {"on_call", "either"}
	some shift in input.on_call
	in_time(shift)
	level_counts(shift)
	escalated(shift)
	grade_opens(shift)
}

reasons contains "responding" if {
	input.resource.needs in {"responding", "either"}
	some response in input.responding
	response.involvement in input.resource.incident_roles
	in_radius(response)
	vetted(response)
}

reasons contains "grace" if {
	input.resource.needs in {"responding", "either"}
	some parting in input.grace
	parting.involvement in input.resource.incident_roles
	in_radius(parting)
	vetted(parting)
	parting.ended_ns <= input.now_ns
	input.now_ns < parting.until_ns
}

reasons contains "no_fact_needed" if input.resource.needs == "nothing"

# Half-open: the first instant counts, the last one does not. A start of null is since ever, as null is below every number.
in_time(shift) if {
	shift.starts_ns <= input.now_ns
	input.now_ns < until(shift)
}

# An end of null is none, or one that nobody knows; Watchkey caps the answer. A field that is missing is neither.
until(shift) := shift.until_ns if is_number(shift.until_ns)

until(shift) := input.now_ns + 1 if shift.until_ns == null

# A schedule names exactly its people. Anywhere else the level must be a number: in Rego, null is below every number.
level_counts(shift) if shift.scope.kind == "schedule"

level_counts(shift) if {
	is_number(shift.level)
	shift.level <= input.resource.max_level
}

# Above level 1 an incident must have come so far, where the resource asks for it; a null is no level.
escalated(_) if not input.resource.level_follows_escalation

escalated(shift) if shift.level == 1

escalated(shift) if {
	is_number(shift.level)
	is_number(shift.escalated_to)
	shift.escalated_to >= shift.level
	vetted(shift)
}

grade_opens(shift) if input.privilege in input.resource.opens[grade(shift)]

grade(shift) := "permanent" if {
	shift.end_kind == "permanent"
} else := shift.provenance

# An incident of the resource's own pager has no path; one of a dependent opens what the resource says, and no more.
in_radius(fact) if count(fact.path) == 0

in_radius(fact) if {
	count(fact.path) - 1 <= input.resource.blast_radius.depth
	input.privilege in input.resource.blast_radius.opens
}

vetted(fact) if fact.is_vetted

vetted(_) if input.privilege in input.resource.unvetted
