"""Starts every process of an instance in order, watches them, and stops them in order."""

import json
import subprocess
import time
from dataclasses import dataclass

from launcher import children, config, instance_lock, nodes, ports, postgres, processes, programs
from launcher.children import Child, Program
from launcher.errors import StartFailedError
from launcher.paths import ROOT
from launcher.programs import Instance
from launcher.progress import say, step

# How often ended processes are looked for: a restart is at most this much late, at no measurable cost.
WATCH_SECONDS = 0.2


@dataclass(frozen=True)
class Prepared:
    """What the preparation of the database told."""

    account_id: str
    setup_token: str | None
    """None once an administrator exists."""
    join_tokens: dict[str, str]
    """For the nodes that have no credential yet."""


class Supervisor:
    """The running processes of one instance, in the order in which they were started."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.children: list[Child] = []

    # --- start --------------------------------------------------------------------------------

    def start(self) -> Prepared:
        """Bring everything up and wait until all of it is healthy; StartFailedError says what is not."""
        self._start_servers()
        with step("database migrations and account"):
            prepared = self._prepare()
        with step("control plane"):
            control = self._launch(programs.control(self.instance))
            background = [self._launch(program) for program in programs.background(self.instance)]
            # Nodes serve what they have at once, and enrol or pull when the control plane answers.
            agents = [
                self._launch_node(name, prepared.join_tokens.get(name))
                for name in nodes.names(self.instance)
            ]
            control.wait_ready()
        with step("edge nodes"):
            for child in agents:
                child.wait_ready()
        with step("background worker"):
            for child in background:
                child.wait_ready()
        return prepared

    def _start_servers(self) -> None:
        instance = self.instance
        if ports.POSTGRES in programs.embedded_servers():
            with step("PostgreSQL: making the database"):
                postgres.create(instance.data.postgres, instance.config.password("postgres"))
        with step("database servers"):
            started = [self._launch(program) for program in programs.servers(instance)]
            for child in started:
                child.wait_ready()

    def _prepare(self) -> Prepared:
        instance = self.instance
        new = [
            name for name in nodes.names(instance) if not nodes.enrolled(instance.data.node(name))
        ]
        prepared = Prepared(
            **json.loads(self._run_once("preparation", programs.preparation(instance, new)))
        )
        instance.config.account_id = prepared.account_id
        config.save(instance.config, instance.data.config)
        return prepared

    def _launch_node(self, name: str, join_token: str | None) -> Child:
        return self._launch(nodes.agent(self.instance, name, join_token))

    def _launch(self, program: Program) -> Child:
        child = Child(program, self.instance.data)
        self.children.append(child)
        child.start()
        return child

    def _run_once(self, name: str, command: list[str]) -> str:
        """Run a program that ends by itself and return what it printed."""
        data = self.instance.data
        log = children.log_path(data, name)
        with log.open("ab") as errors:
            done = subprocess.run(
                command,
                cwd=ROOT,
                env=children.environment(data, programs.settings(self.instance)),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                check=False,
                # As for the others: Ctrl-C reaches the supervisor, which waits for a migration to end cleanly.
                start_new_session=True,
            )
        if done.returncode != 0:
            raise StartFailedError(
                f"{name} ended with status {done.returncode}.\n{children.last_lines(log)}\n{done.stdout}"
            )
        return done.stdout

    # --- watch --------------------------------------------------------------------------------

    def watch(self) -> None:
        """Start again whatever ends and keep logs short, until an exception (a signal) ends this."""
        while True:
            children.turn_over_all(self.instance.data)
            for child in self.children:
                line = child.tend()
                if line is not None:
                    say(line)
            time.sleep(WATCH_SECONDS)

    # --- stop ---------------------------------------------------------------------------------

    def stop(self) -> None:
        """Nodes and writers together, each in its own time; the servers when nobody needs them any more."""
        servers = [
            child for child in self.children if child.program.name in programs.embedded_servers()
        ]
        others = [child for child in self.children if child not in servers]
        with step("stopping"):
            for child in others:
                child.ask_to_stop()
            if others:
                instance_lock.stop_nodes(self.instance.data, nodes.STOP_SECONDS)
            for child in others:
                child.wait_stopped()
            stop_together(servers)
            # Whatever a signal interrupted between its start and its place in the list.
            processes.end(instance_lock.leftovers(self.instance.data))
        self.children.clear()

    def kill(self) -> None:
        """At once and without order: for a second Ctrl-C. Everything is written so that this loses nothing."""
        for child in self.children:
            if child.process is not None and child.running():
                child.process.kill()
                child.process.wait()
        instance_lock.end_leftovers(self.instance.data)


def stop_together(some: list[Child]) -> None:
    """Ask all, then wait for each: together they take as long as the slowest."""
    for child in some:
        child.ask_to_stop()
    for child in some:
        child.wait_stopped()
