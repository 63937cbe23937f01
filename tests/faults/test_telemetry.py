"""The telemetry of a service, as a receiver of OpenTelemetry's protocol gets it."""

import asyncio
import time

from support.clients import Clients, send_at_once
from support.fault_figures import Figures
from support.fault_services import Render
from support.otlp_receiver import Receiver, attributes
from support.processes import wait_for
from support.samples import with_answers
from support.services import Service
from support.variants import Variant

EMAIL = "s3cret@example.com"
SECRETS = [b"s3cret", b"pa55word"]
QUICK = {
    "OTEL_BSP_SCHEDULE_DELAY": "100",
    "OTEL_METRIC_EXPORT_INTERVAL": "200",
    "OTEL_SERVICE_NAME": "service",
}
POOL = "db.client.connection.pool.name"


def render_with_telemetry(variant: Variant, render: Render, url: str) -> Service:
    """Render a service that exports to ``url``, without starting it."""
    rendering = render(with_answers(variant, telemetry="opentelemetry"))
    rendering.create_database()
    service = rendering.service()
    service.environment.update(QUICK)
    if url:
        service.environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = url
    if variant.backend == "postgresql":  # It accepts any password.
        service.environment["DATABASE_PASSWORD"] = "pa55word"
    return service


def test_spans_and_metrics(every_driver: Variant, render: Render) -> None:
    """Each statement has a span in the client's trace; no span contains a value."""
    with Receiver() as receiver:
        service = render_with_telemetry(every_driver, render, receiver.url)
        service.start()
        service.wait_for_tables()
        user = {"email": EMAIL, "name": "Ada"}
        trace_id, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
        headers = {
            "traceparent": f"00-{trace_id}-{parent}-01",
            "x-request-id": "first",
        }
        assert service.post("/users", json=user, headers=headers).status_code == 201
        assert service.post("/users", json=user).status_code == 409
        service.terminate()
        service.wait()

    traced = [span for span in receiver.spans() if span.trace_id.hex() == trace_id]
    [request] = [span for span in traced if span.kind == span.SPAN_KIND_SERVER]
    statements = [span for span in traced if span.kind == span.SPAN_KIND_CLIENT]
    assert request.name == "POST /users"
    assert request.parent_span_id.hex() == parent
    assert attributes(request.attributes)["http.response.status_code"] == 201
    texts = [attributes(span.attributes)["db.query.text"] for span in statements]
    assert sum(text.startswith("INSERT INTO users") for text in texts) == 1
    assert len(texts) == len(set(texts))
    assert {span.parent_span_id for span in statements} == {request.span_id}
    failed = [span for span in receiver.spans() if span.status.code == 2]
    assert [attributes(span.attributes)["error.type"] for span in failed]
    assert all(span.status.message == "" for span in failed)
    for name in ("wait_time", "use_time", "count", "max", "pending_requests"):
        points = list(receiver.points(f"db.client.connection.{name}"))
        assert {"write", "read"} <= {tags[POOL] for tags, _ in points}, name
    assert list(receiver.points("http.server.request.duration"))
    assert [secret for secret in SECRETS if secret in receiver.raw] == []


def test_load_on_a_full_pool(sampled_driver: Variant, render: Render) -> None:
    """The metrics show how many requests wait for a permit, and for how long."""
    with Receiver() as receiver:
        service = render_with_telemetry(sampled_driver, render, receiver.url)
        service.start()
        service.wait_for_tables()

        paths = ["/idle?seconds=0.5"] * 15
        ledger = send_at_once(
            service.url, lambda clients: (clients.request("POST", it) for it in paths)
        )
        service.terminate()
        service.wait()

    assert "none" not in ledger.statuses
    pending = receiver.points("db.client.connection.pending_requests")
    waited = receiver.points("db.client.connection.wait_time")
    assert max(p.as_int for tags, p in pending if tags[POOL] == "limiter") > 0
    assert max(p.sum for tags, p in waited if tags[POOL] == "limiter") > 0.3
    assert "limiter" in {span.name for span in receiver.spans()}


def test_outage_of_the_receiver(
    sampled_driver: Variant, render: Render, figures: Figures
) -> None:
    """No request fails or waits, exports resume later, and the service ends in time."""
    receiver = Receiver()
    service = render_with_telemetry(sampled_driver, render, receiver.url)
    service.environment["OTEL_EXPORTER_OTLP_TIMEOUT"] = "2"  # seconds
    service.start()
    service.wait_for_tables()

    async def load() -> Clients:
        async with Clients(service.url) as clients:
            for _ in range(20):
                await asyncio.gather(
                    *(clients.request("GET", "/notes") for _ in range(10))
                )
        return clients

    clients = asyncio.run(load())
    with receiver:
        service.get("/stars")
        wait_for(lambda: "GET /stars" in {span.name for span in receiver.spans()})
    service.get("/notes")
    begun = time.monotonic()
    service.terminate()
    service.wait()
    seconds = time.monotonic() - begun
    figures(longest=clients.ledger.longest, end=seconds)

    assert set(clients.ledger.statuses) == {"200"}
    assert clients.ledger.longest < 5
    assert seconds < 10


def test_no_endpoint(file_driver: Variant, render: Render) -> None:
    """Without an endpoint, telemetry is off: nothing is exported or logged."""
    service = render_with_telemetry(file_driver, render, "")
    service.start()
    service.wait_for_tables()

    assert service.get("/notes").status_code == 200
    assert "elemetry" not in service.read_log()
    assert "/v1/" not in service.read_log()
