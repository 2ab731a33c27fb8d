"""Notices: what is news, once; and that each channel's own kind of receiver gets it."""

from __future__ import annotations

import json
import smtplib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message as Mailbox
from aiosmtpd.smtp import AuthResult, LoginPassword
from moto import mock_aws
from moto.core import DEFAULT_ACCOUNT_ID
from moto.sns.models import sns_backends

from penstock.config import load
from penstock.config.notices import EmailNotices, NoticeSettings, SlackNotices, SnsNotices
from penstock.errors import ConfigurationError
from penstock.notices.message import compose
from penstock.notices.news import news
from penstock.notices.send import notify

ALL = ("failed", "refused", "late", "recovered")
HUSH = "T000/B000/hush-hush"


def entry(job: str, state: str = "succeeded", message: str = "", **more: Any) -> dict[str, Any]:
    failure = {"class": "malformed", "message": message} if message else None
    batch = {"from": "2010-12-02", "to": "2010-12-02", "failure": failure} if state != "skipped" else None
    return {"job": job, "state": state, "batch": batch, "page": f"/w/_penstock/runs/{job}/index.html", **more}


def night(*entries: dict[str, Any]) -> dict[str, Any]:
    at = {"env": "local", "from": "2010-12-02", "to": "2010-12-02"}
    return {**at, "jobs": list(entries), "page": "/w/_penstock/nights/n 1/index.html"}


def test_trouble_is_told_once_and_its_end_once() -> None:
    told: Any = {}

    def told_of(*entries: dict[str, Any]) -> list[str]:
        nonlocal told
        items, told = news(night(*entries), told, ALL)
        return [f"{item.job} {item.kind}" for item in items]

    broken = "2010-12-02.csv is cut off after 17 lines"
    assert told_of(entry("lines", "failed", broken), entry("sales")) == ["lines failed"]
    assert told_of(entry("lines", "failed", "2010-12-03.csv is cut off after 5 lines"), entry("sales")) == []
    assert told_of(entry("sales")) == [], "a night without the job says nothing of it"
    assert told_of(entry("lines", "failed", "the disk is full")) == ["lines failed"], "another cause is news"
    assert told_of(entry("lines", "refused", "a rule")) == ["lines refused"]
    assert told_of(entry("lines", "skipped", waiting=1)) == [], "it only waits: nobody knows"
    assert told_of(entry("lines")) == ["lines recovered"]
    assert told_of(entry("lines")) == []
    assert told == {}


def test_a_job_that_waits_for_another_is_no_news() -> None:
    items, _ = news(night(entry("lines", "failed", "no"), entry("sales", "skipped", waiting=1)), {}, ALL)
    assert [item.job for item in items] == ["lines"]


def test_only_what_is_wanted() -> None:
    bad, late = entry("lines", "failed", "no"), entry("web", "skipped", late=["2010-12-02"])
    items, told = news(night(bad, late), {}, ("late",))
    assert [(item.job, item.text) for item in items] == [("web", "no input for 2010-12-02")]
    assert list(told) == ["web"]
    assert news(night(entry("web")), told, ("late",)) == ([], {}), (
        "an end that nobody wants to hear of ends it all the same"
    )


def test_the_message_has_the_cards_line_and_where_to_look() -> None:
    items, _ = news(night(entry("web"), entry("lines", "failed", "x.csv is cut off")), {"web": {"kind": "late"}}, ALL)
    message = compose(night(), items, "/w/_penstock", "https://pages.example.org/nightly/")
    assert message.subject == "Penstock local, night of 2010-12-02: 1 failed, 1 recovered"
    assert message.lines == (
        "failed  lines: 2010-12-02: malformed: x.csv is cut off",
        "    https://pages.example.org/nightly/runs/lines/index.html",
        "recovered  web: was late",
        "    https://pages.example.org/nightly/runs/web/index.html",
        "page  https://pages.example.org/nightly/nights/n%201/index.html",
    )
    assert compose(night(), items[:1], "/w/_penstock", None).page == "/w/_penstock/nights/n 1/index.html"


class Hook(BaseHTTPRequestHandler):
    answers: ClassVar[list[int]] = []
    got: ClassVar[list[Any]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        code = self.answers.pop(0) if self.answers else 200
        if code == 200:
            self.got.append((self.path, body))
        self.send_response(code)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hook]]:
    Hook.answers, Hook.got = [], []
    server = HTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HOOK", f"http://127.0.0.1:{server.server_port}/{HUSH}")
    yield Hook
    server.shutdown()
    server.server_close()


SLACK = NoticeSettings(slack=SlackNotices(webhook="env:HOOK"))


def test_a_webhook_gets_one_message_and_no_repeat(hook: type[Hook], tmp_path: Path) -> None:
    bad = night(entry("lines", "failed", "<3 & more"), entry("web", "refused", "a rule"))
    hook.answers = [503, 200]
    assert notify(bad, SLACK, tmp_path) == [
        {"channel": "slack", "told": ["lines failed", "web refused"], "error": None}
    ]
    assert notify(bad, SLACK, tmp_path) == []
    ((path, body),) = hook.got
    assert path == f"/{HUSH}"
    assert "malformed: &lt;3 &amp; more" in body["text"]
    assert notify(night(entry("lines"), entry("web")), SLACK, tmp_path)[0]["told"] == [
        "lines recovered",
        "web recovered",
    ]
    assert len(hook.got) == 2


