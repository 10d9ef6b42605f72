package watchkey.access

# The policy that the resources of this bundle name, asked about the same document as inside Watchkey. It goes through
# JSON because whatever a policy says is looked at here; it must not be a reason why the bundle does not compile.
verdict := json.unmarshal(json.marshal(answer)) if answer := data.watchkey.decision with input as document
