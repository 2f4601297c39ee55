"""A real browser looks at a page: what does not fit its width."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Final

import pytest

BROWSER: Final = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)
needs_browser = pytest.mark.skipif(not BROWSER, reason="there is no chromium here")

_SCRIPT: Final = """
<script>
const cut = [...document.querySelectorAll('.table, main, body')].filter(e => e.scrollWidth > e.clientWidth);
const told = cut.map(e => `${e.getAttribute('aria-label') ?? e.tagName}: ${e.scrollWidth} in ${e.clientWidth}`);
document.documentElement.innerHTML = `<pre id="told">${JSON.stringify({width: innerWidth, cut: told})}</pre>`;
</script>
"""


def cut_off(page: str, folder: Path, *, width_px: int) -> list[str]:
    """Tables of a page, or all of it, that are wider than their place in a window of this width: name and widths."""
    path = folder / f"page-{width_px}.html"
    allowed = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    path.write_text(allowed.replace("</body>", f"{_SCRIPT}</body>"))
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--user-data-dir={folder / 'profile'}",
    ]
    run = subprocess.run(
        [BROWSER, *flags, f"--window-size={width_px},2000", "--dump-dom", path.as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    told = re.search(r'<pre id="told">(.*?)</pre>', run.stdout, re.DOTALL)
    assert told is not None, run.stdout[-500:]
    found = json.loads(unescape(told[1]))
    assert found["width"] == width_px
    return list(found["cut"])
