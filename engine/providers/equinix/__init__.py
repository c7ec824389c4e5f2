"""Equinix Metal.

``spec`` reads a MachineClass, ``api`` sends requests and is the only module that knows `requests`, ``deadline`` bounds
an answer that drips, ``errors`` turns an answer into a decision, ``wire`` reads devices out of JSON,
``listing`` puts pages together while devices come and go, and ``provider`` is all of it behind the port.
"""
