from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ovsam.config import CalibrationConfig, CalibrationFit, ModelConfig
from ovsam.errors import PromptError, UsageError
from ovsam.images.frame import Frame
from ovsam.predictor.naming import Namer, _boxes
from ovsam.predictor.predictor import Predictor
from ovsam.predictor.views import EncodedImage, View
from ovsam.structures import Names
from ovsam.vocabulary.load import load_vocabulary
from ovsam.vocabulary.vocabulary import Vocabulary
from predictor.scenes import BOX, PROMPTS, blobs
from tiny_model import TINY, HashedText, tiny_model, tiny_predictor


def calibrated(temperature: float, threshold: float = 0.0, classes: int = 5) -> ModelConfig:
    calibration = CalibrationConfig(
        fits=(CalibrationFit(temperature=temperature, threshold=threshold, classes=classes),)
    )
    return replace(TINY, calibration=calibration)


@pytest.mark.parametrize("zoom", [False, True], ids=["whole photo", "zoomed"])
def test_a_temperature_divides_the_log_scores(zoom: bool) -> None:
    pixels = blobs(0)
    plain, hot = tiny_predictor(), tiny_predictor(calibrated(2.0))
    [one] = plain.predict(plain.encode(pixels), PROMPTS["box"], zoom=zoom)
    [other] = hot.predict(hot.encode(pixels), PROMPTS["box"], zoom=zoom)
    assert [name for name, _ in one.labels[0]] == [name for name, _ in other.labels[0]]
    before = np.array([*(score for _, score in one.labels[0]), one.none_scores[0]])
    after = np.array([*(score for _, score in other.labels[0]), other.none_scores[0]])
    assert before.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(after, before**0.5 / (before**0.5).sum(), rtol=1e-3)


def test_none_of_these_is_a_first_name_below_the_threshold(
    predictor: Predictor, photo: EncodedImage
) -> None:
    [found] = predictor.predict(photo, PROMPTS["box"])
    first = found.labels[0][0].score
    assert found.none_of_these == (False,), "a model that is not calibrated refuses nothing"
    for threshold, refused in ((first * 0.999, False), (first * 1.001, True)):
        [again] = predictor.predict(photo, PROMPTS["box"], threshold=threshold)
        assert again.none_of_these == (refused,)
        assert again.labels == found.labels
        assert (again.masks == found.masks).all()
    three = predictor.predict(photo, PROMPTS["point"], multimask=True, threshold=1.0)[0]
    assert three.none_of_these == (True, True, True)
    assert three.none_scores.shape == (3,)


def test_the_models_own_threshold_is_for_vocabularies_no_larger_than_its_own() -> None:
    predictor = tiny_predictor(calibrated(1.0, threshold=1.0, classes=5))
    photo = predictor.encode(blobs(0))
    [five] = predictor.predict(photo, PROMPTS["box"])
    [six] = predictor.predict(photo, PROMPTS["box"], vocabulary="cat, dog, mug, tree, lamp, sky")
    [given] = predictor.predict(photo, PROMPTS["box"], threshold=0.0)
    assert (five.none_of_these, six.none_of_these) == ((True,), (False,))
    assert given.none_of_these == (False,)
    assert (five.calibrated, six.calibrated, given.calibrated) == (True, False, True)


def test_scores_of_a_much_shorter_list_are_no_probabilities() -> None:
    """Two names take the share of all that neither is of; the threshold is for them, too."""
    predictor = tiny_predictor(calibrated(1.0, threshold=1.0, classes=5))
    photo = predictor.encode(blobs(0))
    [two] = predictor.predict(photo, PROMPTS["box"], vocabulary="cat, dog")
    [three] = predictor.predict(photo, PROMPTS["box"], vocabulary="cat, dog, mug")
    assert (two.calibrated, three.calibrated) == (False, True)
    assert (two.none_of_these, three.none_of_these) == ((True,), (True,))


