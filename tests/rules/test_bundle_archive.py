"""Archives: those of every usual writer are read, and nothing that is not plain files in their place."""

import gzip
import io
import tarfile
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchkey.model.errors import Malformed
from watchkey.rules.bundle import BundleFile, pack
from watchkey.rules.bundle_archive import ArchiveLimits, unpack

LONG = "/".join(["a-long-folder-name"] * 12) + "/p.rego"


def member(
    name: str, body: bytes = b"", kind: bytes = tarfile.REGTYPE, **more: object
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.size = len(body)
    for key, value in more.items():
        setattr(info, key, value)
    return info, body


def tar(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for info, body in members:
            archive.addfile(info, io.BytesIO(body))
    return stream.getvalue()


def gz(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_usual_form_is_read(form: int) -> None:
    long = LONG if form != tarfile.USTAR_FORMAT else LONG[-150:].lstrip("/")
    given = tar(
        member("./", kind=tarfile.DIRTYPE), member("./a", kind=tarfile.DIRTYPE), member("./a/data.json", b"{}"),
        member("/p.rego", b"package p\n" * 100), member(long, b"x"), member("é/ü.rego", b""), form=form,
    )  # fmt: skip
    files = unpack(gz(given))
    assert [file.name for file in files] == ["a/data.json", "p.rego", long, "é/ü.rego"]
    assert [len(file.body) for file in files] == [2, 1000, 1, 0]


@given(
    st.dictionaries(
        st.from_regex(r"[a-z]{1,20}(/[a-z]{1,20}){0,6}", fullmatch=True), st.binary(max_size=2000), max_size=6
    )
)
def test_what_is_packed_here_comes_back(files: dict[str, bytes]) -> None:
    packed = [BundleFile(name=name, body=body) for name, body in files.items()]
    assert {file.name: file.body for file in unpack(pack(packed))} == files


def test_no_file_at_all_is_an_archive_too() -> None:
    assert unpack(gz(bytes(1024))) == ()


@pytest.mark.parametrize(
    "name",
    [
        "../p.rego",
        "a/../../p.rego",
        "a/..",
        "a//b",
        "a/./b",
        "..",
        "/../etc/passwd",
        "a\\b",
        "a\nb",
        "a\x1b[31mb",
        "x" * 1100,
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(Malformed, match=r"no path inside|more than 1024"):
        unpack(gz(tar(member(name, b"x"))))


@pytest.mark.parametrize(
    "kind",
    [
        tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE,
        tarfile.GNUTYPE_SPARSE, b"K", b"V", b"D", b"N", b"Z",
    ],
)  # fmt: skip
def test_what_is_no_plain_file_is_refused(kind: bytes) -> None:
    with pytest.raises(Malformed):
        unpack(gz(tar(member("data.json", b"", kind, linkname="/etc/passwd"), form=tarfile.USTAR_FORMAT)))


@pytest.mark.parametrize(
    "names", [("p.rego", "p.rego"), ("p.rego", "/p.rego"), ("./p.rego", "p.rego"), ("//p.rego", "p.rego")]
)
def test_a_file_that_stands_twice_is_refused(names: tuple[str, str]) -> None:
    with pytest.raises(Malformed, match="twice"):
        unpack(gz(tar(*(member(name, b"x") for name in names))))


@pytest.mark.parametrize(
    "headers",
    [{"linkpath": "x"}, {"size": "0"}, {"GNU.sparse.name": "x"}, {"GNU.sparse.size": "9"}, {"hdrcharset": "BINARY"}],
)
def test_a_pax_header_that_changes_what_a_file_is_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(Malformed, match="which is not taken"):
        unpack(gz(tar(member("p.rego", b"x", pax_headers=headers))))


def test_a_pax_header_for_all_files_may_comment_and_no_more() -> None:
    def of(**headers: str) -> bytes:
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT, pax_headers=headers) as archive:
            archive.addfile(*(member("p.rego", b"x")[0], io.BytesIO(b"x")))
        return gz(stream.getvalue())

    assert len(unpack(of(comment="made by git archive"))) == 1
    with pytest.raises(Malformed, match="all its files alike"):
        unpack(of(path="other.rego"))


@pytest.mark.parametrize(
    "body",
    [b"5 path", b"99 path=x\n", b"9 path=xx", b"0 path=x\n", b"path=x\n", b"-1 a=b\n", b"1 a=b\n", b"6 \xff=b\n"],
)
def test_a_pax_header_that_cannot_be_read_is_malformed(body: bytes) -> None:
    given = tar(member("pax", body, b"x"), member("p.rego", b"x"), form=tarfile.USTAR_FORMAT)
    with pytest.raises(Malformed):
        unpack(gz(given))


# --- sizes and cuts ------------------------------------------------------------------------------------------------

SMALL = ArchiveLimits(packed_bytes=10_000, bytes=20_000, files=3, name_bytes=20)


def test_a_bomb_ends_at_the_bound() -> None:
    bomb = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = b"".join(bomb.compress(bytes(1024 * 1024)) for _ in range(300)) + bomb.flush()
    assert len(packed) < 500_000
    with pytest.raises(Malformed, match="unpacks to more than"):
        unpack(packed)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (bytes(10_001), "larger than 10000"),
        (gz(tar(member("a", bytes(25_000)))), "unpacks to more than 20000"),
        (gz(tar(*(member(f"a{i}") for i in range(4)))), "more than 3 files"),
        (gz(tar(*(member(f"a{i}", kind=tarfile.DIRTYPE) for i in range(4)))), "more than 3 files"),
        (gz(tar(member("a" * 21))), "more than 20 bytes"),
    ],
)
def test_bounds(given: bytes, words: str) -> None:
    with pytest.raises(Malformed, match=words):
        unpack(given, SMALL)


WHOLE = tar(member("p.rego", b"package p\n"), form=tarfile.USTAR_FORMAT)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda: b"", "cut off"),
        (lambda: b"nonsense", "no gzipped"),
        (lambda: WHOLE, "no gzipped"),
        (lambda: gz(WHOLE)[:-4], "cut off"),
        (lambda: gz(WHOLE)[:-5] + b"\0" * 5, "damaged"),
        (lambda: gz(WHOLE) + b"x", "behind"),
        (lambda: gz(WHOLE) + gz(WHOLE), "behind"),
        (lambda: gz(WHOLE[:700]), "cut off"),
        (lambda: gz(WHOLE[:1024]), "cut off"),
        (lambda: gz(WHOLE[:1536]), "cut off"),
        (lambda: gz(WHOLE + b"x" * 512), "behind"),
        (lambda: gz(WHOLE[:1024] + bytes(512) + WHOLE), "behind"),
        (lambda: gz(WHOLE[:100] + b"8" + WHOLE[101:]), "check sum"),
        (lambda: gz(WHOLE[:148] + b"zzzzzzzz" + WHOLE[156:]), "no number"),
        (lambda: gz(WHOLE[:512]), "cut off"),
    ],
)
def test_what_is_cut_or_damaged_is_refused(change: Callable[[], bytes], words: str) -> None:
    with pytest.raises(Malformed, match=words):
        unpack(change())


def test_a_huge_or_binary_size_is_refused() -> None:
    for size in (b"77777777777\0", b"\x80\0\0\0\0\0\0\0\0\0\0\x05", b"-0000000001\0", b"            "):
        header = bytearray(WHOLE)
        header[124:136] = size
        header[148:156] = b"        "
        header[148:156] = b"%06o\0 " % sum(header[:512])
        with pytest.raises(Malformed):
            unpack(gz(bytes(header)))


@settings(max_examples=300)
@given(st.binary(max_size=1600), st.integers(0, len(WHOLE)))
def test_nothing_but_malformed_comes_of_noise(noise: bytes, at: int) -> None:
    for given_ in (noise, gz(noise), gz(WHOLE[:at] + noise + WHOLE[at + len(noise) :])):
        try:
            files = unpack(given_)
        except Malformed:
            continue
        assert all(".." not in file.name.split("/") for file in files)
