"""Equinix Metal.

``spec`` reads a MachineClass, ``api`` sends requests and is the only module that knows `requests`, ``deadline`` bounds
an answer that drips, ``errors`` turns an answer into a decision, ``wire`` reads devices out of JSON, and ``provider``
puts them together behind the port.
"""
