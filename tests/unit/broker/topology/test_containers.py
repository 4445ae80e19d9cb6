"""The container of a process from the path of its cgroup, and its name from the files of its engine."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from nettop.broker.topology.containers import Container, container_of, in_cgroup, specs_of

ID = "0123456789abcdef" * 4
POD = "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1f.slice"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"/docker/{ID}", ("docker", ID)),
        (f"/system.slice/docker-{ID}.scope", ("docker", ID)),
        (f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope/container", ("podman", ID)),
        (f"/machine.slice/libpod-{ID}.scope", ("podman", ID)),
        (f"{POD}/cri-containerd-{ID}.scope", ("containerd", ID)),
        (f"{POD}/crio-{ID}.scope", ("crio", ID)),
        (f"/kubepods/burstable/pod1f-2e/{ID}", ("kubepods", ID)),
        ("/lxc/web-1", ("lxc", "web-1")),
        ("/lxc.payload.web-1/init.scope", ("lxc", "web-1")),
        ("/machine.slice/systemd-nspawn@web\\x2d1.service/payload", ("systemd-nspawn", "web-1")),
        ("/machine.slice/machine-web\\x2d1.scope", ("systemd-nspawn", "web-1")),
        ("/default/redis", ("containerd", "redis")),
    ],
)
def test_the_paths_of_each_engine(path: str, expected: tuple[str, str]) -> None:
    found = in_cgroup(path)
    assert found is not None
    assert (found.engine, found.id) == expected
    assert found.name == ("" if expected[1] == ID else expected[1])


@pytest.mark.parametrize(
    "path",
    ["/", "/init.scope", "/system.slice/docker.service", f"/machine.slice/libpod-conmon-{ID}.scope", "/user.slice"],
)
def test_other_paths_are_of_no_container(path: str) -> None:
    assert in_cgroup(path) is None


def write(root: Path, path: str, content: object) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content))


def container(root: Path, cgroup: str) -> Container | None:
    write(root, "proc/7/cgroup", f"12:pids:/\n0::{cgroup}\n")
    return container_of(7, str(root))


def test_names_are_in_the_files_of_docker_podman_and_containerd(tmp_path: Path) -> None:
    write(tmp_path, f"var/lib/docker/containers/{ID}/config.v2.json", {"Name": "/web-1"})
    assert container(tmp_path, f"/docker/{ID}") == Container("docker", ID, "web-1")
    listed = [{"id": "ff", "names": ["other"]}, {"id": ID, "names": ["db-1"]}]
    write(tmp_path, "var/lib/containers/storage/overlay-containers/containers.json", listed)
    assert container(tmp_path, f"/libpod-{ID}") == Container("podman", ID, "db-1")
    bundle = f"run/containerd/io.containerd.runtime.v2.task/k8s.io/{ID}/config.json"
    write(tmp_path, bundle, {"annotations": {"io.kubernetes.cri.container-name": "api"}})
    assert container(tmp_path, f"{POD}/cri-containerd-{ID}.scope") == Container("containerd", ID, "api")


def test_the_monitor_of_a_container_has_its_name_wherever_its_files_are(tmp_path: Path) -> None:
    write(tmp_path, "proc/7/stat", "7 (a ) b) S 6 7 7 0")
    for words, name in (
        (["conmon", "--api-version", "1", "-c", ID, "-u", ID, "-n", "db-2", "--exit-dir", "/run"], "db-2"),
        (["conmon", "-c", "ff" * 32, "-n", "of-another"], ""),
        (["conmon", "-c", ID, "-n"], ""),
        (["conmon", "-c", ID, "-n", "\udcff\x1b[31m"], "\ufffd\x1b[31m"),
        (["sh"], ""),
    ):
        (tmp_path / "proc/6").mkdir(exist_ok=True)
        (tmp_path / "proc/6/cmdline").write_bytes(b"\0".join(os.fsencode(word) for word in words) + b"\0")
        assert container(tmp_path, f"/libpod-{ID}") == Container("podman", ID, name)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"Name": 7}', '{"Name": {}}', "[" * 100_000])
def test_damaged_files_give_no_name(tmp_path: Path, content: str) -> None:
    write(tmp_path, f"var/lib/docker/containers/{ID}/config.v2.json", content)
    found = container(tmp_path, f"/docker/{ID}")
    assert found is not None
    assert found.id == ID


def test_an_id_that_is_a_path_opens_no_file(tmp_path: Path) -> None:
    """Whoever may make cgroups chooses such a name, and systemd's escapes hold slashes."""
    (tmp_path / "run/containers/storage/overlay-containers").mkdir(parents=True)
    (tmp_path / "run/containerd/io.containerd.runtime.v2.task/moby").mkdir(parents=True)
    for ident in ("../../../../../secret".ljust(64, "/"), "../../../../secret".ljust(64, "/")):
        write(tmp_path, "secret/config.json", {"annotations": {"nerdctl/name": "read"}})
        write(tmp_path, "run/secret/userdata/config.json", {"annotations": {"nerdctl/name": "read"}})
        escaped = ident.replace("/", "\\x2f")
        for cgroup in (f"/machine.slice/machine-{escaped}.scope", f"/systemd-nspawn@{escaped}.service"):
            found = container(tmp_path, cgroup)
            assert found is not None and found.name == found.id == ident
    assert container(tmp_path, f"/lxc/{'x' * 64}") == Container("lxc", "x" * 64, "x" * 64)


def test_a_process_that_is_gone_has_no_container(tmp_path: Path) -> None:
    assert container_of(7, str(tmp_path)) is None


def listing(*containers: tuple[str, str, str]) -> bytes:
    of: dict[str, list[dict[str, str]]] = {"": []}
    for label, ident, name in containers:
        of.setdefault(label, []).append({"engine": "docker", "id": ident, "name": name})
    return b"".join(json.dumps({"label": label, "containers": found}).encode() + b"\n" for label, found in of.items())


def test_a_container_is_found_by_its_name_or_the_start_of_its_id() -> None:
    found = listing(("pid:7", "abc1" * 16, "web"), ("pid:8", "abc2" * 16, "db"))
    assert list(specs_of(found, "web")) == ["pid:7"]
    assert list(specs_of(found, "abc2")) == ["pid:8"]
    assert list(specs_of(found, "abc")) == ["pid:7", "pid:8"]
    shared = listing(("pid:7", "abc1" * 16, "infra"), ("pid:7", "abc2" * 16, "web"))
    assert (
        list(specs_of(shared, "web")) == list(specs_of(shared, "infra")) == list(specs_of(shared, "abc")) == ["pid:7"]
    )
    assert not specs_of(found, "ab")
    assert not specs_of(found, "we")
