"""`login`, `logout` and `CONFIG`."""

from __future__ import annotations

import getpass
import os
from pathlib import Path

import pytest

from tests.servers.s3 import S3
from track import em
from track.em.session import Config, current_store
from track.em.store.places import failed
from track.errors import BackendUnavailable, NotLoggedIn


@pytest.fixture(autouse=True)
def _settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty directory, without a file of settings at home."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("T9K_CONFIG", raising=False)


def test_login_and_logout(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A login chooses the store and user, another one replaces it, logging out forgets it."""
    em.login("file:one")
    first = current_store()
    em.login(ais_host=f"file://{tmp_path}/two/?user=ann", api_key="anything", timeout=5)
    second = current_store()
    em.logout()

    assert (first.host, first.user) == (f"file://{tmp_path}/one", getpass.getuser())
    assert (second.host, second.user) == (f"file://{tmp_path}/two", "ann")
    with pytest.raises(NotLoggedIn, match="call login"):
        current_store()
    assert not caplog.records
    em.logout()
    assert "nothing to log out from" in caplog.text


def test_failed_login_keeps_the_old_store() -> None:
    """Who was logged in still is."""
    em.login("file:one")
    store = current_store()

    with pytest.raises(ConnectionError, match="cannot be used"):
        em.login("file:not/there")
    assert current_store() is store
    em.logout()


@pytest.mark.parametrize(
    ("host", "message"),
    [
        (None, "which store"),
        ("", "which store"),
        ("just words", "is no URL"),
        ("file:", "names no directory"),
        ("file:store?endpoint_url=x", "a directory has no option 'endpoint_url'"),
        ("s3://bucket?colour=red", "S3 has no option 'colour'"),
        ("file:store?user=../x", "cannot be a name"),
    ],
)
def test_hosts_that_cannot_be(host: str | None, message: str) -> None:
    """They are a ValueError that says what is meant."""
    with pytest.raises(ValueError, match=message):
        em.login(host)


@pytest.mark.parametrize("key", ["no colon", ":", "a:", ":b"])
def test_key_of_s3(key: str) -> None:
    """It has two parts."""
    with pytest.raises(ValueError, match="Invalid API Key"):
        em.login("s3://bucket", key)


def test_s3_with_a_key(moto_server: S3, moto_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Endpoint, region and key are all there is to say; neither key nor options are in the host's name."""
    pytest.importorskip("s3fs")
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    url = f"s3://{moto_bucket}/prefix?endpoint_url={moto_server.endpoint}&region=us-east-1&user=ann"

    em.login(url, "testkey:testsecret")
    em.create_artifact("a").upload()

    assert current_store().host == f"s3://{moto_bucket}/prefix"
    assert [node.path for node in current_store().children("default")] == ["/ann/default/a"]
    em.logout()


def test_bucket_that_is_not_there(moto_bucket: str) -> None:
    """It is as if the server were away."""
    pytest.importorskip("s3fs")
    with pytest.raises(ConnectionError, match="cannot be used: FileNotFoundError"):
        em.login(f"s3://{moto_bucket}-nowhere/prefix")


def test_error_is_what_people_catch() -> None:
    """Of the library, of Python, and of requests where it is installed."""
    requests = pytest.importorskip("requests")
    error = failed("s3://bucket", OSError("away"))

    assert isinstance(error, BackendUnavailable)
    assert isinstance(error, ConnectionError)
    assert isinstance(error, requests.HTTPError)
    assert str(error) == "s3://bucket cannot be used: OSError: away"


class TestConfig:
    """`CONFIG`."""

    def test_nothing_is_set(self) -> None:
        """Everything is None, and there are three settings."""
        assert Config().to_dict() == {"aistore_host": None, "asset_hub_host": None, "api_key": None}

    def test_options_come_before_the_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The environment, then the file; what is set in the program comes first."""
        (tmp_path / ".t9k").mkdir()
        (tmp_path / ".t9k" / "t9k-config.yaml").write_text("aistore_host: file:home\nasset_hub_host: hub\napi_key: k\n")
        monkeypatch.setenv("TRACK_EM_HOST", "file:environment")
        config = Config()

        assert config.to_dict() == {"aistore_host": "file:environment", "asset_hub_host": "hub", "api_key": "k"}
        config["aistore_host"] = "file:program"
        assert config["aistore_host"] == "file:program"
        del config["aistore_host"]
        assert config["aistore_host"] == "file:environment"

    def test_file_that_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """`T9K_CONFIG` names another file."""
        (tmp_path / "other.yaml").write_text("aistore_host: file:other\n")
        monkeypatch.setenv("T9K_CONFIG", str(tmp_path / "other.yaml"))

        assert Config()["aistore_host"] == "file:other"

    def test_unknown_setting(self) -> None:
        """It is named."""
        with pytest.raises(ValueError, match="no setting 'host'"):
            Config()["host"] = "x"
        with pytest.raises(ValueError, match="no setting 'host'"):
            _ = Config()["host"]

    def test_key_is_not_shown(self) -> None:
        """A printed configuration tells no secret."""
        config = Config()
        config.update(aistore_host="file:store", api_key="secret")

        assert "secret" not in repr(config)
        assert (len(config), list(config)) == (3, ["aistore_host", "asset_hub_host", "api_key"])

    def test_login_uses_it(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """Without a host, the configured one is meant."""
        monkeypatch.setenv("TRACK_EM_HOST", "file:configured?user=ann")

        em.login()

        assert current_store().host == f"file://{tmp_path}/configured"
        em.logout()
