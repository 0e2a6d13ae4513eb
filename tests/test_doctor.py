"""What is installed and in reach."""

from promptlab import __version__
from promptlab.doctor import findings


def by_topic():
    """Return the findings by topic."""
    return {finding.topic: finding for finding in findings(timeout_s=2.0)}


def test_a_working_installation_has_nothing_bad(tmp_path, monkeypatch):
    """Without a key everything else is good or a note, and the endpoint is not asked."""
    monkeypatch.chdir(tmp_path)
    found = by_topic()
    assert [finding.topic for finding in found.values() if finding.mark == "bad"] == []
    assert found["promptlab"].text.startswith(__version__)
    assert found["API key"].text == "none: set OPENAI_API_KEY"
    assert found["endpoint"].text == "not asked, for want of a key"


def test_an_endpoint_that_answers_is_told_with_its_models(fault_server, tmp_path, monkeypatch):
    """The endpoint of the environment is asked for its models, and the key is not shown."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-doctor-0123456789")
    monkeypatch.setenv("OPENAI_BASE_URL", fault_server.base_url)
    found = by_topic()
    assert found["API key"].text == "found in the environment"
    assert found["endpoint"].mark == "good"
    assert found["endpoint"].text.startswith(f"{fault_server.base_url} answers and offers ")
    assert not any("sk-doctor" in finding.text for finding in found.values())


def test_a_key_in_dotenv_is_found(fault_server, tmp_path, monkeypatch):
    """A .env file in the folder counts, and is named as the place."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text(f"OPENAI_API_KEY=sk-doctor-0123456789\nOPENAI_BASE_URL={fault_server.base_url}\n")
    found = by_topic()
    assert (found["API key"].text, found["endpoint"].mark) == ("found in .env", "good")


def test_an_endpoint_that_is_not_there_is_bad(tmp_path, monkeypatch):
    """A refused connection is told in words."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-doctor-0123456789")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    found = by_topic()
    assert found["endpoint"].mark == "bad"
    assert found["endpoint"].text.startswith("http://127.0.0.1:9/v1 does not list its models")
