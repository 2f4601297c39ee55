"""What a local cluster is: its addresses and what to do with it next."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pipeline.local.state import ClusterState


def cluster_view(name: str, running: ClusterState) -> RenderableType:
    """Addresses, folders and processes, and the three commands that follow."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    grid.add_row("Kafka", running.kafka)
    grid.add_row("ClickHouse", running.clickhouse)
    grid.add_row("settings", running.config)
    grid.add_row("logs", running.logs)
    grid.add_row("processes", ", ".join(running.processes))
    if running.metrics:
        grid.add_row("metrics", "\n".join(f"{url}  {process}" for process, url in running.metrics.items()))
    suffix = "" if name == "default" else f" --name {name}"
    return Group(
        Text.assemble(("✓ ", "green"), (f"cluster {name} serves", "bold")),
        "",
        grid,
        "",
        Text.assemble(("point a shell at it  ", "dim"), f'eval "$(millrace env{suffix})"'),
        Text.assemble(("then                 ", "dim"), 'millrace ask "What is the capital of France?"'),
        Text.assemble(("stop it              ", "dim"), f"millrace down{suffix}"),
    )
