from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from api.clock import iso
from api.queues.consuming import Consuming
from api.queues.models import Queue, QueueConsumer
from api.scripts.models import Script


class QueueSettings(BaseModel):
    """Seconds."""

    delivery_delay: int | None = None
    message_retention_period: int | None = None
    delivery_paused: bool | None = None


class QueueIn(BaseModel):
    queue_name: str
    settings: QueueSettings = QueueSettings()


class QueueChange(BaseModel):
    queue_name: str | None = None
    settings: QueueSettings = QueueSettings()


class ConsumerSettings(BaseModel):
    batch_size: int | None = None
    max_retries: int | None = None
    retry_delay: int | None = Field(None, description="Seconds.")
    max_wait_time_ms: int | None = None
    max_concurrency: int | None = None
    visibility_timeout_ms: int | None = None


class ConsumerIn(BaseModel):
    type: str = "worker"
    script_name: str | None = None
    service: str | None = Field(None, description="The same as `script_name`.")
    dead_letter_queue: str | None = None
    settings: ConsumerSettings = ConsumerSettings()

    @property
    def script(self) -> str | None:
        return self.script_name or self.service

    def consuming(self) -> Consuming:
        """Raises ConsumerSettingsInvalid."""
        given = {name: value for name, value in self.settings if value is not None}
        return Consuming(type=self.type, dead_letter_queue=self.dead_letter_queue or None, **given)


class ConsumerOut(BaseModel):
    model_config = ConfigDict(extra="allow")

    consumer_id: str
    queue_id: str
    queue_name: str
    type: str
    script: str | None
    dead_letter_queue: str | None
    settings: ConsumerSettings
    created_on: str


class Producer(BaseModel):
    type: str = "worker"
    script: str


class QueueOut(BaseModel):
    queue_id: str
    queue_name: str
    created_on: str
    modified_on: str
    settings: QueueSettings
    producers: list[Producer]
    producers_total_count: int
    consumers: list[ConsumerOut]
    consumers_total_count: int


class MessageIn(BaseModel):
    body: Any
    content_type: str | None = Field(None, examples=["json"])
    delay_seconds: int | None = None


class MessagesIn(BaseModel):
    messages: list[MessageIn]
    delay_seconds: int | None = None


class Metrics(BaseModel):
    backlog_count: int
    backlog_bytes: int
    oldest_message_timestamp_ms: int


class Measured(BaseModel):
    metrics: Metrics


class SentOut(BaseModel):
    metadata: Measured


class PullIn(BaseModel):
    batch_size: int = Field(5, ge=1, le=100)
    visibility_timeout_ms: int | None = Field(None, ge=1, le=43_200_000)
    visibility_timeout: int | None = Field(None, ge=1, le=43_200_000, description="An older name.")


class Pulled(BaseModel):
    id: str
    lease_id: str
    timestamp_ms: int
    attempts: int
    body: str = Field(description="Text as it is, everything else in base64.")
    metadata: dict[str, str]


class PulledOut(BaseModel):
    message_backlog_count: int
    messages: list[Pulled]
    metadata: Measured


class Ack(BaseModel):
    lease_id: str


class Retry(Ack):
    delay_seconds: int = Field(0, ge=0, le=86_400)


class AckIn(BaseModel):
    acks: list[Ack] = []
    retries: list[Retry] = []


class AckOut(BaseModel):
    ackCount: int  # noqa: N815 - Cloudflare's name
    retryCount: int  # noqa: N815
    warnings: dict[str, str]


class PurgeIn(BaseModel):
    delete_messages_permanently: bool = False


def queue_out(queue: Queue, producers: list[Script]) -> dict[str, Any]:
    consumers = [consumer_out(queue.consumer)] if queue.consumer else []
    return {
        "queue_id": queue.id,
        "queue_name": queue.name,
        "created_on": iso(queue.created_at),
        "modified_on": iso(queue.modified_at),
        "settings": {
            "delivery_delay": queue.delivery_delay,
            "message_retention_period": queue.message_retention_period,
            "delivery_paused": queue.delivery_paused,
        },
        "producers": [{"type": "worker", "script": script.name} for script in producers],
        "producers_total_count": len(producers),
        "consumers": consumers,
        "consumers_total_count": len(consumers),
    }


def consumer_out(consumer: QueueConsumer) -> dict[str, Any]:
    """wrangler goes by `script`; a `service` would make it ask for environments, which nobody has."""
    script = consumer.script.name if consumer.script else None
    return {
        "consumer_id": consumer.id,
        "queue_id": consumer.queue_id,
        "queue_name": consumer.queue.name,
        "type": consumer.type,
        "script": script,
        "script_name": script,
        "dead_letter_queue": consumer.dead_letter_queue,
        "settings": {
            "batch_size": consumer.batch_size,
            "max_retries": consumer.max_retries,
            "retry_delay": consumer.retry_delay,
            "max_wait_time_ms": consumer.max_wait_time_ms,
            "max_concurrency": consumer.max_concurrency,
            "visibility_timeout_ms": consumer.visibility_timeout_ms,
        },
        "created_on": iso(consumer.created_at),
    }
