"""The benchmark's own arithmetic, and that what it counts has really been delivered."""

import asyncio
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks import forms, measures, plot, report, results, senders, servers, targets
from benchmarks.herd import Collector, Herd, mask
from benchmarks.processes import Missing
from benchmarks.results import Results, Row
from tests.servers import ROOT

SVG = "{http://www.w3.org/2000/svg}"


def fan_out(server: str, cost: float, sockets: int = 5000) -> Row:
    return Row("fan-out", server, sockets, {results.DELIVERY: cost})


def connect(server: str, cost: float, kilobytes: float, benchmark: str = "connect") -> Row:
    values = {results.CONNECTION: cost, results.KILOBYTES: kilobytes}
    return Row(benchmark, server, 5000, values)


def latency(p99: float, *, lost: float = 0, rate: float = 200) -> Row:
    values = {results.P99: p99, "lost": lost, "rate": rate}
    return Row("notify() at 200/s", results.OURS_PG, 100, values)


def verdict(rows: list[Row], words: str, server: str = results.OURS) -> targets.Verdict:
    found = [v for v in targets.verdicts(rows) if words in v.target and v.server == server]
    assert len(found) == 1
    return found[0]


class TestFigures:
    @pytest.mark.parametrize(("percent", "expected"), [(50, 50), (99, 99), (100, 100), (1, 1)])
    def test_a_percentile_is_the_nearest_rank(self, percent, expected):
        assert results.percentile(range(100, 0, -1), percent) == expected

    def test_a_percentile_of_few_values_is_one_of_them(self):
        assert results.percentile([7.0], 99) == 7.0
        assert results.percentile([1.0, 9.0], 99) == 9.0

    def test_a_percentile_of_nothing_is_an_error(self):
        with pytest.raises(ValueError, match="no values"):
            results.percentile([], 50)

    def test_what_was_measured_twice_becomes_its_mean_and_nothing_else_is_mixed(self):
        rows = [
            fan_out("floor", 4),
            fan_out("pushsite", 9),
            fan_out("floor", 8),
            fan_out("floor", 1, 500),
        ]
        assert results.merged(rows) == [
            fan_out("floor", 6),
            fan_out("pushsite", 9),
            fan_out("floor", 1, 500),
        ]

    def test_a_spread_is_half_of_what_lies_between_as_part_of_the_middle(self):
        assert results.spread([8.5, 10, 11.5]) == pytest.approx(0.15)
        assert results.spread([10, 10]) == 0


