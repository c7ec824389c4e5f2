"""Names that must never be swapped: each kind of identity is a type of its own."""

from typing import NewType

MachineUid = NewType("MachineUid", str)
"""The UID of a Machine object; the key of everything we keep about it."""

DeviceId = NewType("DeviceId", str)
"""The provider's own id of a device; for Equinix Metal a UUID."""

AccountKey = NewType("AccountKey", str)
"""What shares one list and one rate limit: a credential in a project at a provider. Holds no secret."""

IntentId = NewType("IntentId", str)
"""The id of an intent row; made from the Machine's UID and a number, so that it is known before it is written."""
