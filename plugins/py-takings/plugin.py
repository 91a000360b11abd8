"""The takings of each day, from Stripe's charges and refunds.

Each charge is added to its day and currency, each refund taken off the day of its charge. The first charge of a
new day closes the day before: one event, `takings.closed`, with what came in.
"""

import json
from datetime import datetime, timedelta, timezone
from decimal import Decimal

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import config, log, state
from wit_world.imports.types import Event, Failure, FailureKind, Output

# Refunds come within this time, or are counted by hand.
KEPT_MS = 180 * 24 * 60 * 60 * 1000


class Handler(exports.Handler):
    def handle(self, event: Event) -> list[Output]:
        """Called for each event; what it returns are events of its own, kept together with its state or not
        at all."""
        charge = charge_of(event)
        if event.event_type == "charge.refunded":
            refund(charge)
            return []
        day = datetime.fromtimestamp(charge["created"], timezone.utc).date()
        # Stripe sends some events twice under other ids; this one is counted once.
        if not state.set_if_absent(f"charge:{charge['id']}", str(day).encode(), KEPT_MS):
            return []
        key = f"{charge['currency']}:{day}"
        state.increment(f"sum:{key}", charge["amount"], KEPT_MS)
        if state.increment(f"count:{key}", 1, KEPT_MS) > 1:
            return []
        return closed(charge["currency"], str(day - timedelta(days=1)))


def refund(charge: dict) -> None:
    """Events come in any order: a refund may be here before its charge."""
    day = state.get(f"charge:{charge['id']}")
    if day is None:
        raise retry("its charge has not come yet", after_ms=60_000)
    # Stripe says how much in all, may say it again, and an older event may come behind a newer one.
    done = f"refunded:{charge['id']}"
    before = int(state.get(done) or 0)
    now = max(before, charge["amount_refunded"])
    state.set(done, str(now).encode(), KEPT_MS)
    key = f"{charge['currency']}:{day.decode()}"
    state.increment(f"sum:{key}", before - now, KEPT_MS)


def closed(currency: str, day: str) -> list[Output]:
    key = f"{currency}:{day}"
    count = int(state.get(f"count:{key}") or 0)
    if count == 0 or not state.set_if_absent(f"closed:{key}", b"", KEPT_MS):
        return []
    digits = int(config.get("digits") or 2)
    total = Decimal(int(state.get(f"sum:{key}") or 0)).scaleb(-digits)
    log.write(log.Level.INFO, "day closed", [("day", day), ("currency", currency), ("total", str(total))])
    body = {"day": day, "currency": currency, "charges": count, "total": str(total)}
    return [Output("takings.closed", [("content-type", b"application/json")], json.dumps(body).encode(), [])]


def charge_of(event: Event) -> dict:
    """The charge in an event. What has none never will: rejected, without a word of what is in it."""
    try:
        charge = json.loads(event.body)["data"]["object"]
        numbers = [charge["created"], charge["amount"], charge.get("amount_refunded", 0)]
        if all(isinstance(number, int) for number in numbers):
            return {key: charge[key] for key in ("id", "currency")} | {
                "created": numbers[0], "amount": numbers[1], "amount_refunded": numbers[2]
            }
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise reject("no charge in it")


def retry(message: str, after_ms: int | None = None) -> Err:
    """To raise: this event is tried again, after at least so many milliseconds."""
    return Err(Failure(FailureKind.RETRY, message, after_ms, []))


def reject(message: str) -> Err:
    """To raise: this event is a dead letter at once."""
    return Err(Failure(FailureKind.REJECT, message, None, []))
