#!/usr/bin/env python3
"""Independent reader of a backup topic.

Shares no code with the writer: container, records and schemas are read by fastavro, check sums and
partitions are computed here from docs/format.md. It never writes to a topic.

    judge.py --brokers HOST:PORT --topic T --datamart D [options]
    judge.py --golden tests/golden/topic/v1 [options]

Exit code 0: every increment in the topic is whole or merely incomplete, and equals --expect where
that was given. 1: something is wrong; "problems" in the JSON and the lines on stderr say what.
2: usage, or the topic cannot be read.
"""

import argparse
import collections
import hashlib
import io
import json
import pathlib
import sys

try:
    import fastavro
except ImportError:
    sys.exit("fastavro is missing: pip install -r scripts/requirements.txt")

FIELDS = ["incrementId", "messageType", "datamart", "deltaNum", "deltaDate", "tableName",
          "streamNumber", "streamTotal", "chunkNumber", "isLastChunk"]
SEED, MULTIPLIER, WORD = 0x9747B28C, 0x5BD1E995, 0xFFFFFFFF


def murmur2(data):
    """MurmurHash2, 32 bits, as Kafka's Java client computes it."""
    h = SEED ^ len(data)
    whole = len(data) & ~3
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at:at + 4], "little") * MULTIPLIER & WORD
        k = (k ^ k >> 24) * MULTIPLIER & WORD
        h = h * MULTIPLIER & WORD ^ k
    if whole != len(data):
        h = (h ^ int.from_bytes(data[whole:], "little")) * MULTIPLIER & WORD
    h = (h ^ h >> 13) * MULTIPLIER & WORD
    return h ^ h >> 15


def partition_of(datamart, delta, table, stream, partitions):
    """docs/format.md, "Partition"."""
    text = f"{datamart}/{delta}/{table or ''}/{stream if table else ''}"
    return (murmur2(text.encode()) & 0x7FFFFFFF) % partitions


