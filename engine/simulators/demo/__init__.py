"""The world of `make start`: everything that the controller needs from outside, embedded, and the controller in it.

``world`` puts it together: the embedded API server, the simulated Metal API (``cloud``), ``nodes`` for the kubelets,
``replicas`` for the machine controller manager, and the production controller, unchanged. ``folder`` is where it is
kept from run to run; ``feed`` tells what happens, and ``show`` brings it to a terminal or into a pipe with ``screen``.
"""
