"""Notifications: what the spec says of them, and what is sent. Used by ``spec`` and ``report.notifier``.

docs/notification.schema.json is generated from ``Payload``: ``python -m ferry_core.api.notification``.
"""

import json
import sys
from typing import Annotated, Literal

from pydantic import Field

from ferry_core.api.choices import NotificationEvent
from ferry_core.api.cutover import TokenRef
from ferry_core.api.model import Model
from ferry_core.api.report import Count, Moment, Status, Text, Told, Word
from ferry_core.api.servers import Url

Event = Annotated[NotificationEvent, Field(strict=False)]


class Notification(Model):
    """One address that is told what happens, by a signed POST. A slow or unreachable one never delays the run."""

    url: Url
    """Where the POST goes; any 2xx answer means received."""
    events: Annotated[list[Event], Field(min_length=1, max_length=16)] = [
        NotificationEvent.STAGE_CHANGED,
        NotificationEvent.ATTEMPT,
        NotificationEvent.ERROR,
    ]
    """What to tell. StageChanged: the run enters a stage. Attempt: a cutover attempt begins, or its outcome or what the
    cutover waits for is known. Error: the run failed, is Stalled, or was aborted. Progress: how far it is, each minute.
    """
    token_secret_ref: TokenRef | None = None
    """Secret key by which each POST is signed (HMAC-SHA256). It is not sent."""


class Sender(Told):
    """The Ferry that sends."""

    namespace: Word
    """Its namespace."""
    name: Word
    """Its name."""
    uid: Word
    """Its uid."""


class Payload(Told):
    """Body of a notification. Later versions may add fields: ignore those that you do not know."""

    api_version: Literal["mysqlferry.io/v1alpha1"] = "mysqlferry.io/v1alpha1"
    """Version of this document."""
    kind: Literal["Notification"] = "Notification"
    """Kind of this document."""
    id: Word
    """The same for each repetition of one notification, also in the header Idempotency-Key."""
    sequence: Count
    """Number of the notification for this address in this process, from 1. A gap means that some were not sent."""
    event: Word
    """StageChanged, Attempt, Error or Progress. Later versions may add others."""
    time: Moment
    """When it happened, by the copier's clock."""
    ferry: Sender
    """Who sends."""
    subject: Word
    """What changed: Stage, CutoverAttempt, Failure, Progress, or the type of a condition."""
    value: Word
    """What it is now: the stage, the number of the attempt, True, False or Unknown for a condition."""
    reason: Word
    """Why, as one CamelCase word; may be empty."""
    message: Text
    """Why, in a sentence; may be empty."""
    status: Status
    """The status when the notification was made, which may be a moment later than ``time``."""


def schema() -> str:
    """The JSON schema of a payload."""
    return json.dumps(Payload.model_json_schema(by_alias=True, mode="serialization"), indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(schema())
