import json
import unittest
from pathlib import Path

from testing import Err, Host, event

from plugin import Handler

NOON = 1_700_000_000 // 86_400 * 86_400 + 43_200
DAY = 86_400


def charge(kind="succeeded", id="ch_1", created=NOON, amount=1250, **more):
    body = {"data": {"object": {"id": id, "created": created, "amount": amount, "currency": "eur"} | more}}
    return event("stripe", f"charge.{kind}", body)


def handle(*events):
    return [output for each in events for output in Handler().handle(each)]


class Takings(unittest.TestCase):
    def rejects(self, body):
        with self.assertRaises(Err) as raised:
            handle(event("stripe", "charge.succeeded", body))
        self.assertEqual(raised.exception.value.kind.name, "REJECT")

    def test_the_first_charge_of_a_day_closes_the_day_before(self):
        host = Host()
        self.assertEqual(handle(charge(), charge(id="ch_2", amount=999)), [])
        (output,) = handle(charge(id="ch_3", created=NOON + DAY), charge(id="ch_4", created=NOON + DAY))
        self.assertEqual(output.event_type, "takings.closed")
        # Another day's charge closes its own day before, and that one no second time.
        (later,) = handle(charge(id="ch_5", created=NOON + 2 * DAY))
        self.assertEqual(json.loads(later.body)["day"], "2023-11-15")
        self.assertEqual(handle(charge("succeeded", id="ch_6", created=NOON + DAY)), [])
        closed = {"day": "2023-11-14", "currency": "eur", "charges": 2, "total": "22.49"}
        self.assertEqual(json.loads(output.body), closed)
        self.assertEqual(host.logs[0][2]["total"], "22.49")

    def test_a_charge_that_comes_twice_counts_once(self):
        host = Host()
        handle(charge(), charge())
        self.assertEqual(host.text("sum:eur:2023-11-14"), "1250")

    def test_a_refund_is_taken_off_the_day_of_its_charge(self):
        host = Host()
        handle(charge(), charge("refunded", amount_refunded=200), charge("refunded", amount_refunded=1250))
        handle(charge("refunded", amount_refunded=1250), charge("refunded", amount_refunded=200))
        self.assertEqual(host.text("sum:eur:2023-11-14"), "0")

    def test_a_refund_that_is_before_its_charge_is_tried_again(self):
        Host()
        with self.assertRaises(Err) as raised:
            handle(charge("refunded", amount_refunded=200))
        failure = raised.exception.value
        self.assertEqual((failure.kind.name, failure.retry_after_ms), ("RETRY", 60_000))

    def test_what_is_no_charge_is_rejected(self):
        Host()
        for body in ["no json", [], {"data": {}}, {"data": {"object": {"id": "ch_1", "created": "today"}}}]:
            self.rejects(body)

    def test_each_sample_comes_to_what_it_says(self):
        samples = sorted((Path(__file__).parent / "samples").glob("*.json"))
        self.assertEqual(len(samples), 5)
        for path in samples:
            sample = json.loads(path.read_text())
            Host(state=sample.get("state"))
            try:
                handle(event(sample["source"], sample["type"], sample["body"]))
                came = "done"
            except Err as raised:
                came = raised.value.kind.name.lower()
            self.assertEqual(came, sample["expect"], path.name)


if __name__ == "__main__":
    unittest.main()
