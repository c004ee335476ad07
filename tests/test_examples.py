"""The programs in examples/: what they compute, what they say about bad input. Each is run with few steps."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import reference

from fastconv import datasets, io, losses

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="examples/ is not here")


def example(name):
    """The example as a module."""
    spec = importlib.util.spec_from_file_location(f"fastconv_example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---------------------------------------------------------------------------------------------------- language_model

SMALL = ("--layers", "2", "--hidden", "16", "--embedding", "8", "--batch", "4", "--piece", "25")


@pytest.fixture(scope="module")
def language_model():
    return example("language_model")


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(datasets.english()[:2000])
    return str(path)


def test_examples_are_listed():
    listed = (EXAMPLES / "README.md").read_text()
    for path in EXAMPLES.glob("*.py"):
        assert f"({path.name})" in listed


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_resumed_training_is_that_which_was_not_stopped(language_model, tmp_path, text, kind):
    """Bit for bit: weights, optimiser, state, place in the text. 20 updates go past the end of the stretches."""
    train = ["train", text, "--every", "7", "--model"]
    whole, parts = str(tmp_path / "whole.npz"), str(tmp_path / "parts.npz")
    assert language_model.main([*train, whole, "--kind", kind, "--updates", "20", *SMALL]) == 0
    assert language_model.main([*train, parts, "--kind", kind, "--updates", "10", *SMALL]) == 0
    ten = io.load(parts)
    assert language_model.main([*train, parts, "--updates", "10", "--resume"]) == 0
    assert Path(whole).read_bytes() == Path(parts).read_bytes()
    assert not np.array_equal(ten["model.linear.weight"], io.load(parts)["model.linear.weight"])


def test_training_learns(language_model):
    text = "all work and no play makes jack a dull boy. " * 40
    model = language_model.CharacterModel("".join(sorted(set(text))), "gru", 1, 32, 8, rng=0)
    training = language_model.Training(model, text, batch=8, piece=20, lr=2e-2)
    before = language_model.bits_per_character(model, training.held_out)
    for _ in range(100):
        training.update()
    assert before > 4.0
    assert language_model.bits_per_character(model, training.held_out) < 0.5
    assert "".join(language_model.sample(model, "all work and", 20, temperature=0.0)) == " no play makes jack "


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_a_piece_begins_with_the_state_in_which_the_last_one_ended(language_model, kind):
    text = datasets.english()[:600]
    model = language_model.CharacterModel("".join(sorted(set(text))), kind, 2, 8, 4, rng=0)
    training = language_model.Training(model, text, batch=5, piece=30)
    state = None
    for start in (0, 30, 60, 0):  # the stretches have 108 characters: the fourth piece begins anew
        logits, state = model(training.columns[start : start + 30], state if start else None)
        loss, _ = losses.softmax_cross_entropy(logits, training.columns[start + 1 : start + 31])
        np.testing.assert_allclose(training.update(), loss / np.log(2.0), rtol=1e-6)
        np.testing.assert_array_equal(training.state, state)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_bits_and_samples_by_definition(language_model, kind):
    """Carried states against the whole text at once, with one stretch."""
    characters = "abcdé"
    model = language_model.CharacterModel(characters, kind, 2, 12, 6, rng=3)
    ids = np.random.default_rng(0).integers(0, 5, 71)
    logits, _ = model(ids[:-1, None])
    scaled = logits[:, 0].astype(np.float64)
    logs = np.log2(np.exp(scaled) / np.exp(scaled).sum(1, keepdims=True))
    bits = language_model.bits_per_character(model, ids, piece=40)
    np.testing.assert_allclose(bits, -logs[np.arange(70), ids[1:]].mean(), rtol=1e-5)

    drawn = "".join(language_model.sample(model, "aéb", 30, temperature=0.0))
    logits, _ = model(language_model.encode("aéb" + drawn, characters)[:, None])
    assert drawn == "".join(characters[index] for index in logits[2:-1, 0].argmax(1))


def test_samples_follow_the_softmax(language_model):
    """Over a text of which the model knows nothing but the frequencies: 3 to 1, at temperature 1/2 9 to 1."""
    model = language_model.CharacterModel("ab", "gru", 1, 4, 2, rng=0)
    model.linear.weight.value[...] = 0.0
    model.linear.bias.value[...] = np.log(np.float32([3.0, 1.0]))
    for temperature, share in ((1.0, 0.75), (0.5, 0.9)):
        drawn = "".join(language_model.sample(model, "a", 2000, temperature, seed=1))
        assert abs(drawn.count("a") / 2000 - share) < 0.03
    assert drawn == "".join(language_model.sample(model, "a", 2000, 0.5, seed=1))
    assert drawn != "".join(language_model.sample(model, "a", 2000, 0.5, seed=2))
    assert set(language_model.sample(model, "a", 20, 1e-40)) == {"a"}


def test_training_and_sampling_by_command(language_model, tmp_path, text, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)  # as if it were not installed
    model = str(tmp_path / "model.npz")
    assert language_model.main(["train", text, "--model", model, "--updates", "4", "--every", "3", *SMALL]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("2,000 characters, 200 of them held out")
    assert [line.partition(":")[0] for line in lines[1:]] == ["update 3", "update 4"]
    assert language_model.main(["sample", "--model", model, "--prime", "An ", "--length", "50"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("An ")
    assert len(said) == 3 + 50 + 1


def test_interrupted_training_says_how_to_go_on(language_model, tmp_path, text, capsys, monkeypatch):
    update, model = language_model.Training.update, str(tmp_path / "model.npz")

    def interrupted(training):
        if training.updates == 5:
            raise KeyboardInterrupt
        return update(training)

    monkeypatch.setattr(language_model.Training, "update", interrupted)
    assert language_model.main(["train", text, "--model", model, "--updates", "9", "--every", "4", *SMALL]) == 130
    assert "--resume" in capsys.readouterr().err
    assert io.load(model)["optimizer.steps"] == 4


def test_diverging_training_stops(language_model, tmp_path, text, capsys):
    model = str(tmp_path / "model.npz")
    with np.errstate(all="ignore"):
        assert language_model.main(["train", text, "--model", model, "--lr", "1e38", "--every", "1", *SMALL]) == 2
    assert "a lower --lr may help" in capsys.readouterr().err


@pytest.fixture
def trained(language_model, tmp_path, text):
    path = str(tmp_path / "trained.npz")
    assert language_model.main(["train", text, "--model", path, "--updates", "1", *SMALL]) == 0
    return path


def test_bad_texts(language_model, tmp_path, text, capsys):
    cases = {
        "empty.txt": (b"", "is empty"),
        "short.txt": (b"short text", "must be at least batch * (piece + 1) = 104"),
        "one.txt": (b"x", "must be at least batch"),
        "binary.txt": (b"\xff\xfe\x00", "is not UTF-8"),
        "missing.txt": (None, "No such file"),
    }
    for name, (content, message) in cases.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        model = str(tmp_path / "none.npz")
        assert language_model.main(["train", str(tmp_path / name), "--model", model, *SMALL]) == 2
        assert message in capsys.readouterr().err
        assert not Path(model).exists()
    assert language_model.main(["train", text, "--model", str(tmp_path / "no" / "model.npz"), *SMALL]) == 2
    assert "No such file" in capsys.readouterr().err


def test_bad_resumes(language_model, tmp_path, text, trained, capsys):
    other = tmp_path / "other.txt"
    other.write_text(Path(text).read_text()[::-1])
    for arguments, message in (
        (["train", text, "--model", trained], "exists: go on with --resume"),
        (["train", text, "--model", trained, "--resume", "--hidden", "8"], "--hidden: is in"),
        (["train", str(other), "--model", trained, "--resume"], "a model of another text"),
        (["train", text, "--model", str(tmp_path / "none.npz"), "--resume"], "No such file"),
    ):
        assert language_model.main(arguments) == 2
        assert message in capsys.readouterr().err


def test_bad_models(language_model, tmp_path, text, trained, capsys):
    """Damaged, of something else, or with an array too few, too many or of another shape."""
    path = str(tmp_path / "bad.npz")
    arrays = io.load(trained)
    changes = [
        {"characters": None},
        {"characters": arrays["characters"][::-1]},
        {"characters": arrays["characters"] + 2**40},
        {"model.rnn.weight_hh_l0": None},
        {"model.rnn.weight_hh_l1": None},
        {"model.rnn.weight_hh_l0": np.ones((4, 0), np.float32)},
        {"model.linear.bias": np.ones(3, np.float32)},
        {"model.embedding.weight": np.float32(1.0)},
    ]
    training_only = [
        {"training.numbers": None},
        {"training.numbers": np.arange(7)},
        {"training.lr": np.ones(2)},
        {"optimizer.steps": None},
        {"state.0": np.ones((1, 2, 3), np.float32)},
    ]
    for code, group in ((2, changes), (0, training_only)):
        for change in group:
            io.save(path, {name: value for name, value in {**arrays, **change}.items() if value is not None})
            assert language_model.main(["train", text, "--model", path, "--resume"]) == 2, change
            assert capsys.readouterr().err.startswith("language_model: ")
            assert language_model.main(["sample", "--model", path, "--length", "0"]) == code, change
    for content in (b"", b"no model", Path(trained).read_bytes()[:-100]):
        Path(path).write_bytes(content)
        assert language_model.main(["sample", "--model", path]) == 2
        assert "is damaged" in capsys.readouterr().err


def test_bad_samples(language_model, trained, capsys):
    for prime, message in (("caf\u00e9 ", "'é': not among"), ("", "the prime is empty")):
        assert language_model.main(["sample", "--model", trained, "--prime", prime]) == 2
        captured = capsys.readouterr()
        assert message in captured.err
        assert not captured.out
    for option in ("--temperature", "--length", "--seed"):
        for value in ("-1", "nan", "x"):
            with pytest.raises(SystemExit, match="2"):
                language_model.main(["sample", "--model", trained, option, value])


# --------------------------------------------------------------------------------------------------------- pronounce


@pytest.fixture(scope="module")
def pronounce():
    return example("pronounce")


@pytest.fixture
def weights(pronounce, tmp_path):
    """A file of random weights in which some words end early and some not at all."""
    rng = np.random.default_rng(6)
    shapes = {"enc_emb": (29, 8), "dec_emb": (74, 8), "fc_w": (74, 16), "fc_b": (74,)}
    for half in ("enc", "dec"):
        shapes.update({f"{half}_w_ih": (48, 8), f"{half}_w_hh": (48, 16), f"{half}_b_ih": (48,), f"{half}_b_hh": (48,)})
    arrays = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    arrays["fc_b"][3] += 4.0
    path = str(tmp_path / "weights.npz")
    np.savez(path, **arrays)
    return path


def spelled_out(arrays, word, names):
    """The pronunciation by definition in float64, a step at a time."""

    def step(half, x, h):
        weights = [arrays[f"{half}_{name}"].astype(np.float64) for name in ("w_ih", "w_hh", "b_ih", "b_hh")]
        return reference.recurrent_cell("gru", x[None], h, None, *weights)[0]

    h = np.zeros((1, 16))
    for letter in [*(ord(letter) - ord("a") + 3 for letter in word), 2]:
        h = step("enc", arrays["enc_emb"][letter], h)
    last, written = 2, []
    while len(written) < 20:
        h = step("dec", arrays["dec_emb"][last], h)
        last = int((h[0] @ arrays["fc_w"].T + arrays["fc_b"]).argmax())
        if last == 3:
            break
        written.append(names[last])
    return written


def test_pronunciations_by_definition(pronounce, weights):
    words = ["a", "bc", "zebra", "recurrent", "network", "convolution", "supercalifragilistic", "x", "queue", "rhythm"]
    model, arrays = pronounce.load(weights), io.load(weights)
    expected = [spelled_out(arrays, word, pronounce.PHONEMES) for word in words]
    assert len({len(phonemes) for phonemes in expected}) > 2, "all of one length: the test tests little"
    for batch in (1, 3, 128):
        assert model(words, batch) == expected
    assert model([]) == []


def test_pronounce_by_command(pronounce, weights, capsys):
    assert len(pronounce.PHONEMES) == len(set(pronounce.PHONEMES)) == 74
    assert pronounce.main(["--weights", weights, "Zebra", "it's"]) == 0
    lines = capsys.readouterr().out.splitlines()
    phonemes = spelled_out(io.load(weights), "zebra", pronounce.PHONEMES)
    assert lines[0] == f"Zebra: {' '.join(phonemes)}"
    assert lines[1].startswith("it's: ")


def test_comparison_counts_what_differs(pronounce, weights, capsys):
    model = pronounce.load(weights)
    words = pronounce.different_words("The cat, the DOG and the cow", 4)
    assert words == ["the", "cat", "dog", "and"]
    assert pronounce.compare(model, words, lambda word: model([word])[0]) == 0
    assert pronounce.compare(model, words, lambda word: model([word])[0] if word != "dog" else []) == 1
    assert "1 pronounced otherwise: dog" in capsys.readouterr().out


def test_bad_pronunciations(pronounce, weights, tmp_path, capsys, monkeypatch):
    arrays = io.load(weights)
    bad, empty = str(tmp_path / "bad.npz"), tmp_path / "empty.txt"
    empty.write_text("1 2 3")
    io.save(bad, {name: value for name, value in arrays.items() if name != "fc_b"})
    shape = str(tmp_path / "shape.npz")
    io.save(shape, {**arrays, "dec_emb": arrays["dec_emb"][:70]})
    monkeypatch.setattr(pronounce, "installed", lambda: None)
    for arguments, message in (
        (["word"], "pip install g2p-en"),
        (["--weights", weights, ""], "WORD is empty"),
        (["--weights", bad, "word"], "has no fc_b"),
        (["--weights", shape, "word"], "does not fit"),
        (["--weights", str(empty), "word"], "is damaged"),
        (["--weights", str(tmp_path / "none.npz"), "word"], "No such file"),
        (["--weights", weights, "--compare"], "g2p-en is not installed"),
    ):
        assert pronounce.main(arguments) == 2
        assert message in capsys.readouterr().err
    monkeypatch.setattr(pronounce, "installed", lambda: weights)
    assert pronounce.main(["--compare", str(empty)]) == 2
    assert "has no words" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        pronounce.main([])


@pytest.mark.skipif(importlib.util.find_spec("g2p_en") is None, reason="g2p-en is not installed")
def test_pronunciations_are_those_of_g2p_en(pronounce, capsys):
    assert pronounce.main(["--compare", "--count", "100"]) == 0
    assert capsys.readouterr().out.startswith("100 words")
    assert "nltk" not in sys.modules or not isinstance(sys.modules["nltk"], pronounce.mock.MagicMock)