def test_each_length_of_list_has_its_own_calibration() -> None:
    """Two names and five: the log scores over either are divided by its own temperature."""
    fits = (
        CalibrationFit(temperature=2.0, threshold=1.0, classes=2),
        CalibrationFit(temperature=0.5, threshold=0.0, classes=5),
    )
    plain = tiny_predictor()
    fitted = tiny_predictor(replace(TINY, calibration=CalibrationConfig(fits=fits)))
    photo = plain.encode(blobs(0))
    for words, temperature, refused in (("cat, dog", 2.0, True), (None, 0.5, False)):
        [before] = plain.predict(photo, PROMPTS["box"], vocabulary=words)
        [after] = fitted.predict(photo, PROMPTS["box"], vocabulary=words)
        first, second = before.labels[0][:2]
        ratio = (first.score / second.score) ** (1 / temperature)
        assert after.labels[0][0].score / after.labels[0][1].score == pytest.approx(ratio, rel=1e-3)
        assert after.none_of_these == (refused,)
        assert after.calibrated


def test_several_vocabularies_name_the_same_masks(
    predictor: Predictor, photo: EncodedImage
) -> None:
    lists = ["cat, dog", "mug, lamp, tree"]
    [together] = predictor.predict(photo, PROMPTS["box"], more_vocabularies=lists)
    [own] = predictor.predict(photo, PROMPTS["box"])
    assert together.labels == own.labels
    assert (together.masks == own.masks).all()
    for words, names in zip(lists, together.more_names, strict=True):
        [alone] = predictor.predict(photo, PROMPTS["box"], vocabulary=words)
        assert names.labels == alone.labels
        assert names.none_scores == pytest.approx(alone.none_scores)


def test_a_model_that_was_never_calibrated_says_so(
    predictor: Predictor, photo: EncodedImage
) -> None:
    assert not predictor.predict(photo, PROMPTS["box"])[0].calibrated


@pytest.mark.parametrize("threshold", [-0.1, 1.5, float("nan")])
def test_a_threshold_that_is_no_probability(
    predictor: Predictor, photo: EncodedImage, threshold: float
) -> None:
    with pytest.raises(PromptError, match="threshold must be a probability"):
        predictor.predict(photo, PROMPTS["box"], threshold=threshold)


