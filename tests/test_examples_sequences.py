"""The programs in examples/ that learn from sequences of different lengths: speakers.py and read_words.py."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from fastconv import io, runtime, testing

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="examples/ is not here")
needs_pillow = pytest.mark.skipif(importlib.util.find_spec("PIL") is None, reason="Pillow is not installed")


@pytest.fixture(autouse=True)
def one_thread():
    """Models this small are not worth sharing; where other programs run, waiting for a second core takes far longer."""
    with runtime.options(num_threads=1):
        yield


def example(name):
    """The example as a module."""
    spec = importlib.util.spec_from_file_location(f"fastconv_example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def normal(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


# ---------------------------------------------------------------------------------------------------------- speakers


@pytest.fixture(scope="module")
def speakers():
    return example("speakers")


def utterances(count, seed):
    """(sequences, labels): each speaker has a mean and a drift, both well above the noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 9
    means, drifts = normal((9, 12), 100), normal((9, 12), 101)
    sequences = []
    for label in labels:
        times = np.linspace(-1, 1, rng.integers(7, 30), dtype=np.float32)[:, None]
        sequences.append(means[label] + times * drifts[label] + 0.3 * normal((len(times), 12), rng))
    return sequences, labels


def write_ts(path, sequences, labels):
    lines = ["#a comment: with a colon", "@problemName made", "@classLabel true 1 2 3 4 5 6 7 8 9", "@data"]
    for sequence, label in zip(sequences, labels, strict=True):
        channels = (",".join(f"{value:.6f}" for value in channel) for channel in sequence.T)
        lines.append(":".join([*channels, str(label + 1)]))
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def data(speakers, tmp_path):
    """A folder with two files like those of aeon."""
    write_ts(tmp_path / "JapaneseVowels_TRAIN.ts", *utterances(90, 1))
    write_ts(tmp_path / "JapaneseVowels_TEST.ts", *utterances(45, 2))
    return tmp_path


def test_files_are_read(speakers, data):
    (sequences, labels), (test_sequences, test_labels) = speakers.load(data)
    expected, expected_labels = utterances(90, 1)
    assert (len(sequences), len(test_sequences), len(test_labels)) == (90, 45, 45)
    np.testing.assert_array_equal(labels, expected_labels)
    for sequence, wanted in zip(sequences, expected, strict=True):
        assert sequence.dtype == np.float32
        np.testing.assert_allclose(sequence, wanted, atol=1e-6)


def test_padding_counts_for_nothing(speakers):
    """Logits of each sequence alone, and gradients where what lies beyond the ends is something else."""
    sequences, labels = utterances(18, 3)
    model = speakers.SpeakerModel(sequences, hidden=5, rng=0)
    x, lengths = speakers.pad(sequences)
    logits = model(x, lengths)
    for sequence, row in zip(sequences, logits, strict=True):
        np.testing.assert_allclose(model(sequence[None], np.array([len(sequence)]))[0], row, rtol=1e-5, atol=1e-5)
    beyond = np.arange(x.shape[1]) >= lengths[:, None]
    gradients = []
    for value in (0.0, 7.0):
        x[beyond] = value
        model.zero_grad()
        # Dropout would draw other masks.
        _, backward = model.forward(x, lengths, training=False)
        dx = backward(normal(logits.shape))
        assert not dx[beyond].any()
        gradients.append({name: parameter.grad for name, parameter in model.parameters()})
    for name, gradient in gradients[0].items():
        np.testing.assert_array_equal(gradient, gradients[1][name], err_msg=name)


def test_gradient_of_the_speaker_model(speakers):
    sequences, _ = utterances(9, 4)
    model = speakers.SpeakerModel(sequences, hidden=5, rng=0)
    x, lengths = speakers.pad(sequences)
    _, backward = model.forward(x, lengths, training=False)
    testing.check_vjp(lambda at: model(at, lengths), backward, x, rng=0)


