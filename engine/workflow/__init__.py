"""How one machine moves: claim, load, decide, write the intent, act, write the result, release.

``step`` holds the words of a decision, ``steps`` one file per phase of a life, ``program`` the table from place to
step, ``journal`` the effects with their intents, ``runner`` the loop, ``mirror`` the way back to Kubernetes.
"""
