"""The program that the campaign's workers run: says and does what it is told over HTTP.

So a life goes on when the test says so, however long a fault takes, and its end is the same each
time.
"""

from lepton.spec.run import PORT_VARIABLE, TERMINATION_LOG_VARIABLE

PROGRAM = f"""
import http.server, json, os, signal, sys

signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
said = {{"step": 0}}

class Strings(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def do_POST(self):
        told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        said.update(told.get("say") or {{}})
        if "word" in told:
            with open(os.environ["{TERMINATION_LOG_VARIABLE}"], "w") as log:
                log.write(json.dumps(told["word"]))
        self.do_GET()
        if "end" in told:
            os._exit(told["end"])

    def log_message(self, *_):
        pass

port = int(os.environ["{PORT_VARIABLE}"])
http.server.ThreadingHTTPServer(("", port), Strings).serve_forever()
"""

COMMAND = ["python3", "-c", PROGRAM]