def test_speakers_are_told_apart(speakers, data, capsys):
    assert speakers.main(["--data", str(data), "--epochs", "10"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("epoch 10/10: loss ")
    assert float(said[1].partition("accuracy ")[2].partition(",")[0]) > 0.9
    assert speakers.main(["--data", str(data), "--epochs", "2", "--folds", "3"]) == 0
    assert "of 90 utterances in 3 folds: " in capsys.readouterr().out


def test_real_speakers_are_told_apart(speakers):
    folder = speakers.find_data()
    if folder is None:
        pytest.skip("aeon is not installed")
    (sequences, labels), (test_sequences, test_labels) = speakers.load(folder)
    assert (len(sequences), len(test_sequences)) == (270, 370)
    lengths = [len(sequence) for sequence in sequences + test_sequences]
    assert (min(lengths), max(lengths)) == (7, 29)
    model = speakers.train(speakers.SpeakerModel(sequences, rng=0), sequences, labels, epochs=15, rng=0)
    assert speakers.accuracy(model, test_sequences, test_labels) > 0.9


def test_bad_speakers(speakers, data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(speakers, "find_data", lambda: None)
    assert speakers.main([]) == 2
    assert "pip install --no-deps aeon" in capsys.readouterr().err
    assert speakers.main(["--data", str(tmp_path / "none")]) == 2
    assert "No such file" in capsys.readouterr().err
    path = data / "JapaneseVowels_TRAIN.ts"
    good = path.read_text()
    for text, message in (
        ("", "has no sequences"),
        ("@data\n1,2:3,4:1\n", "line 2: 2 channels, label 1"),
        (good[:-2] + "12\n", "line 94: 12 channels, label 12"),
        (good[:-2] + "x\n", "line 94: invalid literal"),
        (good[:-2].rpartition(",")[0] + ":1\n", "line 94: "),
        (good.replace("@data\n", "@data\nx"), "line 5: could not convert"),
    ):
        path.write_text(text)
        assert speakers.main(["--data", str(data)]) == 2, message
        error = capsys.readouterr().err
        assert error.startswith("speakers: ")
        assert message in error
    for option in ("--epochs", "--folds", "--seed"):
        with pytest.raises(SystemExit, match="2"):
            speakers.main([option, "-1"])


# -------------------------------------------------------------------------------------------------------- read_words


@pytest.fixture(scope="module")
def read_words():
    return example("read_words")


def test_words_are_apart(read_words):
    words, unseen = read_words.split_words()
    assert len(words) > 1000 < 5 * len(unseen)
    assert not set(words) & set(unseen)
    assert set("".join(words + unseen)) == set(read_words.LETTERS)
    assert not any(map(read_words.held_out, words))
    rng = np.random.default_rng(0)
    invented = [read_words.invent_word(rng) for _ in range(300)]
    assert not set(invented) & set(unseen)
    assert set("".join(invented)) == set(read_words.LETTERS)


def test_classes_of_words(read_words):
    targets, lengths = read_words.encode(["abc", "z"])
    assert targets[0].tolist() == [1, 2, 3]
    assert targets[1, 0] == 26
    assert lengths.tolist() == [3, 1]


def test_normalised_images(read_words):
    """Neither contrast nor which of both is brighter matters; an even image is zeros."""
    image = np.full((32, 50), 200, np.uint8)
    image[10:20, 5:30:3] = 40
    expected = read_words.normalise(image)
    assert np.median(expected) == 0.0
    assert expected.max() > 1.0
    for other in (255 - image, image // 2 + 20):
        np.testing.assert_allclose(read_words.normalise(other), expected, rtol=1e-4)
    assert not read_words.normalise(np.full((32, 50), 9, np.uint8)).any()
    x, lengths = read_words.batch_of([expected, expected[:, :9]])
    assert x.shape == (2, 1, 32, 50)
    assert lengths.tolist() == [25, 5]
    assert not x[1, 0, :, 9:].any()


def test_gradient_of_the_reader(read_words):
    """Of the map's gradient on its way through steps, rows and channels; smooth but for ReLU and the maxima."""
    model = read_words.WordReader((4, 4, 6, 6), hidden=5, rng=0)
    x, lengths = normal((2, 1, 32, 24)), np.array([12, 8])
    logits, backward = model.forward(x, lengths, training=False)
    assert logits.shape == (12, 2, 27)
    dlogits, step = normal(logits.shape, 1), np.float32(1e-3)
    dlogits[8:, 1] = 0.0
    backward(dlogits)
    for name in ("features.12.weight", "lstm.weight_ih_l0", "linear.weight"):
        parameter = dict(model.parameters())[name]
        direction = normal(parameter.shape, 2)
        sums = []
        for sign in (1, -1):
            parameter.value += sign * step * direction
            sums.append(np.vdot(model(x, lengths).astype(np.float64), dlogits))
            parameter.value -= sign * step * direction
        got = float(np.vdot(parameter.grad, direction))
        scale = float(np.linalg.norm(parameter.grad) * np.linalg.norm(direction))
        assert abs((sums[0] - sums[1]) / (2 * step) - got) < 0.03 * scale, name


@needs_pillow
def test_reader_learns_by_heart(read_words, monkeypatch):
    """Each word looks the same whenever it is drawn."""
    draw = read_words.draw_word
    monkeypatch.setattr(read_words, "draw_word", lambda word, rng: draw(word, np.random.default_rng(len(word))))
    words = ["no", "cat"]
    model = read_words.WordReader((8, 8, 16, 16), hidden=64, dropout=0.0, rng=0)
    quiet = {"rng": 0, "report": lambda line: None}
    history = read_words.train(model, words, updates=500, batch_size=8, lr=1e-2, invented=0, **quiet)
    assert history[0] > 3.0
    assert np.mean(history[-10:]) < 0.1
    images = read_words.draw_words(3 * words, rng=1)
    for beam_width in (0, 4):
        assert read_words.read(model, images, beam_width, batch_size=7) == 3 * words


@pytest.fixture
def few_words(read_words, monkeypatch):
    monkeypatch.setattr(read_words, "split_words", lambda: (["on", "cat"], ["to", "act"]))


@needs_pillow
def test_reading_by_command(read_words, few_words, tmp_path, capsys):
    model, image, scan = (str(tmp_path / name) for name in ("words.npz", "word.png", "scan.jpg"))
    assert read_words.main(["train", "--model", model, "--updates", "2"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "2 words to train on, 2 others to test on"
    assert said[2].startswith("update 2/2: loss ")
    assert [line.partition(":")[0] for line in said[3:]] == ["greedy", "beam search"]

    from PIL import Image

    assert read_words.main(["draw", image, "--word", "Hello", "--seed", "3"]) == 0
    drawn = np.asarray(Image.open(image))
    np.testing.assert_array_equal(drawn, read_words.draw_word("hello", np.random.default_rng(3)))
    np.testing.assert_array_equal(read_words.open_image(image), read_words.normalise(drawn))
    Image.open(image).resize((2 * drawn.shape[1], 64)).convert("RGB").save(scan)
    assert read_words.open_image(scan).shape == drawn.shape
    assert read_words.main(["read", "--model", model, image, scan]) == 0
    assert [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()] == [image, scan]


@needs_pillow
def test_bad_reading(read_words, few_words, tmp_path, capsys, monkeypatch):
    good, bad, image, long = (str(tmp_path / name) for name in ("good.npz", "bad.npz", "word.png", "long.png"))
    from PIL import Image

    Image.new("L", (500, 2)).save(long)
    io.save(good, read_words.WordReader((2, 2, 2, 2), hidden=3))
    assert read_words.main(["draw", image]) == 0
    assert read_words.main(["read", "--model", good, image]) == 0
    arrays = io.load(good)
    io.save(bad, {name: value for name, value in arrays.items() if name != "linear.bias"})
    capsys.readouterr()
    for arguments, message in (
        (["read", "--model", bad, image], "is not a model of this program"),
        (["read", "--model", image, image], "is damaged"),
        (["read", "--model", str(tmp_path / "none.npz"), image], "No such file"),
        (["read", "--model", good, str(tmp_path / "none.png")], "No such file"),
        (["read", "--model", good, good], "cannot identify image file"),
        (["read", "--model", good, long], "must be one word"),
        (["draw", image, "--word", "two words"], "must be letters from a to z"),
        (["draw", image, "--word", ""], "must be letters"),
        (["train", "--model", str(tmp_path / "no" / "model.npz")], "No such file"),
    ):
        assert read_words.main(arguments) == 2, arguments
        error = capsys.readouterr().err
        assert error.startswith("read_words: ")
        assert message in error
    with pytest.raises(SystemExit, match="2"):
        read_words.main(["train", "--model", good, "--updates", "0"])
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert read_words.main(["draw", image]) == 2
    assert "pip install pillow" in capsys.readouterr().err
