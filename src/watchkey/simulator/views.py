"""The account as PagerDuty's API shows it: plain values ready for JSON."""

from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from watchkey.simulator.rota import FlexibleSchedule, Layer, LayeredSchedule, Restriction, Turn
from watchkey.simulator.world import (
    AuditRecord,
    Event,
    Incident,
    LogEntry,
    Policy,
    Responder,
    Service,
    Subscription,
    User,
    World,
)

Json = dict[str, Any]

_PLURALS = {
    "user": "users",
    "service": "services",
    "schedule": "schedules",
    "schedule_v3": "v3/schedules",
    "escalation_policy": "escalation_policies",
    "incident": "incidents",
    "log_entry": "log_entries",
    "override": "overrides",
    "integration": "integrations",
}
_V3 = "schedule_v3"
PARTS = ("schedule_layers", "final_schedule", "overrides_subschedule")
"""What a schedule holds besides itself."""


def iso(instant: datetime) -> str:
    """An instant as the API writes it."""
    return instant.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


class Views:
    """Shows one world. `account_url` is what links in the answers begin with."""

    def __init__(self, world: World, account_url: str) -> None:
        self._world = world
        self._url = account_url

    def reference(self, kind: str, id_: str) -> Json:
        """A reference object; `kind` without its suffix."""
        base = kind.removesuffix("_log_entry") if kind.endswith("_log_entry") else kind
        plural = "log_entries" if base != kind else _PLURALS[kind]
        shown = {
            "id": id_,
            "type": f"{kind}_reference",
            "summary": self._summary(kind, id_),
            "self": f"{self._url}/{plural}/{id_}",
        }
        # Only the older kinds may have no page of their own.
        return shown if kind == _V3 else {**shown, "html_url": None}

    def user(self, user: User) -> Json:
        """A user in full."""
        return {
            **self._thing("user", user.id, user.name),
            "name": user.name,
            "email": user.email,
            "time_zone": user.time_zone,
            "color": "green",
            "role": user.role,
            "description": None,
            "invitation_sent": False,
            "contact_methods": [],
            "notification_rules": [],
            "job_title": "",
            "teams": [],
        }

    def on_calls(self, since: datetime, until: datetime) -> Iterator[Json]:
        """Who is on call in the window, one row for each policy, level, user, schedule and turn."""
        for policy in self._world.policies.values():
            for level, schedule, turn, user in self._world.on_call(policy, since, until):
                yield {
                    "escalation_policy": self.reference("escalation_policy", policy.id),
                    "escalation_level": level,
                    "schedule": self.reference(self._kind_of(schedule), schedule) if schedule else None,
                    "user": self.reference("user", user),
                    "start": iso(turn.start) if turn else None,
                    "end": iso(turn.end) if turn else None,
                }

    def service(self, service: Service) -> Json:
        """A service in full."""
        return {
            **self._thing("service", service.id, service.name),
            "name": service.name,
            "description": "",
            "created_at": "2020-01-01T00:00:00Z",
            "status": "active",
            "escalation_policy": self.reference("escalation_policy", service.policy),
            "teams": [],
            "integrations": [],
        }

    def policy(self, policy: Policy) -> Json:
        """An escalation policy in full."""
        rules = []
        for level, rule in enumerate(policy.rules, start=1):
            users = [self.reference("user", user) for user in rule.users]
            schedules = [self.reference(self._kind_of(schedule), schedule) for schedule in rule.schedules]
            strategy = "round_robin" if rule.round_robin else "assign_to_everyone"
            rules.append(
                {
                    "id": f"{policy.id}R{level}",
                    "escalation_delay_in_minutes": rule.delay_minutes,
                    "targets": [*users, *schedules],
                    "escalation_rule_assignment_strategy": strategy,
                }
            )
        services = [s.id for s in self._world.services.values() if s.policy == policy.id]
        return {
            **self._thing("escalation_policy", policy.id, policy.name),
            "name": policy.name,
            "escalation_rules": rules,
            "services": [self.reference("service", service) for service in services],
            "num_loops": 0,
            "on_call_handoff_notifications": "if_has_services",
            "teams": [],
        }

    def schedule(
        self,
        schedule: LayeredSchedule,
        window: tuple[datetime, datetime] | None,
        *,
        parts: Collection[str] = PARTS,
        overflow: bool = False,
    ) -> Json:
        """A layer-based schedule; with a window, what is rendered in it, cut at its borders unless `overflow`."""
        users = dict.fromkeys(user for layer in schedule.layers for user in layer.users)
        shown = {
            **self._thing("schedule", schedule.id, schedule.name),
            "name": schedule.name,
            "time_zone": schedule.time_zone,
            "description": "",
            "escalation_policies": [self.reference("escalation_policy", each) for each in self._users_of(schedule.id)],
            "users": [self.reference("user", user) for user in users],
            "teams": [],
        }
        if "schedule_layers" in parts:
            layers = reversed(schedule.layers)
            shown["schedule_layers"] = [self._layer(schedule, layer, window, overflow) for layer in layers]
        if window and "final_schedule" in parts:
            shown["final_schedule"] = self._rendered("Final Schedule", schedule.final(*window), window, overflow)
        if window and "overrides_subschedule" in parts:
            overrides = schedule.override_turns(*window)
            shown["overrides_subschedule"] = self._rendered("Overrides", overrides, window, overflow)
        return shown

    def overrides(self, schedule: LayeredSchedule, since: datetime, until: datetime) -> list[Json]:
        """The overrides that touch the window."""
        return [
            {"id": each.id, "start": iso(each.start), "end": iso(each.end), "user": self.reference("user", each.user)}
            for each in schedule.overrides
            if each.start < until and each.end > since
        ]

    def v3_reference(self, schedule: FlexibleSchedule) -> Json:
        """A shift-based schedule as its list shows it."""
        return self.reference(_V3, schedule.id)

    def v3_schedule(
        self, schedule: FlexibleSchedule, window: tuple[datetime, datetime] | None, *, overflow: bool
    ) -> Json:
        """A shift-based schedule; with a window, its computed assignments."""
        shown: Json = {
            "id": schedule.id,
            "type": _V3,
            "name": schedule.name,
            "time_zone": schedule.time_zone,
            "self": f"{self._url}/v3/schedules/{schedule.id}",
            "teams": [],
            "escalation_policies": [self.reference("escalation_policy", each) for each in self._users_of(schedule.id)],
        }
        if window:
            turns = [_cut(turn, window, overflow) for turn in schedule.final(*window)]
            shown["final_schedule"] = {
                "type": "final_schedule",
                "rendered_coverage_percentage": _coverage([turn for turn in turns if turn.user], window),
                "computed_shift_assignments": [_assignment(turn) for turn in turns],
            }
        return shown

    def incident(self, incident: Incident, *, with_trigger: bool) -> Json:
        """An incident in full; with the whole first log entry when that was asked for."""
        first = incident.log[0]
        return {
            **self._thing("incident", incident.id, f"[#{incident.number}] {incident.title}"),
            "incident_number": incident.number,
            "title": incident.title,
            "created_at": iso(incident.created_at),
            "updated_at": iso(incident.updated_at),
            "status": incident.status,
            "incident_key": incident.id,
            "service": self.reference("service", incident.service),
            "assignments": [
                {"at": iso(at), "assignee": self.reference("user", user)} for user, at in incident.assigned
            ],
            "assigned_via": incident.assigned_via,
            "last_status_change_at": iso(incident.updated_at),
            "first_trigger_log_entry": self.log_entry(incident, first)
            if with_trigger
            else self.reference("trigger_log_entry", first.id),
            "escalation_policy": self.reference("escalation_policy", incident.policy),
            "teams": [],
            "pending_actions": [],
            "acknowledgements": [
                {"at": iso(at), "acknowledger": self.reference(kind, id_)} for kind, id_, at in incident.acknowledged
            ],
            "alert_counts": {"all": 0, "triggered": 0, "resolved": 0},
            "is_mergeable": True,
            "incidents_responders": [self._responder(incident, each) for each in incident.responders],
            "responder_requests": [],
            "urgency": "high",
        }

    def log_entry(self, incident: Incident, entry: LogEntry) -> Json:
        """One step of an incident."""
        shown = {
            **self._thing("log_entry", entry.id, entry.kind),
            "type": f"{entry.kind}_log_entry",
            "created_at": iso(entry.at),
            "agent": self.reference(*entry.agent),
            "channel": {"type": "website" if entry.agent[0] == "user" else "api"},
            "incident": self.reference("incident", incident.id),
            "service": self.reference("service", incident.service),
            "teams": [],
            "contexts": [],
            "event_details": {},
        }
        if entry.kind in {"assign", "escalate"}:
            shown["assignees"] = [self.reference("user", user) for user in entry.assignees]
        return shown

    def audit_record(self, record: AuditRecord) -> Json:
        """Who changed what in a schedule."""
        return {
            "id": record.id,
            "execution_time": record.at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "execution_context": {"request_id": record.id},
            "actors": [self.reference("user", record.actor)] if record.actor else [],
            "method": {"type": "browser"},
            "root_resource": self.reference("schedule", record.schedule),
            "action": record.action,
            "details": {"resource": self.reference(*record.resource)},
        }

    def subscription(self, subscription: Subscription, now: datetime) -> Json:
        """A webhook subscription, without its secret."""
        until = subscription.disabled_until
        return {
            "id": subscription.id,
            "type": "webhook_subscription",
            "active": True,
            "description": subscription.description,
            "delivery_method": {
                "id": f"{subscription.id}D",
                "type": "http_delivery_method",
                "url": subscription.url,
                "secret": None,
                "temporarily_disabled": until is not None and now < until,
                "custom_headers": [],
            },
            "events": ["incident.acknowledged", "incident.resolved", "incident.triggered"],
            "filter": {"type": "account_reference"},
        }

    def event(self, event: Event) -> Json:
        """A webhook's body. Acknowledgers are not in it, as in the real one."""
        incident = self._world.incidents[event.incident]
        if event.kind.startswith("incident.responder."):
            user, state = event.data["user"], event.data["state"]
            data = {
                "type": "incident_responder",
                "incident": self.reference("incident", incident.id),
                "user": self.reference("user", user),
                "escalation_policy": None,
                "message": "Please help",
                "state": state,
            }
        else:
            data = {
                "id": incident.id,
                "type": "incident",
                "number": incident.number,
                "status": incident.status,
                "title": incident.title,
                "created_at": iso(incident.created_at),
                "service": self.reference("service", incident.service),
                "assignees": [self.reference("user", user) for user, _ in incident.assigned],
                "escalation_policy": self.reference("escalation_policy", incident.policy),
            }
        body = {
            "id": event.id,
            "event_type": event.kind,
            "resource_type": "incident",
            "occurred_at": event.at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "agent": self.reference(*event.agent),
            "client": None,
            "data": data,
        }
        return {"event": body}

    def _thing(self, kind: str, id_: str, summary: str) -> Json:
        return {
            "id": id_,
            "type": kind,
            "summary": summary,
            "self": f"{self._url}/{_PLURALS[kind]}/{id_}",
            "html_url": None,
        }

    def _summary(self, kind: str, id_: str) -> str:
        world = self._world
        named: dict[str, dict[str, Any]] = {
            "user": world.users,
            "service": world.services,
            "schedule": world.schedules,
            _V3: world.schedules,
            "escalation_policy": world.policies,
        }
        thing = named.get(kind, {}).get(id_)
        return thing.name if thing else id_

    def _kind_of(self, schedule: str) -> str:
        return _V3 if isinstance(self._world.schedules[schedule], FlexibleSchedule) else "schedule"

    def _users_of(self, schedule: str) -> list[str]:
        policies = self._world.policies.values()
        return [policy.id for policy in policies if any(schedule in rule.schedules for rule in policy.rules)]

    def _layer(
        self,
        schedule: LayeredSchedule,
        layer: Layer,
        window: tuple[datetime, datetime] | None,
        overflow: bool,  # noqa: FBT001 - passed through
    ) -> Json:
        shown = {
            "id": layer.id,
            "name": layer.name,
            "start": iso(layer.start),
            "end": iso(layer.end) if layer.end else None,
            "rotation_virtual_start": iso(layer.rotation_start or layer.start),
            "rotation_turn_length_seconds": int(layer.turn.total_seconds()),
            "users": [{"user": self.reference("user", user)} for user in layer.users],
            "restrictions": [_restriction(each) for each in layer.restrictions],
        }
        if window:
            turns = schedule.layer_turns(layer, *window)
            rendered = self._rendered(layer.name, turns, window, overflow)
            shown |= {key: value for key, value in rendered.items() if key != "name"}
        return shown

    def _rendered(self, name: str, turns: list[Turn], window: tuple[datetime, datetime], overflow: bool) -> Json:  # noqa: FBT001 - passed through
        cut = [_cut(turn, window, overflow) for turn in turns]
        entries = [
            {"start": iso(turn.start), "end": iso(turn.end), "user": self.reference("user", turn.user)}
            for turn in cut
            if turn.user is not None
        ]
        return {
            "name": name,
            "rendered_schedule_entries": entries,
            "rendered_coverage_percentage": _coverage(cut, window),
        }

    def _responder(self, incident: Incident, responder: Responder) -> Json:
        return {
            "state": responder.state,
            "user": self.reference("user", responder.user),
            "incident": self.reference("incident", incident.id),
            "updated_at": iso(incident.updated_at),
            "message": "Please help",
            "requester": self.reference("user", responder.requester),
            "requested_at": iso(responder.requested_at),
        }


