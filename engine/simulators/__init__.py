"""The world outside, simulated: the same code in one process from one seed, and over real HTTP.

``http`` is the wire (requests and responses as values, and a server for them), ``seed`` is where chance comes from,
``metal`` is the Equinix Metal API, ``kube`` is the embedded Kubernetes API server, ``demo`` is the world of
`make start`, ``cluster`` and ``world`` are for runs in one thread under a virtual clock.
"""
