"""Frames survive any chunking, and a broken stream stays broken."""

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serinus.replica.protocol import (
    HEADER_SIZE,
    MAX_FRAME,
    Decoder,
    Format,
    Frame,
    FrameError,
    Hello,
    Kind,
    decode_hello,
    encode,
    encode_all,
    encode_hello,
)

U16, U32, U64 = 2**16 - 1, 2**32 - 1, 2**64 - 1

frames = st.builds(
    Frame,
    kind=st.sampled_from(Kind),
    id=st.integers(0, U64),
    body=st.binary(max_size=300),
    meta=st.binary(max_size=50),
    format=st.sampled_from(Format),
    status=st.integers(0, U16),
    aux=st.integers(0, U32),
    batch=st.integers(0, U32),
)


def _chunks(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in pairwise(places)]


@given(st.lists(frames, max_size=8), st.lists(st.integers(0, 10_000), max_size=30))
def test_any_chunking_gives_back_the_frames(sent: list[Frame], cuts: list[int]) -> None:
    decoder = Decoder()
    got: list[Frame] = []
    for chunk in _chunks(b"".join(map(encode, sent)), cuts):
        got += decoder.feed(chunk)
    assert got == sent
    assert decoder.pending == 0


@given(st.lists(frames, min_size=1, max_size=3))
def test_one_byte_at_a_time(sent: list[Frame]) -> None:
    decoder = Decoder()
    data = b"".join(map(encode, sent))
    got = [frame for at in range(len(data)) for frame in decoder.feed(data[at : at + 1])]
    assert got == sent


@given(frames, st.integers(1, 400))
def test_truncated_data_is_no_frame_and_no_error(frame: Frame, missing: int) -> None:
    data = encode(frame)
    short = data[: max(len(data) - missing, 0)]
    decoder = Decoder()
    assert decoder.feed(short) == []
    assert decoder.pending == len(short)
    assert decoder.feed(data[len(short) :]) == [frame]


@given(frames)
def test_a_reused_receive_buffer_does_not_change_frames_that_came_out_of_it(frame: Frame) -> None:
    decoder = Decoder()
    buffer = bytearray(encode(frame) + b"\0")
    got = decoder.feed(memoryview(buffer))
    buffer[:] = b"\xff" * len(buffer)
    assert got == [frame]
    assert decoder.pending == 1


@pytest.mark.parametrize(
    "header",
    [
        struct.pack("!IBBHQIII", MAX_FRAME + 1, 2, 1, 0, 1, 0, 0, 0),
        struct.pack("!IBBHQIII", 4, 2, 1, 0, 1, 5, 0, 0),
        struct.pack("!IBBHQIII", 0, 99, 1, 0, 1, 0, 0, 0),
        struct.pack("!IBBHQIII", 0, 2, 99, 0, 1, 0, 0, 0),
    ],
    ids=["too long", "meta longer than all", "unknown kind", "unknown format"],
)
def test_nonsense_poisons_the_decoder(header: bytes) -> None:
    decoder = Decoder()
    with pytest.raises(FrameError):
        decoder.feed(header)
    with pytest.raises(FrameError):
        decoder.feed(encode(Frame(Kind.PING, 1)))
    assert decoder.pending == 0


@given(st.binary(max_size=400), st.integers(1, 50))
def test_noise_is_frames_or_a_frame_error(noise: bytes, size: int) -> None:
    decoder = Decoder()
    try:
        for at in range(0, len(noise), size):
            decoder.feed(noise[at : at + size])
    except FrameError:
        with pytest.raises(FrameError):
            decoder.feed(b"")
    else:
        assert decoder.pending <= len(noise)


def test_a_frame_announced_as_too_long_is_refused_before_its_bytes_come() -> None:
    with pytest.raises(FrameError, match="announces 101 bytes"):
        Decoder(max_frame=100).feed(encode(Frame(Kind.REQUEST, 1, b"x" * 101))[:HEADER_SIZE])


def test_the_limit_itself_passes() -> None:
    frame = Frame(Kind.REQUEST, 1, b"x" * 100)
    assert Decoder(max_frame=100).feed(encode(frame)) == [frame]


def test_too_large_a_frame_is_not_encoded() -> None:
    with pytest.raises(FrameError, match="over the limit"):
        encode(Frame(Kind.RESPONSE, 1, bytes(MAX_FRAME + 1)))
    with pytest.raises(FrameError, match="over the limit"):
        encode_all([Frame(Kind.RESPONSE, 1), Frame(Kind.RESPONSE, 2, bytes(MAX_FRAME + 1))])


@given(st.lists(frames, max_size=5))
def test_many_frames_are_each_one_s_bytes(sent: list[Frame]) -> None:
    assert encode_all(sent) == b"".join(map(encode, sent))


def test_hello_comes_back_and_only_from_a_hello() -> None:
    hello = Hello(1, "r-1", "sha256:ab", 42)
    (frame,) = Decoder().feed(encode_hello(hello))
    assert decode_hello(frame) == hello
    with pytest.raises(FrameError, match="expected HELLO first, got PING"):
        decode_hello(Frame(Kind.PING))
    with pytest.raises(FrameError, match="unreadable HELLO"):
        decode_hello(Frame(Kind.HELLO, meta=b"\xc1"))