def slow_crc32c(data, crc=0):
    """CRC-32C, reflected polynomial 0x82F63B78, one table."""
    if not CRC_TABLE:
        for n in range(256):
            for _ in range(8):
                n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
            CRC_TABLE.append(n)
    crc ^= WORD
    for byte in data:
        crc = CRC_TABLE[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ WORD


CRC_TABLE = []
try:
    from crc32c import crc32c as fast_crc32c
except ImportError:
    fast_crc32c = slow_crc32c


def read_long(data, at):
    shift = raw = 0
    while True:
        byte = data[at]
        raw |= (byte & 127) << shift
        shift, at = shift + 7, at + 1
        if byte < 128:
            return raw >> 1 ^ -(raw & 1), at


def metadata_places(body):
    """Metadata of a container by name: (first byte of the value, its length)."""
    at, places = 4, {}
    while True:
        count, at = read_long(body, at)
        if count == 0:
            return places
        if count < 0:
            count, (_, at) = -count, read_long(body, at)
        for _ in range(count):
            length, at = read_long(body, at)
            name, at = bytes(body[at:at + length]).decode(), at + length
            length, at = read_long(body, at)
            places[name] = (at, length)
            at += length


def crc_problem(key, body):
    """None, or what is wrong with deltakeep.crc."""
    place = metadata_places(body).get("deltakeep.crc")
    if place is None:
        return "no deltakeep.crc"
    at, length = place
    written = bytes(body[at:at + length]).decode("ascii", "replace")
    zeroed = body[:at] + b"0" * length + body[at + length:]
    computed = f"{fast_crc32c(zeroed, fast_crc32c(key)):08x}"
    return None if written == computed else f"deltakeep.crc is {written}, computed {computed}"


def decode(data):
    reader = fastavro.reader(io.BytesIO(data))
    return reader, list(reader)


class Digest:
    """Order-independent digest of a multiset of rows."""

    def __init__(self):
        self.rows = self.sum = 0

    def add(self, names, values):
        """`names`: a hash of the column names, begun once per message because that is faster."""
        self.rows += 1
        row = names.copy()
        row.update(repr(values).encode("utf-8", "surrogatepass"))
        digest = row.digest()
        self.sum = (self.sum + int.from_bytes(digest[:16], "big")) % (1 << 128)

    def value(self):
        return {"rows": self.rows, "digest": f"{self.sum:032x}"}


class Increment:
    """What the topic holds of one (increment, delta)."""

    def __init__(self, increment, delta):
        self.increment, self.delta = increment, delta
        self.dates, self.problems, self.places = set(), [], collections.defaultdict(set)
        # (table or None, stream) -> {chunk: [(is last, sha256 of key and body), ...]}
        self.streams = collections.defaultdict(lambda: collections.defaultdict(list))
        self.totals = collections.defaultdict(set)
        self.digests = collections.defaultdict(Digest)
        self.changes, self.labels, self.copies = {}, {}, 0
        # table -> {chunk: deltakeep.part or None}, in the order of arrival
        self.parts = collections.defaultdict(dict)

    def take(self, key, key_bytes, body_bytes, partition, allow_copies):
        table, stream, chunk = key["tableName"], key["streamNumber"], key["chunkNumber"]
        where = f"{table or 'changelog'} stream {stream} chunk {chunk}"
        if (key["messageType"] == 0) != (table is not None):
            self.problems.append(f"{where}: messageType {key['messageType']}")
        mark = (key["isLastChunk"], hashlib.sha256(key_bytes + b"|" + body_bytes).digest())
        seen = self.streams[table, stream][chunk]
        seen.append(mark)
        self.dates.add(key["deltaDate"])
        self.totals[table].add(key["streamTotal"])
        self.places[table, stream].add(partition)
        if len(seen) > 1:
            self.copies += 1
            if not allow_copies or seen[0] != mark:
                kind = "identical" if seen[0] == mark else "DIFFERENT"
                self.problems.append(f"{where}: {kind} copy")
            return
        self.read_body(key, key_bytes, body_bytes, where)

    def read_body(self, key, key_bytes, body_bytes, where):
        try:
            wrong = crc_problem(key_bytes, body_bytes)
            if wrong:
                self.problems.append(f"{where}: {wrong}")
            reader, records = decode(body_bytes)
        except Exception as error:  # any damage makes fastavro raise something else
            self.problems.append(f"{where}: unreadable body: {error!r}")
            return
        table, chunk = key["tableName"], key["chunkNumber"]
        if table is None:
            self.changes[chunk] = records
            self.labels[chunk] = reader.metadata
            return
        fields = [field["name"] for field in reader.writer_schema["fields"]]
        if fields[-1:] != ["sys_op"] or reader.writer_schema["name"] != "row":
            self.problems.append(f"{where}: not the schema of a data body")
        part = self.parts[table][chunk] = reader.metadata.get("deltakeep.part")
        names = hashlib.sha256(repr(fields).encode())
        for row in records:
            sys_op = row.pop("sys_op", None)
            if part is not None and (part == "2") != (sys_op == 1):
                self.problems.append(f"{where}: sys_op {sys_op} in part {part}")
            self.digests[table, sys_op].add(names, tuple(row.values()))

    def missing(self):
        """Why the increment is incomplete; empty where it is complete."""
        reasons = []
        for table, totals in self.totals.items():
            name = table or "changelog"
            if len(totals) != 1:
                reasons.append(f"{name}: streamTotal is {sorted(totals)}")
            found = sorted(s for t, s in self.streams if t == table)
            if found != list(range(1, max(totals) + 1)):
                reasons.append(f"{name}: streams {found} of {max(totals)}")
            for stream in found:
                chunks = self.streams[table, stream]
                count = max(chunks)
                if sorted(chunks) != list(range(1, count + 1)):
                    absent = sorted(set(range(1, count + 1)) - set(chunks))
                    reasons.append(f"{name} stream {stream}: chunks {absent[:5]} absent")
                lasts = sorted(c for c, marks in chunks.items() if marks[0][0])
                if lasts != [count]:
                    reasons.append(f"{name} stream {stream}: last chunks {lasts} of {count}")
        if None not in self.totals:
            reasons.append("no changelog")
        return reasons

    def finish(self, datamart, partitions):
        """Checks what only a complete increment must hold, then gives its content."""
        if len(self.dates) != 1:
            self.problems.append(f"several dates: {sorted(self.dates)}")
        for (table, stream), found in self.places.items():
            wanted = partition_of(datamart, self.delta, table, stream, partitions or 1)
            if partitions and found != {wanted}:
                name = f"{table or 'changelog'} stream {stream}"
                self.problems.append(f"{name}: in partitions {sorted(found)}, not {wanted}")
        label = self.labels.get(max(self.labels, default=0), {})
        manifest = json.loads(label.get("deltakeep.manifest", "null"))
        if manifest is None:
            self.problems.append("no manifest in the last changelog body")
        else:
            self.compare(manifest, datamart)
        tables = collections.defaultdict(dict)
        for table in sorted(t for t in self.totals if t is not None):
            for sys_op in (0, 1):
                tables[table][str(sys_op)] = self.digests[table, sys_op].value()
        changes = [record for chunk in sorted(self.changes) for record in self.changes[chunk]]
        replay = label.get("deltakeep.replayBefore")
        return {"date": min(self.dates), "replayBefore": None if replay is None else int(replay),
                "tables": tables, "changelog": changes}

    def compare(self, manifest, datamart):
        if manifest.get("format") != 1 or manifest.get("datamart") != datamart:
            self.problems.append("manifest: format or datamart")
        named = {entry["name"]: entry for entry in manifest["tables"]}
        found = {table for table in self.totals if table is not None}
        if set(named) != found or len(named) != len(manifest["tables"]):
            self.problems.append(f"manifest: tables {sorted(named)}, found {sorted(found)}")
        for table in set(named) & found:
            entry = named[table]
            chunks = [len(self.streams[table, s + 1]) for s in range(entry["streams"])]
            rows = [self.digests[table, sys_op].rows for sys_op in (0, 1)]
            foreign = {op for t, op in self.digests if t == table} - {0, 1}
            facts = {"streams": [entry["streams"]] == sorted(self.totals[table]),
                     "chunks": entry["chunks"] == chunks,
                     "parts": self.has_parts(entry),
                     "rows": [entry["rowsAdded"], entry["rowsRemoved"]] == rows,
                     "sys_op": not foreign}
            for name in (name for name, holds in facts.items() if not holds):
                self.problems.append(f"manifest: {name} of {table} differ from what was found")

    def has_parts(self, entry):
        """Parts 1, 2, 3 follow one another in one stream; else no chunk names one."""
        found, wanted = self.parts[entry["name"]], entry.get("parts")
        if wanted is None:
            return set(found.values()) <= {None}
        follow = "".join(part * chunks for part, chunks in zip("123", wanted, strict=True))
        return (len(wanted) == 3 and entry["streams"] == 1 and list(found) == sorted(found)
                and [*follow] == list(found.values()))


class Judge:
    """Takes messages, then gives the verdict."""

    def __init__(self, datamart, allow_copies, dump=False):
        self.datamart, self.allow_copies = datamart, allow_copies
        self.dump = [] if dump else None
        self.increments, self.problems, self.messages = {}, [], 0

    def take(self, key_bytes, body_bytes, partition, where):
        if self.dump is not None:
            self.dump.append((partition, key_bytes, body_bytes))
        try:
            reader, records = decode(key_bytes)
            (key,) = records
            if [field["name"] for field in reader.writer_schema["fields"]] != FIELDS:
                raise ValueError("other fields than the documented ones")
        except Exception as error:
            self.problems.append(f"{where}: unreadable key: {error!r}")
            return
        if self.datamart is not None and key["datamart"] != self.datamart:
            return
        self.datamart = key["datamart"]
        self.messages += 1
        name = (key["incrementId"], key["deltaNum"])
        increment = self.increments.setdefault(name, Increment(*name))
        increment.take(key, key_bytes, body_bytes, partition, self.allow_copies)

    def verdict(self, partitions, single):
        deltas, incomplete, copies = {}, [], 0
        problems = list(self.problems)
        for increment in sorted(self.increments.values(), key=lambda i: (i.delta, i.increment)):
            missing = increment.missing()
            copies += increment.copies
            if missing:
                incomplete.append({"increment": increment.increment, "delta": increment.delta,
                                   "missing": missing})
            else:
                try:
                    content = increment.finish(self.datamart, partitions)
                except (ValueError, KeyError, TypeError) as error:
                    increment.problems.append(f"unreadable manifest: {error!r}")
                    content = None
                if single and str(increment.delta) in deltas:
                    problems.append(f"delta {increment.delta}: a second complete increment")
                known = deltas.setdefault(str(increment.delta), content)
                if known != content:
                    problems.append(f"delta {increment.delta}: complete increments differ")
            place = f"delta {increment.delta} increment {increment.increment}"
            problems += [f"{place}: {problem}" for problem in increment.problems]
        return {"datamart": self.datamart, "messages": self.messages, "copies": copies,
                "deltas": deltas, "incomplete": incomplete, "problems": problems}


def message(partition, key_bytes, body_bytes):
    """A message with all that is in it, for those who know what to expect."""
    reader, rows = decode(body_bytes)
    return {"partition": partition, "key": decode(key_bytes)[1][0],
            "schema": reader.writer_schema, "part": reader.metadata.get("deltakeep.part"),
            "rows": rows}


def unreadable(topic, reason):
    print(f"topic {topic}: {reason}", file=sys.stderr)
    sys.exit(2)


def read_topic(judge, brokers, topic):
    """Reads all committed messages up to the end of now; returns the number of partitions."""
    from confluent_kafka import (OFFSET_BEGINNING, Consumer, KafkaError, KafkaException,
                                 TopicPartition)

    consumer = Consumer({
        "bootstrap.servers": brokers, "group.id": "deltakeep-judge", "enable.auto.commit": False,
        "isolation.level": "read_committed", "enable.partition.eof": True,
        "auto.offset.reset": "error", "fetch.message.max.bytes": 16 << 20, "log_level": 2})
    try:
        described = consumer.list_topics(topic, timeout=30).topics[topic]
        if described.error is not None:
            unreadable(topic, described.error)
        partitions = sorted(described.partitions)
        consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in partitions])
        at_end = set()
        while len(at_end) < len(partitions):
            message = consumer.poll(30)
            if message is None:
                unreadable(topic, "nothing came for 30 s")
            if message.error() is None:
                where = f"partition {message.partition()} offset {message.offset()}"
                judge.take(message.key() or b"", message.value() or b"", message.partition(), where)
            elif message.error().code() == KafkaError._PARTITION_EOF:
                at_end.add(message.partition())
            else:
                unreadable(topic, message.error())
        return len(partitions)
    except KafkaException as error:
        unreadable(topic, error)
    finally:
        consumer.close()


