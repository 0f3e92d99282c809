"""The public conformance kit: subclass `ProtocolTests`, say how your backend is made, and run pytest.

>>> import pytest
>>> class TestMyBackend(ProtocolTests):
...     @pytest.fixture
...     def protocol(self, tmp_path):
...         from track.persistence import get_protocol
...         return get_protocol(f"file:{tmp_path}/runs.json")
"""

from track.errors import missing_extra

try:
    from track.testing.conformance import ProtocolTests
except ModuleNotFoundError as error:
    if error.name != "pytest":
        raise
    raise missing_extra("track.testing needs pytest", "testing") from error
from track.testing.model import Model

__all__ = ["Model", "ProtocolTests"]
