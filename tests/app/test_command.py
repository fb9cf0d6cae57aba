"""``point2mask annotate`` from outside: where it listens, what it says, how it stops."""

import fcntl
import json
import signal
import socket
import urllib.request

import pytest
from annotate_page import Server, served
from PIL import Image

from point2mask.cli import main
from point2mask.cli.annotate import _listen
from point2mask.data import read_points

uvicorn = pytest.importorskip("uvicorn", reason="needs point2mask[app]")

from point2mask.app import Project  # noqa: E402

FREE = ("--port", "0")
DISC = [{"id": 1, "category_id": 1, "points": [[5.0, 5.0]]}]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (30, 20), "red").save(tmp_path / "photos" / "a.png")
    return tmp_path / "photos"


def test_serves_on_loopback_until_interrupted(folder):
    with served(folder) as (url, server):
        assert url.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(url) as page:
            assert b"point2mask" in page.read()
        with urllib.request.urlopen(f"{url}api/state") as answer:
            state = json.load(answer)
        assert state["out"] == str(folder.parent / "photos_exports")
        assert [image["name"] for image in state["images"]] == ["a.png"]
        port = int(url.rstrip("/").rpartition(":")[2])
        with socket.socket() as other:
            other.settimeout(5)
            # Another address of this machine: nobody listens there.
            with pytest.raises(OSError, match=r"refused|timed out"):
                other.connect(("127.0.0.2", port))
    assert server.returncode == 0


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_an_open_request_does_not_keep_the_server(folder, how):
    with served(folder) as (url, server):
        host, port = url.removeprefix("http://").rstrip("/").split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(
                f"PUT /api/images/0/marks HTTP/1.1\r\nHost: {host}:{port}\r\n"
                "Content-Type: application/json\r\nContent-Length: 900\r\n\r\n{".encode()
            )
            with urllib.request.urlopen(f"{url}api/state") as answer:  # it has been seen by then
                assert answer.status == 200
            server.send_signal(how)
            # The connection stays open; without a limit the server would wait for ever.
            server.wait(timeout=60)


def test_answers_do_not_wait_for_a_confirmation():
    with _listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_begins_with_categories_of_another_file(folder, tmp_path):
    content = {"categories": [{"id": 5, "name": "cat", "isthing": 1, "color": [1, 2, 3]}]}
    (tmp_path / "other.json").write_text(json.dumps(content))
    with (
        served(folder, "--categories", str(tmp_path / "other.json")) as (url, _),
        urllib.request.urlopen(f"{url}api/state") as answer,
    ):
        (category,) = json.load(answer)["categories"]
        assert category == {**content["categories"][0], "targets": 0}


def fails(capsys, *arguments):
    assert main(["annotate", *map(str, arguments), *(() if "--port" in arguments else FREE)]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    return err


def test_a_second_server_is_refused_before_it_touches_anything(folder, capsys):
    def files():
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    with served(folder) as (url, _):
        server = Server(url)
        server.ask("POST", "/api/categories", {"name": "disc", "isthing": 1})
        server.ask("PUT", "/api/images/0/marks", {"revision": 0, "segments_info": DISC})
        before = files()
        assert any(name.endswith(".journal") for name in before)
        taken = url.rstrip("/").rpartition(":")[2]
        for port in ("0", taken):
            said = fails(capsys, folder, "--port", port)
            assert f"{folder}: another 'point2mask annotate' serves this folder" in said
        assert files() == before
        # Who only reads the clicks needs no leave.
        ((_, (only,)),) = read_points(folder / "points.json").images
        assert only.points == ((5.0, 5.0),)
        server.ask("PUT", "/api/images/0/marks", {"revision": 1, "segments_info": []})
        server.close()
    with served(folder):  # the first one has ended
        pass


def test_a_start_without_a_port_leaves_the_journal_to_whom_it_belongs(folder, capsys):
    project = Project(folder)
    project.add_category("disc", True)
    before = sorted(path.name for path in folder.glob("points.*"))
    assert any(name.endswith(".journal") for name in before)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "choose another" in fails(capsys, folder, "--port", taken.getsockname()[1])
    assert sorted(path.name for path in folder.glob("points.*")) == before
    project.close()


def test_a_folder_without_locks_is_served_with_a_warning(folder, capsys, monkeypatch):
    def refuse(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(uvicorn.Server, "run", lambda *_, **__: None)
    assert main(["annotate", str(folder), *FREE]) == 0
    assert "this file system knows no locks" in capsys.readouterr().err


def test_errors_are_one_line(folder, tmp_path, capsys):
    assert "there is no such folder" in fails(capsys, tmp_path / "none")
    assert "expected pictures to label" in fails(
        capsys, tmp_path / "photos" / "..", "--out", folder
    )
    assert "the folder of the edge maps" in fails(capsys, folder, "--edges", tmp_path / "none")
    assert "expected a checkpoint" in fails(capsys, folder, "--checkpoint", tmp_path)
    (folder / "points.json").write_text("[]")
    assert "got a JSON list" in fails(capsys, folder)
    (folder / "points.json").unlink()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert "choose another with --port" in fails(capsys, folder, "--port", port)
    with pytest.raises(SystemExit):
        main(["annotate", str(folder), "--port", "70000"])
    assert "a port from 0 to 65535" in capsys.readouterr().err


def test_help_has_examples(capsys):
    with pytest.raises(SystemExit):
        main(["annotate", "--help"])
    assert "point2mask annotate photos\n" in capsys.readouterr().out
