"""Pictures of every page, in both themes, at 1280 and 390 pixels, of a hub with the demonstration memory.

    make screenshots [ARGS='/tmp/pictures --readme']

`--readme` also writes the best few into docs/images.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from browser.chromium import CHROMIUM, SWITCHES  # noqa: E402
from browser.crawling import crawl  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
SIZES = {"1280": (1280, 800), "390": (390, 844)}
BEST = {"overview": "overview", "audit": "audit-log", "subjects-id": "subject", "surfacings-id": "surfacing"}
"""Pages that the README shows, and what their files are called there."""
ASKED = ("Where should I send the invoice?", "What budget did we agree on?", "How do I like my answers?")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", nargs="?", type=Path, help="where to; a temporary directory without it")
    parser.add_argument("--readme", action="store_true", help="write the best few into docs/images as well")
    arguments = parser.parse_args()
    if CHROMIUM is None:
        sys.exit("There is no Chromium: install one, or name it in CHROMIUM.")
    directory = arguments.directory or Path(tempfile.mkdtemp(prefix="memoryhub-pictures-"))
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="memoryhub-") as data:
        Path(data).chmod(0o755)  # noqa: S103 - the database server may run as another user
        taken = _with_hub(Path(data), directory)
    if arguments.readme:
        for name, called in BEST.items():
            for theme, ending in (("light", ""), ("dark", "-dark")):
                shutil.copy(directory / f"{name}-{theme}-1280.png", ROOT / "docs" / "images" / f"{called}{ending}.png")
    print(f"{taken} pictures in {directory}")  # noqa: T201 - what the command is for


def _with_hub(data: Path, directory: Path) -> int:
    log = data / "up.log"
    with log.open("wb") as output:
        hub = subprocess.Popen(
            [sys.executable, "manage.py", "up", "--port", "0"],
            cwd=ROOT,
            env=os.environ | {"MEMORYHUB_DATA_DIR": str(data)},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        url, password = _announced(hub, log)
        _ask(url, _demo_key(data))
        return _pictures(url, password, directory)
    finally:
        hub.send_signal(signal.SIGTERM)
        hub.wait(30)


def _demo_key(data: Path) -> str:
    """A key of the demonstration's agent."""
    told = subprocess.run(
        [sys.executable, "manage.py", "create_api_key", "--workspace", "demo", "--agent", "assistant"]
        + ["--scopes", "memory:read", "subjects:manage"],
        cwd=ROOT,
        env=os.environ | {"MEMORYHUB_DATA_DIR": str(data)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = re.search(r"\bmh_\S+", told)
    assert found, told
    return found[0]


def _announced(hub: "subprocess.Popen[bytes]", log: Path) -> tuple[str, str]:
    """The address and the first administrator's password, once both are told."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        told = log.read_text(errors="replace")
        found = [re.search(pattern, told) for pattern in (r"http://[\d.]+:\d+", r"[Pp]assword:?\s+(\S+)")]
        if all(found):
            address, password = found
            assert address and password
            return address[0], password[1]
        if hub.poll() is not None:
            sys.exit(told)
        time.sleep(0.1)
    sys.exit(f"The hub did not start:\n{log.read_text(errors='replace')}")


def _ask(url: str, key: str) -> None:
    """Surface something to everybody of the demonstration, so that the pages have something to tell."""
    with httpx.Client(base_url=f"{url}/api/v1", headers={"Authorization": f"Bearer {key}"}, timeout=60) as api:
        people = api.get("/subjects").raise_for_status().json()["subjects"]
        for person in people:
            for number, message in enumerate(ASKED):
                body = {"user_id": person["user_id"], "message": message, "session_id": f"today-{number}"}
                api.post("/working-memory", json=body).raise_for_status()


def _pictures(url: str, password: str, directory: Path) -> int:
    taken = 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        page = browser.new_context(base_url=url, reduced_motion="reduce").new_page()
        page.goto("/")
        page.get_by_label("Username or e-mail").fill("admin")
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Sign in", exact=True).click()
        page.get_by_role("heading", name="Overview").wait_for()
        taken += _picture(page, directory, "first-run")
        page.goto("/w/demo/")
        for link, answer in crawl(page, start=page.url):
            if answer is not None and not page.url.startswith(f"{url}/w/default/"):
                taken += _picture(page, directory, link.name)
        browser.close()
    return taken


def _picture(page: Page, directory: Path, name: str) -> int:
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        for size, (width, height) in SIZES.items():
            page.set_viewport_size({"width": width, "height": height})
            page.screenshot(path=directory / f"{name}-{theme}-{size}.png", full_page=size == "390")
    return 2 * len(SIZES)


if __name__ == "__main__":
    main()
