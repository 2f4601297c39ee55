"""What a person sees: renderables as plain text."""

from io import StringIO

from rich.console import Console, RenderableType


def rendered(view: RenderableType, *, columns: int = 100) -> str:
    """The text at a width, without colours and without spaces at the ends of lines."""
    console = Console(file=StringIO(), width=columns, color_system=None, highlight=False)
    console.print(view)
    assert isinstance(console.file, StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())
