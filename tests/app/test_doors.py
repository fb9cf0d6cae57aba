"""What the annotation server lets in: names, sizes, paths and links."""

import json

from annotation import TestClient, error, serve
from PIL import Image

from point2mask.app import Masks, Project, create_app
from point2mask.app.guard import MAX_BODY


def test_only_our_own_names_and_pages(client):
    def state(**headers):
        return client.get("/api/state", headers=headers).status_code

    assert [state(host=name) for name in ("localhost:1", "127.0.0.1", "[::1]:8642")] == [200] * 3
    for name in ("evil.example", "127.0.0.1.evil.example", "192.168.1.5", "", "["):
        assert state(host=name) == 403
    here = {"host": "127.0.0.1:8642"}
    assert state(origin="http://127.0.0.1:8642", **here) == 200
    for origin in (
        "http://127.0.0.1:8643",  # another server of this machine
        "http://127.0.0.1",
        "https://127.0.0.1:8642",
        "http://localhost:8642",
        "https://evil.example",
        "null",
        "",
    ):
        assert state(origin=origin, **here) == 403
    refusal = client.put("/api/images/0/marks", json={}, headers={"host": "evil.example"})
    assert "expected a host of" in error(refusal, 403)


def test_beyond_loopback_numbers_are_names_too(folder):
    app = create_app(Project(folder), Masks(folder), folder.with_name("out"), "0.0.0.0")
    client = TestClient(app, base_url="http://192.168.1.5")
    assert client.get("/api/state").status_code == 200
    assert client.get("/api/state", headers={"host": "evil.example"}).status_code == 403


def test_requests_are_limited(client, folder):
    large = json.dumps({"revision": 0, "segments_info": [], "x": "y" * MAX_BODY})
    assert f"at most {MAX_BODY} bytes" in error(
        client.put("/api/images/0/marks", content=large), 413
    )
    chunks = (b" " * 2**16 for _ in range(MAX_BODY // 2**16 + 1))  # no length
    assert error(client.put("/api/images/0/marks", content=chunks), 413)
    deep = client.put("/api/images/0/marks", content=b"[" * 100_000)
    assert deep.status_code in (400, 422)
    assert "request: body" in error(client.put("/api/images/0/marks", json=[]))


def test_paths_lead_nowhere_else(client, folder, tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    for path in ("/static/../server.py", "/static/%2e%2e/server.py", "/static//etc/passwd"):
        assert client.get(path).status_code == 404
    assert "from 0 to 2" in error(client.get("/api/images/3"))
    assert client.get("/api/images/..%2F..%2Fsecret.txt/picture").status_code == 404
    assert error(client.get("/docs"), 404)
    assert error(client.get("/openapi.json"), 404)


def test_links_that_lead_out_of_the_folder(folder, tmp_path):
    outside = tmp_path / "outside.png"
    Image.new("RGB", (40, 30)).save(outside)
    (folder / "link.png").symlink_to(outside)
    (folder / "inner.png").symlink_to(folder / "a.png")
    (folder / "elsewhere").symlink_to(tmp_path, target_is_directory=True)
    project = Project(folder)
    assert project.notes == [
        "left out 1 links that lead out of the folder, such as link.png",
        "left out links to folders: 1, such as elsewhere",
    ]
    assert project.names == ["a.png", "c.jpg", "inner.png", "sub/b.png"]
    client = serve(folder)
    (folder / "a.png").unlink()
    (folder / "a.png").symlink_to(outside)  # after the folder was listed
    for path in ("/api/images/0", "/api/images/0/picture", "/api/images/0/masks?revision=0"):
        assert "it leads to" in error(client.get(path))


def test_broken_large_and_changed_pictures(folder, monkeypatch):
    (folder / "a.png").write_bytes(b"no picture")
    Image.new("RGB", (20_000, 1)).save(folder / "wide.png")
    client = serve(folder)
    assert "expected an image as" in error(client.get("/api/images/0"))
    assert "16384 pixels a side" in error(client.get("/api/images/3/picture"))
    content = (folder / "sub/b.png").read_bytes()
    (folder / "sub/b.png").write_bytes(content[: len(content) // 2])
    assert "sub/b.png: expected a complete image" in error(client.get("/api/images/2/picture"))