@pytest.mark.parametrize("answers", [[404], [500, 500, 500]])
def test_what_was_not_delivered_is_told_the_next_time(hook: type[Hook], tmp_path: Path, answers: list[int]) -> None:
    bad = night(entry("lines", "failed", "no"))
    hook.answers = list(answers)
    (outcome,) = notify(bad, SLACK, tmp_path)
    assert str(answers[-1]) in outcome["error"]
    assert HUSH not in json.dumps(outcome)
    assert notify(bad, SLACK, tmp_path)[0]["error"] is None
    assert len(hook.got) == 1


def test_nobody_there_and_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = night(entry("lines", "failed", "no"))
    monkeypatch.setenv("HOOK", f"http://127.0.0.1:1/{HUSH}")
    (outcome,) = notify(bad, SLACK, tmp_path)
    assert "refused" in outcome["error"]
    assert HUSH not in outcome["error"]
    monkeypatch.setenv("HOOK", HUSH)
    assert "no web address" in notify(bad, SLACK, tmp_path)[0]["error"]
    monkeypatch.delenv("HOOK")
    assert "no variable HOOK" in notify(bad, SLACK, tmp_path)[0]["error"]


class Kept(Mailbox):
    def __init__(self) -> None:
        super().__init__()
        self.mails: list[Any] = []

    def handle_message(self, message: Any) -> None:
        self.mails.append(message)


@pytest.mark.filterwarnings("ignore:Requiring AUTH")
def test_mail_reaches_a_mailbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def knows(_server: Any, _session: Any, _envelope: Any, _how: str, given: LoginPassword) -> AuthResult:
        return AuthResult(handled=False, success=(given.login, given.password) == (b"ada", HUSH.encode()))

    kept = Kept()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Controller(
        kept, hostname="127.0.0.1", port=port, authenticator=knows, auth_required=True, auth_require_tls=False
    )
    server.start()
    try:
        monkeypatch.setenv("MAIL_PASSWORD", HUSH)
        to: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": port,
            "tls": "none",
            "user": "ada",
            "sender": "p@example.org",
        }
        mailbox = EmailNotices(**to, to=("me@example.org", "you@example.org"), password="env:MAIL_PASSWORD")
        bad = night(entry("lines", "failed", "naïve"))
        assert notify(bad, NoticeSettings(email=mailbox), tmp_path)[0]["error"] is None
        (mail,) = kept.mails
        assert mail["Subject"] == "Penstock local, night of 2010-12-02: lines failed"
        assert (mail["To"], mail["Auto-Submitted"]) == ("me@example.org, you@example.org", "auto-generated")
        assert "malformed: naïve" in mail.get_payload(decode=True).decode()
        monkeypatch.setenv("MAIL_PASSWORD", "wrong")
        other = notify(night(entry("lines", "refused", "no")), NoticeSettings(email=mailbox), tmp_path)
        assert smtplib.SMTPAuthenticationError.__name__ in other[0]["error"]
    finally:
        server.stop()


def test_sns_gets_subject_and_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import boto3

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    with mock_aws():
        topic = boto3.client("sns", region_name="eu-west-1").create_topic(Name="nights")["TopicArn"]
        settings = NoticeSettings(sns=SnsNotices(topic=topic))
        assert notify(night(entry("lines", "failed", "no")), settings, tmp_path)[0]["error"] is None
        ((_, text, subject, _, _),) = sns_backends[DEFAULT_ACCOUNT_ID]["eu-west-1"].topics[topic].sent_notifications
        assert subject == "Penstock local, night of 2010-12-02: lines failed"
        assert "malformed: no" in text
        gone = NoticeSettings(sns=SnsNotices(topic=topic.replace("nights", "other")))
        assert "NotFound" in notify(night(entry("lines", "refused", "no")), gone, tmp_path)[0]["error"]


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("slack: {webhook: 'https://hooks.example.org/hush-hush'}", "by reference"),
        ("slack: {hook: env:HOOK}", "webhook"),
        ("email: {host: h, sender: a@b, to: [c@d], user: ada}", "user and password go together"),
        ("email: {host: h, sender: a@b, to: []}", "to"),
        ("sns: {topic: nights}", "topic"),
        ("about: [failure]", "failed"),
    ],
)
def test_a_wrong_configuration_names_its_place(tmp_path: Path, written: str, told: str) -> None:
    (tmp_path / "environment.yaml").write_text(f"notices:\n  {written}\n")
    with pytest.raises(ConfigurationError, match=told) as caught:
        load(conf=[tmp_path], environ={})
    assert "environment.yaml" in str(caught.value)
    assert "hush-hush" not in f"{caught.value} {caught.value.evidence}"
