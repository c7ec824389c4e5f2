"""The error tree: one root, and every class is a decision that says what the engine does next.

``EngineError``
├── ``ConfigurationError``          the operator's settings are wrong: say so and stop
├── ``StoreError``                  the database refused or is unfit
│   ├── ``StoreUnfitError``         this database must not be used by this program
│   ├── ``NewerRecordError``        a newer program wrote this machine's record: leave the machine alone
│   ├── ``StoreUnavailableError``   the database does not answer or cannot write now
│   └── ``LostClaimError``          somebody else holds the machine: drop the work
├── ``ProviderError``               the cloud's answer, translated (``engine.ports.provider``)
└── ``ClusterError``                the API server's answer, translated (``engine.ports.cluster``)
"""


class EngineError(Exception):
    """The root of every error that the engine raises on purpose."""


class ConfigurationError(EngineError):
    """A setting is wrong; the message names it and says what to write instead."""


class StoreError(EngineError):
    """The database refused an operation."""


class StoreUnfitError(StoreError):
    """This database must not be used by this program; start-up stops with the reason."""


class NewerRecordError(StoreError):
    """A newer program wrote this machine's record: the machine is left alone until that program is back."""


class StoreUnavailableError(StoreError):
    """The database does not answer or cannot write now; nothing is bought until it can."""


class LostClaimError(StoreError):
    """The claim on a machine was lost to somebody else: the work is dropped and nothing is written."""


class ProviderError(EngineError):
    """The cloud refused or did not answer."""


class ClusterError(EngineError):
    """The Kubernetes API server refused or did not answer."""
