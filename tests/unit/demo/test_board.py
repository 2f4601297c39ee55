"""What the demo counts and shows."""

from pipeline.demo.board import Board, LaneCounts


def cells(board: Board, elapsed_s: float) -> list[list[str]]:
    columns = [list(column.cells) for column in board.table(elapsed_s).columns]
    return [[str(cell) for cell in row] for row in zip(*columns, strict=True)]


def test_a_chat_is_queued_then_running_then_done() -> None:
    lane = LaneCounts()
    lane.on_sent()
    assert (lane.queued, lane.running, lane.done) == (1, 0, 0)
    lane.on_first_token(0.2)
    assert (lane.queued, lane.running, lane.done) == (0, 1, 0)
    lane.on_end(had_begun=True, completed=True)
    assert (lane.queued, lane.running, lane.done, lane.failed) == (0, 0, 1, 0)


def test_a_chat_that_ends_before_it_began_leaves_the_queue() -> None:
    lane = LaneCounts()
    lane.on_sent()
    lane.on_end(had_begun=False, completed=False)
    assert (lane.queued, lane.running, lane.done, lane.failed) == (0, 0, 0, 1)


def test_a_chat_that_breaks_off_stops_running() -> None:
    lane = LaneCounts()
    lane.on_sent()
    lane.on_first_token(0.1)
    lane.on_end(had_begun=True, completed=False)
    assert (lane.running, lane.failed) == (0, 1)


def test_the_table_has_a_row_per_lane_in_their_order() -> None:
    assert [row[0] for row in cells(Board(("realtime", "bulk"), title="chats"), 1.0)] == ["realtime", "bulk"]


def test_a_lane_without_tokens_shows_no_first_token_and_no_rate() -> None:
    assert cells(Board(("bulk",), title="chats"), 0.0) == [["bulk", "0", "0", "0", "0", "0.0", "-"]]


def test_a_row_shows_tokens_per_second_and_the_median_first_token() -> None:
    board = Board(("bulk",), title="chats")
    lane = board.lanes["bulk"]
    for first_s in (0.9, 0.1, 0.25):
        lane.on_sent()
        lane.on_first_token(first_s)
    lane.on_tokens(30)
    lane.on_tokens(15)
    assert cells(board, 2.0) == [["bulk", "0", "3", "0", "0", "22.5", "250 ms"]]
