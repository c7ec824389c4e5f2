"""Questions about permissions: everybody who may come in may do everything, and is told so."""

from engine.simulators.kube.errors import bad_request
from engine.simulators.kube.kinds import Json, Kind
from engine.simulators.kube.meta import check_shape


def reviewed(kind: Kind, body: object) -> Json:
    """Answer the review with the server's verdict; nothing is kept."""
    review = check_shape(kind, body)
    if not isinstance(review.get("spec"), dict):
        raise bad_request("spec: Required value: the review must say what it asks about")
    return review | {"status": {"allowed": True, "reason": "the embedded API server has no roles"}}
