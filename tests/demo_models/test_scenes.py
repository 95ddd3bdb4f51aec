"""The small world: what may stand together, where it stands, and how it moves."""

from __future__ import annotations

from random import Random

import pytest

from scripts.demo_models.judging.facts import cell_of
from scripts.demo_models.scenes import CAMERA, KINDS, Motion, Scene, Thing, laid_out, moved, random_scene

SQUARE, PORTRAIT = 1.0, 480 / 832


def _scenes(count: int, *, moving: bool = False) -> list[Scene]:
    random = Random("scenes")
    return [random_scene(random, moving=moving) for _ in range(count)]


def test_the_same_seed_makes_the_same_scene_in_the_same_places() -> None:
    one, other = (random_scene(Random(5), moving=True) for _ in range(2))
    assert one == other
    assert laid_out(one, Random(6)) == laid_out(other, Random(6))
    assert laid_out(one, Random(6)) != laid_out(other, Random(7))


def test_a_kind_comes_once_and_no_two_share_a_cell() -> None:
    for scene in _scenes(500):
        kinds = [thing.kind for thing in scene.things]
        cells = [cell_of(thing) for thing in scene.things]
        assert 1 <= len(kinds) <= 3
        assert len(set(kinds)) == len(kinds)
        assert len(set(cells)) == len(cells)


def test_what_swims_does_so_at_sea() -> None:
    swimming = [scene for scene in _scenes(2000) if any(KINDS[thing.kind].zone == "water" for thing in scene.things)]
    assert swimming
    assert {scene.ground for scene in swimming} == {"sea"}


def test_only_what_can_move_moves_and_only_in_its_ways() -> None:
    motions = [(scene, scene.motion) for scene in _scenes(500, moving=True) if scene.motion]
    assert 300 < len(motions) < 450
    for scene, motion in motions:
        if motion.subject == CAMERA:
            assert motion.direction in {"left", "right", "in", "out"}
        else:
            assert motion.direction in KINDS[scene.things[motion.subject].kind].directions


@pytest.mark.parametrize("aspect", [SQUARE, PORTRAIT])
def test_things_stand_on_the_picture_in_their_own_third(aspect: float) -> None:
    random = Random(1)
    for scene in _scenes(300):
        for spot in laid_out(scene, random, aspect):
            thing = scene.things[spot.thing]
            assert 0.0 < spot.x < 1.0
            assert 0.0 < spot.y < 1.0
            assert spot.y - spot.height * min(1.0, aspect) > -0.05, thing
            nearest = min(("left", 0.2), ("middle", 0.5), ("right", 0.8), key=lambda third: abs(third[1] - spot.x))
            assert nearest[0] == thing.place


def test_as_many_spots_as_things_are_counted() -> None:
    scene = Scene((Thing("gull", "white", count=3, place="left"), Thing("house", "red", count=2, place="right")))
    spots = laid_out(scene, Random(0))
    assert sorted(spot.thing for spot in spots) == [0, 0, 0, 1, 1]


def test_a_balloon_climbs_and_a_house_beside_it_stays() -> None:
    scene = Scene((Thing("balloon", "red"), Thing("house", "blue")), motion=Motion(0, "up"))
    balloon, house = sorted(laid_out(scene, Random(0)), key=lambda spot: spot.thing)
    assert moved(scene, balloon, 0.5) == balloon
    assert moved(scene, balloon, 1.0).y < balloon.y < moved(scene, balloon, 0.0).y
    assert moved(scene, house, 0.0) == moved(scene, house, 1.0) == house


def test_a_camera_that_pans_right_moves_everything_to_the_left() -> None:
    scene = Scene((Thing("tree", "green"),), motion=Motion(CAMERA, "right"))
    (tree,) = laid_out(scene, Random(0))
    assert moved(scene, tree, 1.0).x < tree.x < moved(scene, tree, 0.0).x


def test_a_camera_that_zooms_in_makes_everything_larger() -> None:
    scene = Scene((Thing("tree", "green"),), motion=Motion(CAMERA, "in"))
    (tree,) = laid_out(scene, Random(0))
    assert moved(scene, tree, 1.0).height > tree.height > moved(scene, tree, 0.0).height


def test_chance_leaves_a_thing_few_places_to_stand_in() -> None:
    scene = Scene((Thing("house", "red", place="left"), Thing("sun", "yellow", place="right")))
    for shape in (1.0, 480 / 832):
        places = {laid_out(scene, Random(seed), shape) for seed in range(300)}
        for thing in range(2):
            assert len({spot for spots in places for spot in spots if spot.thing == thing}) == 4