class TestTargets:
    @pytest.mark.parametrize(("cost", "word"), [(11.0, "met"), (11.1, "missed")])
    def test_fan_out_may_cost_a_tenth_more_than_the_floor(self, cost, word):
        found = verdict([fan_out("floor", 10), fan_out("pushsite", cost)], "floor")
        assert (found.word, found.at) == (word, "5000")

    @pytest.mark.parametrize(("cost", "word"), [(9.9, "met"), (10.0, "missed")])
    def test_fan_out_must_cost_less_than_node(self, cost, word):
        rows = [fan_out(results.WS, 10), fan_out("pushsite", cost)]
        assert verdict(rows, "Node ws").word == word

    @pytest.mark.parametrize(("cost", "word"), [(350, "met"), (349, "missed")])
    def test_stock_channels_must_cost_35_times_as_much(self, cost, word):
        rows = [fan_out(results.STOCK_REDIS, cost), fan_out("pushsite", 10)]
        assert verdict(rows, "stock on Redis").word == word

    def test_what_was_not_measured_is_neither_met_nor_missed(self):
        assert verdict([fan_out("pushsite", 10)], "nchan").word == "not measured"

    def test_a_smaller_run_is_compared_at_its_own_size_and_says_so(self):
        rows = [fan_out("floor", 10, 2000), fan_out("pushsite", 10, 2000)]
        found = verdict(rows, "floor")
        assert (found.met, found.at, found.remark) == (True, "2000", "the target is for 5000")

    def test_only_equal_numbers_of_sockets_are_compared(self):
        rows = [fan_out("floor", 10, 2000), fan_out("pushsite", 10)]
        assert verdict(rows, "floor").met is None

    @pytest.mark.parametrize(("dear", "word"), [(13.5, "met"), (13.6, "missed")])
    def test_the_cost_is_flat_within_15_per_cent_of_the_middle(self, dear, word):
        rows = [fan_out("pushsite", 10, 10_000), fan_out("pushsite", dear, 500)]
        found = verdict(rows, "flat")
        assert (found.word, found.at) == (word, "500 to 10000")

    @pytest.mark.parametrize(("cost", "word"), [(150, "met"), (151, "missed")])
    def test_a_connect_with_replay_may_cost_half_more_than_a_bare_one(self, cost, word):
        rows = [connect(results.BARE, 100, 10), connect("pushsite", cost, 0, "connect, 10 missed")]
        assert verdict(rows, "connect").word == word

    @pytest.mark.parametrize(("kilobytes", "word"), [(14, "met"), (14.1, "missed"), (9, "met")])
    def test_a_connection_may_hold_4_kb_more_than_a_bare_one(self, kilobytes, word):
        rows = [connect(results.BARE, 1, 10), connect("pushsite", 1, kilobytes)]
        assert verdict(rows, "memory").word == word

    @pytest.mark.parametrize(
        ("row", "word"),
        [
            (latency(20), "met"),
            (latency(20.1), "missed"),
            (latency(5, lost=1), "missed"),
            (latency(5, rate=150), "missed"),
        ],
    )
    def test_latency_counts_only_if_all_was_sent_in_time_and_nothing_lost(self, row, word):
        assert verdict([row], "p99", results.OURS_PG).word == word

    def test_bulk_is_extrapolated_to_100_000(self):
        row = Row("bulk", "pushsite", 10_000, {results.RECIPIENT: 99})
        found = verdict([row], "100 000 users")
        assert (found.word, found.reached) == ("met", "9.9 s")
        assert found.remark == "extrapolated from fewer recipients"


class TestReport:
    def test_a_table_shows_the_ratio_to_the_reference_of_the_same_size(self):
        rows = [fan_out("floor", 10), fan_out("pushsite", 11), fan_out("pushsite", 11, 500)]
        lines = report.tables(Results(rows)).splitlines()
        assert "| pushsite | 5000 | 11 | 1.10 |" in lines
        assert "| pushsite | 500 | 11 | – |" in lines

    def test_a_bulk_row_counts_recipients(self):
        row = Row("bulk", "pushsite", 10_000, {results.RECIPIENT: 99})
        assert f"| server | recipients | {results.RECIPIENT} |" in report.tables(Results([row]))

    def test_missing_peers_and_remarks_are_listed(self):
        text = report.tables(Results([], ["nchan: apt-get install it"], ["the client was slow"]))
        assert "Missing: nchan: apt-get install it" in text
        assert "Note: the client was slow" in text

    def test_what_is_saved_can_be_read_again(self, tmp_path: Path):
        found = Results([fan_out("floor", 10.5)], ["a"], ["b"])
        report.save(found, tmp_path)
        assert report.load(tmp_path / report.JSON) == found

    @pytest.mark.parametrize(
        ("values", "words"),
        [
            ({"client µs": 4, "client %": 95}, "the client is the bottleneck"),
            ({"client µs": 11, "client %": 30}, "the client used more CPU"),
            ({"client µs": 4, "client %": 30}, None),
        ],
    )
    def test_a_client_that_worked_harder_than_the_server_is_noted(self, values, words):
        row = Row("fan-out", "floor", 500, {results.DELIVERY: 10, **values})
        said = measures.remarks(row)
        assert len(said) == (words is not None)
        assert all(str(words) in remark for remark in said)


