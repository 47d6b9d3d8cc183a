"""The benchmark's own arithmetic, and that what it counts has really been delivered."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model

from benchmarks import (
    centrifugo,
    forms,
    host_urls,
    measures,
    plot,
    processes,
    report,
    results,
    scaling,
    senders,
    servers,
    site,
    targets,
)
from benchmarks.herd import Collector, Herd, mask
from benchmarks.processes import Missing
from benchmarks.quiet import Load, Watch
from benchmarks.results import Results, Row
from notifications.models import Notification
from tests.sites import ROOT

SVG = "{http://www.w3.org/2000/svg}"


def fan_out(server: str, cost: float, sockets: int = 5000) -> Row:
    return Row("fan-out", server, sockets, {results.DELIVERY: cost})


def connect(server: str, cost: float, kilobytes: float, benchmark: str = "connect") -> Row:
    values = {results.CONNECTION: cost, results.KILOBYTES: kilobytes}
    return Row(benchmark, server, 5000, values)


def latency(p99: float, *, lost: float = 0, rate: float = 200) -> Row:
    values = {results.P99: p99, "lost": lost, "rate": rate}
    return Row("notify() at 200/s", results.OURS_PG, 100, values)


def form(name: str, cost: float, size: float) -> Row:
    return Row(results.BY_FORM, name, 5000, {results.DELIVERY: cost, results.SIZE: size})


def verdict(
    rows: list[Row], words: str, server: str = results.OURS, start: str = ""
) -> targets.Verdict:
    found = [
        each
        for each in targets.verdicts(rows)
        if words in each.target and each.target.startswith(start) and each.server == server
    ]
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
        found = verdict([fan_out("floor", 10), fan_out("pushsite", cost)], "× floor")
        assert (found.word, found.at) == (word, "5000")

    @pytest.mark.parametrize(("cost", "word"), [(9.9, "met"), (10.0, "missed")])
    def test_fan_out_must_cost_less_than_node(self, cost, word):
        rows = [fan_out(results.WS, 10), fan_out("pushsite", cost)]
        assert verdict(rows, "Node ws").word == word

    @pytest.mark.parametrize(("cost", "word"), [(400, "met"), (399, "missed")])
    def test_stock_channels_must_cost_40_times_as_much(self, cost, word):
        rows = [fan_out(results.STOCK_REDIS, cost), fan_out("pushsite", 10)]
        assert verdict(rows, "stock on Redis").word == word

    @pytest.mark.parametrize(("ratio", "word"), [(1.7, "met"), (1.69, "missed")])
    def test_a_second_processor_must_make_two_workers_faster(self, ratio, word):
        row = Row(results.SCALING, results.OURS_PG_2, 5000, {results.SPEED_UP: ratio})
        assert verdict([row], "two workers", results.OURS_PG_2).word == word
        assert verdict([], "two workers", results.OURS_PG_2).word == "not measured"

    def test_what_was_not_measured_is_neither_met_nor_missed(self):
        assert verdict([fan_out("pushsite", 10)], "nchan").word == "not measured"

    def test_a_smaller_run_is_compared_at_its_own_size_and_says_so(self):
        rows = [fan_out("floor", 10, 2000), fan_out("pushsite", 10, 2000)]
        found = verdict(rows, "× floor")
        assert (found.met, found.at, found.remark) == (True, "2000", "the target is for 5000")

    def test_only_equal_numbers_of_sockets_are_compared(self):
        rows = [fan_out("floor", 10, 2000), fan_out("pushsite", 10)]
        assert verdict(rows, "× floor").met is None

    @pytest.mark.parametrize(("dear", "word"), [(13.5, "met"), (13.6, "missed")])
    def test_the_cost_is_flat_within_15_per_cent_of_the_middle(self, dear, word):
        rows = [fan_out("pushsite", 10, 10_000), fan_out("pushsite", dear, 500)]
        found = verdict(rows, "flat")
        assert (found.word, found.at) == (word, "500 to 10000")

    @pytest.mark.parametrize("other", [results.NCHAN, results.SOCKET_IO, results.CENTRIFUGO])
    @pytest.mark.parametrize(("cost", "word"), [(9.9, "met"), (10.0, "missed")])
    def test_fan_out_must_cost_less_than_each_other_server(self, other, cost, word):
        assert verdict([fan_out(other, 10), fan_out("pushsite", cost)], f"< {other}").word == word

    def test_each_configuration_is_compared_with_centrifugo_in_one_like_it(self):
        rows = [
            fan_out(results.CENTRIFUGO, 10),
            fan_out(results.CENTRIFUGO_REDIS, 20),
            fan_out(results.OURS_PG, 15),
        ]
        assert verdict(rows, "Centrifugo", results.OURS_PG, "fan-out CPU").reached == "0.75 ×"

    @pytest.mark.parametrize(("cost", "word"), [(10.5, "met"), (10.6, "missed")])
    def test_protobuf_may_cost_what_json_costs_within_the_noise(self, cost, word):
        rows = [form("JSON", 10, 260), form("Protobuf", cost, 224)]
        assert verdict(rows, "CPU in Protobuf").word == word

    @pytest.mark.parametrize(("size", "word"), [(259, "met"), (260, "missed")])
    def test_protobuf_must_be_smaller_on_the_wire(self, size, word):
        rows = [form("JSON", 10, 260), form("Protobuf", 10, size)]
        assert verdict(rows, "frames in Protobuf").word == word

    @pytest.mark.parametrize(("cost", "word"), [(150, "met"), (151, "missed")])
    def test_a_connect_with_replay_may_cost_half_more_than_a_bare_one(self, cost, word):
        rows = [connect(results.BARE, 100, 10), connect("pushsite", cost, 0, results.BACK)]
        assert verdict(rows, "bare uvicorn").word == word

    @pytest.mark.parametrize(("cost", "word"), [(300, "met"), (301, "missed")])
    def test_a_connect_with_replay_may_cost_three_times_that_of_centrifugo(self, cost, word):
        rows = [
            connect(results.CENTRIFUGO, 100, 10, results.BACK),
            connect("pushsite", cost, 0, results.BACK),
        ]
        assert verdict(rows, "3 × Centrifugo").word == word

    @pytest.mark.parametrize(
        ("slowest", "overtaken", "words"),
        [(10, 10, ["met", "met"]), (10.1, 10, ["missed", "met"]), (1, 11, ["met", "missed"])],
    )
    def test_in_a_storm_nobody_waits_too_long_or_is_overtaken_by_many(
        self, slowest, overtaken, words
    ):
        values = {results.SLOWEST: slowest, results.OVERTAKEN: overtaken}
        rows = [Row(results.STORM, "pushsite", 5000, values)]
        found = [verdict(rows, "waits longer"), verdict(rows, "in order of arrival")]
        assert [each.word for each in found] == words

    @pytest.mark.parametrize(("kilobytes", "word"), [(16, "met"), (16.1, "missed"), (9, "met")])
    def test_a_connection_may_hold_16_kb(self, kilobytes, word):
        assert verdict([connect("pushsite", 1, kilobytes)], "memory ≤").word == word

    @pytest.mark.parametrize(
        ("share", "words"), [(2.2, ["met", "met"]), (3, ["met", "missed"]), (3.1, ["missed"] * 2)]
    )
    def test_resting_connections_cost_little_and_less_than_in_centrifugo(self, share, words):
        rows = [
            Row(results.IDLE, name, 5000, {results.CORE: value})
            for name, value in ((results.CENTRIFUGO, 4), ("pushsite", share))
        ]
        found = [verdict(rows, "idle ≤ 3"), verdict(rows, "idle ≤ 0.55")]
        assert [each.word for each in found] == words

    @pytest.mark.parametrize(("wall", "word"), [(450, "met"), (451, "missed")])
    def test_private_fan_out_may_take_half_longer_than_in_centrifugo(self, wall, word):
        rows = [
            Row(results.PRIVATE, name, 5000, {results.WALL: value})
            for name, value in ((results.CENTRIFUGO, 300), ("pushsite", wall))
        ]
        assert verdict(rows, "private fan-out").word == word

    @pytest.mark.parametrize(
        ("row", "word"),
        [
            (latency(10), "met"),
            (latency(10.1), "missed"),
            (latency(5, lost=1), "missed"),
            (latency(5, rate=150), "missed"),
        ],
    )
    def test_latency_counts_only_if_all_was_sent_in_time_and_nothing_lost(self, row, word):
        assert verdict([row], "p99", results.OURS_PG).word == word

    def test_bulk_is_extrapolated_to_100_000(self):
        row = Row("bulk", "pushsite", 10_000, {results.RECIPIENT: 29})
        found = verdict([row], "100 000 users ≤")
        assert (found.word, found.reached) == ("met", "2.9 s")
        assert found.remark == "extrapolated from fewer recipients"

    @pytest.mark.parametrize(("delay", "word"), [(300, "met"), (301, "missed")])
    def test_the_first_of_many_is_reached_soon_after_the_commit(self, delay, word):
        values = {results.RECIPIENT: 1, results.FIRST: delay}
        row = Row("bulk", results.OURS_PG, 100_000, values)
        assert verdict([row], "first socket", results.OURS_PG).word == word

    @pytest.mark.parametrize(("more", "word"), [(10, "met"), (10.1, "missed")])
    def test_many_recipients_may_not_need_much_more_memory_than_a_tenth(self, more, word):
        rows = [
            Row("bulk", "pushsite", count, {results.RECIPIENT: 1, results.CALLER: memory})
            for count, memory in ((10_000, 20), (100_000, 20 + more))
        ]
        assert verdict(rows, "memory of the caller").word == word

    @pytest.mark.parametrize(("seconds", "word"), [(60, "met"), (61, "missed")])
    def test_a_million_recipients_count_only_if_they_were_measured(self, seconds, word):
        values = {results.RECIPIENT: seconds, "seconds": seconds}
        row = Row("bulk", "pushsite", 1_000_000, values)
        assert verdict([row], "1 000 000").word == word
        smaller = Row("bulk", "pushsite", 100_000, values)
        assert not [each for each in targets.verdicts([smaller]) if "1 000 000" in each.target]


class TestQuiet:
    @pytest.mark.parametrize(
        ("load", "words"),
        [
            (Load(2, 0.5, 5, 2), []),
            (Load(2, 0.51, 0, 0), ["load average"]),
            (Load(2, 0, 5.1, 0), ["other processes"]),
            (Load(2, 0, 0, 2.1), ["hypervisor"]),
            (Load(2, 9, 9, 9), ["load average", "other processes", "hypervisor"]),
        ],
    )
    def test_a_run_is_quiet_only_if_others_left_the_machine_alone(self, load, words):
        assert load.is_quiet is (not words)
        assert len(load.disturbances) == len(words)
        assert all(word in why for word, why in zip(words, load.disturbances, strict=True))

    def test_a_run_that_was_not_quiet_is_not_called_quiet(self):
        results_ = Results([fan_out("floor", 10)], load=Load(2, 0, 12.3, 0))
        assert "was not quiet: other processes used 12.3 %" in report.tables(results_)
        assert "the machine was not quiet" in report.picture(results_)

    def test_a_quiet_run_says_so(self):
        results_ = Results([fan_out("floor", 10)], load=Load(2, 0, 0, 0))
        assert "The machine was quiet: load average 0.00" in report.tables(results_)
        assert "not quiet" not in report.picture(results_)

    def test_nobody_claims_what_was_not_observed(self):
        assert "Nobody observed" in report.tables(Results([]))

    def test_the_work_of_the_run_itself_is_no_disturbance(self):
        watch = Watch()
        work = "import time\nwhile time.process_time() < 0.5: pass\ninput()"
        with subprocess.Popen([sys.executable, "-c", work], stdin=subprocess.PIPE) as child:
            while processes.cpu_seconds([child.pid]) < 0.5:
                assert child.poll() is None
                time.sleep(0.01)
            stranger = watch.judge()
            child.communicate(b"\n")
        assert stranger.others > 0
        assert watch.judge().others < stranger.others

    def test_the_work_of_a_detached_process_is_no_disturbance(self):
        watch = Watch()
        deadline = time.process_time() + 0.1
        while time.process_time() < deadline:
            pass
        watch.add_own(-0.5)
        assert watch.judge().others > 0
        watch.add_own(1e6)
        assert watch.judge().others == 0


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
        found = Results([fan_out("floor", 10.5)], ["a"], ["b"], "m", Load(2, 0.1, 2, 3))
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
        (centrifugo.centrifugo, f"go install {centrifugo.MODULE}"),
    ],
)
def test_a_peer_that_is_not_installed_is_named_with_the_command(monkeypatch, opener, command):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(servers, "SYSTEM_PROGRAMS", "/nowhere")
    monkeypatch.setattr(centrifugo, "GO_PROGRAMS", "/nowhere")
    monkeypatch.setattr(centrifugo, "FOLDER", Path("/nowhere"))
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


@pytest.mark.parametrize("writes", ["descriptors", "transports"])
async def test_every_delivery_of_a_real_server_is_counted(writes):
    with servers.floor(writes) as server:
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


async def test_the_floor_writes_to_no_socket_that_is_closed():
    with servers.floor() as server:
        herd = Herd("127.0.0.1", server.port, server.path)
        await herd.open(20)
        herd.shrink(5)
        await measures.wait_until_idle(server)
        await herd.open(5)
        row = await measures.fan_out(server, herd, senders.by_line(server), blocks=1)
        assert row.sockets == 10
        assert herd.frames % 10 == 0
        herd.close()


async def test_herds_that_take_turns_get_only_what_is_theirs():
    with servers.floor() as one, servers.floor() as other:
        audiences = {}
        for name, server, count in (("one", one, 3), ("other", other, 4)):
            herd = Herd("127.0.0.1", server.port, server.path)
            await herd.open(count)
            audiences[name] = (herd, senders.by_line(server))
        rows = await measures.fan_out_in_turn(one, audiences, 2, "turns")
        assert [(row.server, row.sockets) for row in rows] == [("one", 3), ("other", 4)]
        for herd, _ in audiences.values():
            assert herd.frames % len(herd.clients) == 0
            assert herd.frames >= 2 * measures.ROUNDS * len(herd.clients)
            herd.close()


async def test_every_frame_of_the_comparison_of_processors_is_counted():
    with servers.floor() as server:
        herd = Herd("127.0.0.1", server.port, server.path)
        await herd.open(20)
        row = await scaling.scaling(server, herd, senders.by_line(server), blocks=2)
        assert herd.frames == 20 * scaling.BROADCASTS * 2 * 2
        one, two, speed_up = row.values.values()
        assert speed_up == one / two
        pinned = os.sched_getaffinity(server.process.pid)
        assert pinned == processes.SERVER_CPUS
        herd.close()


async def test_a_server_without_work_is_idle():
    with servers.floor() as server:
        row = await measures.idle(server, 0, 0.0, 0.2)
        assert row.values["seconds"] >= 0.2
        assert 0 <= row.values[results.CORE] < 50


@pytest.mark.parametrize(
    ("begun", "expected"), [([], 0), ([1, 2, 3], 0), ([2, 3, 4, 1], 3), ([1, 3, 2], 1)]
)
def test_the_most_overtaken_client_counts(begun, expected):
    assert results.overtaken(begun) == expected


async def test_every_delivery_and_every_missed_broadcast_of_centrifugo_is_counted():
    if not (centrifugo.FOLDER / "centrifugo").exists():
        pytest.skip("NOT RUN: Centrifugo, because make bench has not built it")
    users = range(1, 11)
    with centrifugo.centrifugo() as server:
        herd = site.herd(server, centrifugo.greet(users))
        await herd.open(10)
        for send in (
            await centrifugo.broadcaster(server),
            await centrifugo.private_sender(server, 10),
        ):
            before = herd.frames
            await measures.fan_out(server, herd, send, blocks=1)
            assert herd.frames - before >= 10 * measures.ROUNDS
            assert herd.frames % 10 == 0
        herd.close()
        back = site.herd(server, centrifugo.come_back(server, users, 10))
        await back.open(10)
        assert back.size >= 10 * 10 * len(json.dumps(centrifugo.BROADCAST))
        back.close()


@pytest.mark.django_db
def test_the_view_of_the_host_notifies_each_user_once(rf):
    users = [get_user_model().objects.create(username=f"user{number}") for number in range(3)]
    request = rf.post("/", str(users[1].pk), content_type="text/plain")
    assert host_urls.notify_users(request).status_code == 200
    reached = [each.stream_name for each in Notification.objects.all()]
    assert sorted(reached) == sorted(f"user:{user.pk}" for user in users if user.pk <= users[1].pk)


def test_a_process_is_found_while_its_threads_come_and_go() -> None:
    code = """
import subprocess, threading
child = subprocess.Popen(["sleep", "60"])
print(child.pid, flush=True)
while True:
    threads = [threading.Thread(target=int) for _ in range(20)]
    [thread.start() for thread in threads]
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    child = int(process.stdout.readline())
    try:
        assert {tuple(processes.tree(process.pid)) for _ in range(2000)} == {(process.pid, child)}
    finally:
        process.kill()
        process.wait()
        os.kill(child, signal.SIGKILL)
        process.stdout.close()
