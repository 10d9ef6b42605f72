"""Sessions and statements as events of the Open Cybersecurity Schema Framework, for whoever collects such.

Authentication (3002) for who came in, was kept out and left; Datastore Activity (6005) for statements. Only attributes
that stand in every version from 1.3 on are used; what has no place there is under `unmapped`, by our own names.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

VERSION: Final = "1.8.0"
GATEWAY_CALLER: Final = "pg-gateway"
_AUTHENTICATION: Final = 3002
_DATASTORE: Final = 6005
_SUCCESS, _FAILURE = 1, 2
_LOGON, _LOGOFF = 1, 2
_OTHER: Final = 99
_QUERY, _UPDATE, _WRITE, _CREATE, _DELETE = 4, 2, 5, 6, 7
_ACTIVITIES: Final = {
    **dict.fromkeys(("select", "table", "values", "show", "fetch", "with", "explain"), _QUERY),
    **dict.fromkeys(("update", "merge", "alter", "comment", "grant", "revoke", "refresh"), _UPDATE),
    **dict.fromkeys(("insert", "copy"), _WRITE),
    **dict.fromkeys(("create",), _CREATE),
    **dict.fromkeys(("delete", "truncate", "drop"), _DELETE),
}
_OUTCOMES: Final = {"done": _SUCCESS, "suspended": _SUCCESS, "failed": _FAILURE, "skipped": _FAILURE}
_PEER: Final = re.compile(r"(.+):([0-9]{1,5})")
_WORD: Final = re.compile(r"[A-Za-z]+")
_PLACED: Final = frozenset(
    {"at", "session", "subject", "resource", "text", "outcome", "ms", "sqlstate"}
)  # of a statement's line; the rest goes under `unmapped`


def session_event(entry: Mapping[str, Any], *, product_version: str) -> dict[str, Any] | None:
    """An Authentication event for an entry of the audit log; None for one that is about no session."""
    fields: Mapping[str, Any] = entry.get("fields") or {}
    match entry.get("what"):
        case "session.opened":
            activity, status, detail = _LOGON, _SUCCESS, str(fields.get("application", ""))
        case "session.ended":
            activity, status, detail = _LOGOFF, _SUCCESS, str(fields.get("why", ""))
        case _ if entry.get("caller") == GATEWAY_CALLER and entry.get("outcome") == "deny":
            fields = entry
            activity, status, detail = _LOGON, _FAILURE, str(entry.get("reason", ""))
        case _:
            return None
    event = _event(_AUTHENTICATION, activity, status, str(entry["at"]), product_version, str(entry["seq"]), "audit")
    event |= {
        "user": _user(str(fields["subject"])),
        "service": {"name": "watchkey gateway", "labels": [str(fields["resource"])]},
        "is_remote": True,
        "message": str(fields.get("sentence") or detail),
        "status_detail": detail,
    }
    if fields.get("client"):
        event["src_endpoint"] = _endpoint(str(fields["client"]))
    if fields.get("session"):
        event["session"] = {"uid": str(fields["session"]), "is_remote": True}
    unmapped = {name: fields[name] for name in ("lease", "account", "shared_account", "proxy") if fields.get(name)}
    return event | ({"unmapped": unmapped} if unmapped else {})


def statement_event(line: Mapping[str, Any], client: str, *, product_version: str) -> dict[str, Any]:
    """A Datastore Activity event for a line of the statement log; `client` is the session's address or empty."""
    word = _WORD.search(str(line.get("tag") or "") or str(line["text"]))
    activity = _ACTIVITIES.get(word.group().lower() if word else "", _OTHER)
    outcome = str(line["outcome"])
    at = str(line["at"])
    event = _event(_DATASTORE, activity, _OUTCOMES.get(outcome, 0), at, product_version, "", "statements")
    milliseconds = round(float(line["ms"]))
    return event | {
        "actor": {"user": _user(str(line["subject"])), "session": {"uid": str(line["session"])}},
        "src_endpoint": _endpoint(client) if client else {"name": "unknown"},
        "database": {"name": str(line["resource"]), "type": "Relational", "type_id": 1},
        "type_id": 1,
        "query_info": {"query_string": str(line["text"]), "query_time": event["time"]},
        "start_time": event["time"],
        "end_time": event["time"] + milliseconds,
        "duration": milliseconds,
        "status_detail": outcome,
        **({"status_code": str(line["sqlstate"])} if line.get("sqlstate") else {}),
        "unmapped": {name: value for name, value in line.items() if name not in _PLACED and value is not None},
    }


def _event(
    class_uid: int, activity: int, status: int, at: str, product_version: str, uid: str, log_name: str
) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "version": VERSION,
        "product": {"name": "Watchkey", "vendor_name": "Watchkey", "version": product_version},
        "log_name": log_name,
        "original_time": at,
    }
    return {
        "category_uid": class_uid // 1000,
        "class_uid": class_uid,
        "activity_id": activity,
        "type_uid": class_uid * 100 + activity,
        "severity_id": 2 if status == _FAILURE else 1,
        "status_id": status,
        "time": _milliseconds(at),
        "metadata": metadata | ({"uid": uid} if uid else {}),
    }


def _user(subject: str) -> dict[str, Any]:
    return {"name": subject, "uid": subject, "type_id": 1}


def _endpoint(peer: str) -> dict[str, Any]:
    found = _PEER.fullmatch(peer)
    return {"ip": found.group(1).strip("[]"), "port": int(found.group(2))} if found else {"name": peer}


def _milliseconds(at: str) -> int:
    moment = datetime.fromisoformat(at)
    return int(moment.timestamp()) * 1000 + moment.microsecond // 1000
