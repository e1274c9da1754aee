"""The network models `direct` and `latency`. A model is a node too: messages in, their fates out."""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar

from xtrace.engine.duration import parse_duration
from xtrace.engine.errors import InputError
from xtrace.engine.event import Fate, Message
from xtrace.engine.node import Option

RATES = {"bps": 1, "kbps": 1_000, "Mbps": 1_000_000, "Gbps": 1_000_000_000}
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)")


class NetworkModel(ABC):
    """Decides what becomes of every message. A subclass is called with its options and its own seed."""

    OPTIONS: ClassVar[Mapping[str, Option]] = {}
    instant: ClassVar[bool] = False
    """Whether every message is due when it was sent, so that the lockstep need not ask."""

    @abstractmethod
    def advance(self, until_us: int, messages: Sequence[Message]) -> list[Fate]:
        """Take the messages of a step, in total order; return what was decided, now or for earlier ones.

        `due_us` must not be before the message's own time. Every message gets at most one fate.
        """

    @staticmethod
    def smallest_latency_us(_options: Mapping[str, Any]) -> int:
        """Return the smallest latency that the options allow, 0 for none: it sets `step: auto`."""
        return 0


class Direct(NetworkModel):
    """Delivers every message at the time it was sent, which lockstep moves to the end of the step."""

    instant = True

    def __init__(self, options: Mapping[str, Any], *, seed: int) -> None:
        del options, seed

    def advance(self, until_us: int, messages: Sequence[Message]) -> list[Fate]:
        """Return every message due at its own time."""
        return [Fate(message, message.time_us) for message in messages]


class Latency(NetworkModel):
    """Delays each message by `base` and a uniform `jitter`, loses some, and queues for bandwidth.

    Each link from one node to another is a queue of its own. The draws for a message are keyed by seed, link and the
    number of the message on that link, so that one more message leaves all other links as they were.
    """

    OPTIONS: ClassVar[Mapping[str, Option]] = {
        "base": Option("duration", "delay of every message", default="0s"),
        "jitter": Option("duration", "largest additional delay, drawn uniformly", default="0s"),
        "loss": Option("number", "probability that a message is lost, 0 to 1", default=0.0, minimum=0, maximum=1),
        "bandwidth": Option(
            "string", "rate of the link, such as 250kbps; unlimited without", check=lambda text: parse_rate(text)
        ),
        "links": Option("any", "list of {src, dst, ...} with other values for single links", default=()),
    }

    def __init__(self, options: Mapping[str, Any], *, seed: int) -> None:
        self._seed = seed
        self._default = _LinkOptions(options)
        self._special = {
            (link["src"], link["dst"]): _LinkOptions({**options, **link}) for link in options.get("links") or ()
        }
        self._links: dict[tuple[str, str], _Link] = {}

    def advance(self, until_us: int, messages: Sequence[Message]) -> list[Fate]:
        """Return the fate of every message at once: the future of a link depends on its past only."""
        fates = []
        for message in messages:
            key = (message.src, message.dst)
            link = self._links.get(key)
            if link is None:
                link = self._links[key] = _Link(self._special.get(key, self._default), self._seed, *key)
            fates.append(link.decide(message))
        return fates

    @staticmethod
    def smallest_latency_us(options: Mapping[str, Any]) -> int:
        """Return the smallest `base` of all links."""
        links = [{**options, **link} for link in options.get("links") or ()]
        return min(_duration_us(each.get("base", 0)) for each in [options, *links])


class _LinkOptions:
    def __init__(self, options: Mapping[str, Any]) -> None:
        self.base_us = _duration_us(options.get("base", 0))
        self.jitter_us = _duration_us(options.get("jitter", 0))
        loss = options.get("loss", 0.0)
        if not 0 <= loss <= 1:
            raise InputError("network.loss", f"{loss} is no probability: it must be between 0 and 1")
        self.loss_threshold = int(Decimal(str(loss)) * 2**64)
        self.bits_per_s = parse_rate(options.get("bandwidth"))


class _Link:
    def __init__(self, options: _LinkOptions, seed: int, src: str, dst: str) -> None:
        self._options = options
        self._key = hashlib.sha256(b"xtrace link\0%d\0%s\0%s\0" % (seed, src.encode(), dst.encode()))
        self._count = 0
        self._free_us = 0

    def decide(self, message: Message) -> Fate:
        options = self._options
        draw = self._key.copy()
        draw.update(self._count.to_bytes(8, "big"))
        self._count += 1
        bits = draw.digest()
        sent_us = message.time_us
        if options.bits_per_s:
            # The time on the wire is rounded up to a whole microsecond; a lost message has used the link too.
            wire_us = -(-len(message.payload) * 8_000_000 // options.bits_per_s)
            sent_us = self._free_us = max(sent_us, self._free_us) + wire_us
        if int.from_bytes(bits[:8], "big") < options.loss_threshold:
            return Fate(message, sent_us, "loss")
        jitter_us = int.from_bytes(bits[8:16], "big") * (options.jitter_us + 1) >> 64
        return Fate(message, sent_us + options.base_us + jitter_us)


def parse_rate(text: object) -> int:
    """Return a data rate such as `250kbps` in bits per second; None is unlimited, 0. Raises InputError."""
    if text is None:
        return 0
    match = _RATE.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None or match[2] not in RATES:
        raise InputError("network.bandwidth", f"{text!r} is no data rate such as 250kbps; units: {', '.join(RATES)}")
    rate = Decimal(match[1]) * RATES[match[2]]
    if rate < 1 or rate != int(rate):
        raise InputError("network.bandwidth", f"{text!r} is not a whole, positive number of bits per second")
    return int(rate)


def _duration_us(value: object) -> int:
    return value if isinstance(value, int) else parse_duration(value)
