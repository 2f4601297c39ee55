"""Who may ask the embedded engine."""

import pytest

from pipeline.recorder.main import users_of
from pipeline.settings import ClickHouseSettings


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        (ClickHouseSettings(), ["default", "reader"]),
        (ClickHouseSettings(password="hush"), ["default"]),
        (ClickHouseSettings(password="hush", reader_password="shh"), ["default", "reader"]),
        (ClickHouseSettings(reader=""), ["default"]),
    ],
)
def test_a_reader_never_opens_what_a_password_closes(settings: ClickHouseSettings, names: list[str]) -> None:
    users = users_of(settings)
    assert [user.name for user in users] == names
    assert [user.readonly for user in users] == [False, True][: len(names)]
