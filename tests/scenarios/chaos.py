"""Exactly once under `kill -9`: workers, replicas and brokers die while records flow.

A seed decides what dies, when and for how long. "When" is a number of committed results, not a
time, so that work is in flight at every death on a slow machine and on a fast one. Afterwards a
`read_committed` reader must find every record exactly once. Ends with code 1 if it does not, and
names the seed and the folder with the logs.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal, get_args

import msgspec
from kafka import KafkaAdminClient
from kafka.errors import KafkaError
from rich.console import Console

from deploy.local import ChildDiedError, LocalStack
from tests.scenarios.audit import Audit, audit, uncommitted
from tests.scenarios.outcome import exit_code_of
from tests.scenarios.replicas import kill_one
from tests.scenarios.settings import BASE, EngineName, ensemble_settings, fault_settings, over_http
from tests.scenarios.speech import many_records
from tests.scenarios.stream_watch import CommitWatch, Feed
from workers import exit_codes
from workers.broker.broker import BrokerError

Victim = Literal["worker", "model", "router", "broker"]

WORKERS = ("a", "b")
PARTITIONS = 6
#: Share of the deaths that follow the one before at once.
_DOUBLE = 0.3
#: Longest time until a killed process is started again.
_LONGEST_DOWN_S = 3.0
#: Longest pause between the moment that a death is due and the death: longer than a commit takes,
#: so that deaths hit every step of a transaction.
_LONGEST_AIM_S = 1.5
#: Without a new result for so long, something hangs.
_STALL_S = 180.0
#: A supervisor would start a worker again that ends with one of these.
_RESTARTABLE = (exit_codes.RESTART, exit_codes.UNREACHABLE)


class StalledError(RuntimeError):
    """No record has been committed for too long."""


#: What ends a run early: it is reported, not shown as a traceback.
FAILURES = (StalledError, ChildDiedError, BrokerError, KafkaError, TimeoutError)


class Death(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the schedule.

    Attributes:
        victim: what is killed.
        after: committed results that it waits for.
        aim_s: pause before the kill.
        down_s: until it is started again (replicas are started by Serve).
    """

    victim: Victim
    after: int
    aim_s: float
    down_s: float


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What happens in a run; everything in it follows from the seed.

    Attributes:
        lead: records produced ahead of each death, so that work is in flight.
    """

    seed: int
    records: int
    deaths: list[Death]
    lead: int


def make_plan(seed: int, records: int, kills: dict[Victim, int]) -> Plan:
    """A schedule with `kills` deaths of each kind, in random order over `records` records."""
    rng = random.Random(seed)
    victims = [victim for victim in get_args(Victim) for _ in range(kills.get(victim, 0))]
    rng.shuffle(victims)
    moments = sorted(rng.randrange(records * 9 // 10) for _ in victims)
    deaths: list[Death] = []
    for victim, moment in zip(victims, moments, strict=True):
        double = bool(deaths) and rng.random() < _DOUBLE
        deaths.append(
            Death(
                victim=victim,
                after=deaths[-1].after if double else moment,
                aim_s=0.0 if double else rng.uniform(0.0, _LONGEST_AIM_S),
                down_s=rng.uniform(0.0, _LONGEST_DOWN_S),
            )
        )
    return Plan(seed=seed, records=records, deaths=deaths, lead=2 * records // len(victims))


class Chaos:
    """One run of a plan on a stack whose broker and Serve are up.

    Attributes:
        kills: deaths so far, by kind.
        exits: times that a worker ended by itself, in a way that a supervisor would mend.
    """

    def __init__(self, stack: LocalStack, plan: Plan, say: Callable[[str], None]) -> None:
        self.kills: dict[Victim, int] = dict.fromkeys(get_args(Victim), 0)
        self.exits = 0
        self.in_flight: list[int] = []
        self._stack = stack
        self._plan = plan
        self._say = say
        self._rng = random.Random(f"victims of {plan.seed}")
        self._kafka = stack.settings.kafka
        self._records = many_records(plan.records)
        self._feed = Feed(self._kafka, self._records)
        self._watch = CommitWatch(self._kafka)
        self._due: dict[str, float] = {}  # workers that are down, and when they start again
        self._thread = ThreadPoolExecutor(1)  # starting a broker takes seconds
        self._broker: Future[None] | None = None
        self._progress = (0, time.monotonic())
        self._told = time.monotonic()

    def run(self) -> Audit:
        """Carry the plan out; returns when everything is committed and the workers have ended.

        Raises:
            StalledError: nothing was committed for `_STALL_S`.
            ChildDiedError: a process ended that nobody killed.
        """
        try:
            for instance in WORKERS:
                self._stack.start_worker(instance)
            for death in self._plan.deaths:
                self._await(death)
                self._kill(death)
            self._say("no more deaths; the rest flows")
            self._feed.up_to(self._plan.records)
            self._until(lambda: self._broker is None and not self._due, "restarts")
            self._feed.finish()
            self._until(lambda: self._watch.count >= self._plan.records, "the last results")
            self._until(lambda: uncommitted(self._kafka) == 0, "the last commit")
            for instance, code in self._stack.stop_workers().items():
                if code not in (exit_codes.OK, -signal.SIGTERM):  # the latter: it was starting
                    raise ChildDiedError(f"worker {instance} stopped with code {code}")
        finally:
            self._feed.close()
            self._watch.close()
            self._thread.shutdown()
        return audit(self._stack.settings, [record.id for record in self._records])

    def _await(self, death: Death) -> None:
        """Return when `death` is due, with work in flight."""
        self._feed.up_to(death.after + self._plan.lead)
        self._until(lambda: self._watch.count >= death.after, f"{death.after} results")
        until = time.monotonic() + death.aim_s
        self._until(lambda: time.monotonic() >= until, "the right moment")
        if self._watch.count >= self._feed.sent:
            self._feed.up_to(self._feed.sent + self._plan.lead)

    def _kill(self, death: Death) -> None:
        in_flight = self._feed.sent - self._watch.count
        if death.victim == "broker":
            killed = self._kill_broker(death.down_s)
        elif death.victim == "worker":
            killed = self._kill_worker(death.down_s)
        else:
            killed = self._kill_replica(router=death.victim == "router")
        self.in_flight.append(in_flight)
        self.kills[death.victim] += 1
        self._say(f"killed {killed} with {in_flight} records in flight")

    def _kill_worker(self, down_s: float) -> str:
        self._until(lambda: len(self._due) < len(WORKERS), "a worker")
        instance = self._rng.choice([each for each in WORKERS if each not in self._due])
        self._stack.kill_worker(instance)
        self._due[instance] = time.monotonic() + down_s
        return f"worker {instance} (back in {down_s:.1f} s)"

    def _kill_replica(self, *, router: bool) -> str:
        killed: list[str] = []

        def done() -> bool:
            deployment = kill_one(self._stack, self._rng, router=router)
            killed.extend([deployment] if deployment else [])
            return bool(killed)

        self._until(done, "a replica to kill")
        return f"a replica of {killed[0]}"

    def _kill_broker(self, down_s: float) -> str:
        self._until(lambda: self._broker is None, "the broker")
        brokers = len(self._kafka.bootstrap_servers)
        index, why = (0, "the broker") if brokers == 1 else self._leader()
        self._stack.kafka.kill(index)

        def restart() -> None:
            time.sleep(down_s)
            self._stack.kafka.restart(index)

        self._broker = self._thread.submit(restart)
        return f"{why} (back in {down_s:.1f} s)"

    def _leader(self) -> tuple[int, str]:
        """A broker that matters: the leader of a manifest partition, or a coordinator."""
        topics = [self._kafka.topics.manifests, "__transaction_state", "__consumer_offsets"]
        topic = self._rng.choice(topics)
        with KafkaAdminClient(bootstrap_servers=self._kafka.bootstrap_servers) as admin:
            partitions = admin.describe_topics([topic])[0]["partitions"]
        led = [each for each in partitions if each["leader_id"] > 0]
        partition = self._rng.choice(sorted(led, key=lambda each: each["partition_index"]))
        name = f"the leader of {topic}-{partition['partition_index']}"
        return partition["leader_id"] - 1, f"broker {partition['leader_id']}, {name}"

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        """Keep the stack going until `condition`."""
        while not condition():
            self._turn(what)

    def _turn(self, what: str) -> None:
        now = time.monotonic()
        count = self._watch.look()
        if count > self._progress[0]:
            self._progress = (count, now)
        if now - self._progress[1] > _STALL_S:
            raise StalledError(f"nothing committed for {_STALL_S:.0f} s, waiting for {what}")
        if now - self._told > 10:
            self._told = now
            self._say(f"{count} of {self._plan.records} committed, {self._feed.sent} produced")
        if self._broker is not None and self._broker.done():
            self._broker.result()
            self._broker = None
            self._say("the broker is back")
        self._supervise(now)

    def _supervise(self, now: float) -> None:
        for instance, process in list(self._stack.workers.items()):
            if instance in self._due:
                if now >= self._due[instance]:
                    del self._due[instance]
                    self._stack.start_worker(instance)
            elif process.poll() in _RESTARTABLE:
                self.exits += 1
                self._due[instance] = now + 1.0
                self._say(f"worker {instance} ended with code {process.returncode}; again")
            else:
                self._stack.check_worker(instance)
        self._stack.check_serve()


def run_chaos(
    plan: Plan,
    engine: EngineName,
    brokers: int,
    say: Callable[[str], None],
    *,
    ensemble: bool = False,
    http: bool = False,
    keep: bool = False,
) -> tuple[dict[str, Any], list[str]]:
    """Start a stack, carry out `plan`, stop it; returns the figures and what is wrong.

    With `ensemble` two models, each with one replica, vote on every record. With `http` the workers
    reach the Router through the HTTP API, whose replicas die too.

    With `keep`, and wherever something is wrong, the stack's folder with its logs is kept; the
    last fault names it.
    """
    begin = time.monotonic()

    def tell(text: str) -> None:
        say(f"{time.monotonic() - begin:7.1f} s  {text}")

    settings = ensemble_settings(engine) if ensemble else fault_settings(engine)
    if http:
        settings = over_http(settings)
    with LocalStack(settings, BASE, brokers=brokers, partitions=PARTITIONS) as stack:
        try:
            stack.start_serve()
            stack.start_broker()
            stack.wait_for_serve()
            tell(f"the stack is up: {engine} model, {brokers} broker(s), {len(WORKERS)} workers")
            chaos = Chaos(stack, plan, tell)
            findings = chaos.run()
        except Exception:
            stack.keep_folder = True
            tell(f"logs are kept in {stack.folder}")
            raise
        faults = findings.faults()
        if keep:
            tell(f"logs are kept in {stack.folder}")
        stack.keep_folder = bool(keep or faults)
        if faults:
            faults.append(f"seed {plan.seed}; look at the *.log files in {stack.folder}")
    figures = {
        **findings.figures(),
        "without_a_member": findings.without_a_member,
        "worker_kills": chaos.kills["worker"],
        "replica_kills": chaos.kills["model"] + chaos.kills["router"],
        "broker_restarts": chaos.kills["broker"],
        "router_kills": chaos.kills["router"],
        "worker_exits": chaos.exits,
        "least_in_flight": min(chaos.in_flight),
        "uncommitted": findings.uncommitted,
        "open_transactions": len(findings.open_transactions),
        "metrics_off_by": findings.counted - findings.transcripts,
        "seed": plan.seed,
        "brokers": brokers,
        "engine": engine,
        "seconds": round(time.monotonic() - begin, 1),
    }
    return figures, faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--brokers", type=int, choices=(1, 3), default=1)
    parser.add_argument("--records", type=int, default=2000)
    parser.add_argument("--engine", choices=get_args(EngineName), default="nemo")
    parser.add_argument("--ensemble", action="store_true", help="two models that vote")
    parser.add_argument("--http", action="store_true", help="workers without Ray, over HTTP")
    parser.add_argument("--keep", action="store_true", help="keep the folder with the logs")
    given = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    plan = make_plan(given.seed, given.records, {"worker": 7, "model": 5, "router": 3, "broker": 2})
    console.print(f"[bold]Chaos[/], seed {given.seed}: {len(plan.deaths)} deaths to come")
    return exit_code_of(
        lambda: run_chaos(
            plan,
            given.engine,
            given.brokers,
            console.print,
            ensemble=given.ensemble,
            http=given.http,
            keep=given.keep,
        ),
        FAILURES,
        console,
        f"seed {given.seed}",
    )


if __name__ == "__main__":
    sys.exit(main())
