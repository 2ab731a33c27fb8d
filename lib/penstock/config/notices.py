"""Whom a night tells that it needs them: `notices` of environment.yaml."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field, model_validator

from penstock.config.base import Model, Reference

NoticeKind = Literal["failed", "refused", "late", "recovered"]


class SlackNotices(Model):
    """A channel that is reached by an incoming webhook, as Slack, Mattermost and others have them."""

    webhook: Reference = Field(description="Where its address is; it is a secret: env:NAME, file:PATH, aws:SECRET-ID.")


class EmailNotices(Model):
    """A mailbox."""

    host: str = Field(min_length=1, description="The mail server.")
    port: int = Field(default=587, gt=0, lt=65536)
    tls: Literal["starttls", "tls", "none"] = "starttls"
    user: str | None = Field(default=None, description="Who logs in; left out where nobody has to.")
    password: Reference | None = Field(default=None, description="Where the password is.")
    sender: str = Field(min_length=3, description="The address that it comes from.")
    to: tuple[str, ...] = Field(min_length=1, description="The addresses that it goes to.")

    @model_validator(mode="after")
    def _logs_in_whole(self) -> EmailNotices:
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password go together")
        return self


class SnsNotices(Model):
    """A topic of Amazon SNS."""

    topic: str = Field(pattern=r"^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_.-]+$", description="Its ARN.")


class NoticeSettings(Model):
    """Whom a night tells what."""

    about: tuple[NoticeKind, ...] = Field(default=get_args(NoticeKind), description="What is told.")
    pages: str | None = Field(default=None, description="The address at which the folder of the pages is served.")
    slack: SlackNotices | None = None
    email: EmailNotices | None = None
    sns: SnsNotices | None = None