def test_an_uncertain_name_comes_with_its_kind(
    predictor: Predictor, photo: EncodedImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    dogs = "dalmatian, beagle, poodle, corgi, boxer, teapot"
    [unsure] = predictor.predict(photo, PROMPTS["box"], vocabulary=dogs, top=6)
    [kind] = unsure.kinds
    assert unsure.labels[0][0].score < 0.8
    assert kind is not None
    assert kind.name == "dog"
    said = [score for name, score in unsure.labels[0] if name != "teapot"]
    assert kind.score == pytest.approx(sum(said), abs=1e-5)
    alone = predictor.predict(photo, PROMPTS["box"], vocabulary=dogs.removesuffix(", teapot"))
    assert alone[0].kinds == (None,), "which the list itself says of everything"
    [mixed] = predictor.predict(photo, PROMPTS["box"], vocabulary="dalmatian, teapot, sky, idea")
    assert mixed.kinds == (None,)
    monkeypatch.setattr("ovsam.predictor.naming.CERTAIN", unsure.labels[0][0].score)
    assert predictor.predict(photo, PROMPTS["box"], vocabulary=dogs)[0].kinds == (None,)


def named(
    probabilities: list[float],
    vocabulary: Vocabulary,
    top: int = 1,
    threshold: float = 0.0,
    temperature: float = 1.0,
) -> Names:
    """What is said of one mask with these probabilities, the background's last."""

    class Fixed:
        identity, reads_photo, reads_squares = "fixed", True, True

        def readable(self, vocabulary: Vocabulary) -> Vocabulary:
            return vocabulary

        def prototypes(self, *_: object) -> None:
            return None

        def log_probabilities(self, *_: object) -> list[NDArray[np.float32]]:
            with np.errstate(divide="ignore"):
                return [np.log(np.array([probabilities], np.float32))]

    fixed: Any = Fixed()
    fits = (CalibrationFit(temperature=temperature),)
    namer = Namer(fixed, fixed, CalibrationConfig(fits=fits))
    nothing: Any = None
    return namer.names(nothing, [], [], namer.query(vocabulary, top, threshold))[0]


@pytest.mark.parametrize("words", ["Couch, daybed", "sofas, daybed", "old seat/couch, daybed"])
def test_a_kind_that_repeats_the_name_is_not_said(words: str) -> None:
    vocabulary = load_vocabulary(f"{words}, cup")
    assert named([0.6, 0.3, 0.0, 0.1], vocabulary).kinds == (None,)
    [other] = named([0.3, 0.6, 0.0, 0.1], vocabulary).kinds
    assert other is not None


def test_a_kind_is_certain_or_at_least_likely() -> None:
    """0.8 of the scores go before 0.5; a certain name needs no kind."""
    vocabulary = load_vocabulary("dalmatian, beagle, poodle, idea")
    for dogs, expected in ((0.9, True), (0.6, True), (0.45, False)):
        [kind] = named([0.5 * dogs, 0.3 * dogs, 0.2 * dogs, 0.95 - dogs, 0.05], vocabulary).kinds
        assert (kind is not None) == expected
        if kind is not None:
            assert kind.name == "dog" and kind.score == pytest.approx(dogs)
    assert named([0.81, 0.05, 0.04, 0.05, 0.05], vocabulary).kinds == (None,)


def test_names_by_hand() -> None:
    vocabulary = load_vocabulary("cat, dog, mug")
    found = named([0.2, 0.5, 0.0, 0.3], vocabulary, top=3)
    assert [(name, round(score, 5)) for name, score in found.labels[0]] == [
        ("dog", 0.5),
        ("cat", 0.2),
    ], "a name of score 0 is none"
    assert found.none_scores[0] == pytest.approx(0.3)
    assert (found.name, len(found), found.none_of_these) == ("dog", 1, (False,))
    assert named([0.2, 0.5, 0.0, 0.3], vocabulary, threshold=0.51).none_of_these == (True,)
    nobody = named([0.0, 0.0, 0.0, 1.0], vocabulary)
    assert (nobody.labels, nobody.name, nobody.none_of_these) == (((),), "", (True,))


@pytest.mark.parametrize("top", [1, 3, 600])
def test_the_best_of_a_long_vocabulary(top: int) -> None:
    """Wherever they stand, side by side too; of equals the first comes first."""
    vocabulary = load_vocabulary([f"thing {i}" for i in range(600)])
    scores = np.full(601, 0.01, np.float32)
    scores[[300, 301, 302, 7, 599]] = 0.4, 0.9, 0.8, 0.9, 0.5
    labels = named((scores / scores.sum()).tolist(), vocabulary, top).labels[0]
    others = [i for i in range(600) if i not in (7, 301, 302, 599, 300)]
    expected = [7, 301, 302, 599, 300, *others]
    assert [name for name, _ in labels] == [f"thing {i}" for i in expected[:top]]
    assert labels[0].score == pytest.approx(0.9 / scores.sum())


def test_a_vocabulary_with_templates_of_its_own() -> None:
    text = HashedText()
    predictor = tiny_predictor(text=text)
    photo = predictor.encode(blobs(0))
    names = load_vocabulary("cat, dog")
    [plain] = predictor.predict(photo, PROMPTS["box"], vocabulary=names)
    text.asked.clear()
    sketches = replace(names, templates=("a sketch of a {}.",))
    [drawn] = predictor.predict(photo, PROMPTS["box"], vocabulary=sketches)
    assert text.asked == ["a sketch of a cat.", "a sketch of a dog."]
    assert dict(drawn.labels[0]) != dict(plain.labels[0])


def test_a_threshold_is_of_the_classes_that_may_be_the_answer() -> None:
    """As calibration counts them: a class with a `!` only competes."""
    predictor = tiny_predictor(calibrated(1.0, threshold=1.0, classes=2))
    photo = predictor.encode(blobs(0))
    [found] = predictor.predict(photo, PROMPTS["box"], vocabulary="cat, dog, !mug")
    assert found.none_of_these == (True,)
    [found] = predictor.predict(photo, PROMPTS["box"], vocabulary="cat, dog, mug")
    assert found.none_of_these == (False,)


@pytest.mark.parametrize("zoom", [False, True], ids=["whole photo", "zoomed"])
def test_names_from_a_box_that_is_given(
    predictor: Predictor, photo: EncodedImage, zoom: bool
) -> None:
    """The masks stay; the names are those of the box, whatever the prompt says."""
    prompts = [PROMPTS["point"], PROMPTS["box"]]
    plain = predictor.predict(photo, prompts, zoom=zoom)
    boxes = np.array([[110, 5, 180, 60], BOX])
    given = predictor.predict(photo, prompts, zoom=zoom, name_boxes_xyxy=boxes)
    for one, other in zip(plain, given, strict=True):
        assert (one.masks == other.masks).all()
        assert (one.low_res_logits == other.low_res_logits).all()
    assert given[0].labels != plain[0].labels
    assert given[1].labels == plain[1].labels, "the prompt's own box"


def test_boxes_to_name_that_do_not_fit(predictor: Predictor, photo: EncodedImage) -> None:
    ask = partial(predictor.predict, photo, PROMPTS["point"])
    with pytest.raises(PromptError, match="each of the 1 prompts, got 2"):
        ask(name_boxes_xyxy=[BOX, BOX])
    with pytest.raises(PromptError, match=r"shape \(4,\)"):
        ask(name_boxes_xyxy=[[1, 2, 3]])
    with pytest.raises(PromptError, match="outside the photo"):
        ask(name_boxes_xyxy=[[300, 2, 310, 9]])


# Names of masks that the predictor did not make


@pytest.mark.parametrize("multimask", [False, True], ids=["single", "multimask"])
@pytest.mark.parametrize("zoom", [False, True], ids=["whole photo", "zoomed"])
def test_the_two_verbs_give_what_predict_gives(
    predictor: Predictor, photo: EncodedImage, zoom: bool, multimask: bool
) -> None:
    prompts = list(PROMPTS.values())
    both = predictor.predict(photo, prompts, zoom=zoom, multimask=multimask, threshold=0.3)
    candidates = predictor.segment(photo, prompts, zoom=zoom, multimask=multimask)
    names = predictor.name(photo, candidates, threshold=0.3)
    for found, masks, said in zip(both, candidates, names, strict=True):
        assert np.array_equal(masks.masks, found.masks)
        assert np.array_equal(masks.mask, found.mask)
        assert np.array_equal(masks.low_res_logits, found.low_res_logits)
        assert np.array_equal(masks.predicted_iou, found.predicted_iou)
        assert said.none_of_these == found.none_of_these
        np.testing.assert_allclose(said.none_scores, found.none_scores, atol=1e-5)
        for one, other in zip(said.labels, found.labels, strict=True):
            assert [name for name, _ in one] == [name for name, _ in other]
            np.testing.assert_allclose([s for _, s in one], [s for _, s in other], atol=1e-5)


def test_other_words_for_candidates_make_no_new_mask(photo: EncodedImage) -> None:
    model = tiny_model()
    predictor = tiny_predictor(model=model, zoom=False)
    [candidates] = predictor.segment(photo, PROMPTS["box"])
    decoder = model.mask_decoder
    decoder.forward = None  # type: ignore[assignment]  # nobody may call it any more
    [one] = predictor.name(photo, candidates, vocabulary="spoon, cat")
    [other] = predictor.name(photo, candidates)
    assert {name for name, _ in one.labels[0]} == {"spoon", "cat"}
    assert {name for name, _ in other.labels[0]} == set(predictor.vocabulary.classes)


@pytest.mark.parametrize("zoom", [False, True], ids=["whole photo", "zoomed"])
def test_candidates_are_named_from_the_box_that_they_are_given(
    predictor: Predictor, photo: EncodedImage, zoom: bool
) -> None:
    """The box of a prompt, any other that replaces it, or else that of the mask; always clipped."""
    [by_point, by_box] = predictor.segment(photo, [PROMPTS["point"], PROMPTS["box"]], zoom=zoom)
    assert by_point.box_xyxy is None
    assert by_box.box_xyxy is not None and by_box.box_xyxy.tolist() == BOX.tolist()
    plain, given = predictor.name(photo, [by_point, replace(by_point, box_xyxy=BOX)])
    assert plain.labels != given.labels
    inside = np.array([110.0, 0, 200, 60])
    expected = predictor.name(photo, replace(by_point, box_xyxy=inside))[0].labels
    for out in (10, 1e6):
        beyond = np.array([110, -out, 200 + out, 60])
        assert predictor.name(photo, replace(by_point, box_xyxy=beyond))[0].labels == expected


def test_boxes_that_masks_are_named_from() -> None:
    """Model pixels: cells of 4 whose logit is above 0, or the box that is given, twice as large."""
    view = View(Frame((10.0, 20.0), (32.0, 32.0), (64, 64), (64, 64)), "features", 0)
    logits = np.full((2, 16, 16), -0.5, np.float32)
    logits[0, 3:5, 2:7] = 0.5
    logits[0, 0, 0] = 0
    logits[1, 15, 15] = 9
    assert _boxes(view, logits, None).tolist() == [[8, 12, 28, 20], [60, 60, 64, 64]]
    box = np.array([12.0, 21, 15, 30])
    assert _boxes(view, logits, box).tolist() == [[4, 2, 10, 20]] * 2


def test_a_model_that_has_masks_alone(photo: EncodedImage) -> None:
    """It segments without a text model; its other verbs say what to do."""
    whole = tiny_predictor()
    alone = Predictor(TINY, whole._backend, None, whole.vocabulary)
    assert (whole.names_objects, alone.names_objects) == (True, False)
    encoded = alone.encode(blobs(0))
    [found] = alone.segment(encoded, PROMPTS["box"])
    [expected] = whole.segment(photo, PROMPTS["box"])
    assert np.array_equal(found.mask_logits, expected.mask_logits)
    for verb, given in (("predict", PROMPTS["box"]), ("name", found)):
        with pytest.raises(UsageError, match=f"tiny has masks alone .* use segment .* of {verb}"):
            getattr(alone, verb)(encoded, given)
    with pytest.raises(UsageError, match="use segment instead of prepare"):
        alone.prepare("cat, dog")


@pytest.mark.parametrize("zoom", [False, True], ids=["whole photo", "zoomed"])
def test_masks_need_no_text_model(zoom: bool) -> None:
    text = HashedText()
    predictor = tiny_predictor(text=text, zoom=zoom)
    predictor.segment(predictor.encode(blobs(0)), list(PROMPTS.values()))
    assert not text.asked


def test_weights_are_a_prior_of_names_that_score_alike() -> None:
    """The two share what none of these leaves as 3 to 1; its own share is weighted against both."""
    plain, weighted = load_vocabulary("cat, dog"), load_vocabulary("*3 cat, dog")
    even = [0.25, 0.25, 0.5]
    assert [score for _, score in named(even, plain, top=2).labels[0]] == pytest.approx([0.25] * 2)
    found = named(even, weighted, top=2)
    # 0.75, 0.25 and 0.5 over their sum
    assert [name for name, _ in found.labels[0]] == ["cat", "dog"]
    assert [score for _, score in found.labels[0]] == pytest.approx([0.5, 1 / 6])
    assert found.none_scores.tolist() == pytest.approx([1 / 3])
    first, second = (score for _, score in found.labels[0])
    assert first / (first + second) == pytest.approx(0.75)
    assert named(even, weighted.unweighted(), top=2).labels == named(even, plain, top=2).labels


def test_weights_change_which_name_comes_first() -> None:
    names = load_vocabulary("cat, *0.5 dog, *100 !emu")
    [[first, second]] = named([0.3, 0.4, 0.0, 0.3], names, top=2).labels
    assert (first.name, second.name) == ("cat", "dog")
    assert first.score == pytest.approx(0.3 / (0.3 + 0.2 + 0.3))


def test_a_temperature_comes_after_the_weights() -> None:
    found = named([0.25, 0.25, 0.5], load_vocabulary("*9 cat, dog"), top=2, temperature=2)
    shares = np.sqrt([2.25, 0.25, 0.5])
    assert [*(score for _, score in found.labels[0]), *found.none_scores] == pytest.approx(
        shares / shares.sum()
    )


def test_kinds_add_up_weighted_names() -> None:
    shares = [0.2, 0.2, 0.4, 0.2]  # 0.4 for dogs, or 0.8 of 1.4 if each is met three times as often
    assert named(shares, load_vocabulary("beagle, poodle, idea")).kinds == (None,)
    [kind] = named(shares, load_vocabulary("*3 beagle, *3 poodle, idea")).kinds
    assert kind is not None
    assert kind.name == "dog"
    assert kind.score == pytest.approx(1.2 / 1.8)
