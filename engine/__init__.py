"""Machine Engine: a durable machine controller for bare metal.

The layers, outermost first; an outer layer knows the inner ones, never the reverse, and siblings are strangers:

- ``__main__`` and ``cli``: the verbs of ``machine-engine``.
- ``simulators``: the Metal API, the Kubernetes API and the demo world, in process or over real HTTP.
- ``app``: the composition root; the only place that names concrete adapters.
- ``console`` and ``jobs``: what an operator sees and orders; what happens by itself.
- ``workflow``, ``reconcile``, ``store``, ``providers``, ``cluster``: how one machine moves; what differs; the adapters.
- ``ports``: what the core needs from outside.
- ``domain``: what is true, without I/O and without a clock.
- ``config``, ``logs``, ``metrics``, ``clock``, ``resources``: the ground.
- ``errors``: the one error tree.
"""

__version__ = "0.1.0"
