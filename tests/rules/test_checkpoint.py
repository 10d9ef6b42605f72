"""Signed checkpoints, keys and proofs: the published examples of their forms, and everything that must be refused."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkey.model.errors import Malformed
from watchkey.rules.checkpoint import (
    Checkpoint,
    Proof,
    SigningKey,
    VerifyingKey,
    format_proof,
    open_checkpoint,
    parse_checkpoint_unverified,
    parse_proof_unverified,
    parse_signing_key,
    parse_verifying_key,
    sign_checkpoint,
    verify_proof,
)
from watchkey.rules.merkle import hash_leaf, inclusion_proof, root_of

KEY = SigningKey("example.com/audit", bytes(range(32)))
OTHER = SigningKey("example.com/audit", bytes(range(1, 33)))
ENTRIES = [f"entry {number}".encode() for number in range(11)]
LEAVES = [hash_leaf(entry) for entry in ENTRIES]
CHECKPOINT = Checkpoint("example.com/audit", 11, root_of(LEAVES))
NOTE = sign_checkpoint(CHECKPOINT, KEY)


def proof_of(index: int) -> Proof:
    hashes = inclusion_proof(index, 11, lambda start, stop: root_of(LEAVES[start:stop]))
    return Proof(index, ENTRIES[index], hashes, NOTE)


def test_a_note_of_another_implementation_opens_with_its_published_key() -> None:
    # The example in the documentation of Go's golang.org/x/mod/sumdb/note, made by that package.
    key = parse_verifying_key("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
    signature = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
    assert key.id.hex() == "c74f20a3"
    assert key.accepts(base64.b64decode(signature)[4:], text)
    assert not key.accepts(base64.b64decode(signature)[4:], text + " ")


def test_keys_survive_being_written_and_read() -> None:
    assert parse_verifying_key(f"{KEY.verifying}\n") == KEY.verifying
    assert parse_signing_key(KEY.reveal() + "\n").verifying == KEY.verifying


def test_the_private_key_shows_in_no_printed_form() -> None:
    secret = KEY.reveal().rsplit("+", 1)[1]
    assert secret not in repr(KEY)
    assert secret not in str(KEY)
    for broken in (KEY.reveal()[:-4], KEY.reveal().replace("a", "b"), "x" + KEY.reveal(), KEY.reveal() + "AAAA"):
        with pytest.raises(Malformed) as caught:
            parse_signing_key(broken)
        assert secret[:20] not in str(caught.value)
    with pytest.raises(Malformed, match="private key") as caught:
        parse_verifying_key(KEY.reveal())
    assert secret[:20] not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+00000000",
        "name+00000000+AAAA",
        f"{KEY.verifying}"[:-4] + "AAAA",
        f"{KEY.verifying}".replace("example.com/audit", "example.com/other"),
        f"{KEY.verifying}".replace(KEY.verifying.id.hex(), KEY.verifying.id.hex().upper() + "x"),
        f"+{KEY.verifying.id.hex()}+AAAA",
        "na me+00000000+" + base64.b64encode(b"\x01" + bytes(32)).decode(),
        "name+00000000+" + base64.b64encode(b"\x02" + bytes(32)).decode(),
    ],
)
def test_what_is_not_exactly_a_public_key_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        parse_verifying_key(text)


def test_a_checkpoint_has_the_form_of_the_specification() -> None:
    lines = NOTE.split("\n")
    assert lines[:2] == ["example.com/audit", "11"]
    assert base64.b64decode(lines[2]) == CHECKPOINT.root
    assert lines[3] == ""
    assert lines[4].startswith("— example.com/audit ")
    assert lines[5:] == [""]
    assert open_checkpoint(NOTE, KEY.verifying) == CHECKPOINT


def test_the_published_checkpoint_is_read() -> None:
    # The example of https://c2sp.org/tlog-checkpoint.
    text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    assert parse_checkpoint_unverified(text).size == 20852163
    assert parse_checkpoint_unverified(text).text == text
    assert parse_checkpoint_unverified(text + "an extension\n").size == 20852163


def test_signatures_of_witnesses_are_passed_over_and_kept_apart() -> None:
    witness = SigningKey("witness.example", bytes(32))
    line = f"— witness.example {base64.b64encode(witness.verifying.id + witness.sign(CHECKPOINT.text)).decode()}\n"
    assert open_checkpoint(NOTE + line, KEY.verifying) == CHECKPOINT
    assert open_checkpoint(NOTE.replace("\n\n", "\n\n" + line), KEY.verifying) == CHECKPOINT


def test_a_second_wrong_signature_by_the_same_key_spoils_the_note() -> None:
    line = f"— example.com/audit {base64.b64encode(KEY.verifying.id + bytes(64)).decode()}\n"
    with pytest.raises(Malformed, match="is wrong"):
        open_checkpoint(NOTE + line, KEY.verifying)


def test_a_checkpoint_by_another_key_of_the_same_name_is_refused() -> None:
    with pytest.raises(Malformed, match="not signed by"):
        open_checkpoint(sign_checkpoint(CHECKPOINT, OTHER), KEY.verifying)


def test_a_checkpoint_of_another_log_is_refused_though_the_key_is_right() -> None:
    foreign = sign_checkpoint(Checkpoint("example.com/other", 1, CHECKPOINT.root), KEY)
    with pytest.raises(Malformed, match=r"of the log 'example\.com/other'"):
        open_checkpoint(foreign, KEY.verifying)


@pytest.mark.parametrize(
    "text",
    [
        "name\n01\n{root}\n",
        "name\n-1\n{root}\n",
        "name\n+1\n{root}\n",
        "name\n1_0\n{root}\n",
        "name\n\u0661\n{root}\n",
        "name\n9223372036854775808\n{root}\n",
        "name\n1\n{root}",
        "name\n1\n{root}\n\n",
        "\n1\n{root}\n",
        "name\n1\n\n",
        "name\n1\nAAAA\n",
        "name\n1\n{root}=\n",
        "name\n1\n {root}\n",
    ],
)
def test_a_checkpoint_that_is_not_exactly_one_is_refused(text: str) -> None:
    root = base64.b64encode(bytes(32)).decode()
    with pytest.raises(Malformed):
        parse_checkpoint_unverified(text.replace("{root}", root))


def test_base64_has_one_spelling() -> None:
    # The last character of an encoded hash has spare bits: other letters there decode to the same bytes.
    spelling = base64.b64encode(bytes(32)).decode()
    other = spelling[:-2] + "B="
    assert base64.b64decode(other) == bytes(32)
    with pytest.raises(Malformed, match="canonical"):
        parse_checkpoint_unverified(f"name\n1\n{other}\n")


@pytest.mark.parametrize(
    "note",
    [
        "",
        "\n\n",
        NOTE[:-1],
        NOTE.replace("—", "-"),
        NOTE + "\n",
        NOTE + "x\n",
        "\x07" + NOTE,
        NOTE + "\n" * 70_000,
        NOTE + "— a AAAAAAA=\n" * 40,
        NOTE.replace("\n\n", "\n"),
    ],
)
def test_a_note_that_is_not_exactly_one_is_refused(note: str) -> None:
    with pytest.raises(Malformed):
        open_checkpoint(note, KEY.verifying)


@given(st.data())
def test_no_change_of_one_character_goes_unnoticed(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(NOTE) - 1))
    char = data.draw(st.characters(codec="utf-8").filter(lambda char: char != NOTE[at]))
    with pytest.raises(Malformed):
        open_checkpoint(NOTE[:at] + char + NOTE[at + 1 :], KEY.verifying)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_and_nothing_else(text: str) -> None:
    for read in (
        parse_verifying_key,
        parse_signing_key,
        parse_checkpoint_unverified,
        parse_proof_unverified,
        lambda note: open_checkpoint(note, KEY.verifying),
    ):
        with pytest.raises(Malformed):
            read(text)


@pytest.mark.parametrize("index", range(11))
def test_a_proof_survives_being_written_and_shows_its_entry(index: int) -> None:
    text = format_proof(proof_of(index))
    assert text.startswith(
        f"c2sp.org/tlog-proof@v1\nextra {base64.b64encode(ENTRIES[index]).decode()}\nindex {index}\n"
    )
    assert text.endswith("\n\n" + NOTE)
    proof = parse_proof_unverified(text)
    assert proof == proof_of(index)
    assert verify_proof(proof, KEY.verifying) == CHECKPOINT


def test_a_proof_of_a_log_with_one_entry_has_no_hashes() -> None:
    note = sign_checkpoint(Checkpoint(KEY.name, 1, LEAVES[0]), KEY)
    text = format_proof(Proof(0, ENTRIES[0], (), note))
    assert verify_proof(parse_proof_unverified(text), KEY.verifying).size == 1


def test_a_proof_shows_no_other_entry_and_no_other_place() -> None:
    good = proof_of(4)
    for bad in (
        Proof(4, b"forged", good.hashes, NOTE),
        Proof(5, good.entry, good.hashes, NOTE),
        Proof(11, good.entry, good.hashes, NOTE),
        Proof(4, good.entry, good.hashes[:-1], NOTE),
        Proof(4, good.entry, good.hashes[::-1], NOTE),
        Proof(4, good.entry, good.hashes, sign_checkpoint(CHECKPOINT, OTHER)),
    ):
        with pytest.raises(Malformed):
            verify_proof(parse_proof_unverified(format_proof(bad)), KEY.verifying)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("tlog-proof@v1", "tlog-proof@v2"),
        ("extra ", "Extra "),
        ("index 4", "index 04"),
        ("index 4", "index -4"),
        ("index 4\n", "index 4\n\n"),
        ("index 4\n", "index 4\nAAAA\n"),
        ("index 4\n", "index 4\n" + (base64.b64encode(bytes(32)).decode() + "\n") * 70),
        ("index 4\n", ""),
    ],
)
def test_a_proof_that_is_not_exactly_one_is_refused(old: str, new: str) -> None:
    text = format_proof(proof_of(4)).replace(old, new)
    with pytest.raises(Malformed):
        verify_proof(parse_proof_unverified(text), KEY.verifying)


def test_a_public_key_that_is_no_point_signs_nothing() -> None:
    assert not VerifyingKey("x", b"\xff" * 32).accepts(bytes(64), "text")