class TestPlot:
    def test_bars_are_sorted_and_ours_are_highlighted(self):
        panels = plot.panels([fan_out("b", 20), fan_out("pushsite", 10), fan_out("a", 30)])
        bars = [bar for panel in panels for bar in panel.bars]
        assert [(bar.name, bar.is_ours) for bar in bars] == [
            ("pushsite", True),
            ("b", False),
            ("a", False),
        ]

    def test_the_size_shown_is_the_one_nearest_to_5000_and_noted_if_another(self):
        rows = [fan_out("a", 1, 500), fan_out("a", 2, 5000), fan_out("b", 3, 1000)]
        (panel,) = plot.panels(rows)
        assert [(bar.value, bar.note) for bar in panel.bars] == [(2, ""), (3, "at 1 000")]

    def test_an_outlier_is_cut_and_its_value_shown(self):
        rows = [fan_out("a", 10), fan_out("b", 11), fan_out("c", 400)]
        text = plot.draw(plot.panels(rows), "t", "s")
        words = [element.text for element in ET.fromstring(text).iter(f"{SVG}text")]
        assert "400 (bar cut)" in words
        assert {"10.0", "11.0"} <= set(words)

    def test_without_outliers_nothing_is_cut(self):
        assert plot.scale([5, 10, 40]) == 40

    def test_names_cannot_break_the_drawing(self):
        text = plot.draw(plot.panels([fan_out("<a> & b", 10)]), "t", "s")
        words = [element.text for element in ET.fromstring(text).iter(f"{SVG}text")]
        assert "<a> & b" in words


class TestPublished:
    """What README and docs show comes from the results beside it."""

    @pytest.fixture
    def found(self) -> Results:
        return report.load(ROOT / "docs" / report.JSON)

    def test_the_plot_is_that_of_the_results(self, found):
        assert (ROOT / "docs" / "images" / report.PLOT).read_text() == report.picture(found)

    def test_the_tables_are_those_of_the_results(self, found):
        assert (ROOT / "docs" / report.PAGE).read_text().endswith(report.tables(found))

    def test_publishing_replaces_the_tables_and_leaves_the_words(self, tmp_path):
        (tmp_path / "images").mkdir()
        page = tmp_path / report.PAGE
        page.write_text(f"# Words\n\n{report.MARK}\n\nold tables\n")
        new = Results([fan_out("floor", 10)])
        report.publish(new, tmp_path)
        assert page.read_text() == f"# Words\n\n{report.MARK}\n\n{report.tables(new)}"
        assert report.load(tmp_path / report.JSON) == new


@pytest.mark.parametrize(
    ("opener", "command"),
    [
        (servers.nchan, "apt-get install nginx-light libnginx-mod-nchan"),
        (lambda: servers.node("ws.js", results.WS), "npm install --prefix benchmarks/peers"),
    ],
)
def test_a_peer_that_is_not_installed_is_named_with_the_command(monkeypatch, opener, command):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(servers, "SYSTEM_PROGRAMS", "/nowhere")
    with pytest.raises(Missing, match=command), opener():
        pass


async def test_a_ping_in_front_of_a_publication_is_answered_each_time():
    accepted: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        accepted.put_nowait((reader, writer))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    herd = Herd("127.0.0.1", server.sockets[0].getsockname()[1], "/")
    herd.answer = lambda payload: b"{}" if payload == b"{}" else None
    herd.ignore = lambda payload: payload == b"{}"
    await herd.open(1)
    reader, writer = await accepted.get()
    with Collector(herd) as collector:
        for number in range(1, 4):
            writer.write(b"\x81\x02{}\x81\x05hello")
            await writer.drain()
            collector.collect(number, 5)
            assert await asyncio.wait_for(reader.readexactly(8), 5) == mask(b"{}")
    herd.close()
    writer.close()
    server.close()


async def test_every_delivery_of_a_real_server_is_counted():
    with servers.floor() as server:
        herd = Herd("127.0.0.1", server.port, server.path)
        await herd.open(20)
        row = await measures.fan_out(server, herd, senders.by_line(server), blocks=1)
        assert herd.frames >= 20 * measures.ROUNDS
        assert herd.frames % 20 == 0
        assert row.values["bytes"] == len(senders.LINE) + 4
        assert row.values[results.DELIVERY] > 0
        herd.close()


def test_protobuf_is_smaller_on_the_wire_and_the_sizes_are_those_of_the_page():
    page = (ROOT / "docs" / "protocol.md").read_text()
    in_json, in_protobuf = (row.values for row in forms.encoding())
    for name, line in (
        ("bytes", "bytes of a typical publication"),
        ("bytes of the reply", f"bytes of a reply with {forms.MISSED} of them"),
    ):
        assert in_protobuf[name] < in_json[name]
        assert f"| {line} | {in_json[name]} | {in_protobuf[name]} |" in page
