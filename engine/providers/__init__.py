"""Where hardware comes from: one folder per cloud, each an implementation of `engine.ports.provider.Provider`.

``registry`` finds them by the name that a MachineClass writes, the built-in one and those that other packages announce.
``pace`` keeps an account's calls under its rate limit, ``metered`` counts the calls; no adapter knows of metrics.
"""
