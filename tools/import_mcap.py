"""Takes the messages of any MCAP file, of ROS 2 or others: each topic becomes a source."""

from __future__ import annotations

from xtrace.engine.errors import InputError
from xtrace.engine.values import Value, encode
from xtrace.tools.import_json import read_json
from xtrace.tools.import_recording import Recording, Source
from xtrace.tools.mcap_file import Channel, McapFile, Message

MAX_MESSAGE_BYTES = 24 * 1000 * 1000
"""As text in base64 that fits into a line."""
JSON = "json"
CHANNEL_TYPE = "channel"
"""The type of the event at virtual time 0 that holds what is needed to decode the messages of a channel."""
NO_SCHEMA_TYPE = "message"


def take_messages(mcap: McapFile, recording: Recording) -> int:
    """Give all messages to `recording`; return how many in JSON stay bytes, because no payload can hold them.

    Raises CorruptionError and InputError.
    """
    undecoded = 0
    introduced: dict[int, Source] = {}
    for message in mcap.messages():
        channel = message.channel
        place = f"the message at offset {message.offset} of topic {channel.topic[:80]!r}"
        source = introduced.get(channel.id)
        if source is None:
            source = introduced[channel.id] = recording.source(channel.topic, {"topic": channel.topic})
            recording.introduce(source, CHANNEL_TYPE, _about(channel), place=place)
        if len(message.data) > MAX_MESSAGE_BYTES:
            size = f"{len(message.data):,} bytes, more than the limit of {MAX_MESSAGE_BYTES:,}"
            raise InputError(str(mcap.path), f"{place}: it has {size}")
        data, decoded = _data(message)
        undecoded += not decoded
        payload = {
            "data": data,
            "log_time_ns": message.log_time_ns,
            "publish_time_ns": message.publish_time_ns,
            "sequence": message.sequence,
            "topic": channel.topic,
        }
        type_ = channel.schema.name if channel.schema is not None and channel.schema.name else NO_SCHEMA_TYPE
        recording.add(source, message.log_time_ns, type_, payload, place=place)
    return undecoded


def _about(channel: Channel) -> Value:
    schema = channel.schema
    return {
        "topic": channel.topic,
        "message_encoding": channel.message_encoding,
        "metadata": channel.metadata,
        "schema": None if schema is None else {"name": schema.name, "encoding": schema.encoding, "data": schema.data},
    }


def _data(message: Message) -> tuple[Value, bool]:
    """Return the content of a message, and whether it is decoded as far as its encoding says."""
    if message.channel.message_encoding != JSON:
        return message.data, True
    try:
        value = read_json(message.data)
        encode({"data": value})
        return value, True
    except (ValueError, RecursionError):
        return message.data, False
