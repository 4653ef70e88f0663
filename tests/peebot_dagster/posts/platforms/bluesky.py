"""A personal data server of Bluesky on loopback."""

from __future__ import annotations

from typing import Any

from tests.peebot_dagster.posts.platforms.loopback import Answer, LoopbackPlatform, Request

HANDLE = "peebot.example.com"
APP_PASSWORD = "abcd-efgh-ijkl-9e9e"
DID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
# A token in three parts, in base64: no algorithm; {"exp":4102444800,"scope":"com.atproto.appPass","sub":DID}.
ACCESS_TOKEN = (
    "eyJhbGciOiJub25lIn0.eyJleHAiOjQxMDI0NDQ4MDAsInNjb3BlIjoiY29tLmF0cHJvdG8uYXBwUGFzcyIsInN1YiI6ImRpZDpw"
    "bGM6ZXd2aTdueHp5b3VuNnpoeHJoczY0b2l6In0.c2VjcmV0LXNpZ25hdHVyZQ"
)


def error(status: int, name: str, message: str, headers: dict[str, str] | None = None) -> Answer:
    return Answer(status, {"error": name, "message": message}, headers or {})


class FakeBluesky(LoopbackPlatform):
    """Takes posts from who has logged in, each under a key that is new; `records` has them by key."""

    def __init__(self) -> None:
        super().__init__()
        self.records: dict[str, Any] = {}
        self.login_answer: Answer | None = None
        self.upload_status = 200

    def is_post(self, request: Request) -> bool:
        return request.path == "/xrpc/com.atproto.repo.createRecord"

    def respond(self, request: Request) -> Answer:
        if request.path == "/xrpc/com.atproto.server.createSession":
            return self.login_answer or self._log_in(request.json())
        if request.headers.get("authorization") != f"Bearer {ACCESS_TOKEN}":
            return error(401, "AuthMissing", "Authentication Required")
        if request.path == "/xrpc/com.atproto.repo.uploadBlob":
            return self._upload(request)
        return self._create(request.json())

    def _log_in(self, body: Any) -> Answer:
        if (body["identifier"], body["password"]) != (HANDLE, APP_PASSWORD):
            return error(401, "AuthenticationRequired", "Invalid identifier or password")
        session = {"accessJwt": ACCESS_TOKEN, "refreshJwt": ACCESS_TOKEN, "handle": HANDLE, "did": DID}
        return Answer(200, {**session, "active": True})

    def _upload(self, request: Request) -> Answer:
        if self.upload_status != 200:
            return error(self.upload_status, "No", "no")
        self.images.append(request.body)
        link = "bafkreibjfgx2gprinfvicegelk5kosd6y2frmqpqzwqkg7usac74l3t2v4"
        blob = {"$type": "blob", "ref": {"$link": link}, "mimeType": "image/png", "size": len(request.body)}
        return Answer(200, {"blob": blob})

    def _create(self, body: Any) -> Answer:
        key = body["rkey"]
        if (body["repo"], body["collection"]) != (DID, "app.bsky.feed.post"):
            return error(400, "InvalidRequest", "Could not find repo")
        if key in self.records:
            return error(400, "InvalidRequest", "There is already a value at key")
        self.records[key] = body["record"]
        self.texts.append(body["record"]["text"])
        cid = "bafyreibjfgx2gprinfvicegelk5kosd6y2frmqpqzwqkg7usac74l3t2v4"
        return Answer(200, {"uri": f"at://{DID}/app.bsky.feed.post/{key}", "cid": cid})
