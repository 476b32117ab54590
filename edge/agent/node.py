"""One node as the control plane knows it: enrols, takes pushes, pulls, reports."""

import asyncio
import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import structlog

from edge.agent import metrics
from edge.agent.app import Push, create_app, metrics_route
from edge.agent.condition import condition
from edge.agent.credential import Credential, load_credential, tls_files
from edge.agent.data_plane import DataPlane
from edge.agent.enrolment import EnrolmentError, GatewayAwayError, enrol
from edge.agent.files import FilesMissingError
from edge.agent.gateway import Gateway
from edge.agent.intake import Intake
from edge.agent.neighbours import Neighbours
from edge.agent.pull import Puller
from edge.agent.remote_calls import RemoteCalls
from edge.agent.report import about, slot_report
from edge.agent.server import ApiServer
from edge.agent.settings import AGENT_VERSION, Settings
from edge.agent.state import Slot, SlotState
from edge.agent.stores.passage import Passage
from edge.paths import NodePaths
from edge.runtime.binary import find_runtime
from edge.runtime.compatibility import newest_date
from edge.runtime.sandbox import Level, find_sandbox

ENROL_RETRY_SECONDS = 2.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Node:
    def __init__(self, settings: Settings, paths: NodePaths) -> None:
        self._settings = settings
        self._paths = paths
        self._runtime = find_runtime()
        self._newest_date = newest_date(self._runtime)
        self._started_at = datetime.datetime.now(datetime.UTC)
        self._credential: Credential | None = None
        self._gateway: Gateway | None = None
        self._puller: Puller | None = None
        self._server: ApiServer | None = None
        self._failure: EnrolmentError | None = None
        paths.make_doors()
        self._sandbox = find_sandbox(self._runtime, paths.doors)
        self._plane = DataPlane(
            settings, paths, self._runtime, self._newest_date, self._sandbox, self._fetch
        )
        self._intake = Intake(self._plane.state)

    async def start(self, fail: Callable[[], None]) -> None:
        """Visitors first: the control plane may be away, or this node new. `fail` is called when
        the node can never join; `raise_failure` then says why."""
        self._credential = load_credential(self._paths.credential)
        if self._credential is None and not (self._settings.join_token and self._settings.control):
            raise EnrolmentError("This node has no credential yet: give --join and --control.")
        self._warn()
        await self._plane.start()
        log.info("node_serving", slots=len(self._plane.state.slots()))
        self._plane.background.run(self._connect_or(fail), "control plane")

    def raise_failure(self) -> None:
        """Why the node asked to be stopped, if it did."""
        if self._failure:
            raise self._failure

    async def stop(self) -> None:
        """End the agent only."""
        if self._server:
            await self._server.stop()
        await self._plane.leave()
        if self._gateway:
            await self._gateway.close()

    def _warn(self) -> None:
        level, reason = self._sandbox.level, self._sandbox.reason
        if level is Level.NONE:
            log.error("cells_not_sandboxed", level=level, reason=reason, run="only code you trust")
        elif level is Level.NAMESPACES:
            log.warning("cells_share_a_user", level=level, reason=reason)
        else:
            log.info("cells_sandboxed", level=level)

    async def _connect_or(self, fail: Callable[[], None]) -> None:
        try:
            await self._connect()
        except (EnrolmentError, OSError) as error:
            self._failure = EnrolmentError(str(error))
            fail()

    async def _connect(self) -> None:
        credential = await self._enrolled()
        certificate, key = tls_files(self._paths.credential)
        app = create_app(
            push_key=credential.push_key,
            take=self._take,
            status=self._status,
            schedule=self._plane.scheduled.take,
            passage=Passage(self._plane.stores, self._plane.owned, self._plane.workflows),
            calls=RemoteCalls(self._plane.fleet.calls),
            metrics=metrics_route(self._figures().text, metrics.token(credential.push_key)),
        )
        metrics.write_access(self._paths.root, credential.push_key, credential.ca)
        settings = self._settings
        self._server = ApiServer(app, settings.bind, settings.agent_port, certificate, key)
        self._gateway = Gateway(credential)
        self._puller = Puller(
            gateway=self._gateway,
            state=self._plane.state,
            intake=self._intake,
            converge=self._plane.converge,
            incomplete=self._plane.files.incomplete,
            about_node=self._about,
            every=settings.pull_seconds,
            background=self._plane.background,
            scheduled=self._plane.scheduled,
            neighbours=Neighbours(self._plane.front),
            certificates=self._plane.certificates,
        )
        self._credential = credential
        await self._plane.open_door()
        self._plane.background.run(self._puller.run(), "pull")
        self._plane.background.run(
            self._plane.recorder.shipping.run(self._gateway.ship), "ship records"
        )
        logs = self._plane.stored_logs.shipping.run(self._gateway.ship_logs)
        self._plane.background.run(logs, "ship logs")
        self._plane.background.run(self._plane.tails.follow(self._gateway), "follow tails")
        self._plane.background.run(self._plane.tails.send(self._gateway), "send tails")
        await self._server.start()
        log.info("agent_started", node_id=credential.node_id, port=settings.agent_port)

    def _about(self) -> dict[str, object]:
        return {
            **about(
                self._settings.advertise,
                self._runtime.version,
                self._newest_date,
                self._sandbox.level,
            ),
            "door_port": self._plane.door_port,
            "bucket": self._settings.bucket.url if self._settings.bucket else "",
            "condition": condition(self._paths),
        }

    def _figures(self) -> metrics.Figures:
        return metrics.Figures(
            self._paths,
            self._plane.state,
            self._plane.fleet,
            self._plane.recorder,
            {
                "version": AGENT_VERSION,
                "runtime": self._runtime.version,
                "sandbox": self._sandbox.level,
            },
        )

    async def _enrolled(self) -> Credential:
        """The credential on disk, else a new one, however long the control plane takes."""
        control, token = self._settings.control, self._settings.join_token
        if self._credential:
            if control and control != self._credential.control:
                moved = replace(self._credential, control=control)
                moved.save(self._paths.credential)
                return moved
            return self._credential
        while True:
            try:
                credential = await enrol(self._settings, control or "", token or "")
            except GatewayAwayError as error:
                log.warning("enrolment_delayed", reason=str(error))
                await asyncio.sleep(ENROL_RETRY_SECONDS)
            else:
                credential.save(self._paths.credential)
                log.info("node_enrolled", node_id=credential.node_id)
                return credential

    async def _fetch(self, digests: Sequence[str]) -> Mapping[str, bytes]:
        if self._gateway is None:
            raise FilesMissingError(
                "A file of this version is missing, and no control plane known."
            )
        if len(digests) == 1:
            return {digests[0]: await self._gateway.module(digests[0])}
        return await self._gateway.modules(digests)

    async def _take(self, push: Push) -> dict[str, object]:
        """Desired state first, then the files it needs, then the cells."""
        gap = self._intake.pushed(push.slots, push.generation)
        wanted = self._plane.files.wanted()
        files = {digest: push.files[digest] for digest in push.files.keys() & wanted}
        await asyncio.to_thread(self._plane.bundles.store, files)
        if gap and self._puller:
            self._puller.soon()
        slots = await asyncio.gather(*(self._applied(slot.script_id) for slot in push.slots))
        return {"generation": self._plane.state.watermark(), "slots": slots}

    async def _applied(self, script_id: str) -> dict[str, object]:
        slot: Slot | None = None
        # Again when a newer decision came meanwhile: the answer is about that one.
        while slot is None or slot.state is SlotState.PENDING:
            # A caller that hangs up must not stop an exchange half way.
            work = self._plane.background.run(self._plane.deployer.converge(script_id), "push")
            await asyncio.shield(work)
            slot = self._plane.state.slot(script_id)
            if slot is None:
                break
        return slot_report(slot) if slot else {"script_id": script_id}

    def _status(self) -> dict[str, object]:
        cells: dict[str, list[dict[str, object]]] = {}
        for cell in self._plane.fleet.all():
            cells.setdefault(cell.record.script_id, []).append(cell.describe())
        return {
            "node_id": self._credential.node_id if self._credential else None,
            "name": self._settings.name,
            "generation": self._plane.state.watermark(),
            "slots": [
                {**slot_report(slot), "cells": cells.get(slot.script_id, [])}
                for slot in self._plane.state.slots()
                if not slot.desired.companion
            ],
            "front_pid": self._plane.haproxy.pid,
            "runtime_version": self._runtime.version,
            "sandbox": self._sandbox.level,
            "started_at": self._started_at.isoformat(),
        }
