# SPDX-License-Identifier: GPL-2.0-only
"""Cases of a client whose requests are eager, and of one that breaks their rules."""

import messages
import transport

FLAGS = transport.FIRST | transport.SHORT_RESPONSES | transport.EAGER

BEHIND = 4096
"""A sector of the disk that may be changed."""

HANDSHAKE = messages.sess_info()
ROOM = messages.SESS_INFO_SIZE


def connected(act):
    """Returns a case: `act` with a session that agreed on eager requests."""

    def whole(target, session):
        session.request = transport.Request(flags=FLAGS)
        session.bring_up(b"rogue")
        if not session.eager:
            raise transport.Odd("eager requests were not agreed on")
        return act(target, session)

    return whole


def ended(act):
    """Returns a case: `act`, after which the server must end the path."""

    def whole(_, session):
        act(session)
        session.wait_for_end()

    return connected(whole)


def opened(session, disk):
    """Opens a disk by a chunk, as OPEN is too long to be eager; returns its number."""
    error = session.ask(messages.open_device(disk), room=messages.OPEN_RSP_SIZE)
    session.step_key()
    if error:
        raise transport.Odd(f"open failed: {error}")
    return messages.device_of(session.data(messages.OPEN_RSP_SIZE))


def shake_hands(_, session):
    """Sends the handshake eagerly; the response is a message."""
    error = session.ask_eagerly(HANDSHAKE, room=ROOM)
    kind = int.from_bytes(session.message[:2], "little")
    return f"response {error}, message {kind} of {len(session.message)} bytes"


def write_and_read(target, session):
    """Writes a block, and reads it, both eagerly."""
    device = opened(session, target.disk)
    data = bytes(range(256)) * 16
    block = {"sector": BEHIND, "size": len(data)}
    wrote = session.ask_eagerly(messages.io(device, messages.OP_WRITE, **block), data)
    read = session.ask_eagerly(messages.io(device, messages.OP_READ, **block), room=len(data))
    return f"response {wrote}, {read}, {'same' if session.message == data else 'other'} data"


def change_shape(target, session):
    """Sends requests of one id in a chunk and eagerly: the key of the chunk stays in step."""
    device = opened(session, target.disk)
    flush = messages.io(device, messages.OP_FLUSH, size=0)
    errors = []
    for _ in range(3):
        errors.append(session.ask_eagerly(flush))
        errors.append(session.ask(flush))
        session.step_key()
        errors.append(session.ask_eagerly(flush))
    return f"response {sorted(set(errors))}"


def read_to_buffer(target, session):
    """Reads, eagerly, more than a response can have."""
    device = opened(session, target.disk)
    size = 2 * transport.EAGER_DATA
    user = messages.io(device, messages.OP_READ, size=size)
    message = transport.read(len(user), session.buffer(size))
    session.send_eager(user, message, said=size + len(user))
    error = session.answer_of(0)
    written = session.data(size).count(0xAA) != size
    return f"response {error}, {'data' if written else 'nothing'} written"


def fail_to_read(target, session):
    """Reads beyond the end of the disk: a response without data."""
    device = opened(session, target.disk)
    user = messages.io(device, messages.OP_READ, sector=1 << 40)
    return f"response {session.ask_eagerly(user, room=512)}, {len(session.message)} bytes"


def use_id_twice(target, session):
    """Sends an eager request of an id of which a slow request is executed."""
    device = opened(session, target.slow_disk)
    session.begin(messages.io(device, messages.OP_READ), room=messages.SECTOR)
    session.send_eager(HANDSHAKE, READ, said=2 * ROOM)
    session.wait_for_end()


def send(user=HANDSHAKE, message=None, data=b"", said=None):
    """Returns a case of one eager request that is wrong."""
    message = transport.write(len(user)) if message is None else message
    return ended(lambda session: session.send_eager(user, message, data, said))


def send_raw(content, kind=transport.IO_REQ):
    """Returns a case of one message, with an immediate if it is of some kind."""
    immediate = None if kind is None else transport.immediate(kind, 0)
    return ended(lambda session: session.send(1, content, immediate))


def send_unasked(_, session):
    """Sends an eager request although they were not agreed on."""
    session.bring_up(b"rogue")
    session.send_eager(HANDSHAKE, transport.read_eagerly(ROOM), said=2 * ROOM)
    session.wait_for_end()


def send_without_short_responses(_, session):
    """Offers eager requests without what they need; uses chunks, which must work."""
    session.request = transport.Request(flags=transport.FIRST | transport.EAGER)
    session.bring_up(b"rogue")
    if session.eager:
        raise transport.Odd("eager requests were agreed on")
    return f"response {session.ask(HANDSHAKE, room=ROOM)}"


def write_to_chunk_again(_, session):
    """Writes to a chunk while an eager request of its id was the last: its key is still good."""
    there = session.chunks[0]
    session.ask_eagerly(HANDSHAKE, room=ROOM)
    session.write(1, b"anything", there.address, there.key)
    return f"response {session.ask_eagerly(HANDSHAKE, room=ROOM)}"


READ = transport.read_eagerly(ROOM)
EAGER = transport.eager(HANDSHAKE, READ)

CASES = {
    "eager": connected(shake_hands),
    "eager-write-and-read": connected(write_and_read),
    "eager-and-in-chunk": connected(change_shape),
    "eager-read-to-buffer": connected(read_to_buffer),
    "eager-read-fails": connected(fail_to_read),
    "eager-chunk-written": connected(write_to_chunk_again),
    "eager-without-short-responses": send_without_short_responses,
    "eager-not-agreed": send_unasked,
    "eager-id-twice": connected(use_id_twice),
    "eager-short": send_raw(EAGER[:63]),
    "eager-of-nothing": send_raw(b""),
    "eager-of-no-type": send(message=transport.write(ROOM, kind=9)),
    "eager-write-shorter-than-said": send(data=bytes(511), said=512 + ROOM),
    "eager-write-longer-than-said": send(data=bytes(513), said=512 + ROOM),
    "eager-write-too-long": send(data=bytes(4097)),
    "eager-read-with-data": send(message=READ, data=bytes(8), said=512 + ROOM),
    "eager-read-too-long": send(message=READ, said=4097 + ROOM),
    "eager-read-flags": send(message=transport.read_eagerly(ROOM, flags=4), said=512 + ROOM),
    "eager-user-too-long": send(message=transport.write(41), said=41),
    "eager-user-before-message": send(message=transport.write(40), said=39),
    "eager-without-immediate": send_raw(EAGER, None),
    "eager-heartbeat": send_raw(EAGER, transport.HEARTBEAT),
    "eager-of-no-kind": send_raw(EAGER, 5),
}
"""By name: functions of a `Target` and a session that return the outcome."""
