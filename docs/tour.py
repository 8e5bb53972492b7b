"""A tour of accounts: users, roles, grants, sharing, revocation, the audit log.

Start the server with examples/accounts.json, then run this with a Python that has the package `websockets`:

    cargo run --release -- --config examples/accounts.json
    python docs/tour.py ws://127.0.0.1:8080/ tour-secret-change-me

Each line is what one client asks and what it is told. Tokens, ids and times differ from run to run; they are shown as
<token>, <id> and <ms>.
"""

import contextlib
import json
import re
import sys

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

URL = sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8080/"
SECRET = sys.argv[2] if len(sys.argv) > 2 else "tour-secret-change-me"


connections = contextlib.ExitStack()


def shown(message):
    """Renders a message without what differs from run to run."""
    text = json.dumps(message, separators=(",", ":"), ensure_ascii=False)
    text = re.sub(r'"(token)":"[^"]*"', r'"\1":"<token>"', text)
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "<id>", text)
    text = re.sub(r'"(secret|password|newPassword|currentPassword)":"[^"]*"', r'"\1":"…"', text)
    return re.sub(r"\b1[0-9]{12}\b", "<ms>", text)


class Client:
    """One connection, named for the output."""

    def __init__(self, name):
        self.name, self.count, self.pushes = name, 0, []
        self.socket = connections.enter_context(connect(URL))
        json.loads(self.socket.recv())

    def receive(self, timeout=5):
        message = json.loads(self.socket.recv(timeout=timeout))
        if message["type"] == "ping":
            self.socket.send(json.dumps({"type": "pong", "timestamp": message["timestamp"]}))
        return message

    def ask(self, kind, **fields):
        """Sends a request, prints it with its answer, and gives the answer."""
        self.count += 1
        request = {"id": self.count, "type": kind, **fields}
        self.socket.send(json.dumps(request))
        print(f"{self.name:>5} > {shown({key: value for key, value in request.items() if key != 'id'})}")
        while True:
            message = self.receive()
            if message.get("id") == self.count:
                break
            self.pushes.append(message)
        if message["type"] == "error":
            print(f"      < {message['code']}: {message['message']}")
            return None
        print(f"      < {shown(message.get('data'))}")
        return message.get("data")

    def watch(self):
        """Prints what comes unasked, up to the first message or the end of the connection."""
        try:
            message = self.pushes.pop(0) if self.pushes else self.receive()
            print(f"{self.name:>5} < {shown(message)}")
        except ConnectionClosed as closed:
            print(f"{self.name:>5} < closed with {closed.rcvd.code} {closed.rcvd.reason}")


def heading(text):
    print(f"\n# {text}")


heading("The first administrator comes in with the secret of the config file")
root = Client("root")
root.ask("identity.loginWithSecret", secret=SECRET)

heading("Users, a role of our own, and who has it")
ann = root.ask("identity.createUser", username="ann", password="ann-password", displayName="Ann")
bob = root.ask("identity.createUser", username="bob", password="bob-password")
root.ask("identity.assignRole", userId=ann["id"], roleName="admin")
root.ask("identity.createRole", name="support", permissions=[{"allow": ["store.get", "store.all"], "buckets": ["tickets"]}])
root.ask("identity.assignRole", userId=bob["id"], roleName="support")

heading("Ann defines buckets, and so owns them")
ann_client = Client("ann")
ann_client.ask("identity.login", username="ann", password="ann-password")
for bucket in ("tickets", "plans"):
    schema = {"id": {"type": "string", "generated": "uuid"}, "text": {"type": "string", "required": True}}
    ann_client.ask("store.defineBucket", name=bucket, config={"key": "id", "schema": schema})
ann_client.ask("store.defineQuery", name="all-plans", config={"bucket": "plans"})
ann_client.ask("store.insert", bucket="tickets", data={"text": "The lamp is broken"})
ann_client.ask("identity.getOwner", resourceType="bucket", resourceName="plans")

heading("Bob reads what his role allows, and no more")
bob_client = Client("bob")
bob_client.ask("identity.login", username="bob", password="bob-password")
bob_client.ask("store.all", bucket="tickets")
bob_client.ask("store.all", bucket="plans")
bob_client.ask("store.all", bucket="_users")

heading("Ann shares a bucket with Bob, and so the queries that read it")
ann_client.ask("identity.grant", subjectType="user", subjectId=bob["id"], resourceType="bucket", resourceName="plans", operations=["read"])
bob_client.ask("store.subscribe", query="all-plans")
bob_client.ask("identity.myAccess")
ann_client.ask("store.insert", bucket="plans", data={"text": "Buy a new lamp"})
bob_client.watch()

heading("She takes it back: the subscription ends at once")
ann_client.ask("identity.revoke", subjectType="user", subjectId=bob["id"], resourceType="bucket", resourceName="plans")
bob_client.watch()
bob_client.ask("store.subscribe", query="all-plans")

heading("An administrator may not touch the superadmin role")
ann_client.ask("identity.assignRole", userId=ann["id"], roleName="superadmin")

heading("Bob's sessions are revoked, and his next login is refused")
root.ask("server.revokeSession", userId=bob["id"])
bob_client.watch()
bob_client.watch()
Client("bob").ask("identity.login", username="bob", password="bob-password")

heading("What the audit log kept of this")
entries = root.ask("audit.query", result="error")["entries"]
for entry in reversed(entries):
    print(f"      {entry['operation']} on {shown(entry['resource'])}: {entry['error']}")

connections.close()
