"""The cluster port over the Kubernetes API; the only package that imports `kubernetes`.

`connect` finds the API servers, `api` speaks to one, `wire` and `objects` turn JSON into the domain's values, `cache`
and `reflector` keep them up to date, `kube` is the port, `events` announces, `leases` elects, `checks` tells an
operator what is missing.
"""
