"""The two failures of their own that data files have."""


class DataError(ValueError):
    """A file whose content is not what its format promises."""


class DownloadError(OSError):
    """A file that could not be brought from any of its addresses, or could not be stored."""