def _assignment(turn: Turn) -> Json:
    source: Json = {"type": turn.source}
    if turn.source.endswith("_override"):
        source["override_id"] = turn.source_id
    elif turn.source == "custom_shift":
        source["shift_id"] = turn.source_id
    else:
        source["rotation_id"] = turn.source_id
    member: Json = {"type": "user_member", "user_id": turn.user} if turn.user else {"type": "empty_member"}
    return {
        "type": "computed_shift_assignment",
        "start_time": iso(turn.start),
        "end_time": iso(turn.end),
        "member": member,
        "source": source,
    }


def _restriction(restriction: Restriction) -> Json:
    shown: Json = {
        "type": "daily_restriction" if restriction.day is None else "weekly_restriction",
        "start_time_of_day": restriction.start.isoformat(timespec="seconds"),
        "duration_seconds": int(restriction.duration.total_seconds()),
    }
    if restriction.day is not None:
        shown["start_day_of_week"] = restriction.day
    return shown


def _cut(turn: Turn, window: tuple[datetime, datetime], overflow: bool) -> Turn:  # noqa: FBT001 - passed through
    if overflow:
        return turn
    return Turn(turn.user, max(turn.start, window[0]), min(turn.end, window[1]), turn.source, turn.source_id)


def _coverage(turns: list[Turn], window: tuple[datetime, datetime]) -> float:
    """How much of the window has somebody, in percent."""
    covered, reached = timedelta(0), window[0]
    for turn in sorted(turns, key=lambda turn: turn.start):
        start, end = max(turn.start, reached), min(turn.end, window[1])
        if start < end:
            covered += end - start
            reached = end
    whole = window[1] - window[0]
    return round(100.0 * (covered / whole), 1) if whole else 0.0
