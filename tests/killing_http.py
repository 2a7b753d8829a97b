"""Kill a process that asks a practice service, resume it, and compare both accounts.

`test_serve.py` asserts on these counts; `benchmarks/asking.py` prints them for many kills.
"""

import signal
import sys
import time
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from killing import stored_in
from practising import Practice

from papagaio.asking import ask
from papagaio.blackboxes.contract import Declaration
from papagaio.blackboxes.service import open_http
from papagaio.errors import BadAnswer
from papagaio.images.imageset import ImageSet
from papagaio.ledger import Ledger

_LONGEST_DELAY = 0.4
# Longer than the service takes for what a killed process has sent.
_QUIET = 0.2


@dataclass
class Account:
    """What was counted over all kills, in images where nothing else is said.

    Attributes:
        kills: how many.
        stopped: how often a process ended by itself before its kill, because of faults.
        lost: answers that were in the ledger after a kill and later were missing or different.
        twice: answered by the service, and lost with the process that was killed.
        most_twice: the largest number of them at one kill.
        beyond: answered in one session beyond what was missing before it.
    """

    kills: int = 0
    stopped: int = 0
    lost: int = 0
    twice: int = 0
    most_twice: int = 0
    beyond: int = 0

    def note(
        self, missing: int, sent: int, before: dict[str, bytes], after: dict[str, bytes]
    ) -> None:
        """Account for a session: what was missing and kept before it, sent in it, kept after."""
        self.beyond += max(0, sent - missing)
        twice = sent - (len(after) - len(before))
        self.twice += twice
        self.most_twice = max(self.most_twice, twice)
        self.lost += sum(after.get(image) != scores for image, scores in before.items())


@dataclass(frozen=True)
class Asking:
    """What is asked, and where answers are kept."""

    images: ImageSet
    ledger: Path
    batch: int
    concurrency: int

    def run(self, address: str) -> None:
        """Ask; exit with 1 where a service makes it stop."""
        declared = Declaration(batch=self.batch, concurrency=self.concurrency)
        box = open_http(address, declared)
        with Ledger(self.ledger) as ledger:
            try:
                ask(box, self.images, ledger)
            except BadAnswer:
                sys.exit(1)

    def session(self, service: Practice, delay: float | None) -> int:
        """Ask in a process of its own, and return its exit code.

        It is killed some seconds after its first request has arrived.
        """
        process = get_context("fork").Process(target=self.run, args=(service.address,))
        before = service.usage()["requests"]
        process.start()
        while process.is_alive() and service.usage()["requests"] == before:
            time.sleep(0.005)
        process.join(delay)
        process.kill()
        process.join()
        assert process.exitcode is not None
        return process.exitcode

    def kept(self) -> dict[str, bytes]:
        """The scores in the ledger by image."""
        return stored_in(self.ledger, self.ledger.with_name("copy"))[0]


def kill(asking: Asking, service: Practice, kills: int) -> Account:
    """Kill the process that asks at random moments, and then let it finish.

    Raises:
        RuntimeError: everything was answered before the last kill.
    """
    account, kept, delivered = Account(), dict[str, bytes](), delivered_by(service)
    delays = np.random.default_rng(kills).uniform(0, _LONGEST_DELAY, 99 * kills)
    for delay in delays:
        done = account.kills == kills
        code = asking.session(service, None if done else float(delay))
        account.kills += code == -signal.SIGKILL
        account.stopped += code == 1
        before, kept, earlier = kept, asking.kept(), delivered
        delivered = delivered_by(service)
        missing = len(asking.images) - len(before)
        account.note(missing, delivered - earlier, before, kept)
        if code == 0:
            break
    if account.kills < kills:
        raise RuntimeError("everything was answered before the last kill")
    return account


def delivered_by(service: Practice) -> int:
    """Images whose answers were sent, once the service has done what a killed process left."""
    before, counted = dict[str, float](), service.usage()
    while before != counted:
        time.sleep(_QUIET)
        before, counted = counted, service.usage()
    return int(counted["images"] - counted["cut_off"])
