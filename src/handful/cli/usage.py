"""Wrong usage that the declarations of options can't say: options that exclude or need each other."""

from handful.errors import InvalidParameterError


class WrongUsageError(InvalidParameterError):
    """Options that don't go together, or one that is missing: wrong whatever the files and the model are."""
