"""What is wrong with one field of an object, in the words that Kubernetes uses for it."""

from dataclasses import dataclass

_REASON_OF_CAUSE = {
    "type": "FieldValueTypeInvalid",
    "Required value": "FieldValueRequired",
    "Unsupported value": "FieldValueNotSupported",
    "Forbidden": "FieldValueForbidden",
    "Too long": "FieldValueTooLong",
    "Too many": "FieldValueTooMany",
    "Duplicate value": "FieldValueDuplicate",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One wrong field; the text begins with the kind of the mistake, as Kubernetes words it."""

    field: str
    text: str

    def as_json(self) -> dict[str, str]:
        """Answer the cause as it stands in a Status."""
        kind = "type" if " in body must be of type " in self.text else self.text.split(":", maxsplit=1)[0]
        return {
            "reason": _REASON_OF_CAUSE.get(kind, "FieldValueInvalid"),
            "message": self.text,
            "field": self.field,
        }
