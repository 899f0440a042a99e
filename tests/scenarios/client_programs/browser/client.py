"""Chromium without a window: a page of another origin calls the API, see page.html."""

import json
import shutil
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

URL, KEY, FILE, TEXT = sys.argv[1:5]
PAGE = Path("page.html").read_text().replace("ARGUMENTS", json.dumps([URL, KEY, TEXT]))
WAIT_S = 120
done = threading.Event()


class Page(BaseHTTPRequestHandler):
    """The page, the file, and what the page says."""

    def do_GET(self) -> None:
        """Send the file at /speech.wav, the page elsewhere."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(Path(FILE).read_bytes() if "speech" in self.path else PAGE.encode())

    def do_POST(self) -> None:
        """Print what the page says."""
        print(self.rfile.read(int(self.headers["content-length"])).decode(), flush=True)
        self.send_response(200)
        self.end_headers()
        done.set()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


chromium = shutil.which("chromium") or "chromium"
server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
threading.Thread(target=server.serve_forever, daemon=True).start()
with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
    command = [chromium, "--headless=new", "--no-sandbox", "--disable-gpu"]
    command += ["--autoplay-policy=no-user-gesture-required", f"--user-data-dir={profile}"]
    process = subprocess.Popen(
        [*command, f"http://127.0.0.1:{server.server_port}/"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    if not done.wait(WAIT_S):
        print(f"failed page: nothing said within {WAIT_S} s")
    process.terminate()
    process.wait()
server.shutdown()