def read_golden(judge, folder):
    """Reads NAME.key.hex and NAME.body.hex pairs, and checks the vectors beside them."""
    for key in sorted(folder.glob("*.key.hex")):
        body = key.with_name(key.name.replace(".key.", ".body."))
        judge.take(bytes.fromhex(key.read_text()), bytes.fromhex(body.read_text()), 0, key.name)
    for vector in json.loads((folder / "partitions.json").read_text()):
        found = partition_of(vector["datamart"], vector["delta"], vector["table"],
                             vector["stream"], vector["partitions"])
        if found != vector["partition"]:
            judge.problems.append(f"partition vector {vector}: computed {found}")
    for data, crc in ((b"123456789", 0xE3069283), (b"", 0)):
        if not slow_crc32c(data) == fast_crc32c(data) == crc:
            judge.problems.append("crc32c does not give its published check value")


def differences(verdict, expected):
    for field in ("datamart", "deltas"):
        if not isinstance(expected.get(field), type(verdict[field])):
            yield f"{field}: not in the expected file"
            return
    if verdict["datamart"] != expected["datamart"]:
        yield f"datamart {verdict['datamart']}, expected {expected['datamart']}"
    found, wanted = verdict["deltas"], expected["deltas"]
    for delta in sorted(set(found) | set(wanted), key=int):
        if delta not in found or delta not in wanted:
            yield f"delta {delta}: " + ("not complete here" if delta in wanted else "not expected")
            continue
        for field in ("date", "replayBefore", "changelog"):
            if found[delta][field] != wanted[delta][field]:
                yield f"delta {delta}: {field} differs"
        ours, theirs = found[delta]["tables"], wanted[delta]["tables"]
        for table in sorted(set(ours) | set(theirs)):
            if ours.get(table) != theirs.get(table):
                found_here, expected_here = ours.get(table), theirs.get(table)
                yield f"delta {delta} table {table}: {found_here}, expected {expected_here}"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--brokers")
    parser.add_argument("--topic")
    parser.add_argument("--datamart", help="others in the topic are passed over")
    parser.add_argument("--golden", type=pathlib.Path, help="read this folder instead of a topic")
    parser.add_argument("--json", type=pathlib.Path, metavar="OUT", help="default: stdout")
    parser.add_argument("--expect", type=pathlib.Path, help="JSON of another run to be equal to")
    parser.add_argument("--single", action="store_true",
                        help="a second complete increment of a delta is a problem")
    parser.add_argument("--dump", action="store_true",
                        help="all messages of the topic too, with every value")
    parser.add_argument("--allow-copies", action="store_true",
                        help="identical copies are counted, not a problem (idempotent delivery)")
    args = parser.parse_args()
    if args.golden is None and None in (args.brokers, args.topic, args.datamart):
        parser.error("--brokers, --topic and --datamart, or --golden")
    return args


def main():
    args = arguments()
    judge = Judge(args.datamart, args.allow_copies, args.dump)
    if args.golden is not None:
        partitions = read_golden(judge, args.golden)
    else:
        partitions = read_topic(judge, args.brokers, args.topic)
    # Through JSON and back, so that a run compares with a file as files compare with each other.
    verdict = json.loads(json.dumps(judge.verdict(partitions, args.single)))
    if args.dump:
        verdict["dump"] = [message(*read) for read in judge.dump]
    if args.expect is not None:
        expected = json.loads(args.expect.read_text())
        verdict["problems"] += [f"expected: {line}" for line in differences(verdict, expected)]
    text = json.dumps(verdict, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    if args.json is not None:
        args.json.write_text(text)
    else:
        sys.stdout.write(text)
    for problem in verdict["problems"]:
        print(problem, file=sys.stderr)
    for entry in verdict["incomplete"]:
        print(f"incomplete: delta {entry['delta']} {entry['increment']}: "
              f"{'; '.join(entry['missing'])}", file=sys.stderr)
    return 1 if verdict["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
