"""The ways out: a webhook as Slack has them, e-mail, Amazon SNS."""

from __future__ import annotations

import json
import smtplib
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from email.message import EmailMessage
from urllib.parse import urlsplit

from penstock.config.notices import EmailNotices, NoticeSettings, SlackNotices, SnsNotices
from penstock.errors import ConfigurationError, PenstockError
from penstock.notices.message import Message
from penstock.secrets import read_secret

TRIES = 3
_SECONDS = 10
_SNS_SUBJECT = 100  # characters; more are refused (API reference of Publish)
Send = Callable[[Message], None]


class NotDeliveredError(PenstockError):
    """A notice did not reach its channel."""


def channels(settings: NoticeSettings) -> dict[str, Send]:
    """What sends a message, by the name of the channel."""
    found: dict[str, Send] = {}
    if settings.slack:
        found["slack"] = lambda message, to=settings.slack: _slack(to, message)  # type: ignore[misc]
    if settings.email:
        found["email"] = lambda message, to=settings.email: _email(to, message)  # type: ignore[misc]
    if settings.sns:
        found["sns"] = lambda message, to=settings.sns: _sns(to, message)  # type: ignore[misc]
    return found


def deliver(send: Send, message: Message) -> None:
    """Send it, and try again where what went wrong may pass.

    Raises:
        NotDeliveredError: It could not be delivered; the message names no secret.
    """
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

    passing = (urllib.error.URLError, smtplib.SMTPServerDisconnected, smtplib.SMTPConnectError, OSError)
    retrying = Retrying(
        stop=stop_after_attempt(TRIES),
        wait=wait_random_exponential(multiplier=0.5, max=5),
        retry=retry_if_exception_type(passing),
        reraise=True,
    )
    try:
        retrying(send, message)
    except PenstockError:
        raise
    except Exception as error:
        raise NotDeliveredError(f"{type(error).__name__}: {error}") from error


def _slack(to: SlackNotices, message: Message) -> None:
    address = read_secret(to.webhook, "The address of the webhook").decode()
    if urlsplit(address).scheme not in ("https", "http"):
        raise ConfigurationError("The address of the webhook is no web address.", hint="It begins with https://.")
    # Slack takes &, < and > for markup of its own (its reference, "Escaping text").
    text = message.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    request = urllib.request.Request(  # noqa: S310 - the scheme is looked at above
        address,
        json.dumps({"text": text}).encode(),
        {"Content-Type": "application/json; charset=utf-8", "User-Agent": "penstock"},
    )
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS):  # noqa: S310
            pass
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 429 or error.code >= 500:
            raise
        raise NotDeliveredError(f"the webhook answered {error.code} {error.reason}") from None


def _email(to: EmailNotices, message: Message) -> None:
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = message.subject, to.sender, ", ".join(to.to)
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers, please
    mail.set_content("\n".join(message.lines) + "\n")
    tls = ssl.create_default_context()
    if to.tls == "tls":
        server: smtplib.SMTP = smtplib.SMTP_SSL(to.host, to.port, timeout=_SECONDS, context=tls)
    else:
        server = smtplib.SMTP(to.host, to.port, timeout=_SECONDS)
    with server:
        if to.tls == "starttls":
            server.starttls(context=tls)
        if to.user and to.password:
            server.login(to.user, read_secret(to.password, "The password of the mail server").decode())
        server.send_message(mail)


def _sns(to: SnsNotices, message: Message) -> None:
    try:
        import boto3
    except ImportError as error:
        raise ConfigurationError("SNS takes the extra `aws`.", hint="pip install 'penstock[aws]'") from error
    region = to.topic.split(":")[3]
    about: Mapping[str, str] = {"Subject": message.subject.encode("ascii", "replace").decode()[:_SNS_SUBJECT]}
    boto3.client("sns", region_name=region).publish(TopicArn=to.topic, Message=message.text, **about)
