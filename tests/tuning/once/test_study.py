"""The recipes and the scores of a search's trials."""

from __future__ import annotations

import dataclasses

import pytest

from keras_resnet.files import write_json
from keras_resnet.training.recipe import Recipe, as_json
from keras_resnet.training.recipes import recipe_for
from keras_resnet.tuning.results import hopeless
from keras_resnet.tuning.study import Study, create_study
from pictures import jpeg, photograph
from trials import small, write_history


def test_photographs_that_are_smaller_in_short_trials_are_tested_at_smaller_sizes(tmp_path):
    for name in ("train/a/1.jpg", "train/a/2.jpg", "val/a/1.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(photograph(0, 40, 40)))
    study = create_study(f"folder:{tmp_path}", recipe="modern", fidelity="size", epochs=2, validation=1)
    recipes = [study.recipe({}, budget) for budget in (1, 3, 9)]
    assert [(recipe.first_size, recipe.size, recipe.test_size) for recipe in recipes] == [
        (64, 64, 85),
        (96, 96, 128),
        (128, 192, 256),
    ]


@pytest.mark.parametrize(
    ("trial", "others", "expected"),
    [
        ([50], 3 * [[50, 40, 30, 20]], False),  # as good as the others
        ([51], 3 * [[50, 40, 30, 20]], True),
        ([90, 44], 3 * [[50, 40, 30, 20]], False),  # better than their average of 45
        ([90, 46], 3 * [[50, 40, 30, 20]], True),
        ([44, 90], 3 * [[50, 40, 30, 20]], False),  # its best counts, not its last
        ([90, 46], 2 * [[50, 40, 30, 20]], False),  # two others are too few
        ([90, 46], [[50, 40], [50], [50], [50]], False),  # only one of the others came as far
        ([90, 80, 70, 60], 3 * [[50, 40, 30, 20]], False),  # it has ended
    ],
)
def test_the_median_rule(tmp_path, trial, others, expected):
    """Golovin et al. 2017: stopped if its best is worse than the median of the others' averages up to this epoch."""
    paths = []
    for number, errors in enumerate([trial, *others]):
        paths.append(tmp_path / f"{number}.csv")
        write_history(paths[-1], *errors, column="test_error")
    assert hopeless(paths[0], paths[1:], "test_error", epochs=4) == expected


@pytest.mark.parametrize(("done", "expected"), [(2, False), (3, True)])
def test_no_trial_is_stopped_before_a_quarter_of_its_epochs(tmp_path, done, expected):
    paths = [tmp_path / f"{number}.csv" for number in range(4)]
    for path, errors in zip(paths, [[90] * done, *3 * [[50] * 12]], strict=True):
        write_history(path, *errors, column="test_error")
    assert hopeless(paths[0], paths[1:], "test_error", epochs=12) == expected


def test_short_trials_have_no_more_images_than_full_ones():
    """Even if these have fewer than a batch."""
    study = small("hyperband", images=64, fidelity="images")
    assert [study.recipe({"batch_size": 128}, budget).images for budget in (1, 3, 9)] == [64, 64, 64]
    assert study.recipe({"batch_size": 32}, 1).images == 32


def test_beyond_its_target_a_networks_error_counts_for_more():
    """MnasNet's rule: twice the multiply-adds cost 5 % of the error, by 2^0.07."""
    study = small(target_macs=1_000_000)
    cost = study.bounds.check(study.space.default())
    assert study.score(10.0, dataclasses.replace(cost, macs=1_000_000)) == 10.0
    assert study.score(10.0, dataclasses.replace(cost, macs=2_000_000)) == pytest.approx(10.497, abs=1e-3)


def test_by_default_trials_are_judged_on_held_out_training_images():
    study = create_study("digits", epochs=1)
    assert study.base.validation == 143  # a tenth of 1,437
    assert study.base.images == 1437 - 143
    with pytest.raises(ValueError, match=r"`images` must be .* at most 1294, .* not held out\. Received: 1295"):
        create_study("digits", images=1295)


def test_a_search_for_a_fine_tuning_does_not_change_the_network_of_the_weights(tmp_path):
    write_json(tmp_path / "recipe.json", as_json(recipe_for("finetune", dataset="digits", weights="runs/digits")))
    given = {"recipe": str(tmp_path / "recipe.json"), "changes": {"stochastic_depth": "0,0.1"}}
    study = create_study("digits", space_name="recipe", **given)
    assert study.base.weights == "runs/digits" and "stochastic_depth" in study.space
    with pytest.raises(ValueError, match="weights of 'runs/digits', which determine units_per_stage, width, shortcut"):
        create_study("digits", space_name="shape", **given)


def test_an_invalid_study_is_refused():
    base = Recipe(dataset="digits", epochs=1)
    one = small()
    with pytest.raises(ValueError, match="`tuner` must be one of"):
        Study(base, one.space, one.bounds, tuner="genetic")
    with pytest.raises(ValueError, match="never end"):
        Study(base, one.space, one.bounds, tuner="random", max_trials=None)
