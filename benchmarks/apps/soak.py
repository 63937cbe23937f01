"""The rendered layer's routes, and what the process holds in memory."""

import gc

from bench_rendered import app  # type: ignore[import-not-found]


@app.get("/objects")  # type: ignore[untyped-decorator]
async def count_objects() -> int:
    """Return how many objects the collector knows of, after it has collected."""
    gc.collect()
    return len(gc.get_objects())
