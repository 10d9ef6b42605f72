# A policy in the style of Cyral's authorization policies (Rego as before OPA 1.0), written for Watchkey: the same
# package, input and answer, with a ceiling instead of a floor on the level. Watchkey answers the requests from its
# roster; no token is needed, and the facts bound the answer.
#
#   policies:
#     cyral: {files: [authz.rego], dialect: cyral, parameters: {max_escalation_level: 1}}
package cyral.authz_policy

default decision = {"allow": false, "ttl": "30s"}

decision = {"allow": true, "ttl": "5m"} {
    entry := on_call_entries[_]
    entry.escalation_level <= data.policyparams.max_escalation_level
    is_number(entry.escalation_level)
    is_number(data.policyparams.max_escalation_level)
    entry.end != null
}

pagerduty(path, body) = answer {
    answer := http.send({
        "url": concat("/", ["https://api.pagerduty.com", path]),
        "method": "GET",
        "body": body,
        "headers": {"Authorization": sprintf("Token token=%s", [data.policyparams.api_token])},
    }).body
}

person = id {
    found := pagerduty("users", {"query": input.userID}).users
    count(found) == 1
    found[0].email == input.userID
    id := found[0].id
}

on_call_entries = entries {
    all := pagerduty("oncalls?limit=100", {"user_ids": [person]}).oncalls
    entries := [entry | entry := all[_]; entry.user.id == person]
}
