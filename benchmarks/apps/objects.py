"""The routes on the rendered layer, and a count of the objects in memory."""

import gc

from bench_rendered import app  # type: ignore[import-not-found]


@app.get("/objects")  # type: ignore[untyped-decorator]
async def count_objects() -> int:
    """Return the number of objects that the garbage collector tracks after a run."""
    gc.collect()
    return len(gc.get_objects())
